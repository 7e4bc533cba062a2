//! `pgstow drill`: restores a backup for real, and says what came of it.

pub mod dump;

use std::{
    env,
    io::{self, Write},
    time::Duration,
};

use serde::Serialize;

use super::{
    context::Context,
    options::DrillOptions,
    report::{Outcome, Report, found},
    verify::dumps::{failed, write_checks},
};
use crate::{
    domain::{
        drill::{self, request::Request},
        monitor::runs::Told,
    },
    error::{Error, IoContext, Result},
    postgres::version,
    repo::drill::Drill,
    util::units,
};

/// Where folders of drills are made, in the state folder.
const FOLDER: &str = "drill";

#[derive(Debug, Serialize)]
pub struct DrillReport {
    repository: String,
    /// The object that the report is filed as.
    report: String,
    #[serde(flatten)]
    drill: Drill,
}

pub fn run(context: &Context, options: DrillOptions) -> Result<DrillReport> {
    let repository = context.repository()?;
    let request = request(context, options)?;
    let mut outcome = drill::run(&repository, &request, &context.cancel, &context.meter)?;
    context.meter.begin("filing the report", 0);
    let name = repository
        .add_drill(&mut outcome.drill, outcome.drilled.as_ref())
        .map_err(|error| error.context("the report of the drill can't be filed"))?;
    Ok(DrillReport {
        repository: repository.location().to_string(),
        report: repository.storage().place(&name),
        drill: outcome.drill,
    })
}

fn request(context: &Context, options: DrillOptions) -> Result<Request> {
    let settings = &context.settings;
    let program = env::current_exe().at("find", "this program")?;
    let call = |command: &str| {
        let mut words = vec![program.to_string_lossy().into_owned(), command.to_owned()];
        words.extend_from_slice(&options.server_flags);
        words
    };
    let connection = settings.cluster.connection.resolve();
    let known = connection.as_ref().ok();
    let mut users: Vec<String> = known.map(|info| info.user.clone()).into_iter().collect();
    users.push("postgres".to_owned());
    users.dedup();
    let own = known.map(|info| info.database.clone());
    let (mut wal_command, done_command) = (call("restore-wal"), call("restore-done"));
    // What this repository lacks is to be found out.
    wal_command.push("--no-fallback".to_owned());
    let place = options.scratch.or(options.settings.scratch);
    let place = place.unwrap_or_else(|| settings.state_folder().join(FOLDER));
    Ok(Request {
        to: options.to,
        place: std::path::absolute(&place).at("find", &place)?,
        workers: options.jobs,
        bindir: options.bindir,
        sql: options.settings.sql,
        database: options
            .settings
            .database
            .or(own)
            .unwrap_or_else(|| "postgres".to_owned()),
        amcheck_limit: options.settings.amcheck_limit,
        recovery_point: options.settings.recovery_point,
        settings: options.settings.server,
        users,
        wal_command,
        done_command,
    })
}

impl Report for DrillReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let drill = &self.drill;
        let what = match drill.backup {
            Some(id) => format!(
                "{id} (PostgreSQL {})",
                version::readable(drill.postgres_version)
            ),
            None => format!("cluster {}", drill.cluster),
        };
        let verdict = match (drill.good, drill.findings()) {
            (true, _) => format!("proven, to {}", drill.moment()),
            (false, findings) => format!("NOT PROVEN, {}", units::count(findings, "finding")),
        };
        writeln!(out, "{what}: {verdict}")?;
        writeln!(out, "  restored to {}\n", drill.target)?;
        write_checks(&drill.checks, out)?;
        if !drill.phases.is_empty() {
            writeln!(out)?;
        }
        let time = |seconds: f64| units::duration(Duration::from_secs_f64(seconds.max(0.0)));
        for phase in &drill.phases {
            let bytes = phase
                .bytes
                .map(|bytes| format!(", {}", units::bytes(bytes)));
            let cpu = phase
                .cpu_seconds
                .map(|cpu| format!(", {} on processors", time(cpu)));
            writeln!(
                out,
                "  {:<18} {}{}{}",
                phase.name,
                time(phase.seconds),
                bytes.unwrap_or_default(),
                cpu.unwrap_or_default()
            )?;
        }
        writeln!(out, "  {:<18} {}", "all", time(drill.seconds))?;
        writeln!(out, "\nfiled as {}", self.report)
    }

    fn failure(&self) -> Option<Error> {
        let what = self.drill.backup.map(|id| format!("backup {id}"));
        let what = what.unwrap_or_else(|| format!("cluster {}", self.drill.cluster));
        found(failed(&self.drill.checks, &what))
    }

    fn told(&self) -> Told {
        let unpacked = self.drill.phases.iter();
        Told {
            bytes: unpacked
                .filter(|phase| phase.name == "unpack")
                .find_map(|phase| phase.bytes),
            ..Told::default()
        }
    }

    fn is_good_news(&self) -> bool {
        self.drill.good
    }

    fn outcome(&self) -> Outcome {
        match self.drill.good {
            true => Outcome::Done,
            false => Outcome::Findings,
        }
    }
}

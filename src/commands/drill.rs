//! `pgstow drill`: restores a backup for real, and says what came of it.

pub mod dump;
mod phases;

use std::{
    env,
    io::{self, Write},
    path::PathBuf,
};

use serde::Serialize;

use super::{
    context::Context,
    options::{DrillOptions, GroundOptions},
    report::{Outcome, Report, found},
    verify::dumps::{failed, write_checks},
};
use crate::{
    domain::{
        drill::{self, Went, ground::Ground, request::Request, scratch_server},
        monitor::runs::Told,
        restore::{forecast, measured},
    },
    error::{Error, IoContext, Kind, Result},
    postgres::version,
    repo::{drill::Drill, others::Others},
    util::units,
};

/// Where folders of drills are made, in the state folder.
const FOLDER: &str = "drill";

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum DrillReport {
    Filed(Box<Filed>),
    NotHere {
        repository: String,
        good: bool,
        /// Why nothing can be proven on this host.
        not_here: String,
    },
}

#[derive(Debug, Serialize)]
pub struct Filed {
    repository: String,
    /// The object that the report is filed as; None: see `not_filed`.
    report: Option<String>,
    /// Why it could not be filed.
    not_filed: Option<String>,
    #[serde(flatten)]
    drill: Drill,
}

pub fn run(context: &Context, options: DrillOptions) -> Result<DrillReport> {
    let repository = context.repository()?;
    let request = request(context, options)?;
    let went = drill::run(&repository, &request, &context.cancel, &context.meter)?;
    let mut outcome = match went {
        Went::Drilled(outcome) => outcome,
        Went::NotHere(not_here) => {
            return Ok(DrillReport::NotHere {
                repository: repository.location().to_string(),
                good: false,
                not_here,
            });
        }
    };
    context.meter.begin("filing the report", 0);
    let (report, not_filed) =
        match repository.add_drill(&mut outcome.drill, outcome.drilled.as_ref()) {
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            // What hours of work found is told all the same.
            Err(error) => (None, Some(error.in_one_line())),
            Ok(name) => (Some(repository.storage().place(&name)), None),
        };
    Ok(DrillReport::Filed(Box::new(Filed {
        repository: repository.location().to_string(),
        report,
        not_filed,
        drill: outcome.drill,
    })))
}

fn request(context: &Context, options: DrillOptions) -> Result<Request> {
    let connection = context.settings.cluster.connection.resolve().ok();
    let own = connection.as_ref().map(|info| info.database.clone());
    let settings = options.settings;
    let mut ground = ground(context, options.ground, settings.scratch, settings.server)?;
    // What this repository lacks is to be found out.
    ground.wal_command.push("--no-fallback".to_owned());
    Ok(Request {
        to: options.to,
        restores: measured::read(&context.settings.state_folder()),
        living: connection,
        ground,
        sql: settings.sql,
        database: settings
            .database
            .or(own)
            .unwrap_or_else(|| "postgres".to_owned()),
        amcheck_limit: settings.amcheck_limit,
        recovery_point: settings.recovery_point,
    })
}

/// Where a backup is restored for a server of our own; `scratch` and `server` as the settings say it.
pub fn ground(
    context: &Context,
    options: GroundOptions,
    scratch: Option<PathBuf>,
    server: Vec<(String, String)>,
) -> Result<Ground> {
    let settings = &context.settings;
    let program = env::current_exe().at("find", "this program")?;
    let call = |command: &str| {
        let mut words = vec![program.to_string_lossy().into_owned(), command.to_owned()];
        words.extend_from_slice(&options.server_flags);
        words
    };
    let connection = settings.cluster.connection.resolve().ok();
    let mut users: Vec<String> = connection.map(|info| info.user).into_iter().collect();
    users.push("postgres".to_owned());
    users.dedup();
    let (wal_command, done_command) = (call("restore-wal"), call("restore-done"));
    scratch_server::refuse_ours(&server)?;
    let place = match options.scratch.or(scratch) {
        // Not made: where a disk is not mounted it would fill another.
        Some(named) if !named.is_dir() => {
            let what = format!("there is no folder {}", named.display());
            return Err(Error::failed(what)
                .hint("mount the disk that it is on, make it, or name another by --scratch or drill.scratch."));
        }
        named => named.unwrap_or_else(|| settings.state_folder().join(FOLDER)),
    };
    Ok(Ground {
        place: std::path::absolute(&place).at("find", &place)?,
        workers: options.jobs,
        bindir: options.bindir,
        settings: server,
        users,
        wal_command,
        done_command,
        others: Others::default(),
    })
}

impl Report for DrillReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            DrillReport::Filed(filed) => filed.text(out),
            DrillReport::NotHere { not_here, .. } => {
                writeln!(out, "NOT PROVEN, and can't be on this host: {not_here}")
            }
        }
    }

    fn failure(&self) -> Option<Error> {
        self.filed()?.failure()
    }

    fn told(&self) -> Told {
        self.filed().map(Filed::told).unwrap_or_default()
    }

    fn is_good_news(&self) -> bool {
        let filed = self.filed();
        filed.is_some_and(|filed| filed.drill.good && filed.not_filed.is_none())
    }

    /// Where nothing can be proven, nothing was found either.
    fn outcome(&self) -> Outcome {
        match self.filed() {
            Some(filed) if !filed.drill.good => Outcome::Findings,
            Some(filed) if filed.not_filed.is_some() => Outcome::Failed,
            _ => Outcome::Done,
        }
    }
}

impl DrillReport {
    fn filed(&self) -> Option<&Filed> {
        match self {
            DrillReport::Filed(filed) => Some(filed),
            DrillReport::NotHere { .. } => None,
        }
    }
}

impl Filed {
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
        phases::write(&drill.phases, drill.seconds, out)?;
        let time = phases::time;
        let took = forecast::seconds(&drill.phases);
        // A replay that failed was not all of it.
        let took = took.filter(|_| drill.reached.is_some());
        if let (Some(foreseen), Some(took)) = (&drill.forecast, took) {
            let off = forecast::error(&drill.phases, Some(foreseen)).unwrap_or_default();
            writeln!(
                out,
                "  {:<18} fetch, unpack and replay took {}, and {} were foreseen: {:.0} % too {}",
                "forecast",
                time(took),
                time(foreseen.seconds),
                100.0 * off.abs(),
                if off < 0.0 { "little" } else { "much" }
            )?;
        }
        if let Some(report) = &self.report {
            writeln!(out, "\nfiled as {report}")?;
        }
        if let Some(why) = &self.not_filed {
            writeln!(
                out,
                "\nNOT FILED: {why}\n  nothing and nobody else will know of it: let this host write to drills/ of the repository"
            )?;
        }
        Ok(())
    }

    fn failure(&self) -> Option<Error> {
        let what = self.drill.backup.map(|id| format!("backup {id}"));
        let what = what.unwrap_or_else(|| format!("cluster {}", self.drill.cluster));
        let not_filed = self.not_filed.as_ref();
        found(failed(&self.drill.checks, &what)).or_else(|| {
            not_filed
                .map(|why| Error::failed(format!("the report of the drill can't be filed: {why}")))
        })
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
}

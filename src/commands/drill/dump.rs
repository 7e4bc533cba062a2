//! `pgstow drill DUMP`: a dump is restored and checked as by `verify`, and the report is filed among those of drills.

use std::io::{self, Write};

use serde::Serialize;

use super::phases;
use crate::{
    commands::{
        context::Context,
        options::{VerifyDumpsOptions, WhichDumps},
        report::{Outcome, Report, found},
        verify::dumps::{self, failed, write_checks},
    },
    domain::{logical::validate::Validated, monitor::runs::Told},
    error::{Error, Kind, Result},
    repo::{document::FORMAT, dump_drill::DumpDrill, repository::Repository},
    util::{
        clock::{self, Time},
        host, units,
    },
};

#[derive(Debug, Serialize)]
pub struct DumpDrillReport {
    repository: String,
    /// The object that the report is filed as.
    report: String,
    #[serde(flatten)]
    drill: DumpDrill,
}

pub fn run(context: &Context, options: &VerifyDumpsOptions) -> Result<DumpDrillReport> {
    let repository = context.repository()?;
    refuse_globals(&repository, options)?;
    let begun = clock::now();
    let mut validated = dumps::run(context, options)?.into_dumps();
    let validated = validated
        .pop()
        .ok_or_else(|| Error::failed("no dump was drilled"))?;
    let mut drill = of(&repository, begun, validated);
    context.meter.begin("filing the report", 0);
    let name = repository
        .add_dump_drill(&mut drill)
        .map_err(|error| error.context("the report of the drill can't be filed"))?;
    Ok(DumpDrillReport {
        repository: repository.location().to_string(),
        report: repository.storage().place(&name),
        drill,
    })
}

/// Nothing is restored of them: that would prove nothing.
fn refuse_globals(repository: &Repository, options: &VerifyDumpsOptions) -> Result<()> {
    let WhichDumps::One(choice) = &options.which else {
        return Ok(());
    };
    match repository.find_dump_to_verify(choice) {
        Ok(dump) if dump.database.is_none() => {
            let what = format!(
                "{} holds roles and tablespaces, which are not tried out",
                dump.name
            );
            Err(Error::usage(what)
                .hint("drill a database's dump; `pgstow verify @globals` reads this one."))
        }
        // What can't be read is a finding.
        Err(error) if error.kind() == Kind::Damaged => Ok(()),
        found => found.map(drop),
    }
}

fn of(repository: &Repository, time: Time, validated: Validated) -> DumpDrill {
    DumpDrill {
        format: FORMAT,
        what: "dump".to_owned(),
        time,
        finished: clock::now(),
        host: host::name(),
        pgstow_version: env!("CARGO_PKG_VERSION").to_owned(),
        cluster: repository.layout().cluster().to_string(),
        dump: validated.dump,
        database: validated.database,
        good: validated.good,
        server: validated.server,
        server_version: validated.server_version,
        bytes: validated.bytes,
        seconds: validated.seconds,
        phases: validated.phases,
        checks: validated.checks,
    }
}

impl DumpDrillReport {
    fn findings(&self) -> Vec<String> {
        failed(&self.drill.checks, &format!("dump {}", self.drill.dump))
    }
}

impl Report for DumpDrillReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let drill = &self.drill;
        let findings = units::count(self.findings().len() as u64, "finding");
        match drill.good {
            true => writeln!(out, "{}: proven", drill.dump)?,
            false => writeln!(out, "{}: NOT PROVEN, {findings}", drill.dump)?,
        }
        write_checks(&drill.checks, out)?;
        phases::write(&drill.phases, drill.seconds, out)?;
        writeln!(out, "\nfiled as {}", self.report)
    }

    fn failure(&self) -> Option<Error> {
        found(self.findings())
    }

    fn told(&self) -> Told {
        Told {
            bytes: Some(self.drill.bytes),
            ..Told::default()
        }
    }

    fn is_good_news(&self) -> bool {
        self.outcome() == Outcome::Done
    }

    fn outcome(&self) -> Outcome {
        match self.findings().is_empty() {
            true => Outcome::Done,
            false => Outcome::Findings,
        }
    }
}

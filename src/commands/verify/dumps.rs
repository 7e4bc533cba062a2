//! `pgstow verify DUMP`: restores dumps, and checks what came of it.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use serde::Serialize;
use tracing::warn;

use crate::{
    commands::{
        context::Context,
        options::{VerifyDumpSettings, VerifyDumpsOptions, WhichDumps},
        report::{Outcome, Report},
    },
    domain::{
        logical::{
            restore::material::Material,
            validate::{Application, Validated, Validator},
        },
        monitor::runs::Told,
    },
    error::{Error, Kind, Result},
    postgres::programs::Search,
    repo::{
        document::FORMAT,
        dump::Dump,
        dump_name::DumpName,
        dumps::DumpEntry,
        repository::Repository,
        verified::{CheckState, Verified, VerifiedDump},
    },
    util::{clock, host, units},
};

#[derive(Debug, Serialize)]
pub struct VerifyDumpsReport {
    /// None: a file was verified.
    repository: Option<String>,
    dumps: Vec<Validated>,
}

pub fn run(context: &Context, options: &VerifyDumpsOptions) -> Result<VerifyDumpsReport> {
    if let WhichDumps::File(path) = &options.which {
        let keys = context.settings.keys();
        let material = Material::file(path, &keys)?;
        let validated = validate(context, options, &material)?;
        return Ok(VerifyDumpsReport {
            repository: None,
            dumps: vec![validated],
        });
    }
    let repository = context.repository()?;
    let dumps = match &options.which {
        WhichDumps::One(choice) => vec![*repository.find_dump_to_verify(choice)?],
        _ => newest_of_each(&repository)?,
    };
    Ok(VerifyDumpsReport {
        dumps: all(context, &repository, dumps, options)?,
        repository: Some(repository.location().to_string()),
    })
}

/// Validates dumps of `repository`, and stores beside them what was found of each.
pub fn all(
    context: &Context,
    repository: &Repository,
    dumps: Vec<Dump>,
    options: &VerifyDumpsOptions,
) -> Result<Vec<Validated>> {
    let mut all = Vec::new();
    for dump in dumps {
        let name = dump.name.clone();
        let material = Material::stored(repository, Box::new(dump));
        let validated =
            validate(context, options, &material).map_err(|error| match error.kind() {
                Kind::Interrupted => error,
                _ => error.context(format!("can't verify dump {name}")),
            })?;
        keep_result(repository, name, &validated);
        all.push(validated);
    }
    Ok(all)
}

fn validate(
    context: &Context,
    options: &VerifyDumpsOptions,
    material: &Material<'_>,
) -> Result<Validated> {
    let settings = &context.settings;
    let VerifyDumpSettings { sql, health, .. } = &options.settings;
    let validator = Validator {
        search: &Search::of_this_host(settings.cluster.bindir.clone()),
        server: options
            .settings
            .server(&|| settings.cluster.connection.resolve())?,
        sql,
        application: &Application {
            url: health.url.clone(),
            command: health.command.clone(),
            limit: health.limit,
        },
        jobs: options.jobs,
        meter: &context.meter,
        cancel: &context.cancel,
    };
    validator.validate(material)
}

/// A repository that can't be written can be verified all the same.
fn keep_result(repository: &Repository, dump: DumpName, validated: &Validated) {
    let stored = repository.add_verified(&Verified {
        format: FORMAT,
        time: clock::now(),
        host: host::name(),
        backups: Vec::new(),
        dumps: vec![VerifiedDump {
            dump,
            good: validated.good,
            findings: validated.findings(),
            server: validated.server.clone(),
            server_version: validated.server_version,
            checks: validated.checks.clone(),
        }],
    });
    if let Err(error) = stored {
        warn!(
            "the result can't be kept in the repository: {}",
            error.in_one_line()
        );
    }
}

/// The newest whole dump of each database.
fn newest_of_each(repository: &Repository) -> Result<Vec<Dump>> {
    let entries = repository.dumps()?;
    let mut known = BTreeSet::new();
    let whole = entries.iter().rev().filter_map(DumpEntry::whole);
    let whole = whole.filter(|dump| dump.database.is_some() && dump.part().is_none());
    let newest = whole.filter(|dump| known.insert(dump.subject()));
    let newest: Vec<Dump> = newest.cloned().collect();
    match newest.is_empty() {
        false => Ok(newest),
        true => Err(Error::failed(format!(
            "there is no dump to verify in {}",
            repository.location()
        ))
        .hint("make one with `pgstow dump`.")),
    }
}

/// What was found of one dump, as people read it.
pub fn write(validated: &Validated, out: &mut dyn Write) -> io::Result<()> {
    let findings = validated.findings();
    let verdict = match findings {
        0 => "all right".to_owned(),
        _ => format!("NOT GOOD, {}", units::count(findings, "finding")),
    };
    writeln!(out, "{}: {verdict}", validated.dump)?;
    for check in &validated.checks {
        let state = match check.result {
            CheckState::Passed => "ok",
            CheckState::Failed => "FAILED",
            CheckState::Skipped => "-",
        };
        writeln!(out, "  {:<18} {state:<7} {}", check.name, check.what)?;
        for detail in check.details.iter().skip(1) {
            writeln!(out, "  {:<18} {:<7} {detail}", "", "")?;
        }
    }
    Ok(())
}

impl Report for VerifyDumpsReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        self.dumps.iter().try_for_each(|one| write(one, out))
    }

    fn told(&self) -> Told {
        Told {
            bytes: Some(self.dumps.iter().map(|one| one.bytes).sum()),
            backup: None,
        }
    }

    fn is_good_news(&self) -> bool {
        self.outcome() == Outcome::Done
    }

    fn outcome(&self) -> Outcome {
        match self.dumps.iter().all(|one| one.good) {
            true => Outcome::Done,
            false => Outcome::Findings,
        }
    }
}

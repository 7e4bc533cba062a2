//! `pgstow verify DUMP`: restores dumps, and checks what came of it.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use serde::Serialize;

use super::keep;
use crate::{
    commands::{
        context::Context,
        options::{VerifyDumpSettings, VerifyDumpsOptions, WhichDumps},
        report::{self, Outcome, Report},
    },
    domain::{
        logical::{
            restore::material::Material,
            validate::{Application, ScratchServers, Validated, Validator},
        },
        monitor::runs::Told,
    },
    error::{Error, Kind, Result},
    postgres::programs::Search,
    repo::{
        dump::Dump,
        dump_name::DumpName,
        dumps::{DumpChoice, DumpEntry, DumpState},
        repository::Repository,
        verified::{CheckState, Verified, VerifiedCheck, VerifiedDump},
    },
    util::units,
};

#[derive(Debug, Serialize)]
pub struct VerifyDumpsReport {
    /// None: a file was verified.
    repository: Option<String>,
    dumps: Vec<Validated>,
    /// Of which that could not be found out.
    unverified: Vec<Unverified>,
}

/// A dump of which could not be found out whether it is good.
#[derive(Debug, Serialize)]
pub struct Unverified {
    dump: DumpName,
    error: String,
    hint: Option<String>,
}

/// What came of several dumps, in their order.
#[derive(Debug, Default)]
pub struct Proven {
    pub found: Vec<Validated>,
    /// What was in the way of the others.
    pub failed: Vec<(DumpName, Error)>,
}

impl Proven {
    /// Of a single dump it is the error of all.
    ///
    /// # Errors
    /// What was in the way of the only one.
    pub fn or_only_error(mut self) -> Result<Self> {
        let is_only_one = self.found.is_empty() && self.failed.len() == 1;
        match self.failed.pop_if(|_| is_only_one) {
            Some((dump, error)) => Err(error.context(format!("can't verify dump {dump}"))),
            None => Ok(self),
        }
    }
}

impl Unverified {
    pub fn of((dump, error): (DumpName, Error)) -> Self {
        Self {
            error: error.in_one_line(),
            hint: error.hint_text().map(str::to_owned),
            dump,
        }
    }

    pub fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}: NOT VERIFIED: {}", self.dump, self.error)?;
        match &self.hint {
            Some(hint) => writeln!(out, "  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl VerifyDumpsReport {
    /// What was found of each.
    pub fn into_dumps(self) -> Vec<Validated> {
        self.dumps
    }
}

pub fn run(context: &Context, options: &VerifyDumpsOptions) -> Result<VerifyDumpsReport> {
    if let WhichDumps::File(path) = &options.which {
        let keys = context.settings.keys();
        let material = Material::file(path, &keys)?;
        let scratch = ScratchServers::default();
        let validated = validate(context, options, &scratch, &material)?;
        return Ok(VerifyDumpsReport {
            repository: None,
            dumps: vec![validated],
            unverified: Vec::new(),
        });
    }
    let repository = context.repository()?;
    let chosen = match &options.which {
        WhichDumps::One(choice) => one(&repository, choice)?,
        _ => newest_of_each(&repository)?,
    };
    let mut proven = all(context, &repository, chosen.dumps, options)?;
    proven.found.extend(chosen.undescribed);
    let Proven { found, failed } = proven.or_only_error()?;
    Ok(VerifyDumpsReport {
        repository: Some(repository.location().to_string()),
        dumps: found,
        unverified: failed.into_iter().map(Unverified::of).collect(),
    })
}

/// What is to be verified.
struct Chosen {
    dumps: Vec<Dump>,
    /// What was found already of those whose description can't be read. No word on them is kept: the next version of
    /// pgstow may read it.
    undescribed: Vec<Validated>,
}

fn one(repository: &Repository, choice: &DumpChoice) -> Result<Chosen> {
    match repository.find_dump_to_verify(choice) {
        Ok(dump) => Ok(Chosen {
            dumps: vec![*dump],
            undescribed: Vec::new(),
        }),
        Err(error) if error.kind() == Kind::Damaged => {
            let name = choice.wanted.clone().unwrap_or_default();
            Ok(Chosen {
                dumps: Vec::new(),
                undescribed: vec![Validated::undescribed(name, &error)],
            })
        }
        Err(error) => Err(error),
    }
}

/// Validates dumps of `repository`, whatever is in the way of some, and stores beside them what was found of each.
///
/// # Errors
/// A stop was asked for.
pub fn all(
    context: &Context,
    repository: &Repository,
    dumps: Vec<Dump>,
    options: &VerifyDumpsOptions,
) -> Result<Proven> {
    let mut proven = Proven::default();
    let scratch = ScratchServers::default();
    for dump in dumps {
        let name = dump.name.clone();
        let validated = Material::stored(repository, Box::new(dump))
            .and_then(|material| validate(context, options, &scratch, &material));
        match validated {
            Ok(validated) => {
                keep_result(repository, name, &validated);
                proven.found.push(validated);
            }
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            Err(error) => proven.failed.push((name, error)),
        }
    }
    Ok(proven)
}

fn validate(
    context: &Context,
    options: &VerifyDumpsOptions,
    scratch: &ScratchServers,
    material: &Material,
) -> Result<Validated> {
    let settings = &context.settings;
    let VerifyDumpSettings { sql, health, .. } = &options.settings;
    let validator = Validator {
        search: &Search::of_this_host(settings.cluster.bindir.clone()),
        server: options
            .settings
            .server(&|| settings.cluster.connection.resolve())?,
        scratch,
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

fn keep_result(repository: &Repository, dump: DumpName, validated: &Validated) {
    let words = Verified {
        dumps: vec![VerifiedDump {
            dump,
            good: validated.good,
            findings: validated.findings(),
            server: validated.server.clone(),
            server_version: validated.server_version,
            checks: validated.checks.clone(),
        }],
        ..Verified::now()
    };
    keep::keep(repository, &words);
}

/// The newest whole dump of each database, those after it that have lost their data, and all that can't be read: one of
/// them may be the newest.
fn newest_of_each(repository: &Repository) -> Result<Chosen> {
    let entries = repository.dumps()?;
    let mut known = BTreeSet::new();
    let mut chosen = Chosen {
        dumps: Vec::new(),
        undescribed: Vec::new(),
    };
    let is_of_all = |dump: &Dump| dump.database.is_some() && dump.part().is_none();
    for DumpEntry { name, state, .. } in entries.into_iter().rev() {
        match state {
            DumpState::Complete(dump) if is_of_all(&dump) && known.insert(dump.subject()) => {
                chosen.dumps.push(*dump);
            }
            DumpState::Damaged(dump, _) if is_of_all(&dump) && !known.contains(&dump.subject()) => {
                chosen.dumps.push(*dump);
            }
            DumpState::Unreadable { why, .. } => {
                let error = Error::damaged(why);
                let found = Validated::undescribed(name.to_string(), &error);
                chosen.undescribed.push(found);
            }
            _ => {}
        }
    }
    match chosen.dumps.is_empty() && chosen.undescribed.is_empty() {
        false => Ok(chosen),
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
    let verdict = match (findings, validated.good) {
        (0, _) => "all right".to_owned(),
        (_, true) => "good, but not what lies beside it".to_owned(),
        (_, false) => format!("NOT GOOD, {}", units::count(findings, "finding")),
    };
    writeln!(out, "{}: {verdict}", validated.dump)?;
    write_checks(&validated.checks, out)
}

/// Why a run is none that ended well: what could not be found out, and what was found.
pub fn failure(found: &[Validated], unverified: &[Unverified]) -> Option<Error> {
    let found = report::found(found.iter().flat_map(findings));
    let told = unverified
        .iter()
        .map(|one| format!("{}: {}", one.dump, one.error));
    let told: Vec<String> = told.collect();
    if told.is_empty() {
        return found;
    }
    let count = units::count(told.len() as u64, "dump");
    let found = found.map_or(String::new(), |found| format!("; {}", found.in_one_line()));
    let error = Error::failed(format!(
        "{count} could not be verified: {}{found}",
        told.join("; ")
    ));
    Some(match unverified.iter().find_map(|one| one.hint.as_ref()) {
        Some(hint) => error.hint(hint),
        None => error,
    })
}

/// How a run ended.
pub fn outcome(found: &[Validated], unverified: &[Unverified]) -> Outcome {
    match found.iter().all(|one| one.findings() == 0) {
        _ if !unverified.is_empty() => Outcome::Failed,
        true => Outcome::Done,
        false => Outcome::Findings,
    }
}

/// What was found of one dump, in a line each.
pub fn findings(validated: &Validated) -> Vec<String> {
    failed(&validated.checks, &validated.dump)
}

/// The checks of `what` that were not passed, in a line each.
pub fn failed(checks: &[VerifiedCheck], what: &str) -> Vec<String> {
    let failed = checks.iter();
    let failed = failed.filter(|check| check.result == CheckState::Failed);
    failed
        .map(|check| format!("{what}: {}: {}", check.name, check.what))
        .collect()
}

/// Each with what came of it.
pub fn write_checks(checks: &[VerifiedCheck], out: &mut dyn Write) -> io::Result<()> {
    for check in checks {
        let state = match check.result {
            CheckState::Passed => "ok",
            CheckState::Failed => "FAILED",
            CheckState::Skipped => "-",
        };
        writeln!(out, "  {:<18} {state:<7} {}", check.name, check.what)?;
        // What failed has the first one in its sentence.
        let told = usize::from(check.result == CheckState::Failed);
        for detail in check.details.iter().skip(told) {
            writeln!(out, "  {:<18} {:<7} {detail}", "", "")?;
        }
    }
    Ok(())
}

impl Report for VerifyDumpsReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        self.dumps.iter().try_for_each(|one| write(one, out))?;
        self.unverified.iter().try_for_each(|one| one.text(out))
    }

    fn failure(&self) -> Option<Error> {
        failure(&self.dumps, &self.unverified)
    }

    fn told(&self) -> Told {
        Told {
            bytes: Some(self.dumps.iter().map(|one| one.bytes).sum()),
            ..Told::default()
        }
    }

    fn is_good_news(&self) -> bool {
        self.outcome() == Outcome::Done
    }

    fn outcome(&self) -> Outcome {
        outcome(&self.dumps, &self.unverified)
    }
}

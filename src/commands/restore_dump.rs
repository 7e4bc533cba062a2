//! `pgstow restore-dump`: restores a dump into a database or a file.

use std::io::{self, Write};

use serde::Serialize;
use tracing::warn;

use super::{
    context::Context,
    options::{DumpFrom, ReadFrom, RestoreDumpOptions},
    report::{Outcome, Report},
};
use crate::{
    domain::logical::restore::{
        material::Material,
        run::{Restored, Restorer, To, Whole},
    },
    error::{Error, Kind, Result},
    postgres::programs::Search,
    repo::{dump::Dump, dump_name::DumpName, dumps::DumpChoice, repository::Repository},
    util::units,
};

#[derive(Debug, Serialize)]
pub struct RestoreDumpReport {
    #[serde(flatten)]
    restored: Restored,
}

/// Asks a person; an error where nobody can be asked.
pub type Confirm<'a> = &'a dyn Fn(&str) -> Result<bool>;

/// `output`: standard output, for a dump that is wanted there.
pub fn run(
    context: &Context,
    options: &RestoreDumpOptions,
    confirm: Confirm<'_>,
    output: &mut (dyn Write + Send),
) -> Result<RestoreDumpReport> {
    let settings = &context.settings;
    let restorer = Restorer {
        info: &settings.cluster.connection.resolve()?,
        search: &Search::of_this_host(settings.cluster.bindir.clone()),
        confirm: match options.yes {
            true => &|_| Ok(true),
            false => confirm,
        },
        meter: &context.meter,
        cancel: &context.cancel,
    };
    let request = &options.request;
    let whole = match &options.dump {
        DumpFrom::File(path) => restorer.read(Material::file(path, &settings.keys())?, request)?,
        DumpFrom::Repository(choice, from) => {
            let read = |repository: &Repository, dump| {
                restorer.read(Material::stored(repository, dump)?, request)
            };
            stored(context, choice, from, &read)?
        }
    };
    let restored = restorer.run(&whole, request, output)?;
    Ok(RestoreDumpReport { restored })
}

/// The dump that is meant, from the nearest repository that has it whole; else one that is older.
fn stored(
    context: &Context,
    choice: &DumpChoice,
    from: &ReadFrom,
    read: &dyn Fn(&Repository, Box<Dump>) -> Result<Whole>,
) -> Result<Whole> {
    let found = context.read_nearest(from, |repository, _, others, _| {
        let dump = repository.find_dump_to_verify(choice)?;
        Ok((repository.clone(), dump, others))
    });
    let (repository, dump, others) = found.map_err(|error| match error.kind() {
        Kind::NotFound
            if from.keeps_to_chosen
                && !from.others.is_empty()
                && context.repository().is_err() =>
        {
            error.with_hint(
                "another one may have the dump: leave --repo out; or see that the disk of this one is mounted."
                    .to_owned(),
            )
        }
        _ => error,
    })?;
    let error = match read(&repository, dump.clone()) {
        Err(error) if is_of_this_copy(&error) => error,
        other => {
            tell_flaw(&repository, &dump.name);
            return other;
        }
    };
    let what = format!("dump {}", dump.name);
    let same = others.find(&what, |other| {
        let same = other.dump(&dump.name)?;
        match same.is_same_as(&dump) {
            true => read(other, Box::new(same)).map(Some),
            false => Ok(None),
        }
    });
    if let Some((name, whole)) = same {
        warn!(
            "{what} comes from repository {name}: {}",
            error.in_one_line()
        );
        return Ok(whole);
    }
    let older = repository.find_dump(choice)?;
    tell_flaw(&repository, &older.name);
    match older.name == dump.name {
        true => Err(error),
        false => read(&repository, older),
    }
}

/// Another repository may have the same dump whole, or readable for us.
fn is_of_this_copy(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::Damaged | Kind::NotFound | Kind::Key | Kind::Denied
    )
}

/// A dump that was tried out and is not good may be the best there is: whoever restores it is to know.
fn tell_flaw(repository: &Repository, dump: &DumpName) {
    let verdicts = repository.verdicts(|_| false);
    if let Some(flaw) = verdicts.ok().and_then(|verdicts| verdicts.against(dump)) {
        warn!("dump {dump}: {flaw}; `pgstow list --dumps` shows the others");
    }
}

impl RestoreDumpOptions {
    /// Whether standard output is the dump's.
    pub fn writes_to_output(&self) -> bool {
        self.request.to == To::Output
    }
}

impl Report for RestoreDumpReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let restored = &self.restored;
        let checked = match restored.checked {
            true => "its SHA-256 is right",
            false => "without a SHA-256 to compare with",
        };
        let dump = format!(
            "{} ({}, {checked})",
            restored.dump,
            units::bytes(restored.bytes)
        );
        if let Some(file) = &restored.file {
            return writeln!(out, "{}: written from {dump}", file.display());
        }
        let Some(database) = &restored.database else {
            // Standard output is the dump's.
            return Ok(());
        };
        let done = match (restored.created, restored.replaced) {
            (true, _) => "made and restored",
            (_, true) => "replaced",
            _ if restored.beside.is_some() => {
                "as it was, since there were errors in what was restored"
            }
            _ => "restored into",
        };
        writeln!(out, "database {database:?}: {done} from {dump}")?;
        if let Some(beside) = &restored.beside {
            writeln!(
                out,
                "  What was restored is beside it, as {beside:?}: look at it, then rename it or drop it."
            )?;
        }
        if let Some(owner) = &restored.owner {
            writeln!(out, "  It belongs to {owner}.")?;
        }
        if let Some(left) = &restored.left {
            writeln!(
                out,
                "  The one that was there before could not be dropped, and is {left:?} now."
            )?;
        }
        let errors = &restored.errors;
        if errors.count == 0 {
            let line =
                "  Its statistics are not there yet: run ANALYZE, or vacuumdb --analyze-in-stages.";
            return writeln!(out, "{line}");
        }
        writeln!(out, "  {} on the way:", units::count(errors.count, "error"))?;
        for error in &errors.list {
            writeln!(out, "  {error}")?;
        }
        let more = errors.count - errors.list.len() as u64;
        match more {
            0 => Ok(()),
            _ => writeln!(out, "  and {more} more"),
        }
    }

    fn outcome(&self) -> Outcome {
        match self.restored.errors.count {
            // Not all of it was written, and nobody is there to be told.
            _ if self.restored.cut_short || self.restored.beside.is_some() => Outcome::Failed,
            0 if self.restored.left.is_none() => Outcome::Done,
            _ => Outcome::Findings,
        }
    }
}

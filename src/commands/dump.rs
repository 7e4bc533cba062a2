//! `pgstow dump`: dumps databases, roles and tablespaces.

use std::io::{self, Write};

use serde::Serialize;

use super::{
    cleanup_behind::Cleanup,
    context::Context,
    options::DumpOptions,
    report::{Outcome, Report},
    verify::{self, dumps::Unverified},
};
use crate::{
    domain::{
        logical::{
            request::Request,
            run::{self, Outcome as Made},
            validate::Validated,
        },
        monitor::runs::Told,
    },
    error::{Error, Result},
    postgres::programs::Search,
    repo::{dump::Dump, dump_name::Subject},
    util::units,
};

#[derive(Debug, Serialize)]
pub struct DumpReport {
    repository: String,
    dumps: Vec<Dump>,
    failed: Vec<Failed>,
    /// What came of restoring them, with `--verify`.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<Vec<Validated>>,
    /// Those of which that could not be found out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unverified: Vec<Unverified>,
    /// Of `--cleanup`.
    #[serde(skip_serializing_if = "Option::is_none")]
    cleanup: Option<Cleanup>,
}

/// A database of which there is no dump.
#[derive(Debug, Serialize)]
struct Failed {
    /// None: the globals.
    database: Option<String>,
    error: String,
    hint: Option<String>,
}

pub fn run(context: &Context, options: DumpOptions) -> Result<DumpReport> {
    let settings = &context.settings;
    let repository = context.repository()?;
    let info = settings.cluster.connection.resolve()?;
    let search = Search::of_this_host(settings.cluster.bindir.clone());
    let by = options.settings;
    let request = Request {
        choice: options.choice,
        selection: options.selection,
        globals: options.globals,
        class: options.class,
        format: by.format,
        compression: by.compression,
        level: by.level,
        jobs: options.jobs,
        row_counts: by.row_counts,
        reread: options.reread,
        path: by.path,
        prefix: by.prefix,
    };
    let Made {
        dumps, mut failed, ..
    } = run::run(
        &repository,
        &info,
        &search,
        &request,
        &context.meter,
        &context.cancel,
    )?;
    let is_only_one = dumps.is_empty() && failed.len() == 1;
    if let Some((subject, error)) = failed.pop_if(|_| is_only_one) {
        return Err(error.context(format!("can't dump {subject}")));
    }
    let verify = |wanted| verify::dumps::all(context, &repository, dumps.clone(), &wanted);
    let proven = options.verify.map(verify).transpose()?;
    let (verified, unverified) = proven.map_or((None, Vec::new()), |proven| {
        let failed = proven.failed.into_iter().map(Unverified::of);
        (Some(proven.found), failed.collect())
    });
    let cleanup = options.cleanup.map(|wanted| match () {
        () if !failed.is_empty() => Cleanup::Skipped("not every dump was made".to_owned()),
        () if !unverified.is_empty() => Cleanup::Skipped("not every dump was verified".to_owned()),
        () => Cleanup::run(context, &repository, &wanted),
    });
    Ok(DumpReport {
        repository: repository.location().to_string(),
        verified,
        unverified,
        cleanup,
        dumps,
        failed: failed.into_iter().map(Failed::of).collect(),
    })
}

impl Failed {
    fn of((subject, error): (Subject, Error)) -> Self {
        Self {
            database: subject.database().map(str::to_owned),
            error: error.in_one_line(),
            hint: error.hint_text().map(str::to_owned),
        }
    }
}

impl DumpReport {
    /// What came of restoring them.
    fn found(&self) -> &[Validated] {
        self.verified.as_deref().unwrap_or_default()
    }
}

impl Report for DumpReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        for dump in &self.dumps {
            writeln!(
                out,
                "{}: {} in {}, {}",
                dump.subject(),
                units::bytes(dump.data.stored_bytes),
                units::duration(dump.duration()),
                dump.data.name
            )?;
            for missing in &dump.missing {
                writeln!(out, "  not included: {missing}")?;
            }
        }
        for failed in &self.failed {
            let subject = Subject::of(failed.database.as_deref());
            writeln!(out, "{subject}: FAILED: {}", failed.error)?;
        }
        for validated in self.verified.iter().flatten() {
            verify::dumps::write(validated, out)?;
        }
        for unverified in &self.unverified {
            unverified.text(out)?;
        }
        Cleanup::text(self.cleanup.as_ref(), "dump", out)
    }

    fn failure(&self) -> Option<Error> {
        let told = self.failed.iter().map(|failed| {
            let subject = Subject::of(failed.database.as_deref());
            format!("{subject}: {}", failed.error)
        });
        let told: Vec<String> = told.collect();
        let hint = self.failed.iter().find_map(|failed| failed.hint.clone());
        if told.is_empty() {
            let verified = verify::dumps::failure(self.found(), &self.unverified);
            return verified.or_else(|| Cleanup::failure(self.cleanup.as_ref()));
        }
        let count = units::count(told.len() as u64, "dump");
        let error = Error::failed(format!("{count} failed: {}", told.join("; ")));
        Some(match hint {
            Some(hint) => error.hint(hint),
            None => error,
        })
    }

    fn told(&self) -> Told {
        Told {
            bytes: Some(self.dumps.iter().map(|dump| dump.data.stored_bytes).sum()),
            ..Told::default()
        }
    }

    fn is_good_news(&self) -> bool {
        self.outcome() == Outcome::Done
    }

    fn outcome(&self) -> Outcome {
        let cleanup = Cleanup::outcome(self.cleanup.as_ref());
        match verify::dumps::outcome(self.found(), &self.unverified) {
            _ if !self.failed.is_empty() => Outcome::Failed,
            Outcome::Findings if cleanup != Outcome::Done => cleanup,
            Outcome::Done => cleanup,
            verified => verified,
        }
    }
}

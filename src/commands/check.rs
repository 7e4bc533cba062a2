//! `pgstow check`: proves the set-up from the server to the repository, or one store alone.

use std::{io, time::Duration};

use serde::Serialize;

use super::{
    context::Context,
    monitor,
    options::CheckOptions,
    report::{Outcome, Report},
};
use crate::{
    domain::{
        monitor::{
            checks::dumps::{self, Made},
            facts::timers,
            runs,
        },
        setup::{
            check::{self, Subject},
            dump_programs,
            finding::{self, Finding, State},
            places::Configured,
        },
    },
    error::Result,
    postgres::programs::Search,
};

#[derive(Debug, Serialize)]
pub struct CheckReport {
    /// The worst of all findings.
    state: State,
    findings: Vec<Finding>,
}

pub fn run(context: &Context, options: &CheckOptions) -> Result<CheckReport> {
    let settings = &context.settings;
    let cluster = &settings.cluster.name;
    // Refuses where none is set.
    let first = settings.repo()?;
    let repositories: Vec<Configured<'_>> = settings
        .repos
        .iter()
        .map(|repo| Configured {
            name: &repo.name,
            location: &repo.location,
            keys: &repo.keys,
        })
        .collect();
    let findings = if options.only_repo {
        let configured = Configured {
            name: &first.name,
            location: &first.location,
            keys: &first.keys,
        };
        check::store(&configured, cluster)
    } else {
        let info = settings.cluster.connection.resolve()?;
        let primary = settings.cluster.primary(&info)?;
        let search = Search::of_this_host(settings.cluster.bindir.clone());
        let subject = Subject {
            primary: primary.as_ref(),
            info: &info,
            cluster,
            repositories: &repositories,
            command: &context.archive_command(&options.archive_call)?,
            wal_limit: options.wal_timeout,
            slot: &options.slot,
            state_folder: &settings.state_folder(),
            dump_programs: options.dumps.then_some(&search),
            only_dumps: only_dumps(context)?,
        };
        let mut findings = check::all(&subject, &context.cancel, &context.meter)?;
        if options.verifies_dumps {
            findings.extend(dump_programs::verifiable(&first.keys));
        }
        findings
    };
    Ok(CheckReport {
        state: finding::worst(&findings),
        findings,
    })
}

/// As `monitor` judges it, but that dumps must have been made: before, nobody knows what else is wanted.
fn only_dumps(context: &Context) -> Result<bool> {
    /// For a look at the repositories, and for systemd.
    const LIMIT: Duration = Duration::from_secs(30);
    let subject = monitor::subject(context, LIMIT)?;
    let cancel = &context.cancel;
    let made = Made {
        repositories: &subject.holdings(cancel)?,
        runs: &runs::read(&subject.state_folder),
        timers: &timers::gather(subject.cluster.as_str(), LIMIT, cancel),
    };
    cancel.check()?;
    Ok(dumps::nothing_else(made, false))
}

impl Report for CheckReport {
    fn text(&self, out: &mut dyn io::Write) -> io::Result<()> {
        let names = self.findings.iter().map(|finding| finding.name.len());
        let width = names.max().unwrap_or_default();
        for finding in &self.findings {
            let state = match finding.state {
                State::Ok => "ok",
                State::Warning => "warning",
                State::Critical => "CRITICAL",
            };
            let name = finding.name;
            writeln!(out, "{state:<8}  {name:<width$}  {}", finding.what)?;
            if let Some(hint) = &finding.hint {
                writeln!(out, "{:8}  {:width$}  hint: {hint}", "", "")?;
            }
        }
        let last = match self.state {
            State::Ok => "all is well",
            State::Warning => "it works, with warnings",
            State::Critical => "backups, or restores from them, will fail",
        };
        writeln!(out, "{last}")
    }

    fn is_good_news(&self) -> bool {
        self.outcome() == Outcome::Done
    }

    fn outcome(&self) -> Outcome {
        match self.state {
            State::Ok => Outcome::Done,
            State::Warning => Outcome::Findings,
            State::Critical => Outcome::Failed,
        }
    }
}

//! The cleanup that `--cleanup` asks for behind a backup or a dump.

use std::io::{self, Write};

use serde::Serialize;

use super::{
    cleanup::{self, CleanupReport},
    context::Context,
    options::CleanupOptions,
    report::{Outcome, Report},
};
use crate::{
    domain::monitor::{recorder::Recorder, runs::Told},
    error::{Error, Kind},
    repo::repository::Repository,
};

/// What became of it. Whatever did, what was made before it counts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Cleanup {
    Done(Box<CleanupReport>),
    /// Why not.
    Skipped(String),
    Failed(String),
}

impl Cleanup {
    pub fn run(context: &Context, repository: &Repository, options: &CleanupOptions) -> Self {
        // A run of its own in the history: else a cleanup that failed yesterday would seem the newest.
        let settings = &context.settings;
        let own = settings.repo().map(|repo| repo.name.as_str());
        let state = settings.state_folder();
        let run = Recorder::begin(&state, "cleanup", own.unwrap_or_default());
        // With the exit codes of `pgstow cleanup`.
        match cleanup::clean(context, repository, options) {
            Ok(report) => {
                let code = match report.outcome() {
                    Outcome::Done => 0,
                    Outcome::Failed => 1,
                    _ => 3,
                };
                run.end(code, report.told(), report.failure().as_ref());
                Cleanup::Done(Box::new(report))
            }
            Err(error) if error.kind() == Kind::Busy => {
                run.end(0, Told::default(), None);
                Cleanup::Skipped(error.in_one_line())
            }
            Err(error) => {
                run.end(1, Told::default(), Some(&error));
                Cleanup::Failed(error.in_one_line())
            }
        }
    }

    /// Tells of it, if it was asked for, behind what was made: a backup, a dump.
    pub fn text(asked: Option<&Self>, made: &str, out: &mut dyn Write) -> io::Result<()> {
        match asked {
            None => Ok(()),
            Some(Cleanup::Done(report)) => {
                writeln!(out)?;
                report.text(out)
            }
            Some(Cleanup::Skipped(why)) => writeln!(out, "  cleanup          not run: {why}"),
            Some(Cleanup::Failed(why)) => writeln!(
                out,
                "  cleanup          FAILED, though the {made} counts: {why}; run `pgstow cleanup`"
            ),
        }
    }

    /// Why it ended so, if not well.
    pub fn failure(asked: Option<&Self>) -> Option<Error> {
        match asked? {
            Cleanup::Done(report) => report.failure(),
            Cleanup::Skipped(_) => None,
            Cleanup::Failed(why) => Some(Error::failed(format!("its cleanup: {why}"))),
        }
    }

    pub fn outcome(asked: Option<&Self>) -> Outcome {
        match asked {
            Some(Cleanup::Failed(_)) => Outcome::Failed,
            Some(Cleanup::Done(report)) => report.outcome(),
            _ => Outcome::Done,
        }
    }
}

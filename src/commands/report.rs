//! What a command hands back: text for people, JSON for programs, and how it went.

use std::io;

use serde::Serialize;

use crate::{domain::monitor::runs::Told, error::Error, util::units};

/// How a command that did its work went; `cli/exit` makes an exit code of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// Done, but something was found that a person must look at.
    Findings,
    /// `restore-wal` alone: certainly not in the archive, and nothing follows it.
    Absent,
    /// `monitor` alone: what matters could not be looked at.
    Unknown,
    /// The report says what failed (a check that isn't met).
    Failed,
}

/// Its JSON form is `Serialize`: one document, with fields that stay.
pub trait Report: Serialize {
    /// Writes what a person reads; nothing for commands that are silent when all is well.
    fn text(&self, out: &mut dyn io::Write) -> io::Result<()>;

    /// The same for `--quiet`, where it isn't good news: what is well may be left out.
    fn bad_news(&self, out: &mut dyn io::Write) -> io::Result<()> {
        self.text(out)
    }

    fn outcome(&self) -> Outcome {
        Outcome::Done
    }

    /// Why its outcome is [`Outcome::Failed`] or [`Outcome::Findings`], for the history of runs and alerts, where it
    /// knows.
    fn failure(&self) -> Option<Error> {
        None
    }

    /// What the history of runs notes of it.
    fn told(&self) -> Told {
        Told::default()
    }

    /// Whether the text only says that all went well, which `--quiet` leaves out.
    fn is_good_news(&self) -> bool {
        false
    }
}

/// Findings that the history of runs notes one by one: it is small, and who hears of so many looks at all.
pub const NOTED: usize = 30;

/// What was found, in a line for the history of runs and alerts: how much, and the first of it. None: nothing was.
pub fn found(findings: impl IntoIterator<Item = String>) -> Option<Error> {
    /// A line with more of them is not read.
    const NAMED: usize = 3;
    let findings: Vec<String> = findings.into_iter().collect();
    let (count, more) = (findings.len(), findings.len().saturating_sub(NAMED));
    let named = findings[..count - more].join("; ");
    let more = match more {
        0 => String::new(),
        _ => format!("; and {more} more"),
    };
    let counted = units::count(count as u64, "finding");
    (count > 0).then(|| Error::failed(format!("{counted}: {named}{more}")))
}

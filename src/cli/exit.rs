//! The one table of exit codes, and the guard that keeps it when code panics.

use std::{
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
};

use super::output;
use crate::{commands::report::Outcome, error::Kind};

/// As `--help` prints it.
pub const TABLE: &str = "\
Exit codes:
  archive-wal   0  stored durably (or given up, where wal.drop_above is set)
                1  not stored, whatever the reason: PostgreSQL tries again
  restore-wal   0  the file is in place, whole
                1  certainly not in the archive, and nothing follows it
              126  anything else: PostgreSQL must not take it as the end of the archive
                   (in a standby, which would shut down: 1 and a warning, unless --strict)
  monitor       0  ok, 1 warning, 2 critical
                3  unknown; wrong usage and failures of its own, too
                   (with --healthcheck: 0 healthy, 1 anything else)
  others        0  done
                1  failed
                2  wrong usage or settings
                3  done, with findings: damage, gaps, failed page checksums
              130  interrupted (restore-done: 1)

Settings: option > PGSTOW_* variable > pgstow.toml > PG* and older scripts' variables > default.
`pgstow check --show-settings` shows each with its source.";

/// What restore-wal says when it can't tell whether there is such a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InDoubt {
    /// 126, which ends the server before it opens its database too early.
    Fail,
    /// 1, since a standby waits and asks again, and would be shut down by 126.
    SayAbsent,
}

/// Which row of the table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    ArchiveWal,
    RestoreWal(InDoubt),
    /// As the others, but never above 125: recovery_end_command would end recovery's process.
    RestoreDone,
    /// archive-wal's process that looks ahead, whose parent has ended: 0 whatever happens. In a
    /// container the postmaster may be everybody's parent, and takes another code for a crashed
    /// server process.
    Ahead,
    /// That of restore-wal, in the same way.
    Prefetch,
    /// As monitoring systems want it.
    Monitor,
    /// As containers want it: 0 or 1.
    Healthcheck,
    Other,
}

impl InDoubt {
    /// The only place that answers 1 for restore-wal: PostgreSQL takes it as the end of the
    /// archive, and opens its database there (RestoreArchivedFile in xlogarchive.c).
    fn answer(self, certainly_absent: bool) -> u8 {
        match (certainly_absent, self) {
            (true, _) | (false, InDoubt::SayAbsent) => 1,
            (false, InDoubt::Fail) => 126,
        }
    }
}

impl Row {
    /// `in_doubt` is asked for restore-wal alone.
    pub fn of(command: Option<&str>, in_doubt: impl FnOnce() -> InDoubt) -> Self {
        match command {
            Some("archive-wal") => Row::ArchiveWal,
            Some("restore-wal") => Row::RestoreWal(in_doubt()),
            Some("restore-done") => Row::RestoreDone,
            Some("monitor") => Row::Monitor,
            _ => Row::Other,
        }
    }

    pub fn of_outcome(self, outcome: Outcome) -> u8 {
        match (self, outcome) {
            (_, Outcome::Done) | (Row::Ahead | Row::Prefetch, _) => 0,
            (Row::RestoreWal(in_doubt), _) => in_doubt.answer(outcome == Outcome::Absent),
            (Row::ArchiveWal | Row::Healthcheck, _) => 1,
            (Row::Monitor, Outcome::Findings) => 1,
            (Row::Monitor, Outcome::Failed | Outcome::Absent) => 2,
            (Row::Monitor, Outcome::Unknown) => 3,
            (Row::RestoreDone | Row::Other, Outcome::Findings | Outcome::Unknown) => 3,
            (Row::RestoreDone | Row::Other, Outcome::Failed | Outcome::Absent) => 1,
        }
    }

    pub fn of_error(self, kind: Kind) -> u8 {
        match (self, kind) {
            // Above 125 PostgreSQL would end its archiver (shell_archive.c).
            (Row::ArchiveWal, _) => 1,
            (Row::Ahead | Row::Prefetch, _) => 0,
            (Row::Monitor, _) => 3,
            (Row::Healthcheck, _) => 1,
            (Row::RestoreWal(in_doubt), _) => in_doubt.answer(false),
            (Row::RestoreDone | Row::Other, Kind::Usage) => 2,
            (Row::Other, Kind::Interrupted) => 130,
            (Row::RestoreDone | Row::Other, _) => 1,
        }
    }

    /// The exit code of an error that was printed.
    pub fn fail(self, kind: Kind) -> u8 {
        self.warn_of_doubt();
        self.of_error(kind)
    }

    /// For the server's log, where the exit code alone would look like a plain "absent".
    pub fn warn_of_doubt(self) {
        if self == Row::RestoreWal(InDoubt::SayAbsent) {
            output::print_warning(
                "in doubt, but a standby would shut down: it is told that the file is absent, \
                 and will ask again",
            );
        }
    }

    /// Is standard error the server's log?
    pub fn is_called_by_postgresql(self) -> bool {
        !matches!(self, Row::Monitor | Row::Healthcheck | Row::Other)
    }

    /// Runs `main`; a panic in it, which the hook has reported, fails as an error does.
    pub fn guard(self, main: impl FnOnce() -> u8) -> ExitCode {
        // Nothing of the interrupted work is looked at afterwards.
        let code = panic::catch_unwind(AssertUnwindSafe(main));
        ExitCode::from(code.unwrap_or_else(|_| self.of_error(Kind::Failed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: [Row; 9] = [
        Row::ArchiveWal,
        Row::RestoreWal(InDoubt::Fail),
        Row::RestoreWal(InDoubt::SayAbsent),
        Row::RestoreDone,
        Row::Other,
        Row::Ahead,
        Row::Prefetch,
        Row::Monitor,
        Row::Healthcheck,
    ];

    #[test]
    fn every_kind_of_error_has_its_code() {
        for (kind, codes) in [
            (Kind::Usage, [1, 126, 1, 2, 2, 0, 0, 3, 1]),
            (Kind::NotFound, [1, 126, 1, 1, 1, 0, 0, 3, 1]),
            (Kind::TimedOut, [1, 126, 1, 1, 1, 0, 0, 3, 1]),
            (Kind::Full, [1, 126, 1, 1, 1, 0, 0, 3, 1]),
            (Kind::Damaged, [1, 126, 1, 1, 1, 0, 0, 3, 1]),
            (Kind::Key, [1, 126, 1, 1, 1, 0, 0, 3, 1]),
            (Kind::Interrupted, [1, 126, 1, 1, 130, 0, 0, 3, 1]),
            (Kind::Failed, [1, 126, 1, 1, 1, 0, 0, 3, 1]),
        ] {
            assert_eq!(ROWS.map(|row| row.of_error(kind)), codes, "{kind:?}");
        }
        for (outcome, codes) in [
            (Outcome::Done, [0, 0, 0, 0, 0, 0, 0, 0, 0]),
            (Outcome::Findings, [1, 126, 1, 3, 3, 0, 0, 1, 1]),
            (Outcome::Absent, [1, 1, 1, 1, 1, 0, 0, 2, 1]),
            (Outcome::Failed, [1, 126, 1, 1, 1, 0, 0, 2, 1]),
            (Outcome::Unknown, [1, 126, 1, 3, 3, 0, 0, 3, 1]),
        ] {
            assert_eq!(
                ROWS.map(|row| row.of_outcome(outcome)),
                codes,
                "{outcome:?}"
            );
        }
    }

    #[test]
    fn a_panic_fails_as_its_command_fails() {
        for (row, code) in [
            (Row::ArchiveWal, 1),
            (Row::RestoreWal(InDoubt::Fail), 126),
            (Row::RestoreWal(InDoubt::SayAbsent), 1),
            (Row::RestoreDone, 1),
            (Row::Other, 1),
            (Row::Ahead, 0),
            (Row::Prefetch, 0),
            (Row::Monitor, 3),
            (Row::Healthcheck, 1),
        ] {
            let exit = row.guard(|| std::panic::panic_any("on purpose"));
            assert_eq!(exit, ExitCode::from(code));
        }
    }
}

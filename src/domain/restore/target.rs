//! To which state the database is wanted. Pure.

use std::fmt;

use serde::Serialize;

use crate::{
    error::{Error, Result},
    postgres::lsn::{Lsn, TimelineId},
    repo::{backup::Backup, backup_id::BackupId},
    util::clock::{Time, readable},
};

/// One of PostgreSQL's recovery targets, of which only one may be set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The end of the archive.
    Latest,
    /// The state before the first commit behind this time.
    Time(Time),
    Lsn(Lsn),
    Xid(u64),
    /// What pg_create_restore_point named.
    Name(String),
    /// The end of the backup: the first state that is consistent.
    Immediate,
}

impl Target {
    /// Rule: a target must be later than the end of the backup, not than its start.
    pub fn is_behind(&self, backup: &Backup) -> bool {
        match self {
            Target::Time(time) => backup.stop_time < *time,
            Target::Lsn(lsn) => backup.stop_lsn <= *lsn,
            _ => true,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Latest => f.write_str("the end of the archive"),
            Target::Time(time) => write!(f, "time {}", readable(*time)),
            Target::Lsn(lsn) => write!(f, "LSN {lsn}"),
            Target::Xid(xid) => write!(f, "transaction {xid}"),
            Target::Name(name) => write!(f, "restore point {name:?}"),
            Target::Immediate => f.write_str("the end of the backup"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TimelineWish {
    /// The newest that descends from the backup.
    Latest,
    /// The backup's own.
    Current,
    Number(TimelineId),
}

impl TimelineWish {
    /// Whether no newer timeline is wanted.
    pub fn is_named(self) -> bool {
        self != TimelineWish::Latest
    }
}

/// What the server does once it reached the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Pause,
    Promote,
    Shutdown,
}

impl Action {
    /// The value of recovery_target_action.
    pub fn name(self) -> &'static str {
        match self {
            Action::Pause => "pause",
            Action::Promote => "promote",
            Action::Shutdown => "shutdown",
        }
    }
}

/// All that a restore is asked for, as far as the state of the database goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Wish {
    /// None: the newest that ended before the target.
    pub backup: Option<BackupId>,
    pub target: Target,
    /// Stop just before the target.
    pub exclusive: bool,
    pub timeline: TimelineWish,
    pub action: Action,
    /// Follows a primary for good, so it has no target.
    pub standby: bool,
}

/// MAXFNAMELEN of `src/include/access/xlog_internal.h`, with its closing zero.
const NAME_LIMIT: usize = 64;

impl Wish {
    /// The end of the archive, and writes from there on.
    pub fn latest() -> Self {
        Self {
            backup: None,
            target: Target::Latest,
            exclusive: false,
            timeline: TimelineWish::Latest,
            action: Action::Promote,
            standby: false,
        }
    }

    /// Refuses what PostgreSQL would refuse, or would silently take for something else.
    pub fn check(&self) -> Result<()> {
        let wrong = |what: &str, hint: &str| Err(Error::usage(what).hint(hint));
        let positional = matches!(
            self.target,
            Target::Time(_) | Target::Lsn(_) | Target::Xid(_)
        );
        if self.exclusive && !positional {
            return wrong(
                &format!("{} can't be exclusive", self.target),
                "only a time, an LSN or a transaction can be stopped before.",
            );
        }
        if self.standby && self.target != Target::Latest {
            return wrong(
                "a standby has no target",
                "leave out --standby, or the target.",
            );
        }
        if self.target == Target::Latest && self.action != Action::Promote {
            return wrong(
                &format!(
                    "without a target the server can't {} at it",
                    self.action.name()
                ),
                "give a target, such as --target-immediate or --target-time.",
            );
        }
        match &self.target {
            Target::Name(name) if name.is_empty() || name.len() >= NAME_LIMIT => wrong(
                &format!("not the name of a restore point: {name:?}"),
                "a name has up to 63 bytes.",
            ),
            // FirstNormalTransactionId: those below it never commit.
            Target::Xid(xid) if *xid < 3 => wrong(
                &format!("not a transaction: {xid}"),
                "transactions count from 3.",
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn wish(target: Target) -> Wish {
        Wish {
            target,
            ..Wish::latest()
        }
    }

    #[test]
    fn wishes_that_postgresql_would_misread_are_refused() {
        let exclusive = |target| Wish {
            exclusive: true,
            ..wish(target)
        };
        for good in [
            wish(Target::Latest),
            exclusive(Target::Lsn(Lsn(1))),
            exclusive(Target::Xid(3)),
            wish(Target::Name("x".repeat(63))),
            Wish {
                action: Action::Pause,
                ..wish(Target::Immediate)
            },
        ] {
            assert!(good.check().is_ok(), "{good:?}");
        }
        for bad in [
            exclusive(Target::Latest),
            exclusive(Target::Immediate),
            exclusive(Target::Name("a".into())),
            wish(Target::Name(String::new())),
            wish(Target::Name("x".repeat(64))),
            wish(Target::Xid(2)),
            Wish {
                action: Action::Pause,
                ..wish(Target::Latest)
            },
            Wish {
                standby: true,
                ..wish(Target::Immediate)
            },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}

//! Whether recovery came to where it should: a server that finds the end of WAL too early opens its database without
//! a word.

use std::time::Duration;

use super::pick::Picked;
use crate::{
    domain::{
        restore::{archive::Archive, target::Target},
        wal::tail,
    },
    error::{Kind, Result},
    postgres::{connection::Session, conninfo::ConnInfo, lsn::Lsn},
    repo::{
        drill::Reached,
        repository::{Repository, System},
        verified::VerifiedCheck,
    },
    util::{
        cancel::Cancel,
        clock::{Time, readable},
        units,
    },
};

/// Records end where the next one could begin, but for the header of a page between them: SizeOfXLogLongPHD in
/// `src/include/access/xlog_internal.h`.
const BETWEEN: u64 = 40;

/// Where the server says that it ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    replayed: Lsn,
    transaction: Option<Time>,
}

impl Ended {
    pub fn ask(info: &ConnInfo, cancel: &Cancel) -> Result<Self> {
        let session = Session::connect(info, cancel)?;
        let row = session.query_one(
            "SELECT coalesce(pg_catalog.pg_last_wal_replay_lsn(), '0/0'), \
             (extract(epoch FROM pg_catalog.pg_last_xact_replay_timestamp()) * 1000000)::int8",
            &[],
        )?;
        let micros = row.optional(1)?.and_then(|micros| micros.parse().ok());
        Ok(Self {
            replayed: row.parse(0)?,
            transaction: micros.and_then(chrono::DateTime::from_timestamp_micros),
        })
    }

    pub fn reached(&self) -> Reached {
        Reached {
            lsn: self.replayed,
            transaction: self.transaction,
        }
    }

    /// How old the state is before `target`: that of the newest transaction, or of the backup's end, if none came behind
    /// it. None: nobody knows the time of the target.
    pub fn point(
        &self,
        target: Option<Time>,
        backup_end: Time,
        limit: Option<Duration>,
    ) -> VerifiedCheck {
        const NAME: &str = "recovery_point";
        let behind = self.transaction.filter(|time| *time > backup_end);
        let newest = match behind {
            Some(time) => format!("the newest transaction is of {}", readable(time)),
            None => format!(
                "no transaction came behind the backup, which ended at {}",
                readable(backup_end)
            ),
        };
        let Some(target) = target else {
            return VerifiedCheck::passed(NAME, newest);
        };
        let age = target - behind.unwrap_or(backup_end);
        let age = age.to_std().unwrap_or_default();
        let what = format!(
            "{newest}, {} before {}",
            units::duration(age),
            readable(target)
        );
        match limit {
            Some(limit) if age > limit => VerifiedCheck::failed(
                NAME,
                format!("{what}: more than {}", units::duration(limit)),
            ),
            _ => VerifiedCheck::passed(NAME, what),
        }
    }
}

/// Whether the target was reached. A server ends with an error where it finds none that it was told, but not where
/// it was told none.
pub fn judge(
    repository: &Repository,
    system: &System,
    archive: &Archive,
    picked: &Picked,
    ended: &Ended,
) -> Result<VerifiedCheck> {
    const NAME: &str = "recovery";
    let (choice, replayed) = (&picked.choice, ended.replayed);
    let size = system.segment_size;
    let reached = match &picked.wish.target {
        Target::Latest => {
            let Some((last, end)) = choice.last_file(size) else {
                return Ok(VerifiedCheck::passed(
                    NAME,
                    "the backup's own WAL is all there is",
                ));
            };
            let tail = match tail::read(
                repository,
                system,
                choice.stored_as(last),
                archive.left_within(last),
            ) {
                Ok(tail) => tail,
                // It lies in the backup's own parts.
                Err(error) if error.kind() == Kind::NotFound && choice.backup.standalone => {
                    tail::Tail {
                        end: Some(choice.backup.stop_lsn),
                        damage: None,
                    }
                }
                Err(error) if matches!(error.kind(), Kind::Damaged | Kind::NotFound) => {
                    return Ok(VerifiedCheck::failed(NAME, error.in_one_line()));
                }
                Err(error) => return Err(error),
            };
            let expected = tail.end.unwrap_or(end);
            if replayed.0 + BETWEEN < expected.0 {
                let lost = end.0.saturating_sub(replayed.0);
                return Ok(VerifiedCheck::failed(
                    NAME,
                    format!(
                        "replay ended too early: at {replayed}, {} before the end of the archive at {expected} in {last}: \
                         `pgstow verify --wal` says what is damaged",
                        units::bytes(lost)
                    ),
                ));
            }
            if let Some(damage) = tail.damage {
                return Ok(VerifiedCheck::failed(
                    NAME,
                    format!(
                        "replay ended too early: at {replayed}, since {last} is damaged there ({damage})"
                    ),
                ));
            }
            true
        }
        Target::Lsn(lsn) => replayed.0 >= lsn.0.saturating_sub(BETWEEN),
        Target::Time(time) => ended.transaction.is_none_or(|newest| newest <= *time),
        _ => true,
    };
    let target = &picked.wish.target;
    Ok(match reached {
        true => VerifiedCheck::passed(NAME, format!("reached {target}, at {replayed}")),
        false => VerifiedCheck::failed(
            NAME,
            format!("recovery did not stop at {target}, but at {replayed}"),
        ),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::repo::verified::CheckState;

    #[test]
    fn the_recovery_point_is_a_transaction_or_the_end_of_the_backup() {
        let at = |minute: i64| chrono::DateTime::from_timestamp(60 * minute, 0).unwrap();
        let limit = Some(Duration::from_secs(600));
        for (transaction, target, is_good, words) in [
            (Some(95), Some(100), true, "5 min 0 s before"),
            (Some(85), Some(100), false, "more than 10 min"),
            // Quiet since the backup, or since before it.
            (
                None,
                Some(55),
                true,
                "no transaction came behind the backup",
            ),
            (
                Some(10),
                Some(55),
                true,
                "no transaction came behind the backup",
            ),
            (
                None,
                Some(100),
                false,
                "no transaction came behind the backup",
            ),
            // Any place in the WAL.
            (Some(85), None, true, "the newest transaction is of"),
        ] {
            let ended = Ended {
                replayed: Lsn(1),
                transaction: transaction.map(at),
            };
            let check = ended.point(target.map(at), at(50), limit);
            assert_eq!(check.result == CheckState::Passed, is_good, "{check:?}");
            assert!(check.what.contains(words), "{check:?}");
        }
    }
}

//! PostgreSQL's low-level backup API: the files may be copied between `start` and `stop`.
//!
//! Both run in one session, which must live all the time: the server ends the backup with it.
//! Rules: `doc/src/sgml/backup.sgml`, "Making a Base Backup Using the Low Level API".

use std::time::Duration;

use super::{connection::Session, lsn::Lsn};
use crate::error::{Error, Result};

/// A spread checkpoint takes as long as checkpoint_timeout, which is a day at most.
const START_LIMIT: Duration = Duration::from_secs(25 * 3600);

/// What a role needs to be granted.
const FUNCTIONS: [&str; 2] = [
    "pg_catalog.pg_backup_start(text, boolean)",
    "pg_catalog.pg_backup_stop(boolean)",
];

/// A backup that the server has started.
#[derive(Debug)]
pub struct LowLevelBackup<'a> {
    session: &'a Session,
    /// Where recovery will start.
    pub start: Lsn,
}

/// What the server says at the end.
#[derive(Debug)]
pub struct Stopped {
    pub lsn: Lsn,
    /// The content of backup_label, byte for byte.
    pub label: Vec<u8>,
}

impl<'a> LowLevelBackup<'a> {
    /// Whether the session's role may do this.
    pub fn is_permitted(session: &Session) -> Result<bool> {
        let may = "SELECT has_function_privilege($1, 'EXECUTE') \
             AND has_function_privilege($2, 'EXECUTE')";
        session.query_one(may, &FUNCTIONS)?.parse(0)
    }

    /// Waits for a checkpoint, a fast one or one spread over the time that the server plans.
    pub fn start(session: &'a Session, label: &str, fast: bool) -> Result<Self> {
        let sql = "SELECT pg_backup_start($1, $2)::text";
        let fast = if fast { "true" } else { "false" };
        let row = session.with_limit(START_LIMIT, |session| {
            session.query_one(sql, &[label, fast])
        })?;
        Ok(Self {
            session,
            start: row.parse(0)?,
        })
    }

    /// Ends the backup. Doesn't wait for the archiver, which may be broken for ever.
    pub fn stop(self) -> Result<Stopped> {
        let sql = "SELECT lsn::text, labelfile FROM pg_backup_stop(false)";
        let row = self.session.query_one(sql, &[])?;
        let label = row
            .bytes(1)?
            .ok_or_else(|| Error::damaged("the server gave no backup_label"))?;
        Ok(Stopped {
            lsn: row.parse(0)?,
            label,
        })
    }
}

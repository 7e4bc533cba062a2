//! Whether the server has lived through its parent backup. A data directory that was put back to an
//! earlier state (a snapshot, an old copy) goes on on the same timeline: once it has written as much WAL
//! again, neither timeline nor LSN tell it from the one that was backed up, and what was never in it would be
//! taken for unchanged.
//!
//! A primary notes each backup in pg_wal, and keeps the note until the next one (`CleanupBackupHistory` in
//! `src/backend/access/transam/xlog.c`). A state of before has not got it.

use super::{note, parent::Parent, source::Source};
use crate::{
    error::Result,
    postgres::{
        connection::Session,
        lsn::TimelineId,
        server_facts::{self, ServerFacts},
    },
};

/// Why nothing shows that the server, on `timeline`, was there when its parent was taken; None if
/// it was. A change of timelines is told by their history. A standby notes nothing: it follows the WAL of
/// one primary, and fails where that is another.
pub fn why_missing(
    source: &dyn Source,
    session: &Session,
    facts: &ServerFacts,
    timeline: TimelineId,
    parent: &Parent,
) -> Result<Option<String>> {
    let backup = &parent.backup;
    if backup.timeline != timeline || backup.standby || facts.standby {
        return Ok(None);
    }
    let id = backup.id;
    let Some(notes) = source.backup_notes()? else {
        return Ok(Some(format!(
            "this role can't look for a trace of backup {id} in pg_wal: GRANT EXECUTE ON FUNCTION pg_ls_waldir() to it"
        )));
    };
    let own = note::name(backup);
    if notes.contains(&own) {
        return Ok(None);
    }
    // Another tool's backup took the note away; without archiving none is kept.
    let later = notes.iter().any(|note| *note > own);
    if !later && facts.archiving.is_on(false) {
        return Ok(Some(format!(
            "pg_wal has no trace of backup {id}: the data directory was put back to an earlier state, or archiving was off then"
        )));
    }
    let since = server_facts::start(session)?.time;
    Ok((since >= backup.start_time).then(|| {
        format!(
            "the server was started after backup {id}, and nothing shows that it was there before"
        )
    }))
}

//! Whether bytes are the WAL file that they are named after.

use crate::{
    error::{Error, Result},
    postgres::{
        timeline::TimelineHistory,
        wal_header::{self, WalHeader},
        wal_name::WalName,
    },
    repo::repository::System,
};

/// History and backup files have a line for each timeline, or a dozen lines: more than this is
/// none of them.
pub const TEXT_LIMIT: u64 = 16 << 20;

/// How many bytes a file of that name has at most, and how many of the first ones [`check`] needs.
pub fn limits(system: &System, name: WalName) -> (u64, usize) {
    match name.segment() {
        Some(_) => (system.segment_size.bytes(), wal_header::LENGTH),
        None => (TEXT_LIMIT, TEXT_LIMIT as usize),
    }
}

/// Whether a file of `length` bytes that begins with `first`, which of a text file are all, is
/// the file `name` of `system`.
pub fn check(system: &System, name: WalName, first: &[u8], length: u64) -> Result<()> {
    let Some(segment) = name.segment() else {
        return check_text(name, first);
    };
    let header = WalHeader::parse(first)?;
    header.check(segment, length)?;
    if (header.system, header.segment_size) == (system.system_id, system.segment_size) {
        return Ok(());
    }
    Err(Error::damaged(format!(
        "WAL segment {name} is of system {} with segments of {} bytes, not of system {} with {} bytes",
        header.system,
        header.segment_size.bytes(),
        system.system_id,
        system.segment_size.bytes()
    )))
}

/// Whether `text` can be the content of the history or backup file `name`.
pub fn check_text(name: WalName, text: &[u8]) -> Result<()> {
    let good = match name {
        WalName::History(timeline) => return TimelineHistory::parse(timeline, text).map(drop),
        // Its first line in build_backup_content() of src/backend/access/transam/xlogbackup.c.
        WalName::BackupHistory(..) => text.starts_with(b"START WAL LOCATION: "),
        WalName::Segment(_) | WalName::Partial(_) => true,
    };
    if good {
        return Ok(());
    }
    Err(
        Error::damaged(format!("not the content of {name}: {} bytes", text.len()))
            .hint("a cut-off file is never archived: look for a full disk in pg_wal."),
    )
}

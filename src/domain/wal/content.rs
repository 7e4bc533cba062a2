//! Whether bytes are the WAL file that they are named after.

use crate::{
    error::{Error, Result},
    postgres::{
        lsn::SystemId,
        timeline::TimelineHistory,
        wal_header::{self, WalHeader},
        wal_name::{SegmentSize, WalName},
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
    // The magic, too: on a segment of a single page no other page contradicts it.
    let found = (header.system, header.major.number(), header.segment_size);
    let registered = (system.system_id, system.postgres_major, system.segment_size);
    if found == registered {
        return Ok(());
    }
    let describe = |(id, major, size): (SystemId, u32, SegmentSize)| {
        format!(
            "system {id} of PostgreSQL {major} with segments of {} bytes",
            size.bytes()
        )
    };
    Err(Error::damaged(format!(
        "WAL segment {name} is of {}, not of {}",
        describe(found),
        describe(registered)
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

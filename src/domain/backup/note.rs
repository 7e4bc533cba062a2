//! The note that a primary leaves of each backup in its WAL: `SEGMENT.OFFSET.backup`. It says whose the WAL in
//! the repository is.
//!
//! Segments of the right names prove nothing: a data directory that was put back to an earlier state, and a copy
//! of it that runs elsewhere, write other WAL under the same names, and the archive has that of who came
//! first. But an archiver goes on to no file before the one before it is archived
//! (`pgarch_ArchiverCopyLoop` in `src/backend/postmaster/pgarch.c`), archive-wal takes no other bytes for a name that is there, and the
//! note's name stands right behind that of the backup's first segment. (Look-ahead keeps to that order, too:
//! [`crate::domain::wal::ahead`].) So where the note has come, that segment
//! is the server's own; and what follows it is too, since another archiver is refused from there on.
//!
//! A standby leaves none: it follows the WAL of one primary, and fails where that is another. Nor does receive-wal bring any: of
//! a backup whose WAL it brings the first and last segment are compared with the server's own ([`super::own_wal`]).

use crate::{
    domain::wal::stored,
    error::{Kind, Result},
    postgres::{
        backup_label::BackupLabel,
        wal_name::{Segment, WalName},
    },
    repo::{
        backup::Backup,
        repository::{Repository, System},
    },
};

/// A note has less than 1 kB, of which the label has most.
const LIMIT: u64 = 64 << 10;

/// BackupHistoryFileName in `src/include/access/xlog_internal.h`.
pub fn name(backup: &Backup) -> WalName {
    let (start, size) = (backup.start_lsn.0, backup.segment_size);
    let segment = Segment::nth(backup.timeline, start / size.bytes(), size);
    WalName::BackupHistory(segment, (start % size.bytes()) as u32)
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Or nobody can tell.
    Ours,
    /// It has not come.
    Unknown,
    /// It is of another backup.
    Others,
    /// This segment is not what the server has under its name.
    OtherBytes(Segment),
}

/// Whose the WAL is that is stored for `backup`.
pub fn whose_wal(repository: &Repository, system: &System, backup: &Backup) -> Result<Whose> {
    if backup.standby || backup.standalone {
        return Ok(Whose::Ours);
    }
    let object = repository.wal_object(system, name(backup));
    match repository.storage().read(&object, LIMIT) {
        Ok(text) => Ok(match is_of(&text, backup) {
            true => Whose::Ours,
            false => Whose::Others,
        }),
        Err(error) if error.kind() == Kind::NotFound => by_bytes(repository, system, backup),
        Err(error) => Err(error),
    }
}

fn by_bytes(repository: &Repository, system: &System, backup: &Backup) -> Result<Whose> {
    let needed = backup.needed_segments();
    let ends = [
        (needed.start(), backup.start_segment_sha256),
        (needed.end(), backup.stop_segment_sha256),
    ];
    for (number, own) in ends {
        let Some(own) = own else {
            return Ok(Whose::Unknown);
        };
        let segment = backup.segment(*number);
        match stored::hash(repository, system, WalName::Segment(segment)) {
            Ok(stored) if stored == own => {}
            Err(error) if error.kind() != Kind::Damaged => return Err(error),
            _ => return Ok(Whose::OtherBytes(segment)),
        }
    }
    Ok(Whose::Ours)
}

fn is_of(text: &[u8], backup: &Backup) -> bool {
    BackupLabel::parse(text)
        .is_ok_and(|note| note.stop == Some(backup.stop_lsn) && note.label == backup.label)
}

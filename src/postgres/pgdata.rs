//! Data directories: what one is, and what of it belongs into a backup.
//!
//! What is left out, and why: excludeDirContents, excludeFiles and sendDir in
//! `src/backend/backup/basebackup.c`.

use std::{fs, path::Path};

use super::{relation_file::RelationPath, version::Major};
use crate::error::{Error, IoContext, Kind, Result};

/// Holds the major version; every data directory has it.
pub const VERSION_FILE: &str = "PG_VERSION";

/// The major of the data directory at `path`, from its PG_VERSION.
pub fn major(path: &Path) -> Result<Major> {
    let file = path.join(VERSION_FILE);
    match fs::read_to_string(&file).at("read", &file) {
        Ok(text) => text.parse(),
        Err(error) if error.kind() == Kind::NotFound => Err(Error::new(
            Kind::NotFound,
            format!("not a data directory of PostgreSQL: {}", path.display()),
        )
        .because(error)
        .hint("name the folder that holds PG_VERSION: SHOW data_directory tells it.")),
        Err(error) => Err(error),
    }
}

/// How a backup treats a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    Keep,
    /// The folder is kept, with its mode; what is in it is not.
    KeepEmpty,
    LeaveOut,
}

/// Emptied or made anew when a server starts.
const EMPTIED: [&[u8]; 7] = [
    b"pg_dynshmem",
    b"pg_notify",
    // Slots of the old server would hold back the WAL of the new one.
    b"pg_replslot",
    b"pg_serial",
    b"pg_snapshots",
    b"pg_stat_tmp",
    b"pg_subtrans",
];

/// Folders of pg_wal that a server expects to be there.
pub const IN_WAL: [&[u8]; 2] = [b"pg_wal/archive_status", b"pg_wal/summaries"];

/// Files of a running server, of an earlier backup, or half-written ones; in any folder.
const LEFT_OUT: [&[u8]; 8] = [
    b"postgresql.auto.conf.tmp",
    b"current_logfiles.tmp",
    b"backup_label",
    b"tablespace_map",
    b"backup_manifest",
    b"postmaster.pid",
    b"postmaster.opts",
    b".DS_Store",
];

/// What else a name begins with: temporary files, and caches that are made anew.
const LEFT_OUT_PREFIXES: [&[u8]; 2] = [b"pgsql_tmp", b"pg_internal.init"];

/// How a backup treats `path`, relative to the data directory, without `.` or a slash at its end.
/// Unlogged relations are not known by a name: see `RelationFile::init_fork`.
pub fn treatment(path: &[u8]) -> Treatment {
    let mut parts = path.split(|byte| *byte == b'/');
    let top = parts.next().unwrap_or_default();
    let name = parts.next_back().unwrap_or(top);
    let is_top = top.len() == path.len();
    if top == b"pg_wal" && !is_top {
        let expected = IN_WAL.contains(&path);
        return if expected {
            Treatment::KeepEmpty
        } else {
            Treatment::LeaveOut
        };
    }
    if EMPTIED.contains(&top) || top == b"pg_wal" {
        return if is_top {
            Treatment::KeepEmpty
        } else {
            Treatment::LeaveOut
        };
    }
    let left_out = LEFT_OUT.contains(&name)
        || LEFT_OUT_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
        || RelationPath::parse(path).is_some_and(|relation| relation.file.temporary);
    if left_out {
        Treatment::LeaveOut
    } else {
        Treatment::Keep
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_into_a_backup() {
        use Treatment::{Keep, KeepEmpty, LeaveOut};
        for (path, expected) in [
            ("PG_VERSION", Keep),
            ("global", Keep),
            ("global/pg_control", Keep),
            ("global/pg_filenode.map", Keep),
            ("global/pg_internal.init", LeaveOut),
            ("base/5/pg_internal.init.4711", LeaveOut),
            ("base/5/1259", Keep),
            ("base/5/t3_1259", LeaveOut),
            ("t3_1259", Keep),
            ("base/pgsql_tmp", LeaveOut),
            ("base/pgsql_tmp/pgsql_tmp1.0", LeaveOut),
            ("pg_tblspc", Keep),
            ("pg_tblspc/16385/PG_15_202209061/pgsql_tmp", LeaveOut),
            ("pg_tblspc/16385/PG_15_202209061/5/t0_9_fsm", LeaveOut),
            ("pg_wal", KeepEmpty),
            ("pg_wal/archive_status", KeepEmpty),
            (
                "pg_wal/archive_status/000000010000000000000001.done",
                LeaveOut,
            ),
            ("pg_wal/summaries", KeepEmpty),
            ("pg_wal/000000010000000000000001", LeaveOut),
            ("pg_replslot", KeepEmpty),
            ("pg_replslot/standby/state", LeaveOut),
            ("pg_stat_tmp/pgss_query_texts.stat", LeaveOut),
            ("pg_stat/pg_stat_statements.stat", Keep),
            ("pg_xact/0000", Keep),
            ("postmaster.pid", LeaveOut),
            ("backup_label", LeaveOut),
            ("backup_label.old", Keep),
            ("standby.signal", Keep),
            ("postgresql.auto.conf", Keep),
            ("postgresql.auto.conf.tmp", LeaveOut),
            ("mine/pg_notify/kept", Keep),
            ("", Keep),
        ] {
            assert_eq!(treatment(path.as_bytes()), expected, "{path}");
        }
        assert_eq!(treatment(b"latin\xE9"), Keep);
    }
}

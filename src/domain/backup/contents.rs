//! What a backup holds, counted as its files go by.

use std::collections::BTreeSet;

use crate::{
    postgres::{
        lsn::{Lsn, TimelineId},
        wal_name::Segment,
    },
    repo::{
        file_index::FilePath,
        tablespace::{Location, Tablespace},
    },
};

#[derive(Debug)]
pub struct Contents {
    pub start_lsn: Lsn,
    pub timeline: TimelineId,
    pub tablespaces: Vec<Tablespace>,
    pub files: u64,
    pub bytes: u64,
    /// Of the files that lie in the data directory itself, tablespaces in place among them.
    pub base_bytes: u64,
    /// The WAL segments among the files.
    pub wal: Vec<Segment>,
    /// What a backup must not lack: those in the data directory itself; those of databases and
    /// tablespaces as `base/5`, `pg_tblspc/16385`, `pg_tblspc/16385/5`, without the folder of the
    /// version.
    pub folders: BTreeSet<Vec<u8>>,
}

impl Contents {
    pub fn new(start_lsn: Lsn, timeline: TimelineId) -> Self {
        Self {
            start_lsn,
            timeline,
            tablespaces: Vec::new(),
            files: 0,
            bytes: 0,
            base_bytes: 0,
            wal: Vec::new(),
            folders: BTreeSet::new(),
        }
    }

    /// Counts a file.
    pub fn add_file(&mut self, path: &FilePath, size: u64) {
        self.files += 1;
        self.bytes += size;
        let oid = tablespace(path);
        let space = self
            .tablespaces
            .iter_mut()
            .find(|space| Some(space.oid) == oid);
        let elsewhere = space.as_ref().is_some_and(|space| !space.in_place);
        if let Some(space) = space {
            space.bytes += size;
        }
        if !elsewhere {
            self.base_bytes += size;
        }
        self.wal.extend(wal_segment(path));
    }

    /// Notes a folder: a tablespace in place is one in `pg_tblspc` that nobody announced.
    /// PostgreSQL 15 sends it with the rest of the data directory.
    pub fn add_folder(&mut self, path: &FilePath) {
        self.folders.extend(must_have(&path.0));
        let name = path.0.strip_prefix(b"pg_tblspc/").map(str::from_utf8);
        let Some(Ok(Ok(oid))) = name.map(|name| name.map(str::parse)) else {
            return;
        };
        if self.tablespaces.iter().all(|known| known.oid != oid) {
            self.tablespaces.push(Tablespace {
                oid,
                location: Location(path.as_path().to_owned()),
                in_place: true,
                bytes: 0,
            });
        }
    }
}

/// The name in [`Contents::folders`] of a folder that belongs there.
fn must_have(path: &[u8]) -> Option<Vec<u8>> {
    let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    match parts[..] {
        [_] | [b"base", _] => Some(path.to_vec()),
        [b"pg_tblspc", oid, _] => Some([b"pg_tblspc/", oid].concat()),
        [b"pg_tblspc", oid, _, database] => Some([b"pg_tblspc/", oid, b"/", database].concat()),
        _ => None,
    }
}

/// The OID in `pg_tblspc/<oid>/...`.
fn tablespace(path: &FilePath) -> Option<u32> {
    let rest = path.0.strip_prefix(b"pg_tblspc/")?;
    let oid = rest.split(|byte| *byte == b'/').next()?;
    str::from_utf8(oid).ok()?.parse().ok()
}

/// The segment that the file is, in a backup with its WAL.
pub fn wal_segment(path: &FilePath) -> Option<Segment> {
    std::str::from_utf8(path.0.strip_prefix(b"pg_wal/")?)
        .ok()?
        .parse()
        .ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_where_they_lie() {
        let mut contents = Contents::new(Lsn(0), TimelineId::FIRST);
        contents.tablespaces.push(Tablespace {
            oid: 16_384,
            location: Location("/elsewhere".into()),
            in_place: false,
            bytes: 0,
        });
        let path = |path: &str| FilePath(path.as_bytes().into());
        contents.add_folder(&path("pg_tblspc/16384"));
        contents.add_folder(&path("pg_tblspc/16385"));
        contents.add_folder(&path("pg_tblspc/mine"));
        for (file, size) in [
            ("base/5/1259", 1),
            ("pg_tblspc/16384/PG_15_202209061/5/1", 2),
            ("pg_tblspc/16385/PG_15_202209061/5/1", 4),
            ("pg_tblspc/mine/x", 8),
            ("pg_wal/000000010000000000000002", 16),
        ] {
            contents.add_file(&path(file), size);
        }
        let spaces: Vec<_> = contents
            .tablespaces
            .iter()
            .map(|space| (space.oid, space.in_place, space.bytes))
            .collect();
        assert_eq!(spaces, [(16_384, false, 2), (16_385, true, 4)]);
        assert_eq!((contents.files, contents.bytes), (5, 31));
        assert_eq!(contents.base_bytes, 29);
        assert_eq!(contents.wal, ["000000010000000000000002".parse().unwrap()]);
    }
}

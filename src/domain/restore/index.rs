//! What the index of a backup tells a restore: the members of its parts. Some 100 bytes each.

use std::{borrow::Cow, path::Path};

use super::recovery::{RECOVERY_SIGNAL, STANDBY_SIGNAL};
use crate::{
    error::{Error, Result},
    postgres::{incremental, postmaster},
    repo::{
        backup::Backup,
        file_index::{self, FileEntry, FilePath},
        layout::BackupObject,
        repository::Repository,
    },
    util::hash::{Sha256Reader, copy},
};

/// Folders of a data directory that a backup may lack: the server would make some of them, but a
/// person who looks for them should find them.
pub const FOLDERS: [&str; 4] = ["pg_wal", "pg_wal/archive_status", "pg_tblspc", "global"];

/// Say how a server ran where the backup was taken, which this one must not repeat.
const LEFT_OUT: [&str; 4] = [
    RECOVERY_SIGNAL,
    STANDBY_SIGNAL,
    postmaster::NAME,
    "postmaster.opts",
];

/// A file or folder in a part: what of the index a restore needs.
#[derive(Clone, Debug)]
pub struct Member {
    /// In the data directory.
    pub path: FilePath,
    pub part: u32,
    pub frame: u64,
    pub offset: u32,
    /// Bytes in the part, and their checksum.
    pub size: u64,
    pub crc32c: u32,
    pub mode: u32,
    /// Seconds since 1970.
    pub mtime: i64,
    pub folder: bool,
    /// Blocks that belong on top of what an older backup has of this file.
    pub blocks: bool,
}

impl Member {
    /// Its name in the part.
    pub fn stored_path(&self) -> Cow<'_, [u8]> {
        match self.blocks {
            true => incremental::incremental_path(&self.path.0).into(),
            false => (&*self.path.0).into(),
        }
    }

    /// Whether it is in the backup, but not wanted in a restored directory.
    pub fn is_left_out(&self) -> bool {
        let path = self.path.as_path();
        LEFT_OUT.iter().any(|name| path == Path::new(name))
    }
}

/// What a folder that is restored into holds of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing that could be used.
    Nothing,
    /// A file with other bytes.
    Other,
    /// A file of the right size, not compared yet.
    Unread,
    /// All that is wanted.
    Same,
}

/// Finds members by their paths: four bytes each.
#[derive(Debug)]
pub struct ByPath(Vec<u32>);

impl ByPath {
    pub fn of(members: &[Member]) -> Self {
        let mut order: Vec<u32> = (0..members.len() as u32).collect();
        order.sort_unstable_by_key(|number| &members[*number as usize].path);
        Self(order)
    }

    /// The number of the member at `path`.
    pub fn find(&self, members: &[Member], path: &[u8]) -> Option<usize> {
        let at = |number: &u32| &*members[*number as usize].path.0;
        let found = self.0.binary_search_by(|number| at(number).cmp(path));
        Some(self.0[found.ok()?] as usize)
    }

    /// Whether there is a member below the folder at `path`.
    pub fn leads_on(&self, members: &[Member], path: &[u8]) -> bool {
        let at = |number: &u32| &*members[*number as usize].path.0;
        let inside = [path, b"/"].concat();
        let next = self.0.partition_point(|number| at(number) < &*inside);
        let next = self.0.get(next);
        next.is_some_and(|number| at(number).starts_with(&inside))
    }
}

/// Reads the members of a backup one by one, in the order of the index.
pub fn read(
    repository: &Repository,
    backup: &Backup,
    mut take: impl FnMut(Member, &FileEntry) -> Result<()>,
) -> Result<()> {
    let index = BackupObject::Index;
    let name = repository.layout().backup_object(&backup.id, index);
    let storage = repository.storage();
    let unreadable = |error: Error| error.context(format!("can't read {}", storage.place(&name)));
    let mut stored = Sha256Reader::new(storage.get(&name, None)?);
    file_index::read(&mut stored, |entry| {
        let member = member(&entry, backup.parent.is_some())?;
        take(member, &entry)
    })
    .map_err(unreadable)?;
    // The decoder needn't have read the last bytes.
    copy(&mut stored, &mut std::io::sink())
        .map_err(|error| storage.failed("read", &name, error))?;
    backup
        .check_object(index, stored.finish())
        .map_err(unreadable)
}

/// Refuses what could be written outside the target: the index is foreign bytes. The links in
/// `pg_tblspc` are made by the plan alone; what else was there lies in the data directory, as it
/// did before.
fn member(entry: &FileEntry, incremental: bool) -> Result<Member> {
    // A full backup may hold a file that somebody named so.
    let plain = incremental::plain_path(&entry.path.0).filter(|_| incremental);
    let blocks = plain.is_some();
    let path = plain.map_or_else(|| entry.path.clone(), |path| FilePath(path.into()));
    let refused = |why: &str| {
        Err(Error::damaged(format!(
            "the index of files lists {:?}: {why}",
            entry.path
        )))
    };
    let mut parts = path.0.split(|byte| *byte == b'/');
    if parts.any(|part| part.is_empty() || part == b"." || part == b".." || part.contains(&0)) {
        return refused("not a path below the data directory");
    }
    if entry.mode & !0o7777 != 0 {
        return refused("not a mode");
    }
    Ok(Member {
        path,
        part: entry.part,
        frame: entry.frame,
        offset: entry.offset,
        size: entry.size,
        mode: entry.mode & 0o777,
        mtime: entry.mtime,
        crc32c: entry.crc32c,
        folder: entry.folder,
        blocks,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub mod tests {
    use super::*;

    pub fn entry(path: &str) -> FileEntry {
        FileEntry {
            path: FilePath(path.as_bytes().into()),
            folder: false,
            part: 1,
            frame: 0,
            offset: 0,
            size: 0,
            mode: 0o600,
            mtime: 0,
            crc32c: 0,
            sha256: None,
            facts: None,
            notes: file_index::PageNotes::default(),
        }
    }

    #[test]
    fn paths_that_leave_the_target_are_refused() {
        for good in [
            "PG_VERSION",
            "pg_tblspc",
            "pg_tblspc/16384/PG_15_1/5/1",
            "pg_tblspc/old.tmp",
            "base/1/..x",
            "a b",
        ] {
            assert!(member(&entry(good), false).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "base/../../x",
            "base//x",
            "base/",
            "./x",
            "a\0b",
        ] {
            assert!(member(&entry(bad), false).is_err(), "{bad}");
        }
        let blocks = member(&entry("base/1/INCREMENTAL.7"), true).unwrap();
        assert_eq!((&*blocks.path.0, blocks.blocks), (&b"base/1/7"[..], true));
        assert_eq!(&*blocks.stored_path(), b"base/1/INCREMENTAL.7");
        assert!(
            !member(&entry("base/1/INCREMENTAL.7"), false)
                .unwrap()
                .blocks
        );
        for bad in [
            "base/INCREMENTAL.",
            "base/INCREMENTAL...",
            "base/INCREMENTAL..",
        ] {
            assert!(member(&entry(bad), true).is_err(), "{bad}");
        }
    }
}

//! Tar members and index entries of what was found in the data directory.

use std::{fs::Metadata, os::unix::fs::MetadataExt};

use crate::{
    domain::backup::member::Member,
    repo::file_index::{Facts, FileEntry, FilePath, PageNotes},
};

/// The tar member of a file or folder, of which `size` bytes are stored.
pub fn member(path: FilePath, found: &Metadata, size: u64) -> Member {
    Member {
        path,
        folder: found.is_dir(),
        size,
        mode: found.mode() & 0o7777,
        mtime: found.mtime(),
        uid: found.uid().into(),
        gid: found.gid().into(),
    }
}

/// The index's entry of a member whose header is at `offset` of its frame.
pub fn entry(
    member: &Member,
    offset: usize,
    crc32c: u32,
    facts: Option<Facts>,
    notes: PageNotes,
) -> FileEntry {
    FileEntry {
        path: member.path.clone(),
        folder: member.folder,
        part: 0,
        frame: 0,
        offset: offset as u32,
        size: member.size,
        mode: member.mode,
        mtime: member.mtime,
        crc32c,
        sha256: None,
        facts,
        notes,
    }
}

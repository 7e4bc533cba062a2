//! The parsers of `postgres/` against files of real servers, and against PostgreSQL's own word.

mod backup;
mod control;
mod foreign_bytes;
mod pages;
mod timelines;
mod wal_summary;

use std::{fs, os::unix::ffi::OsStrExt, path::Path};

/// Every file below `root`, relative to it, tablespaces followed; with whether it is a folder.
fn walk(root: &Path) -> Vec<(Vec<u8>, bool)> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let relative = path.strip_prefix(root).unwrap().as_os_str().as_bytes();
            found.push((relative.to_owned(), path.is_dir()));
            if path.is_dir() {
                open.push(path);
            }
        }
    }
    found
}

//! Holds what was stored against the server's manifest: the same files, sizes and checksums.

use std::{
    io::Read,
    sync::mpsc::{Receiver, sync_channel},
    thread,
};

use super::stream::CONTROL;
use crate::{
    error::{Error, Result},
    postgres::{
        file_checksum::{Algorithm, Hasher},
        manifest::{self, File, Summary},
    },
    repo::{
        codec::Codec,
        file_index::{self, FileEntry},
    },
};

/// Files on the way from one reader to the other.
const AHEAD: usize = 256;

/// Compares the index with the manifest, both as stored, entry by entry: the server lists the
/// files in the order in which it sends them. `differs` gets each difference.
pub fn compare(
    index: impl Read + Send,
    stored_manifest: impl Read + Send,
    differs: &mut dyn FnMut(String),
) -> Result<Summary> {
    let (sender, listed) = sync_channel(AHEAD);
    thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let plain = Codec::Zstd
                .decoder(stored_manifest)
                .map_err(|error| Error::damaged("the manifest can't be read").because(error))?;
            manifest::read(plain, |file| {
                sender
                    .send(file)
                    .map_err(|_| Error::failed("the comparison was stopped"))
            })
        });
        let mut listed = Listed {
            files: listed,
            control: None,
        };
        let stored = file_index::read(index, |entry| {
            compare_one(&entry, &mut listed, differs);
            Ok(())
        });
        if stored.is_ok() {
            for file in listed.files.iter().chain(listed.control.take()) {
                differs(format!(
                    "{} is in the manifest, but in no part",
                    shown(&file)
                ));
            }
        }
        drop(listed);
        let summary = reader
            .join()
            .unwrap_or_else(|_| Err(Error::failed("reading the manifest panicked")));
        stored.and(summary)
    })
}

/// The manifest's files in the order of the parts, where pg_control comes last.
struct Listed {
    files: Receiver<File>,
    control: Option<File>,
}

impl Listed {
    fn next(&mut self, path: &[u8]) -> Option<File> {
        loop {
            match self.files.recv() {
                Ok(file) if file.path == CONTROL && path != CONTROL => self.control = Some(file),
                Ok(file) => return Some(file),
                Err(_) => return self.control.take(),
            }
        }
    }
}

fn compare_one(entry: &FileEntry, listed: &mut Listed, differs: &mut dyn FnMut(String)) {
    // Folders, and the WAL of a standalone backup, are in no manifest.
    if entry.folder || entry.sha256.is_some() {
        return;
    }
    let Some(file) = listed.next(&entry.path.0) else {
        return differs(format!("{} is not in the manifest", entry.path));
    };
    if *file.path != *entry.path.0 {
        return differs(format!(
            "{} stands where the manifest has {}",
            entry.path,
            shown(&file)
        ));
    }
    if file.size != entry.size {
        differs(format!(
            "{} has {} bytes, in the manifest {}",
            entry.path, entry.size, file.size
        ));
    }
    // Other algorithms are checked when the bytes are read again.
    let crc = Hasher::Crc32c(entry.crc32c).finish();
    if file
        .checksum
        .is_some_and(|sum| sum.algorithm() == Algorithm::Crc32c && sum != crc)
    {
        differs(format!(
            "{} has another checksum than in the manifest",
            entry.path
        ));
    }
}

fn shown(file: &File) -> String {
    String::from_utf8_lossy(&file.path).into_owned()
}

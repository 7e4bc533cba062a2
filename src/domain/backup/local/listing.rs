//! The manifest of a backup that no server wrote one for, and the count of its files.

use std::io::{self, Write};

use chrono::DateTime;

use crate::{
    domain::backup::{contents::Contents, pack::Ended},
    error::{Error, Result},
    postgres::{
        file_checksum::Hasher,
        incremental,
        lsn::SystemId,
        manifest::{self, WalRange},
    },
};

/// Lists members in the order in which they are stored.
pub struct Listing<W> {
    manifest: manifest::Writer<W>,
    pub contents: Contents,
}

impl<W: Write> Listing<W> {
    /// `system`: from PostgreSQL 17 on.
    pub fn new(manifest: W, system: Option<SystemId>, contents: Contents) -> Result<Self> {
        let manifest = manifest::Writer::new(manifest, system).map_err(not_written)?;
        Ok(Self { manifest, contents })
    }

    pub fn add(&mut self, member: &Ended) -> Result<()> {
        let entry = &member.entry;
        if entry.folder {
            self.contents.add_folder(&entry.path);
            return Ok(());
        }
        // Of an incremental file what it stands for.
        let size = match incremental::plain_path(&entry.path.0) {
            Some(_) => entry.facts.map_or(entry.size, |facts| facts.size),
            None => entry.size,
        };
        self.contents.add_file(&entry.path, size);
        // WAL segments: the manifest lists all but these.
        if entry.sha256.is_some() {
            return Ok(());
        }
        let checksum = member.checksum.clone();
        let modified = DateTime::from_timestamp(entry.mtime, 0).unwrap_or_default();
        let file = manifest::File {
            path: entry.path.0.to_vec(),
            size: entry.size,
            last_modified: manifest::last_modified(modified),
            checksum: checksum.or_else(|| Some(Hasher::Crc32c(entry.crc32c).finish())),
        };
        self.manifest.file(&file).map_err(not_written)
    }

    pub fn finish(self, range: WalRange) -> Result<(Contents, W)> {
        let (manifest, _) = self.manifest.finish(&[range]).map_err(not_written)?;
        Ok((self.contents, manifest))
    }
}

fn not_written(error: io::Error) -> Error {
    Error::failed("can't store the backup manifest").because(error)
}

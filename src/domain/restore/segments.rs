//! Segments on the way to the target, brought into a folder: two at a time.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::choice::Choice;
use crate::{
    error::{IoContext, Kind, Result},
    postgres::wal_name::{Segment, WalName},
    repo::{
        layout::ObjectName,
        repository::{Repository, System},
    },
    util::{clock::Time, fs::NewFile, hash::copy},
};

/// Where segments of a choice can be had.
#[derive(Clone, Copy)]
pub struct Segments<'a> {
    pub repository: &'a Repository,
    pub system: &'a System,
    pub choice: &'a Choice,
    /// The folders in which rescued segments lie.
    pub rescued_from: &'a [PathBuf],
}

impl Segments<'_> {
    fn name(&self, segment: Segment) -> ObjectName {
        let file = self.choice.stored_as(segment);
        self.repository.wal_object(self.system, file)
    }

    /// When a segment was stored; None if it isn't in the repository.
    pub fn stored_at(&self, segment: Segment) -> Result<Option<Time>> {
        match self.repository.storage().head(&self.name(segment)) {
            Ok(info) => Ok(Some(info.modified)),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts a segment into `folder` under its plain name and in its full size: a `.partial` may
    /// be short, and pieces are.
    pub fn put(&self, segment: Segment, folder: &Path, mode: u32) -> Result<()> {
        let path = folder.join(segment.to_string());
        let mut file = NewFile::create(&path, mode)?;
        let is_rescued = self.choice.rescued.contains(&segment);
        match is_rescued
            .then(|| place(self.rescued_from, segment))
            .flatten()
        {
            Some(old) => {
                let mut from = File::open(&old).at("read", &old)?;
                copy(&mut from, &mut file).at("copy to", &path)?;
            }
            None if self.choice.live == Some(segment) => {
                self.read_pieces(segment, &path, &mut file)?
            }
            None => self.read_stored(segment, &mut file)?,
        }
        file.flush().at("write", &path)?;
        file.file()
            .set_len(self.system.segment_size.bytes())
            .at("write", &path)?;
        file.publish_over()
    }

    /// Unless the segment itself was stored meanwhile, and the pieces are gone.
    fn read_pieces(&self, segment: Segment, path: &Path, out: &mut impl Write) -> Result<()> {
        match self.read_stored(segment, out) {
            Err(error) if error.kind() == Kind::NotFound => {}
            other => return other,
        }
        let sink = |bytes: &[u8]| out.write_all(bytes).at("write", path);
        // What can't be read was told.
        self.repository
            .read_pieces(self.system, segment, sink)
            .map(drop)
    }

    fn read_stored(&self, segment: Segment, out: &mut impl Write) -> Result<()> {
        let (storage, name) = (self.repository.storage(), self.name(segment));
        let failed = |error| storage.failed("read", &name, error);
        let coding = self.system.wal_coding();
        let mut plain = self.repository.read_coded(&name, coding)?;
        io::copy(&mut plain, out).map_err(failed).map(drop)
    }

    /// Has `wanted` in `folder`, and no other segment; false if one can't be had.
    pub fn have(&self, wanted: &[Segment], folder: &Path) -> Result<bool> {
        for entry in fs::read_dir(folder).at("read", folder)? {
            let path = entry.at("read", folder)?.path();
            let name = path.file_name().unwrap_or_default();
            if !wanted.iter().any(|segment| name == &*segment.to_string()) {
                fs::remove_file(&path).at("remove", &path)?;
            }
        }
        for segment in wanted {
            if folder.join(segment.to_string()).exists() {
                continue;
            }
            match self.put(*segment, folder, 0o600) {
                // It lies in the backup's own parts.
                Err(error) if error.kind() == Kind::NotFound && self.choice.backup.standalone => {
                    return Ok(false);
                }
                other => other?,
            }
        }
        Ok(true)
    }
}

/// Where a rescued segment lies: in the first of `folders` that has it.
pub fn place(folders: &[PathBuf], segment: Segment) -> Option<PathBuf> {
    let names = [WalName::Segment(segment), WalName::Partial(segment)];
    let paths = |folder: &PathBuf| names.map(|name| folder.join(name.to_string()));
    folders.iter().flat_map(paths).find(|path| path.is_file())
}

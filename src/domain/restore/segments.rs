//! Segments on the way to the target, brought into a folder: two at a time.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{choice::Choice, sources::Sources};
use crate::{
    error::{IoContext, Kind, Result},
    postgres::{
        lsn::Lsn,
        wal_name::{Segment, WalName},
    },
    repo::repository::System,
    util::{clock::Time, fs::NewFile, hash::copy},
};

/// Where segments of a choice can be had.
#[derive(Clone, Copy)]
pub struct Segments<'a> {
    pub sources: &'a Sources<'a>,
    pub system: &'a System,
    pub choice: &'a Choice,
    /// The folders in which rescued segments lie.
    pub rescued_from: &'a [PathBuf],
}

impl Segments<'_> {
    /// When a segment was stored; None if it isn't in any repository.
    pub fn stored_at(&self, segment: Segment) -> Result<Option<Time>> {
        let file = self.choice.stored_as(segment);
        let what = segment.to_string();
        let head = self
            .sources
            .read_wal(self.system, &what, |repository, system| {
                let name = repository.wal_object(system, file);
                repository.storage().head(&name)
            });
        match head {
            Ok(info) => Ok(Some(info.modified)),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts a segment into `folder` under its plain name and in its full size: a `.partial` may
    /// be short, and pieces are. Up to where what was put leads.
    pub fn put(&self, segment: Segment, folder: &Path, mode: u32) -> Result<Lsn> {
        let path = folder.join(segment.to_string());
        let is_rescued = self.choice.rescued.contains(&segment);
        let rescued = is_rescued
            .then(|| place(self.rescued_from, segment))
            .flatten();
        let mut file = match rescued {
            Some(old) => {
                let mut file = NewFile::create(&path, mode)?;
                let mut from = File::open(&old).at("read", &old)?;
                copy(&mut from, &mut file).at("copy to", &path)?;
                file
            }
            None => match self.stored(segment, &path, mode) {
                // Unless the segment itself was stored meanwhile, there are pieces alone.
                Err(error) => match self.choice.live_upto {
                    Some(upto)
                        if error.kind() == Kind::NotFound && self.choice.live == Some(segment) =>
                    {
                        self.pieces(segment, upto, &path, mode)?
                    }
                    _ => return Err(error),
                },
                Ok(stored) => stored,
            },
        };
        file.flush().at("write", &path)?;
        let length = file.file().metadata().at("look at", &path)?.len();
        let size = self.system.segment_size;
        file.file().set_len(size.bytes()).at("write", &path)?;
        file.publish_over()?;
        Ok(Lsn(segment.start(size).0 + length))
    }

    fn pieces(&self, segment: Segment, upto: Lsn, path: &Path, mode: u32) -> Result<NewFile> {
        let mut file = NewFile::create(path, mode)?;
        let sink = |bytes: &[u8]| file.write_all(bytes).at("write", path);
        // What can't be read was told.
        self.sources.read_pieces(self.system, segment, upto, sink)?;
        Ok(file)
    }

    fn stored(&self, segment: Segment, path: &Path, mode: u32) -> Result<NewFile> {
        let file = self.choice.stored_as(segment);
        let what = segment.to_string();
        self.sources
            .read_wal(self.system, &what, |repository, system| {
                let (storage, name) = (repository.storage(), repository.wal_object(system, file));
                let failed = |error| storage.failed("read", &name, error);
                let mut plain = repository.read_coded(&name, system.wal_coding())?;
                let mut file = NewFile::create(path, mode)?;
                io::copy(&mut plain, &mut file).map_err(failed)?;
                Ok(file)
            })
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
                other => other.map(drop)?,
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

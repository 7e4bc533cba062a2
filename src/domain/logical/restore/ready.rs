//! Makes a dump ready for the programs that read it: mostly it is as it lies. What pg_restore must be able
//! to jump in, or to find as a folder, goes through a private one, which is gone afterwards.

use std::{
    fs::File,
    io::{self, Read},
    path::{Component, Path, PathBuf},
};

use super::{
    material::{Checked, Material, is_archive_as_it_lies},
    shape::Shape,
};
use crate::{
    domain::logical::remains::OF_RESTORE,
    error::{Error, IoContext, Result},
    postgres::archive_toc::{ArchiveToc, MAGIC},
    util::{
        cancel::Cancel,
        fs::{create_file, create_folders, free_bytes},
        hash,
        scratch::Scratch,
        units,
    },
};

/// Left free on the disk of that folder.
const RESERVE: u64 = 64 << 20;

pub struct Ready<'a> {
    /// None: it lies at `path`.
    material: Option<&'a Material>,
    /// Where pg_restore finds it; None: it is given the bytes as they come.
    path: Option<PathBuf>,
    _scratch: Option<Scratch>,
}

impl<'a> Ready<'a> {
    /// `jumps`: several workers read it at once.
    pub fn make(
        material: &'a Material,
        checked: &Checked,
        jumps: bool,
        cancel: &Cancel,
    ) -> Result<Self> {
        let mut ready = Self {
            material: Some(material),
            path: None,
            _scratch: None,
        };
        if is_archive_as_it_lies(material.shape) {
            ready.path = material.path();
        }
        let wants_path = jumps || matches!(material.shape, Shape::Packed(_));
        if ready.path.is_some() || !wants_path || matches!(material.shape, Shape::Plain(_)) {
            return Ok(ready);
        }
        let scratch = Scratch::make(OF_RESTORE, false)?;
        let needed = material.description.as_ref();
        let needed = needed.map_or(checked.bytes, |dump| dump.data.plain_bytes);
        check_room(scratch.path(), needed)?;
        let path = scratch.path().join("dump");
        match material.shape {
            Shape::Packed(_) => unpack(material.plain()?, &path, cancel)?,
            _ => copy(&mut material.plain()?, &path, cancel)?,
        }
        ready.path = Some(path);
        ready._scratch = Some(scratch);
        Ok(ready)
    }

    /// An archive that we made.
    pub fn of_own(path: PathBuf, scratch: Scratch) -> Self {
        Self {
            material: None,
            path: Some(path),
            _scratch: Some(scratch),
        }
    }

    /// Of a file that pg_restore would read.
    pub fn toc(&self) -> Result<ArchiveToc> {
        let path = self.path.as_deref().unwrap_or(Path::new(""));
        let file = File::open(path).at("read", path)?;
        ArchiveToc::read(io::BufReader::new(file))
    }

    /// An archive that lies where somebody else keeps it.
    pub fn lying_at(path: &Path) -> Self {
        Self {
            material: None,
            path: Some(path.to_owned()),
            _scratch: None,
        }
    }

    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Where several workers of pg_restore can read it at once: not in tar's format.
    pub fn takes_workers(&self) -> Result<bool> {
        let Some(path) = &self.path else {
            return Ok(false);
        };
        if path.is_dir() {
            return Ok(true);
        }
        let mut magic = [0; MAGIC.len()];
        let file = File::open(path).and_then(|mut file| file.read_exact(&mut magic));
        file.at("read", path)?;
        Ok(magic == MAGIC)
    }

    /// The bytes as pg_dump wrote them.
    pub fn stream(&self) -> Result<Box<dyn Read + Send>> {
        match self.material {
            Some(material) => material.plain(),
            None => Err(Error::failed("there is no dump to read")),
        }
    }
}

/// An error unless `bytes` fit into `folder`.
pub fn check_room(folder: &Path, bytes: u64) -> Result<()> {
    let free = free_bytes(folder)?;
    match free >= bytes.saturating_add(RESERVE) {
        true => Ok(()),
        false => Err(Error::failed(format!(
            "{} has {} free, and {} are needed",
            folder.display(),
            units::bytes(free),
            units::bytes(bytes.saturating_add(RESERVE))
        ))
        .hint("set TMPDIR to a folder on a larger disk.")),
    }
}

/// The files of the one folder that a tar archive holds.
fn unpack(packed: impl Read, folder: &Path, cancel: &Cancel) -> Result<()> {
    let failed = |error| {
        Error::passed(error, |error| {
            Error::damaged("the dump can't be unpacked").because(error)
        })
    };
    create_folders(folder, 0o700, None)?;
    let mut archive = tar::Archive::new(packed);
    for member in archive.entries().map_err(failed)? {
        let mut member = member.map_err(failed)?;
        let kind = member.header().entry_type();
        if kind.is_dir() {
            continue;
        }
        let path = member.path().map_err(failed)?.into_owned();
        let parts: Vec<Component<'_>> = path.components().collect();
        let name = match parts.as_slice() {
            [Component::Normal(_), Component::Normal(name)] if kind.is_file() => name,
            _ => {
                return Err(Error::damaged(format!(
                    "the dump holds {}, which belongs to no dump",
                    path.display()
                )));
            }
        };
        copy(&mut member, &folder.join(name), cancel)?;
    }
    Ok(())
}

fn copy(from: &mut impl Read, to: &Path, cancel: &Cancel) -> Result<()> {
    let mut file = create_file(to)?;
    let mut from = Stoppable(from, cancel);
    let copied = hash::copy(&mut from, &mut file);
    copied
        .map(drop)
        .map_err(|error| Error::passed(error, |error| Error::io("write", to, error)))
}

struct Stoppable<'a, R>(&'a mut R, &'a Cancel);

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1.check()?;
        self.0.read(buffer)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    fn packed(kind: tar::EntryType, path: &str) -> Vec<u8> {
        let mut header = tar::Header::new_ustar();
        header.set_size(3);
        header.set_entry_type(kind);
        // `set_path` refuses what a hostile archive has.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        let mut archive = tar::Builder::new(Vec::new());
        archive.append(&header, &b"abc"[..]).unwrap();
        archive.into_inner().unwrap()
    }

    #[test]
    fn only_files_of_one_folder_are_unpacked() {
        let scratch = tempfile::tempdir().unwrap();
        let unpacked = |kind, path: &str| {
            let folder = scratch.path().join("x");
            let result = unpack(packed(kind, path).as_slice(), &folder, &Cancel::default());
            let found = fs::read(folder.join("toc.dat"));
            fs::remove_dir_all(&folder).unwrap();
            result.map(|()| found.unwrap())
        };
        assert_eq!(
            unpacked(tar::EntryType::Regular, "dump/toc.dat").unwrap(),
            b"abc"
        );
        for (kind, path) in [
            (tar::EntryType::Regular, "../toc.dat"),
            (tar::EntryType::Regular, "/etc/toc.dat"),
            (tar::EntryType::Regular, "a/b/toc.dat"),
            (tar::EntryType::Regular, "toc.dat"),
            (tar::EntryType::Symlink, "dump/toc.dat"),
        ] {
            assert!(unpacked(kind, path).is_err(), "{path}");
        }
        assert!(!scratch.path().join("toc.dat").exists());
    }

    #[test]
    fn what_does_not_fit_is_told_before() {
        let scratch = tempfile::tempdir().unwrap();
        assert!(check_room(scratch.path(), 1).is_ok());
        assert!(check_room(scratch.path(), u64::MAX).is_err());
    }
}

//! Reads one part, and says which of its files are damaged.

use std::{
    io::{self, Read},
    slice,
};

use super::{Check, Expected};
use crate::{
    domain::backup::manifest_check::OTHER_CHECKSUM,
    error::{Error, Kind, Result},
    postgres::file_checksum::Hasher,
    repo::{
        backup::Part,
        file_index::FileEntry,
        layout::{BackupObject, ObjectName},
    },
    util::hash::Sha256Reader,
};

impl Check<'_> {
    /// Reads a part once: its hash, its frames, its archive; again, file by file, if damaged.
    pub(super) fn part(&self, part: &Part, expected: Option<&[Expected]>) -> Result<()> {
        let named = self.repository.part(self.backup.id, part);
        let Some(name) = self.or_finding(&self.in_backup(&part.name), named)? else {
            return Ok(());
        };
        let storage = self.repository.storage();
        let Some(stored) = self.or_finding(&name, storage.get(&name, None))? else {
            return Ok(());
        };
        let mut hashing = Sha256Reader::new(stored);
        let archive = expected.map(|expected| self.archive(&name, &mut hashing, expected));
        // An archive that can't be read to its end can still be hashed.
        let archive = match archive {
            Some(Err(error)) if error.kind() == Kind::Interrupted => return Err(error),
            Some(archive) => archive.ok().flatten(),
            None => Some(Vec::new()),
        };
        io::copy(&mut hashing, &mut io::sink())
            .map_err(|error| storage.failed("read", &name, error))?;
        let length = hashing.length();
        let found = (hashing.finish(), length);
        let as_stored = self.is_as_stored(&name, found, (part.sha256, part.stored_bytes));
        if as_stored && archive.is_none() {
            self.add(&name, None, "is not the archive that the index describes");
        }
        match (archive.filter(|_| as_stored), expected) {
            (Some(others), _) => others.into_iter().for_each(|entry| self.changed(entry)),
            (None, Some(expected)) => self.files(&name, part, expected)?,
            (None, None) => {}
        }
        Ok(())
    }

    /// The file is as it was stored, but not as the server says that it sent it.
    fn changed(&self, entry: &FileEntry) {
        let manifest = self.name(BackupObject::Manifest);
        self.add(&manifest, Some(entry.path.to_string()), OTHER_CHECKSUM);
    }

    /// If the archive holds exactly what is `expected`, with the bytes of the index: which files
    /// have another checksum in the manifest. An error if it can't be read.
    fn archive<'e>(
        &self,
        name: &ObjectName,
        stored: &mut (impl Read + Send),
        expected: &'e [Expected],
    ) -> Result<Option<Vec<&'e FileEntry>>> {
        let failed = |error| Error::io("read", "part".as_ref(), error);
        let coding = self.backup.coding();
        let mut plain = self.repository.decode(name, coding, stored)?;
        let mut expected = expected.iter();
        let mut archive = tar::Archive::new(&mut plain);
        let mut right = true;
        let mut others = Vec::new();
        for member in archive.entries().map_err(failed)? {
            self.cancel.check()?;
            let Some(next) = expected.next() else {
                right = false;
                break;
            };
            match self.member(member, next) {
                Ok(true) => {}
                Ok(false) => others.push(&next.entry),
                Err(_) => right = false,
            }
        }
        // Behind the archive's end there may be more zero blocks, and the end of the last frame.
        io::copy(&mut plain, &mut io::sink()).map_err(failed)?;
        right &= expected.next().is_none();
        Ok(right.then_some(others))
    }

    /// Whether the manifest has the checksum of the bytes, which are those of the index; an
    /// error if they are not.
    fn member<R: Read>(
        &self,
        member: io::Result<tar::Entry<'_, R>>,
        Expected { entry, checksum }: &Expected,
    ) -> Result<bool> {
        let failed = |error| Error::io("read", entry.path.as_path(), error);
        let mut member = member.map_err(failed)?;
        let path = member.path_bytes();
        let path = path.strip_suffix(b"/").unwrap_or(&path);
        if path != &*entry.path.0 || member.header().entry_type().is_dir() != entry.folder {
            return Err(Error::damaged(format!(
                "another member is there: {}",
                String::from_utf8_lossy(path)
            )));
        }
        let mut crc = 0;
        let mut hasher = checksum.as_ref().map(|sum| Hasher::new(sum.algorithm()));
        let mut length = 0;
        let mut buffer = vec![0; 128 << 10];
        loop {
            let count = member.read(&mut buffer).map_err(failed)?;
            if count == 0 {
                break;
            }
            let bytes = &buffer[..count];
            crc = crc32c::crc32c_append(crc, bytes);
            if let Some(hasher) = &mut hasher {
                hasher.update(bytes);
            }
            length += count as u64;
            self.meter.add(count as u64);
        }
        if length != entry.size {
            return Err(Error::damaged(format!(
                "it has {length} bytes instead of {}",
                entry.size
            )));
        }
        if crc != entry.crc32c {
            return Err(Error::damaged(
                "its bytes have changed: the CRC-32C differs",
            ));
        }
        Ok(hasher.map(Hasher::finish) == *checksum)
    }

    /// Finds the damaged files of a damaged part: each frame is read by itself, so that the
    /// files behind a broken one are judged too.
    fn files(&self, name: &ObjectName, part: &Part, expected: &[Expected]) -> Result<()> {
        let end = self
            .repository
            .storage()
            .head(name)?
            .size
            .min(part.stored_bytes);
        for frame in expected.chunk_by(|a, b| a.entry.frame == b.entry.frame) {
            let mut left = frame.iter();
            loop {
                match self.rest_of_frame(name, end, &mut left) {
                    Ok(()) => break,
                    Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                    // The next turn tries what is behind this file.
                    Err(error) => match left.next() {
                        Some(Expected { entry, .. }) => {
                            self.add(name, Some(entry.path.to_string()), error.in_one_line())
                        }
                        None => break,
                    },
                }
            }
        }
        Ok(())
    }

    /// Checks the files that begin in one frame, up to the first bad one, which stays in `left`.
    fn rest_of_frame(
        &self,
        name: &ObjectName,
        end: u64,
        left: &mut slice::Iter<'_, Expected>,
    ) -> Result<()> {
        self.cancel.check()?;
        let Some(first) = left.as_slice().first() else {
            return Ok(());
        };
        let storage = self.repository.storage();
        let failed = |error| storage.failed("read", name, error);
        let coding = self.backup.coding();
        let from = first.entry.frame;
        let mut plain = self.repository.read_frames(name, coding, end, from, None)?;
        let skip = u64::from(first.entry.offset);
        let skipped = io::copy(&mut plain.by_ref().take(skip), &mut io::sink()).map_err(failed)?;
        let cut_off = || Error::damaged("the part ends before it");
        if skipped != skip {
            return Err(cut_off());
        }
        let mut archive = tar::Archive::new(plain);
        let mut members = archive.entries().map_err(failed)?;
        while let Some(next) = left.as_slice().first() {
            if !self.member(members.next().ok_or_else(cut_off)?, next)? {
                self.changed(&next.entry);
            }
            left.next();
        }
        Ok(())
    }
}

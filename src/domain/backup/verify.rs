//! Re-reads a stored backup: SHA-256 of each object, frames, tar archives, the hash of every
//! file against index and manifest. Names each damaged file.

use std::{
    io::{self, Read},
    mem, slice,
    sync::{Mutex, PoisonError, mpsc::sync_channel},
    thread,
};

use serde::Serialize;

use super::manifest_check;
use crate::{
    error::{Error, Kind, Result},
    repo::{
        catalog::{Backup, Part, StoredObject},
        file_index::{self, FileEntry},
        layout::{BackupObject, ObjectName},
        repository::Repository,
    },
    util::{
        cancel::Cancel,
        hash::{Sha256, Sha256Reader},
        meter::Meter,
    },
};

/// Something that is wrong with a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where it lies, as an operator would look for it.
    pub object: String,
    /// The file of the data directory, where one is affected.
    pub file: Option<String>,
    pub problem: String,
}

/// Re-reads all objects of `backup` with `workers` threads; what is damaged.
///
/// An error means that it could not be found out: the store does not answer, or a stop.
pub fn verify(
    repository: &Repository,
    backup: &Backup,
    workers: usize,
    meter: &Meter,
    cancel: &Cancel,
) -> Result<Vec<Finding>> {
    let check = Check {
        repository,
        backup,
        meter,
        cancel,
        findings: Mutex::default(),
    };
    meter.begin(
        "verifying",
        backup.parts.iter().map(|part| part.plain_bytes).sum(),
    );
    let indexed = check.objects()?;
    check.sums()?;
    // Held against a damaged index, sound parts would look damaged too.
    if check.parts(indexed, workers.max(1))? {
        check.manifest()?;
    }
    Ok(check
        .findings
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner))
}

struct Check<'a> {
    repository: &'a Repository,
    backup: &'a Backup,
    meter: &'a Meter,
    cancel: &'a Cancel,
    findings: Mutex<Vec<Finding>>,
}

impl Check<'_> {
    fn name(&self, object: BackupObject) -> ObjectName {
        self.repository
            .layout()
            .backup_object(&self.backup.id, object)
    }

    fn in_backup(&self, name: &str) -> ObjectName {
        self.repository
            .layout()
            .backup(&self.backup.id)
            .object(name)
    }

    fn add(&self, object: &ObjectName, file: Option<String>, problem: impl Into<String>) {
        let object = self.repository.storage().place(object);
        let finding = Finding {
            object,
            file,
            problem: problem.into(),
        };
        self.findings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(finding);
    }

    /// A missing or damaged object is a finding; a store that does not answer is an error.
    fn or_finding<T>(&self, object: &ObjectName, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == Kind::NotFound => {
                self.add(object, None, "is missing");
                Ok(None)
            }
            Err(error) if error.kind() == Kind::Damaged => {
                self.add(object, None, error.in_one_line());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the index is as it was stored.
    fn objects(&self) -> Result<bool> {
        let index = self.name(BackupObject::Index);
        let mut indexed = false;
        for StoredObject {
            name,
            stored_bytes,
            sha256,
        } in &self.backup.objects
        {
            let name = self.in_backup(name);
            let right = self.hash(&name, *stored_bytes, *sha256)?;
            indexed |= right && name == index;
        }
        Ok(indexed)
    }

    fn hash(&self, name: &ObjectName, bytes: u64, sha256: Sha256) -> Result<bool> {
        let storage = self.repository.storage();
        let found = storage.get(name, None).and_then(|reader| {
            Sha256::of_reader(reader).map_err(|error| storage.failed("read", name, error))
        });
        let found = self.or_finding(name, found)?;
        Ok(found.is_some_and(|found| self.is_as_stored(name, found, (sha256, bytes))))
    }

    /// Whether hash and length are those of `backup.json`; a finding if not.
    fn is_as_stored(
        &self,
        name: &ObjectName,
        (found, length): (Sha256, u64),
        (sha256, bytes): (Sha256, u64),
    ) -> bool {
        if length != bytes {
            self.add(name, None, format!("has {length} bytes instead of {bytes}"));
        } else if found != sha256 {
            self.add(name, None, "its bytes have changed: the SHA-256 differs");
        }
        (found, length) == (sha256, bytes)
    }

    fn sums(&self) -> Result<()> {
        let name = self.name(BackupObject::Sums);
        let Some(sums) = self.or_finding(&name, self.repository.storage().read(&name, 64 << 20))?
        else {
            return Ok(());
        };
        let line = |part: &Part| format!("{}  {}\n", part.sha256, part.name);
        let expected: String = self.backup.parts.iter().map(line).collect();
        if sums != expected.as_bytes() {
            self.add(&name, None, "does not list the parts as backup.json does");
        }
        Ok(())
    }

    /// Checks the parts, each against its entries of the index, if that is `indexed`; whether
    /// the whole index could be read.
    fn parts(&self, indexed: bool, workers: usize) -> Result<bool> {
        let (jobs, queue) = sync_channel::<(&Part, Option<Vec<FileEntry>>)>(workers);
        let queue = Mutex::new(queue);
        let failed = Mutex::new(None);
        let failed = || failed.lock().unwrap_or_else(PoisonError::into_inner);
        let listed = thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    loop {
                        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                        let Ok((part, entries)) = job else {
                            return;
                        };
                        if let Err(error) = self.part(part, entries.as_deref()) {
                            failed().get_or_insert(error);
                        }
                    }
                });
            }
            // Moved in, so that the queue ends with the listing and the workers with the queue.
            let jobs = jobs;
            self.hand_out(indexed, &mut |part, entries| {
                self.cancel.check()?;
                let stopped = || Error::failed("verifying was stopped");
                if failed().is_some() {
                    return Err(stopped());
                }
                jobs.send((part, entries)).map_err(|_| stopped())
            })
        });
        if let Some(error) = failed().take() {
            return Err(error);
        }
        let index = self.name(BackupObject::Index);
        Ok(self.or_finding(&index, listed)?.is_some() && indexed)
    }

    /// Gives each part with the entries of the index that lie in it, one part in memory; without
    /// them where there is no index to rely on.
    fn hand_out<'b>(
        &'b self,
        indexed: bool,
        job: &mut dyn FnMut(&'b Part, Option<Vec<FileEntry>>) -> Result<()>,
    ) -> Result<()> {
        let mut parts = self.backup.parts.iter();
        if !indexed {
            return parts.try_for_each(|part| job(part, None));
        }
        let mut present = parts.next();
        let mut entries = Vec::new();
        let index = self.name(BackupObject::Index);
        let read = file_index::read(self.repository.storage().get(&index, None)?, |entry| {
            while let Some(part) = present.filter(|part| part.number != entry.part) {
                job(part, Some(mem::take(&mut entries)))?;
                present = parts.next();
            }
            entries.push(entry);
            Ok(())
        });
        let broken = match &read {
            Err(error) if error.kind() == Kind::Damaged => true,
            Err(_) => return read,
            Ok(()) => false,
        };
        for part in present.into_iter().chain(parts) {
            let entries = mem::take(&mut entries);
            job(part, (!broken).then_some(entries))?;
        }
        read
    }

    /// Reads a part once: its hash, its frames, its archive; again, file by file, if damaged.
    fn part(&self, part: &Part, entries: Option<&[FileEntry]>) -> Result<()> {
        let name = self.name(BackupObject::Part(part.number, self.backup.compression));
        let storage = self.repository.storage();
        let Some(stored) = self.or_finding(&name, storage.get(&name, None))? else {
            return Ok(());
        };
        let mut hashing = Sha256Reader::new(stored);
        let archive = entries.map(|entries| self.archive(&mut hashing, entries));
        let right = match archive {
            Some(Err(error)) if error.kind() == Kind::Interrupted => return Err(error),
            // An archive that can't be read to its end can still be hashed.
            Some(archive) => archive.unwrap_or(false),
            None => true,
        };
        io::copy(&mut hashing, &mut io::sink())
            .map_err(|error| storage.failed("read", &name, error))?;
        let length = hashing.length();
        let found = (hashing.finish(), length);
        let as_stored = self.is_as_stored(&name, found, (part.sha256, part.stored_bytes));
        if as_stored && !right {
            self.add(&name, None, "is not the archive that the index describes");
        }
        match entries {
            Some(entries) if !(as_stored && right) => self.files(&name, part, entries),
            _ => Ok(()),
        }
    }

    /// Whether the archive holds exactly `entries`, with their bytes; an error if it can't be read.
    fn archive(&self, stored: &mut (impl Read + Send), entries: &[FileEntry]) -> Result<bool> {
        let failed = |error| Error::io("read", "part".as_ref(), error);
        let mut plain = self.backup.compression.decoder(stored).map_err(failed)?;
        let mut expected = entries.iter();
        let mut archive = tar::Archive::new(&mut plain);
        let mut right = true;
        for member in archive.entries().map_err(failed)? {
            self.cancel.check()?;
            right &= expected
                .next()
                .is_some_and(|entry| self.member(member, entry).is_ok());
        }
        // Behind the archive's end there may be more zero blocks, and the end of the last frame.
        io::copy(&mut plain, &mut io::sink()).map_err(failed)?;
        Ok(right && expected.next().is_none())
    }

    fn member<R: Read>(
        &self,
        member: io::Result<tar::Entry<'_, R>>,
        entry: &FileEntry,
    ) -> Result<()> {
        let mut member = member.map_err(|error| Error::io("read", entry.path.as_path(), error))?;
        let path = member.path_bytes();
        let path = path.strip_suffix(b"/").unwrap_or(&path);
        if path != &*entry.path.0 || member.header().entry_type().is_dir() != entry.folder {
            return Err(Error::damaged(format!(
                "another member is there: {}",
                String::from_utf8_lossy(path)
            )));
        }
        let mut crc = 0;
        let mut length = 0;
        let mut buffer = vec![0; 128 << 10];
        loop {
            let count = member
                .read(&mut buffer)
                .map_err(|error| Error::io("read", entry.path.as_path(), error))?;
            if count == 0 {
                break;
            }
            crc = crc32c::crc32c_append(crc, &buffer[..count]);
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
        Ok(())
    }

    /// Finds the damaged files of a damaged part: each frame is read by itself, so that the
    /// files behind a broken one are judged too.
    fn files(&self, name: &ObjectName, part: &Part, entries: &[FileEntry]) -> Result<()> {
        let end = self
            .repository
            .storage()
            .head(name)?
            .size
            .min(part.stored_bytes);
        for frame in entries.chunk_by(|a, b| a.frame == b.frame) {
            let mut left = frame.iter();
            loop {
                match self.rest_of_frame(name, end, &mut left) {
                    Ok(()) => break,
                    Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                    // The next turn tries what is behind this file.
                    Err(error) => match left.next() {
                        Some(entry) => {
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
        left: &mut slice::Iter<'_, FileEntry>,
    ) -> Result<()> {
        self.cancel.check()?;
        let Some(first) = left.as_slice().first() else {
            return Ok(());
        };
        let storage = self.repository.storage();
        let failed = |error| storage.failed("read", name, error);
        let stored = storage.get(name, Some(first.frame.min(end)..end))?;
        let mut plain = self.backup.compression.decoder(stored).map_err(failed)?;
        let skip = u64::from(first.offset);
        let skipped = io::copy(&mut plain.by_ref().take(skip), &mut io::sink()).map_err(failed)?;
        let cut_off = || Error::damaged("the part ends before it");
        if skipped != skip {
            return Err(cut_off());
        }
        let mut archive = tar::Archive::new(plain);
        let mut members = archive.entries().map_err(failed)?;
        while let Some(entry) = left.as_slice().first() {
            self.member(members.next().ok_or_else(cut_off)?, entry)?;
            left.next();
        }
        Ok(())
    }

    fn manifest(&self) -> Result<()> {
        let storage = self.repository.storage();
        let manifest = self.name(BackupObject::Manifest);
        let index = self.name(BackupObject::Index);
        let streams = storage
            .get(&index, None)
            .and_then(|index| Ok((index, storage.get(&manifest, None)?)));
        let Some((index, stored)) = self.or_finding(&manifest, streams)? else {
            return Ok(());
        };
        let compared = manifest_check::compare(index, stored, &mut |difference| {
            self.add(&manifest, None, difference)
        });
        let Some(summary) = self.or_finding(&manifest, compared)? else {
            return Ok(());
        };
        if summary
            .system
            .is_some_and(|system| system != self.backup.system_id)
        {
            self.add(&manifest, None, "belongs to another system");
        }
        if !summary
            .wal_ranges
            .iter()
            .any(|range| range.end == self.backup.stop_lsn)
        {
            self.add(
                &manifest,
                None,
                "tells another end of the backup than backup.json",
            );
        }
        Ok(())
    }
}

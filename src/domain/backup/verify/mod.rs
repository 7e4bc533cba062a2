//! Re-reads a stored backup: SHA-256 of each object, frames, tar archives, the hash of every
//! file against index and manifest. Names each damaged file.

mod part;

use std::{
    io::{self, Read},
    mem,
    sync::{Mutex, PoisonError, mpsc::sync_channel},
    thread,
};

use serde::Serialize;

use super::manifest_check::{self, Compared};
use crate::{
    error::{Error, Kind, Result},
    postgres::{file_checksum::Checksum, manifest::Summary},
    repo::{
        backup::{Backup, Part, StoredObject},
        document,
        file_index::FileEntry,
        layout::{BackupObject, ObjectName},
        repository::Repository,
    },
    util::{cancel::Cancel, hash::Sha256, meter::Meter},
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

/// What came of it.
pub struct Checked {
    pub findings: Vec<Finding>,
    /// Why only the hashes of what is stored were checked: it can't be decrypted here.
    pub sealed: Option<String>,
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
) -> Result<Checked> {
    let check = Check {
        repository,
        backup,
        meter,
        cancel,
        sealed: sealed(repository, backup)?,
        findings: Mutex::default(),
    };
    meter.begin(
        "verifying",
        backup.parts.iter().map(|part| part.plain_bytes).sum(),
    );
    check.description()?;
    let indexed = check.objects()?;
    check.sums()?;
    check.parts(indexed, workers.max(1))?;
    let findings = check.findings.into_inner();
    Ok(Checked {
        findings: findings.unwrap_or_else(PoisonError::into_inner),
        sealed: check.sealed,
    })
}

/// Why what is encrypted can't be looked into here. That the first part is damaged is found later.
fn sealed(repository: &Repository, backup: &Backup) -> Result<Option<String>> {
    match repository.try_key(backup) {
        Err(error) if error.kind() == Kind::Key => Ok(Some(error.in_one_line())),
        Err(error) if !repository.is_of_object(&error) && error.kind() != Kind::NotFound => {
            Err(error)
        }
        _ => Ok(None),
    }
}

/// A member that a part must hold.
struct Expected {
    entry: FileEntry,
    /// What the manifest says of its bytes, where that isn't compared with the index.
    checksum: Option<Checksum>,
}

struct Check<'a> {
    repository: &'a Repository,
    backup: &'a Backup,
    meter: &'a Meter,
    cancel: &'a Cancel,
    sealed: Option<String>,
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

    /// What a person wrote or changed may be right; nobody can know.
    fn description(&self) -> Result<()> {
        let storage = self.repository.storage();
        for object in [BackupObject::Backup, BackupObject::Pending] {
            let name = self.name(object);
            let json = match storage.read(&name, document::LIMIT) {
                Err(error) if error.kind() == Kind::NotFound => continue,
                json => json?,
            };
            if !document::has_hash(&json) {
                let problem =
                    "has no hash of its own: it was not written by pgstow, or changed since";
                self.add(&name, None, problem);
            }
            break;
        }
        Ok(())
    }

    /// Whether the index is as it was stored.
    fn objects(&self) -> Result<bool> {
        let index = self.name(BackupObject::Index);
        let mut indexed = false;
        for StoredObject {
            name,
            stored_bytes,
            sha256,
            ..
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
        if sums != self.backup.sums().as_bytes() {
            self.add(&name, None, "does not list the parts as backup.json does");
        }
        Ok(())
    }

    /// Checks the parts, each against what index and manifest say is in it. Held against a
    /// damaged index, sound parts would look damaged too: so only if it is sound, `indexed`.
    fn parts(&self, indexed: bool, workers: usize) -> Result<()> {
        let (jobs, queue) = sync_channel::<(&Part, Option<Vec<Expected>>)>(workers);
        let queue = Mutex::new(queue);
        let failed = Mutex::new(None);
        let failed = || failed.lock().unwrap_or_else(PoisonError::into_inner);
        let listed = thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    loop {
                        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                        let Ok((part, expected)) = job else {
                            return;
                        };
                        if let Err(error) = self.part(part, expected.as_deref()) {
                            failed().get_or_insert(error);
                        }
                    }
                });
            }
            // Moved in, so that the queue ends with the listing and the workers with the queue.
            let jobs = jobs;
            self.hand_out(indexed, &mut |part, expected| {
                self.cancel.check()?;
                let stopped = || Error::failed("verifying was stopped");
                if failed().is_some() {
                    return Err(stopped());
                }
                // Only the hash of a part is checked that can't be decrypted.
                let expected = expected.filter(|_| self.sealed.is_none());
                jobs.send((part, expected)).map_err(|_| stopped())
            })
        });
        if let Some(error) = failed().take() {
            return Err(error);
        }
        listed
    }

    /// Gives each part with what must be in it, one part in memory; without that where there is
    /// no index to rely on. Compares index and manifest on the way.
    fn hand_out<'b>(
        &'b self,
        indexed: bool,
        job: &mut dyn FnMut(&'b Part, Option<Vec<Expected>>) -> Result<()>,
    ) -> Result<()> {
        let mut parts = self.backup.parts.iter();
        if !indexed {
            return parts.try_for_each(|part| job(part, None));
        }
        let mut present = parts.next();
        let mut expected = Vec::new();
        let storage = self.repository.storage();
        let index = self.name(BackupObject::Index);
        let manifest = self.name(BackupObject::Manifest);
        let stored_index = storage.get(&index, None)?;
        let (stored_manifest, missing): (Box<dyn Read + Send>, bool) =
            match storage.get(&manifest, None) {
                Ok(stored) => (Box::new(stored), false),
                // Its own finding by now.
                Err(error) if error.kind() == Kind::NotFound => (Box::new(io::empty()), true),
                Err(error) => return Err(error),
            };
        let (read, summary) =
            manifest_check::compare(stored_index, stored_manifest, &mut |found| {
                let (entry, checksum) = match found {
                    Compared::Entry(entry, checksum) => (entry, checksum),
                    Compared::Differs(file, problem) => {
                        self.add(&manifest, Some(file.to_string()), problem);
                        return Ok(());
                    }
                };
                while let Some(part) = present.filter(|part| part.number != entry.part) {
                    job(part, Some(mem::take(&mut expected)))?;
                    present = parts.next();
                }
                expected.push(Expected { entry, checksum });
                Ok(())
            });
        let whole = self.or_finding(&index, read)?.is_some();
        for part in present.into_iter().chain(parts) {
            let expected = mem::take(&mut expected);
            job(part, whole.then_some(expected))?;
        }
        if whole && !missing {
            self.summary(&manifest, summary)?;
        }
        Ok(())
    }

    fn summary(&self, manifest: &ObjectName, summary: Result<Summary>) -> Result<()> {
        let Some(summary) = self.or_finding(manifest, summary)? else {
            return Ok(());
        };
        if summary
            .system
            .is_some_and(|system| system != self.backup.system_id)
        {
            self.add(manifest, None, "belongs to another system");
        }
        if !summary
            .wal_ranges
            .iter()
            .any(|range| range.end == self.backup.stop_lsn)
        {
            self.add(
                manifest,
                None,
                "tells another end of the backup than backup.json",
            );
        }
        Ok(())
    }
}

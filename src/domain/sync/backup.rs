//! One backup, in this order: its WAL and what it builds on are in the target; its id is claimed there; parts and the
//! other objects are copied by several workers; then its `backup.json` is created, with what the target stores.
//!
//! A crash before that leaves remains that the next run goes on with: what was copied is noted every minute. Nobody
//! deletes them for a day.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    claim::{self, Claim, Left},
    object::{self, Wanted, Way},
    pass::{Pair, Pass, Trouble, of_source, of_target},
    tally::CopiedBackup,
};
use crate::{
    domain::backup::seal,
    error::{Error, Kind, Result},
    repo::{
        backup::{Backup, Part, StoredObject},
        backup_id::BackupId,
        coding::Coding,
        edition::Edition,
        layout::BackupObject,
    },
    util::workers,
};

/// What is lost at most by a crash.
const NOTED_EVERY: Duration = Duration::from_secs(60);

/// What became of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Copied,
    /// Something is wrong with it alone, which is noted.
    PassedOver,
    /// It, and with it all others, has to wait for the next run.
    Later,
}

/// Copies a backup that the target lacks.
pub fn copy(pass: &Pass<'_>, pairs: &[Pair], id: BackupId) -> Result<Fate> {
    let copied = pass
        .source
        .repository
        .backup(id)
        .map_err(of_source)
        .and_then(|backup| copy_one(pass, pairs, &backup));
    match copied {
        Ok(Some(copied)) => {
            pass.tally.count(|all| all.backups.push(copied));
            Ok(Fate::Copied)
        }
        Ok(None) => Ok(Fate::Later),
        Err(trouble) => {
            pass.pass_over(&format!("backup {id}"), trouble)?;
            Ok(Fate::PassedOver)
        }
    }
}

fn copy_one(
    pass: &Pass<'_>,
    pairs: &[Pair],
    backup: &Backup,
) -> Result<Option<CopiedBackup>, Trouble> {
    let Some(pair) = pairs
        .iter()
        .find(|pair| pair.source.system_id == backup.system_id)
    else {
        let what = format!("system {} is not registered", backup.system_id);
        return Err(of_source(Error::damaged(what)));
    };
    let job = Job {
        pass,
        backup,
        encrypted: pair.target.encrypted,
        way: Way::between(backup.coding().encrypted, pair.target.encrypted),
        over: false,
        notes: Mutex::new(Notes::new(0)),
    };
    if pass.dry_run {
        let bytes = job.tasks().map(|task| task.bytes()).sum();
        pass.tally.count(|all| all.bytes += bytes);
        let id = backup.id;
        return Ok(Some(CopiedBackup { id, bytes }));
    }
    if let Some(parent) = backup.parent {
        pass.target.repository.backup(parent).map_err(|error| {
            let what = format!(
                "it builds on {parent}, which is not in {}",
                pass.target.name
            );
            of_source(Error::damaged(what).because(error))
        })?;
    }
    let missing = seal::missing_wal(&pass.target.repository, &pair.target, backup);
    if let Some(range) = missing.map_err(of_target)?.first() {
        return Err(of_source(Error::damaged(format!(
            "WAL that it needs is not in {}: {}",
            pass.target.name,
            range.describe(pair.target.segment_size)
        ))));
    }
    match claim::claim(pass, backup).map_err(of_target)? {
        Claim::Ours(left) => job.run(left).map(Some),
        Claim::Later(why) => {
            let why = format!("backup {}: {why}", backup.id);
            pass.tally.count(|all| all.postponed.push(why));
            Ok(None)
        }
    }
}

#[derive(Clone, Copy)]
pub enum Task<'a> {
    Part(&'a Part),
    Object(&'a StoredObject),
}

impl Task<'_> {
    pub fn name(&self) -> &str {
        match self {
            Task::Part(part) => &part.name,
            Task::Object(object) => &object.name,
        }
    }

    pub fn bytes(&self) -> u64 {
        match self {
            Task::Part(part) => part.stored_bytes,
            Task::Object(object) => object.stored_bytes,
        }
    }
}

pub struct Notes {
    copied: Vec<StoredObject>,
    /// The number of the next sign of life, and when the last was given.
    next: u32,
    last: Instant,
}

impl Notes {
    pub fn new(alive: u32) -> Self {
        Self {
            copied: Vec::new(),
            next: alive + 1,
            last: Instant::now(),
        }
    }
}

/// How a backup comes from one repository into another.
pub struct Job<'a> {
    pub pass: &'a Pass<'a>,
    /// As the source describes it.
    pub backup: &'a Backup,
    /// Whether the target has it encrypted, and what happens on the way.
    pub encrypted: bool,
    pub way: Way,
    pub over: bool,
    pub notes: Mutex<Notes>,
}

impl<'a> Job<'a> {
    pub fn tasks(&self) -> impl Iterator<Item = Task<'a>> + use<'a> {
        let parts = self.backup.parts.iter().map(Task::Part);
        parts.chain(self.backup.objects.iter().map(Task::Object))
    }

    fn run(mut self, left: Left) -> Result<CopiedBackup, Trouble> {
        self.notes = Mutex::new(Notes::new(left.alive));
        let total = self.tasks().map(|task| task.bytes()).sum();
        let phase = format!("copying backup {}", self.backup.id);
        self.pass.meter.begin(&phase, total);
        let done = Mutex::new(Vec::new());
        let first = Mutex::new(None);
        let work = |(at, task): (usize, Task<'_>)| match self.bring(&task, &left) {
            Ok(stored) => {
                lock(&done).push((at, stored));
                Ok(())
            }
            Err(trouble) => {
                lock(&first).get_or_insert(trouble);
                // Told above: this only ends the others.
                Err(Error::failed("a part could not be copied"))
            }
        };
        let tasks = self.tasks().enumerate();
        let list = |each: &mut dyn FnMut(_) -> Result<()>| tasks.into_iter().try_for_each(each);
        let worked = workers::fed(self.pass.workers, list, work);
        if let Some(trouble) = into_inner(first) {
            // So that the next run finds it; if it can't be noted, that copies it once more.
            let _ = self.note();
            return Err(trouble);
        }
        worked.map_err(of_target)?;
        let mut stored = into_inner(done);
        stored.sort_unstable_by_key(|(at, _)| *at);
        self.commit(stored.into_iter().map(|(_, stored)| stored).collect())
    }

    fn bring(&self, task: &Task<'_>, left: &Left) -> Result<StoredObject, Trouble> {
        let wanted = self.wanted(task)?;
        if let Some(stored) = self.is_there(&wanted, left)? {
            self.pass.meter.add(wanted.bytes);
            return Ok(stored);
        }
        let stored = object::copy(self.pass, &wanted)?;
        self.pass
            .tally
            .count(|copied| copied.bytes += stored.stored_bytes);
        let is_due = {
            let mut notes = lock(&self.notes);
            notes.copied.push(stored.clone());
            notes.last.elapsed() >= NOTED_EVERY
        };
        if is_due {
            self.note().map_err(of_target)?;
        }
        Ok(stored)
    }

    pub fn wanted(&self, task: &Task<'_>) -> Result<Wanted, Trouble> {
        let object = BackupObject::read(task.name()).ok_or_else(|| {
            of_source(Error::damaged(format!(
                "backup.json lists {}, which is no object of a backup",
                task.name()
            )))
        })?;
        let coded = |coding: Coding| Coding {
            encrypted: self.encrypted,
            ..coding
        };
        let (to, way) = match object {
            BackupObject::Part(number, _, coding) => {
                let part = BackupObject::Part(number, Edition::FIRST, coded(coding));
                (part, self.way)
            }
            BackupObject::Config(_, coding) => {
                let config = BackupObject::Config(Edition::FIRST, coded(coding));
                (config, self.way)
            }
            // Lists are never encrypted.
            other => (other, Way::AsItIs),
        };
        let (sha256, unencrypted_sha256) = match task {
            Task::Part(part) => (part.sha256, Some(part.unencrypted_sha256)),
            Task::Object(object) => (object.sha256, object.unencrypted_sha256),
        };
        let (source, target) = (&self.pass.source.repository, &self.pass.target.repository);
        Ok(Wanted {
            from: source.layout().backup_object(&self.backup.id, object),
            to: target.layout().backup_object(&self.backup.id, to),
            bytes: task.bytes(),
            sha256,
            unencrypted_sha256,
            way,
            over: self.over,
        })
    }

    /// What an earlier copy brought, if it is right. Anything else under that name goes.
    fn is_there(&self, wanted: &Wanted, left: &Left) -> Result<Option<StoredObject>, Trouble> {
        let name = wanted.to.file_name();
        let Some(length) = left.objects.get(name) else {
            return Ok(None);
        };
        let noted = left.noted.get(name);
        let noted = noted.filter(|noted| {
            let identity = match wanted.way {
                Way::Encrypted => noted.unencrypted_sha256,
                _ => Some(noted.sha256),
            };
            noted.stored_bytes == *length && identity == Some(wanted.sha256)
        });
        if let Some(noted) = noted {
            return Ok(Some(noted.clone()));
        }
        // What is encrypted can't be known again without the note.
        if wanted.way == Way::AsItIs
            && *length == wanted.bytes
            && object::hash(self.pass, &wanted.to)?.0 == wanted.sha256
        {
            return Ok(Some(StoredObject {
                name: name.to_owned(),
                stored_bytes: *length,
                sha256: wanted.sha256,
                unencrypted_sha256: wanted.unencrypted_sha256,
            }));
        }
        let target = &self.pass.target.repository;
        target.delete_if_there(&wanted.to).map_err(of_target)?;
        Ok(None)
    }

    fn note(&self) -> Result<()> {
        let (number, copied) = {
            let mut notes = lock(&self.notes);
            notes.last = Instant::now();
            if notes.copied.is_empty() {
                return Ok(());
            }
            notes.next += 1;
            (notes.next - 1, std::mem::take(&mut notes.copied))
        };
        claim::note(self.pass, self.backup, number, copied).map(drop)
    }

    fn commit(&self, stored: Vec<StoredObject>) -> Result<CopiedBackup, Trouble> {
        let target = &self.pass.target.repository;
        let (parts, objects) = stored.split_at(self.backup.parts.len());
        let parts: Vec<Part> = self.backup.parts.iter().zip(parts).map(part).collect();
        let recipients = match self.way {
            Way::Encrypted => target.recipients().map_err(of_target)?,
            _ => self.backup.recipients.clone(),
        };
        let copied = Backup {
            stored_bytes: parts.iter().map(|part| part.stored_bytes).sum(),
            recipients,
            // Lists have no hash before encryption: they are not encrypted.
            objects: objects.to_vec(),
            verified: self.pass.verify,
            parts,
            ..self.backup.clone()
        };
        self.store_sums(&copied).map_err(of_target)?;
        // Below a disk that went away nothing is lacking.
        target.confirm().map_err(of_target)?;
        seal::commit(target, &copied).map_err(of_target)?;
        Ok(CopiedBackup {
            id: copied.id,
            bytes: stored.iter().map(|one| one.stored_bytes).sum(),
        })
    }

    /// An earlier copy may have left the list: the same one stays, which a key that may not delete can't do without.
    fn store_sums(&self, copied: &Backup) -> Result<()> {
        let target = &self.pass.target.repository;
        let name = target
            .layout()
            .backup_object(&copied.id, BackupObject::Sums);
        let sums = copied.sums();
        match target.storage().create(&name, sums.as_bytes()) {
            Err(error) if error.kind() == Kind::AlreadyExists => {}
            done => return done,
        }
        let found = target.storage().read(&name, sums.len() as u64);
        if found.is_ok_and(|found| found == sums.as_bytes()) {
            return Ok(());
        }
        target.delete_if_there(&name)?;
        target.storage().create(&name, sums.as_bytes())
    }
}

pub fn part((old, stored): (&Part, &StoredObject)) -> Part {
    Part {
        number: old.number,
        name: stored.name.clone(),
        plain_bytes: old.plain_bytes,
        stored_bytes: stored.stored_bytes,
        sha256: stored.sha256,
        unencrypted_sha256: old.unencrypted_sha256,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn into_inner<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}

//! Heals a backup: each object that is not as it is described, then what describes them.
//!
//! Where an object is encrypted anew, or was encrypted for itself in the other repository, its hash as stored is another:
//! then it gets a name of its own beside the damaged one, `SHA256SUMS` and `backup.json` are replaced, in this order, behind
//! it, and the damaged one goes last. A crash before `backup.json` leaves the backup as it was, one behind that leaves an object
//! too many, which nobody reads, and which goes with the next repair or the backup.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use super::report::Repair;
use crate::{
    domain::sync::{
        backup::{Job, Notes, Task, part},
        object::{self, Way},
        pass::{Pass, Peer, Trouble, of_source, of_target},
    },
    error::{Error, Kind, Result},
    repo::{
        backup::{Backup, Part, StoredObject},
        backup_id::BackupId,
        layout::{BackupObject, ObjectName},
        repository::Repository,
    },
    util::{hash::Sha256, workers},
};

/// What came of one source.
struct Outcome {
    /// As it is described now, if that can be read.
    own: Option<Backup>,
    repairs: Vec<Repair>,
    is_whole: bool,
}

/// `own`: how it is described here; None: nothing tells.
pub fn heal<'a>(
    sources: &'a [Peer],
    pass: &impl Fn(&'a Peer) -> Pass<'a>,
    id: BackupId,
    mut own: Option<Backup>,
) -> Result<Vec<Repair>> {
    let mut repairs = Vec::new();
    let mut left = Vec::new();
    for source in sources {
        let pass = pass(source);
        pass.cancel.check()?;
        let outcome = match heal_from(&pass, id, own.clone()) {
            Ok(outcome) => outcome,
            Err(Trouble::Target(error)) => return Err(error),
            Err(Trouble::Source(error)) => {
                let error = error.context(format!("repository {} can't heal it", source.name));
                left.push(Repair::none(format!("backup {id}"), &error));
                continue;
            }
        };
        own = outcome.own;
        let (healed, still): (Vec<Repair>, Vec<Repair>) =
            (outcome.repairs.into_iter()).partition(Repair::is_done);
        repairs.extend(healed);
        left = still;
        if outcome.is_whole {
            break;
        }
    }
    repairs.extend(left);
    Ok(repairs)
}

fn heal_from(pass: &Pass<'_>, id: BackupId, own: Option<Backup>) -> Result<Outcome, Trouble> {
    let target = &pass.target.repository;
    let described = pass.source.repository.backup(id).map_err(of_source)?;
    if own.as_ref().is_some_and(|own| !own.is_same_as(&described)) {
        let what = "it has another backup of this id";
        return Err(of_source(Error::failed(what)));
    }
    let encrypted = match &own {
        Some(own) => own.coding().encrypted,
        None => {
            let system = target.system(described.system_id).map_err(|error| {
                // Of a registration that is lost, and could not be healed.
                let is_lost = error.kind() == Kind::Foreign || target.is_of_object(&error);
                if is_lost {
                    of_source(error)
                } else {
                    of_target(error)
                }
            })?;
            system.encrypted
        }
    };
    let job = Job {
        pass,
        backup: &described,
        encrypted,
        way: Way::between(described.coding().encrypted, encrypted),
        over: true,
        notes: Mutex::new(Notes::new(0)),
    };
    if own.is_none() && !tells_itself(&job)? {
        let what = "nothing that is left of it here tells that it is the same backup";
        return Err(of_source(Error::failed(what)));
    }
    pass.meter.begin(
        &format!("healing backup {id}"),
        job.tasks().map(|task| task.bytes()).sum(),
    );
    let found = Mutex::new(Vec::new());
    let one = |(at, task): (usize, Task<'_>)| {
        let healed = heal_object(&job, &task, own.as_ref());
        let is_stopped = pass.cancel.check();
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        found.push((at, healed));
        is_stopped
    };
    let tasks = job.tasks().enumerate();
    let list = |each: &mut dyn FnMut(_) -> Result<()>| tasks.into_iter().try_for_each(each);
    workers::fed(pass.workers, list, one).map_err(of_target)?;
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_unstable_by_key(|(at, _)| *at);

    let (mut repairs, mut stored) = (Vec::new(), Vec::new());
    for (task, (_, healed)) in job.tasks().zip(found) {
        match healed {
            Ok(Healed::Other) => {}
            Ok(Healed::Was(object)) => stored.push(object),
            Ok(Healed::Is(object, place)) => {
                repairs.push(Repair::of(place, pass.source, object.stored_bytes));
                stored.push(object);
            }
            Err(trouble) => {
                let known = own.as_ref().and_then(|own| told_of(own, task.name()));
                let name = known.map_or_else(|| task.name().to_owned(), |(_, here)| here.name);
                let place = target.layout().backup(&id).object(&name);
                let error = match trouble {
                    Trouble::Target(error) => error,
                    Trouble::Source(error) => {
                        error.context(format!("repository {} can't heal it", pass.source.name))
                    }
                };
                repairs.push(Repair::none(target.storage().place(&place), &error));
            }
        }
    }
    let is_whole = repairs.iter().all(Repair::is_done);
    let now = describe(&job, own.as_ref(), &stored, is_whole).map_err(of_target)?;
    if let Some(now) = &now {
        let written = write_description(pass, own.as_ref(), now).map_err(of_target)?;
        repairs.extend(written);
        repairs.extend(sweep(target, now).map_err(of_target)?);
    }
    Ok(Outcome {
        own: now.or(own),
        repairs,
        is_whole,
    })
}

/// Whether any object is what the source describes: of two backups that were begun in one second none may take the place
/// of the other. Lists first, which are small and never encrypted.
fn tells_itself(job: &Job<'_>) -> Result<bool, Trouble> {
    let tasks: Vec<Task<'_>> = job.tasks().collect();
    for task in tasks.iter().rev() {
        let wanted = job.wanted(task)?;
        if object::hash(job.pass, &wanted.to).is_ok_and(|found| wanted.is_made(found)) {
            return Ok(true);
        }
    }
    Ok(false)
}

enum Healed {
    /// It was right.
    Was(StoredObject),
    /// It is right now; where.
    Is(StoredObject, String),
    /// This repository's backup has no such object.
    Other,
}

fn heal_object(job: &Job<'_>, task: &Task<'_>, own: Option<&Backup>) -> Result<Healed, Trouble> {
    let mut wanted = job.wanted(task)?;
    let target = &job.pass.target.repository;
    let named = |object| target.layout().backup_object(&job.backup.id, object);
    let expected = match own.map(|own| told_of(own, wanted.to.file_name())) {
        Some(None) => return Ok(Healed::Other),
        Some(Some((object, stored))) => {
            wanted.to = named(object);
            Some((object, stored))
        }
        None => None,
    };
    // What can't be read is not right.
    if let Ok((sha256, stored_bytes)) = object::hash(job.pass, &wanted.to) {
        let is_right = match &expected {
            Some((_, own)) => (own.sha256, own.stored_bytes) == (sha256, stored_bytes),
            None => wanted.is_made((sha256, stored_bytes)),
        };
        if is_right {
            job.pass.meter.add(wanted.bytes);
            return Ok(Healed::Was(StoredObject {
                name: wanted.to.file_name().to_owned(),
                stored_bytes,
                sha256,
                unencrypted_sha256: wanted.unencrypted_sha256,
            }));
        }
    }
    if let Some((object, own)) = expected
        && !wanted.is_made((own.sha256, own.stored_bytes))
    {
        wanted.to = named(object.anew());
    }
    let stored = object::copy(job.pass, &wanted)?;
    let place = target.storage().place(&wanted.to);
    Ok(Healed::Is(stored, place))
}

/// What a description says of the object or part that has the plain bytes of `name`.
fn told_of(backup: &Backup, name: &str) -> Option<(BackupObject, StoredObject)> {
    let as_object = |part: &Part| StoredObject {
        name: part.name.clone(),
        stored_bytes: part.stored_bytes,
        sha256: part.sha256,
        unencrypted_sha256: Some(part.unencrypted_sha256),
    };
    let parts = backup.parts.iter().map(as_object);
    let all = parts.chain(backup.objects.iter().cloned());
    let mut read = all.filter_map(|stored| Some((BackupObject::read(&stored.name)?, stored)));
    let wanted = BackupObject::read(name)?;
    read.find(|(object, _)| object.is_alike(wanted))
}

/// The description as it must be now; None where it can't be told, since not all is there.
fn describe(
    job: &Job<'_>,
    own: Option<&Backup>,
    stored: &[StoredObject],
    is_whole: bool,
) -> Result<Option<Backup>> {
    if own.is_none() && !is_whole {
        return Ok(None);
    }
    let mut now = own.unwrap_or(job.backup).clone();
    let mut is_other = false;
    for object in stored {
        let same = |one: (u64, Sha256)| one == (object.stored_bytes, object.sha256);
        let is_it = |old: &str| is_alike(old, &object.name);
        if let Some(old) = now.parts.iter_mut().find(|old| is_it(&old.name)) {
            is_other |= !same((old.stored_bytes, old.sha256));
            *old = part((old, object));
        } else if let Some(old) = now.objects.iter_mut().find(|old| is_it(&old.name))
            && !same((old.stored_bytes, old.sha256))
        {
            is_other = true;
            *old = StoredObject {
                unencrypted_sha256: object.unencrypted_sha256.filter(|_| job.encrypted),
                ..object.clone()
            };
        }
    }
    if own.is_none() || is_other {
        let added = match job.way {
            Way::AsItIs => job.backup.recipients.clone(),
            Way::Encrypted => job.pass.target.repository.recipients()?,
            Way::Decrypted => Vec::new(),
        };
        let known = own.map(|own| own.recipients.clone()).unwrap_or_default();
        let all: BTreeSet<String> = known.into_iter().chain(added).collect();
        now.recipients = all.into_iter().collect();
        now.verified = true;
    }
    now.stored_bytes = now.parts.iter().map(|part| part.stored_bytes).sum();
    Ok(Some(now))
}

fn is_alike(one: &str, other: &str) -> bool {
    let (one, other) = (BackupObject::read(one), BackupObject::read(other));
    one.zip(other)
        .is_some_and(|(one, other)| one.is_alike(other))
}

/// Deletes what another object has taken the place of: other editions of what `now` describes.
fn sweep(target: &Repository, now: &Backup) -> Result<Vec<Repair>> {
    let mut swept = Vec::new();
    let folder = target.layout().backup(&now.id);
    let parts = now.parts.iter().map(|part| part.name.as_str());
    let named = parts.chain(now.objects.iter().map(|object| object.name.as_str()));
    let counted: Vec<BackupObject> = named.filter_map(BackupObject::read).collect();
    for info in target.storage().list(&folder, None)? {
        let name = info?.name;
        let is_replaced = BackupObject::read(name.file_name()).is_some_and(|object| {
            let mut counted = counted.iter();
            counted.any(|counted| object.is_other_edition_of(*counted))
        });
        if is_replaced {
            match target.storage().delete(&name) {
                // Who may not delete leaves it: nothing reads it.
                Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Denied) => {}
                deleted => {
                    deleted?;
                    swept.push(Repair::replaced(target.storage().place(&name)));
                }
            }
        }
    }
    Ok(swept)
}

/// Writes what is not so yet.
fn write_description(pass: &Pass<'_>, own: Option<&Backup>, now: &Backup) -> Result<Vec<Repair>> {
    let target = &pass.target.repository;
    let storage = target.storage();
    let name = |object| target.layout().backup_object(&now.id, object);
    let healed = |name: &ObjectName| {
        let bytes = storage.head(name)?.size;
        Ok(Repair::of(storage.place(name), pass.source, bytes))
    };
    let mut written = Vec::new();
    let sums = name(BackupObject::Sums);
    // What can't be read is not right.
    if storage.read(&sums, 64 << 20).ok().as_deref() != Some(now.sums().as_bytes()) {
        storage.replace(&sums, now.sums().as_bytes())?;
        written.push(healed(&sums)?);
    }
    let is_same = |own: &Backup| (&own.parts, &own.objects) == (&now.parts, &now.objects);
    if !own.is_some_and(is_same) {
        let description = name(BackupObject::Backup);
        match storage.head(&description) {
            Err(error) if error.kind() == Kind::NotFound && own.is_none() => {
                // Below a disk that went away nothing is there, either.
                target.confirm()?;
                storage.create_json(&description, now)?;
            }
            // A cleanup that began meanwhile has deleted it first: then it stays away.
            there => {
                there?;
                storage.replace_json(&description, now)?;
            }
        }
        written.push(healed(&description)?);
    }
    Ok(written)
}

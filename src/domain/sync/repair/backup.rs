//! Heals a backup: each object that is not as it is described, then what describes them.
//!
//! Where an object is encrypted anew, or was encrypted for itself in the other repository, its hash as stored is another:
//! then `SHA256SUMS` and `backup.json` are replaced, in this order, behind it. A crash in between leaves a backup that counts
//! as damaged, since its description tells of another object, and is healed once more.

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
        backup_id::BackupId,
        catalog::{Backup, Part, StoredObject},
        layout::BackupObject,
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

/// One that has lost its `backup.json`, which makes it no backup; nothing comes of it where no source has it.
pub fn heal_lost<'a>(
    sources: &'a [Peer],
    pass: &impl Fn(&'a Peer) -> Pass<'a>,
    id: BackupId,
) -> Result<Vec<Repair>> {
    let has = |source: &Peer| source.repository.backup(id).is_ok();
    match sources.iter().any(has) {
        true => heal(sources, pass, id, None),
        false => Ok(Vec::new()),
    }
}

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
            (outcome.repairs.into_iter()).partition(|repair| repair.from.is_some());
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
    let system = target.system(described.system_id).map_err(of_target)?;
    let encrypted = match &own {
        Some(own) => own.coding().encrypted,
        None => system.encrypted,
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
            Err(Trouble::Source(error) | Trouble::Target(error)) => {
                let place = target.layout().backup(&id).object(task.name());
                repairs.push(Repair::none(target.storage().place(&place), &error));
            }
        }
    }
    let is_whole = repairs.iter().all(|repair| repair.from.is_some());
    let now = describe(&job, own.as_ref(), &stored, is_whole).map_err(of_target)?;
    if let Some(now) = &now {
        let places = write_description(pass, own.as_ref(), now).map_err(of_target)?;
        repairs.extend(
            places
                .into_iter()
                .map(|place| Repair::of(place, pass.source, 0)),
        );
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
    let wanted = job.wanted(task)?;
    let name = wanted.to.file_name();
    let expected = own.map(|own| described(own, name));
    if expected == Some(None) {
        return Ok(Healed::Other);
    }
    // What can't be read is not right.
    if let Ok((sha256, stored_bytes)) = object::hash(job.pass, &wanted.to) {
        let is_right = match expected.flatten() {
            Some(own) => (own.sha256, own.stored_bytes) == (sha256, stored_bytes),
            None => wanted.is_made((sha256, stored_bytes)),
        };
        if is_right {
            job.pass.meter.add(wanted.bytes);
            return Ok(Healed::Was(StoredObject {
                name: name.to_owned(),
                stored_bytes,
                sha256,
                unencrypted_sha256: wanted.unencrypted_sha256,
            }));
        }
    }
    let stored = object::copy(job.pass, &wanted)?;
    let place = job.pass.target.repository.storage().place(&wanted.to);
    Ok(Healed::Is(stored, place))
}

/// What a description says of an object or part.
fn described(backup: &Backup, name: &str) -> Option<StoredObject> {
    let as_object = |part: &Part| StoredObject {
        name: part.name.clone(),
        stored_bytes: part.stored_bytes,
        sha256: part.sha256,
        unencrypted_sha256: Some(part.unencrypted_sha256),
    };
    let part = backup.parts.iter().find(|part| part.name == name);
    let object = backup.objects.iter().find(|object| object.name == name);
    part.map(as_object).or(object.cloned())
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
        let number = match BackupObject::read(&object.name) {
            Some(BackupObject::Part(number, _)) => Some(number),
            _ => None,
        };
        let kind = BackupObject::read(&object.name);
        if let Some(old) = now.parts.iter_mut().find(|old| Some(old.number) == number) {
            is_other |= !same((old.stored_bytes, old.sha256));
            *old = part((old, object));
        } else if let Some(old) = (now.objects.iter_mut())
            .find(|old| old.name == object.name || is_alike(BackupObject::read(&old.name), kind))
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

/// The configuration of a backup, under whatever coding.
fn is_alike(one: Option<BackupObject>, other: Option<BackupObject>) -> bool {
    let is_config = |object| matches!(object, Some(BackupObject::Config(_)));
    is_config(one) && is_config(other)
}

/// Writes what is not so yet; where.
fn write_description(pass: &Pass<'_>, own: Option<&Backup>, now: &Backup) -> Result<Vec<String>> {
    let target = &pass.target.repository;
    let storage = target.storage();
    let name = |object| target.layout().backup_object(&now.id, object);
    let mut written = Vec::new();
    let sums = name(BackupObject::Sums);
    // What can't be read is not right.
    if storage.read(&sums, 64 << 20).ok().as_deref() != Some(now.sums().as_bytes()) {
        storage.replace(&sums, now.sums().as_bytes())?;
        written.push(storage.place(&sums));
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
        written.push(storage.place(&description));
    }
    Ok(written)
}

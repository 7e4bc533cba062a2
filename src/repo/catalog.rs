//! What backups a repository holds. A backup exists exactly when its `backup.json` does.

use std::{collections::BTreeMap, mem};

use serde::Serialize;

use super::{
    backup::{Alive, Backup, Part, Started},
    backup_id::BackupId,
    document::FORMAT,
    layout::{BackupObject, ObjectName},
    repository::Repository,
    storage::ObjectInfo,
};
use crate::{
    error::{Error, Kind, Result},
    util::clock::Time,
};

/// What a backup's folder shows.
#[derive(Clone, Debug)]
pub enum State {
    /// Whole, and restorable.
    Complete(Box<Backup>),
    /// Was complete, but objects that every restore reads are gone or have another length: which.
    Damaged(Box<Backup>, Vec<String>),
    /// Whole but for WAL that has not arrived: not yet restorable.
    Pending(Box<Backup>),
    /// Running, or the remains of one that failed.
    Unfinished(Unfinished),
    /// Its description is there, but can't be read, or says nothing to us. The other backups count all
    /// the same.
    Unreadable(Unreadable),
}

#[derive(Clone, Debug)]
pub struct Unreadable {
    pub why: String,
    /// What to do.
    pub hint: String,
    /// What else tells of it.
    pub claim: Unfinished,
}

#[derive(Clone, Debug)]
pub struct Unfinished {
    /// None if the claim is gone or can't be read.
    pub started: Option<Started>,
    pub alive: Option<Alive>,
    /// When its newest object came, by the store's clock.
    pub newest: Time,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub id: BackupId,
    pub state: State,
}

impl Entry {
    /// What it builds on, as far as anything can be read of it.
    pub fn parent(&self) -> Option<BackupId> {
        match &self.state {
            State::Complete(backup) | State::Damaged(backup, _) | State::Pending(backup) => {
                backup.parent
            }
            State::Unfinished(claim) | State::Unreadable(Unreadable { claim, .. }) => {
                claim.started.as_ref()?.parent
            }
        }
    }
}

/// How much was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Removed {
    pub objects: u64,
    pub bytes: u64,
}

impl Removed {
    pub fn add(&mut self, info: &ObjectInfo) {
        self.objects += 1;
        self.bytes += info.size;
    }
}

/// What one object group under `base/` holds.
struct Group {
    id: BackupId,
    /// With their lengths.
    objects: BTreeMap<BackupObject, u64>,
    newest: Time,
}

impl Group {
    /// What the listing alone shows to be wrong with the parts and their index: no restore can
    /// do without these.
    fn problems(&self, backup: &Backup) -> Vec<String> {
        let part = |part: &Part| (part.object().ok(), part.name.clone(), part.stored_bytes);
        let index = backup.objects.iter().filter_map(|object| {
            let index = BackupObject::read(&object.name)? == BackupObject::Index;
            index.then(|| {
                (
                    Some(BackupObject::Index),
                    object.name.clone(),
                    object.stored_bytes,
                )
            })
        });
        let needed = backup.parts.iter().map(part).chain(index);
        needed
            .filter_map(|(object, name, bytes)| {
                match object.and_then(|object| self.objects.get(&object)) {
                    None => Some(format!("{name} is missing")),
                    Some(length) if *length != bytes => {
                        Some(format!("{name} has {length} bytes instead of {bytes}"))
                    }
                    Some(_) => None,
                }
            })
            .collect()
    }
}

/// An incremental backup is worth nothing without those that it builds on. `older` are those before it,
/// and whether they are complete.
fn builds_on(state: State, older: &BTreeMap<BackupId, bool>) -> State {
    let State::Complete(backup) = state else {
        return state;
    };
    let Some(parent) = backup.parent else {
        return State::Complete(backup);
    };
    let problem = match older.get(&parent) {
        Some(true) => return State::Complete(backup),
        Some(false) => format!("it builds on backup {parent}, which can't be used"),
        None => format!("it builds on backup {parent}, which is gone"),
    };
    State::Damaged(backup, vec![problem])
}

impl Repository {
    /// All backups and remains, oldest id first. One listing, and one read for each backup.
    pub fn backups(&self) -> Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        self.each_backup(|entry| {
            entries.push(entry);
            Ok(())
        })?;
        Ok(entries)
    }

    /// The same, one after the other, of which few are held: `backup.json` of a large database is large.
    pub fn each_backup(&self, mut each: impl FnMut(Entry) -> Result<()>) -> Result<()> {
        let mut older: BTreeMap<BackupId, bool> = BTreeMap::new();
        let mut read = |groups: &[Group]| -> Result<()> {
            let states = self.read_each(groups, |group| self.state(group));
            for (Group { id, .. }, state) in groups.iter().zip(states) {
                let Some(state) = state? else {
                    continue;
                };
                // A parent's id is older, so that its state is known.
                let state = builds_on(state, &older);
                older.insert(*id, matches!(state, State::Complete(_)));
                each(Entry { id: *id, state })?;
            }
            Ok(())
        };
        let mut groups = Vec::new();
        self.each_group(None, |group| {
            groups.push(group);
            match groups.len() < self.read_at_once() {
                true => Ok(()),
                false => read(&mem::take(&mut groups)),
            }
        })?;
        read(&groups)
    }

    /// Those that don't count: pending, running, and remains. One listing, and one read for each of these.
    pub fn uncounted_backups(&self) -> Result<Vec<Entry>> {
        let mut groups = Vec::new();
        self.each_group(None, |group| {
            if !group.objects.contains_key(&BackupObject::Backup) {
                groups.push(group);
            }
            Ok(())
        })?;
        let states = self.read_each(&groups, |group| self.state(group));
        let entries = groups.iter().zip(states).filter_map(|(group, state)| {
            let entry = |state| Entry {
                id: group.id,
                state,
            };
            Some(state.transpose()?.map(entry))
        });
        entries.collect()
    }

    /// The claims of backups with a higher id than `known`.
    pub fn begun_after(&self, known: Option<BackupId>) -> Result<Vec<(BackupId, Option<Started>)>> {
        let mut begun = Vec::new();
        self.each_group(known, |group| {
            let name = self
                .layout()
                .backup_object(&group.id, BackupObject::Started);
            begun.push((group.id, self.storage().read_json(&name).ok()));
            Ok(())
        })?;
        Ok(begun)
    }

    /// The backup of that id; an error of kind `NotFound` unless it is complete.
    pub fn backup(&self, id: BackupId) -> Result<Backup> {
        self.description(id, BackupObject::Backup)
    }

    /// `backup.json`, or `pending.json`, which has its form.
    pub fn description(&self, id: BackupId, object: BackupObject) -> Result<Backup> {
        let name = self.layout().backup_object(&id, object);
        let backup: Backup = self.storage().read_json(&name)?;
        let place = || self.storage().place(&name);
        if backup.format != FORMAT {
            return Err(Error::damaged(format!(
                "{} has format {}, this version of pgstow knows format {FORMAT}",
                place(),
                backup.format
            ))
            .hint("use a newer version of pgstow."));
        }
        if backup.id != id {
            let what = format!("{} describes backup {}", place(), backup.id);
            return Err(Error::damaged(what).hint("give the folder its own name again."));
        }
        Ok(backup)
    }

    /// The newest id that anybody claimed.
    pub fn newest_id(&self) -> Result<Option<BackupId>> {
        let mut newest = None;
        self.each_group(None, |group| {
            newest = newest.max(Some(group.id));
            Ok(())
        })?;
        Ok(newest)
    }

    /// Where a part of backup `id` is.
    pub fn part(&self, id: BackupId, part: &Part) -> Result<ObjectName> {
        Ok(self.layout().backup_object(&id, part.object()?))
    }

    /// Removes all objects of a backup, its commit point first: from then on it is none.
    pub fn remove_backup(&self, id: BackupId) -> Result<Removed> {
        let objects: Result<Vec<ObjectInfo>> = self
            .storage()
            .list(&self.layout().backup(&id), None)?
            .collect();
        let mut objects = objects?;
        // The claim goes last, so that what a crash leaves is still known as remains.
        let turn = |name: &ObjectName| match self.layout().read_backup_object(name) {
            Some((_, BackupObject::Backup)) => 0,
            Some((_, BackupObject::Pending)) => 1,
            Some((_, BackupObject::Started)) => 3,
            _ => 2,
        };
        objects.sort_by_key(|info| turn(&info.name));
        let mut removed = Removed::default();
        for of_turn in objects.chunk_by(|one, next| turn(&one.name) == turn(&next.name)) {
            let names: Vec<ObjectName> = of_turn.iter().map(|info| info.name.clone()).collect();
            self.storage().delete_all(&names)?;
            of_turn.iter().for_each(|info| removed.add(info));
        }
        Ok(removed)
    }

    /// Deletes an object that somebody else may have deleted already.
    pub fn delete_if_there(&self, name: &ObjectName) -> Result<()> {
        match self.storage().delete(name) {
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            other => other,
        }
    }

    /// The same where we may: a key that may not delete leaves behind what nobody needs.
    pub fn delete_if_we_may(&self, name: &ObjectName) -> Result<()> {
        match self.delete_if_there(name) {
            Err(error) if error.kind() == Kind::Denied => Ok(()),
            other => other,
        }
    }

    /// What lies in the folders of backups with a higher id than `after`, in the order of the ids, which
    /// is that of their names.
    fn each_group(
        &self,
        after: Option<BackupId>,
        mut each: impl FnMut(Group) -> Result<()>,
    ) -> Result<()> {
        let base = self.layout().base();
        let after = after.map(|id| base.behind(&format!("{id}/")));
        let mut current: Option<Group> = None;
        for info in self.storage().list(&base, after.as_ref())? {
            let info = info?;
            let Some((id, object)) = self.layout().read_backup_object(&info.name) else {
                continue;
            };
            if current.as_ref().is_some_and(|group| group.id != id)
                && let Some(group) = current.take()
            {
                each(group)?;
            }
            let group = current.get_or_insert_with(|| Group {
                id,
                objects: BTreeMap::new(),
                newest: info.modified,
            });
            group.objects.insert(object, info.size);
            group.newest = group.newest.max(info.modified);
        }
        current.map_or(Ok(()), each)
    }

    /// None if the backup went while we looked.
    fn state(&self, group: &Group) -> Result<Option<State>> {
        let has = |object| group.objects.contains_key(&object);
        let described = |object| self.description(group.id, object).map(Box::new);
        let state = if has(BackupObject::Backup) {
            described(BackupObject::Backup).map(|backup| match group.problems(&backup) {
                problems if problems.is_empty() => State::Complete(backup),
                problems => State::Damaged(backup, problems),
            })
        } else if has(BackupObject::Pending) {
            described(BackupObject::Pending).map(State::Pending)
        } else {
            Ok(State::Unfinished(self.claim(group)))
        };
        match state {
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) if self.is_of_object(&error) => {
                let hint = error.hint_text().unwrap_or(match error.kind() {
                    Kind::Damaged => {
                        "put it back from a copy of the repository, or delete its folder."
                    }
                    _ => "see what is wrong with its disk.",
                });
                Ok(Some(State::Unreadable(Unreadable {
                    why: error.in_one_line(),
                    hint: hint.to_owned(),
                    claim: self.claim(group),
                })))
            }
            other => other.map(Some),
        }
    }

    /// What is there of a backup beside its description.
    fn claim(&self, group: &Group) -> Unfinished {
        let name = |object| self.layout().backup_object(&group.id, object);
        let alive = BackupObject::Alive(1);
        let alive = group.objects.contains_key(&alive).then(|| name(alive));
        Unfinished {
            started: self.storage().read_json(&name(BackupObject::Started)).ok(),
            alive: alive.and_then(|alive| self.storage().read_json(&alive).ok()),
            newest: group.newest,
        }
    }
}

//! The backup that an incremental one builds on: which one can be, and what it knows of each file.

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    io,
    iter::{self, Peekable},
    sync::mpsc::sync_channel,
    thread::{Scope, ScopedJoinHandle},
};

use chrono::TimeDelta;
use tracing::warn;

use super::{
    changes::{Known, Since},
    options::ChainPolicy,
};
use crate::{
    error::{Error, Result},
    postgres::{
        backup_label::IncrementalFrom,
        incremental,
        server_facts::{Checkpoint, ServerFacts},
        timeline::TimelineHistory,
    },
    repo::{
        backup::{Backup, Method},
        backup_id::BackupId,
        catalog::State,
        file_index, good,
        layout::BackupObject,
        repository::Repository,
    },
    util::{clock::Time, hash::Sha256Reader, host},
};

/// Files on the way from the reader of the index.
const AHEAD: usize = 1024;

/// A complete backup whose files are those of the server's data directory, older.
#[derive(Debug)]
pub struct Parent {
    pub backup: Backup,
    /// Of the server's timeline.
    pub history: TimelineHistory,
}

impl Parent {
    /// The newest backup on the server's line of timelines, if an incremental one can build on it
    /// (rule 70 of PostgreSQL's own: the child starts behind the parent's end); else why there is none.
    /// One that is read from the data directory needs what the parent noted of the files there; the
    /// server itself takes any parent's manifest.
    pub fn find(
        repository: &Repository,
        facts: &ServerFacts,
        now: Checkpoint,
        method: Method,
        history: TimelineHistory,
        policy: ChainPolicy,
        time: Time,
    ) -> Result<Result<Self, String>> {
        let complete = repository.backups()?.into_iter().filter_map(|entry| {
            let State::Complete(backup) = entry.state else {
                return None;
            };
            (backup.system_id == facts.system_id).then_some((backup.id, backup))
        });
        let complete: BTreeMap<BackupId, Box<Backup>> = complete.collect();
        // Behind a fork, a timeline that was left may have later ends than this one for long.
        let on_the_way = complete
            .values()
            .filter(|backup| history.contains(backup.timeline, backup.stop_lsn));
        let Some(backup) = on_the_way.max_by_key(|backup| backup.stop_lsn) else {
            let why = match complete.is_empty() {
                true => "there is no backup to build on",
                false => "no backup is on the way to the server's timeline",
            };
            return Ok(Err(why.to_owned()));
        };
        let id = backup.id;
        let not = |why: &str| Ok(Err(format!("backup {id} {why}")));
        let verdicts = repository.verdicts(|id| complete.contains_key(&id))?;
        if let Some(why) = verdicts.unread.first() {
            warn!("what `pgstow verify` found can't be read, so a full backup is made: {why}");
            return not("may have been found damaged");
        }
        let mut flawed = good::flawed_of(complete.values().map(Box::as_ref), &verdicts);
        if let Some(why) = flawed.remove(&id) {
            warn!("backup {id} isn't good: {why}; so a full backup is made");
            return not("isn't good");
        }
        let chain: Vec<&Backup> = chain(&complete, backup).collect();
        if chain.len() > policy.longest as usize {
            return not("is the last of a chain that may not get longer");
        }
        let full = chain.last().copied().unwrap_or(backup);
        let system = repository.system(facts.system_id)?;
        if let Some((first, last)) = repository.gap_behind(&system, full.start_lsn)? {
            return not(&format!(
                "builds on a full backup before {first} to {last}, WAL that was given up (wal.drop_above)"
            ));
        }
        let begun = full.start_time;
        let due = policy
            .full_every
            .and_then(|every| TimeDelta::from_std(every).ok());
        if due.is_some_and(|every| time - begun >= every) {
            return not("builds on a full backup that is so old that a new one is due");
        }
        if method == Method::Local && backup.method != Method::Local {
            return not("was not read from the data directory");
        }
        if method == Method::Local && backup.host != host::name() {
            return not("was taken on another host");
        }
        if backup.postgres_version / 10_000 != facts.version / 10_000 {
            return not("is of another version of PostgreSQL");
        }
        if backup.data_checksums != facts.data_checksums {
            return not("was taken before data checksums were switched");
        }
        if facts.standby && now.redo < backup.stop_lsn {
            return not("ended behind the standby's last restartpoint");
        }
        let (object, name) = match method {
            Method::Local => (BackupObject::Index, "an index"),
            Method::Stream => (BackupObject::Manifest, "a manifest"),
        };
        if let Err(error) = is_right(repository, backup, object) {
            return not(&format!(
                "has {name} that can't be used: {}",
                error.in_one_line()
            ));
        }
        let backup = Backup::clone(backup);
        Ok(Ok(Self { backup, history }))
    }

    /// What changes are measured by.
    pub fn since(&self) -> Since {
        Since {
            start: self.backup.start_lsn,
            start_time: self.backup.start_time,
            block_size: self.backup.block_size,
        }
    }

    /// What the label of a child says.
    pub fn from(&self) -> IncrementalFrom {
        IncrementalFrom {
            lsn: self.backup.start_lsn,
            timeline: self.backup.timeline,
        }
    }

    /// Reads the index on a thread of `scope`.
    pub fn files<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        repository: &'scope Repository,
    ) -> Result<KnownFiles<'scope>> {
        let stored = object(repository, &self.backup, BackupObject::Index)?;
        let (sender, files) = sync_channel(AHEAD);
        let reader = scope.spawn(move || {
            file_index::read(stored, |entry| {
                let Some(facts) = entry.facts else {
                    return Ok(());
                };
                let path = incremental::plain_path(&entry.path.0);
                let known = Known {
                    facts,
                    notes: entry.notes,
                };
                let path = path.unwrap_or_else(|| entry.path.0.into_vec());
                sender
                    .send((path, known))
                    .map_err(|_| Error::failed("reading the parent's index was stopped"))
            })
        });
        Ok(KnownFiles {
            files: files.into_iter().peekable(),
            reader,
        })
    }
}

/// The backup and those that it builds on, down to a full one. Of one that isn't flawed all are there.
fn chain<'a>(
    complete: &'a BTreeMap<BackupId, Box<Backup>>,
    newest: &'a Backup,
) -> impl Iterator<Item = &'a Backup> {
    iter::successors(Some(newest), |backup| {
        complete.get(&backup.parent?).map(Box::as_ref)
    })
}

fn object(
    repository: &Repository,
    backup: &Backup,
    object: BackupObject,
) -> Result<Box<dyn io::Read + Send>> {
    let name = repository.layout().backup_object(&backup.id, object);
    repository.storage().get(&name, None)
}

/// Index and manifest decide what is not stored again: not a byte of them may be another one.
fn is_right(repository: &Repository, backup: &Backup, which: BackupObject) -> Result<()> {
    let mut hashing = Sha256Reader::new(object(repository, backup, which)?);
    io::copy(&mut hashing, &mut io::sink())
        .map_err(|error| Error::damaged("it can't be read").because(error))?;
    backup.check_object(which, hashing.finish())
}

/// What the parent knows, in the order of its index, which is that of the walk.
pub struct KnownFiles<'scope> {
    files: Peekable<std::sync::mpsc::IntoIter<(Vec<u8>, Known)>>,
    reader: ScopedJoinHandle<'scope, Result<()>>,
}

impl KnownFiles<'_> {
    /// What is known of the file at `path`; paths must be asked for in the order of the walk.
    pub fn get(&mut self, path: &[u8]) -> Option<Known> {
        loop {
            match walk_order(&self.files.peek()?.0, path) {
                Ordering::Less => drop(self.files.next()),
                Ordering::Equal => return self.files.next().map(|(_, known)| known),
                Ordering::Greater => return None,
            }
        }
    }

    /// Reads the rest; an error if not all of the index could be read.
    pub fn finish(mut self) -> Result<()> {
        self.files.by_ref().for_each(drop);
        let read = self.reader.join();
        read.unwrap_or_else(|_| Err(Error::failed("reading the parent's index panicked")))
    }
}

/// A folder comes before what is in it, and that before the folder's next neighbour.
fn walk_order(one: &[u8], other: &[u8]) -> Ordering {
    let slash = |byte: &u8| *byte == b'/';
    one.split(slash).cmp(other.split(slash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_a_walk() {
        let paths: [&[u8]; 6] = [
            b"base",
            b"base/1",
            b"base/1/2",
            b"base/1-",
            b"base/10",
            b"global",
        ];
        assert!(paths.is_sorted_by(|one, other| walk_order(one, other) == Ordering::Less));
    }
}

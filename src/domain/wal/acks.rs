//! Acknowledgements: which files a look-ahead has stored already, so that their own calls can
//! return at once.
//!
//! One small file, `stored-ahead.json` in the state folder, replaced as a whole; its one writer is the
//! process that looks ahead. What it says is durable in the repositories before it is said. The file itself
//! is not synced: who loses it stores its segments once more, and finds them equal, and what a crash of
//! the host leaves of it is whole or no JSON. So it is never repaired.
//!
//! Believed is only what can be seen to be true now:
//! - the file that is offered is the very one that was stored: name, size, inode, times of its
//!   bytes and of its inode. That is not so after a restore, a pg_resetwal, or a write into it;
//! - the data directory is of the same system;
//! - each repository of now is one of those that have it, by its id, and still has an object of that
//!   name and size. One that was lost, emptied or exchanged has not.
//!
//! A folder of this host is looked at each time, which costs nothing. A store that is elsewhere has said itself that
//! it has the object, durably, and is believed for a minute: what it loses meanwhile it could as well lose a moment
//! later, when PostgreSQL has been told. Behind that it is asked again.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::stores::OpenStore;
use crate::{
    error::{Error, IoContext, Result},
    postgres::{control::Control, lsn::SystemId, wal_name::WalName},
    repo::repository::Repository,
    util::{
        clock::{Time, now},
        fs::NewFile,
    },
};

const FILE: &str = "stored-ahead.json";

/// As all that is below the state folder.
const FILE_MODE: u32 = 0o640;

/// How long a store that is elsewhere is believed without being asked. The calls for what was stored ahead come
/// within seconds; one that failed is repeated after a minute.
const BELIEVED: Duration = Duration::from_secs(60);

/// What tells one file from every other one that has, had or will have its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    size: u64,
    device: u64,
    inode: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    /// Of the inode: nobody can set it back.
    changed: (i64, i64),
}

impl Facts {
    pub fn of(path: &Path) -> Result<Self> {
        let found = fs::metadata(path).at("read", path)?;
        Ok(Self {
            size: found.len(),
            device: found.dev(),
            inode: found.ino(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

/// One file, and the repositories that have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    pub facts: Facts,
    /// Bytes of the object in each repository, by the repository's id.
    pub stored: BTreeMap<String, u64>,
    /// When the last of them had said so.
    pub since: Time,
}

impl Ack {
    /// Of a file that the repositories in `stored` have by now.
    pub fn new(facts: Facts, stored: BTreeMap<String, u64>) -> Self {
        let since = now();
        Self {
            facts,
            stored,
            since,
        }
    }

    /// Whether it names all of them.
    fn covers(&self, stores: &[OpenStore]) -> bool {
        let mut ids = stores.iter().map(|store| store.repository.id());
        ids.all(|id| self.stored.contains_key(id))
    }

    /// Whether `store` has `file` of `system`, as far as anybody can tell.
    fn holds_for(&self, store: &OpenStore, system: SystemId, file: WalName) -> bool {
        let repository = &store.repository;
        let Some(size) = self.stored.get(repository.id()) else {
            return false;
        };
        let is_here = repository.location().folder().is_some();
        match repository.system(system) {
            Err(_) => false,
            Ok(_) if !is_here && self.is_believed() => true,
            Ok(_) => stored_size(repository, system, file).ok() == Some(*size),
        }
    }

    /// Not where a clock was set back.
    fn is_believed(&self) -> bool {
        let age = (now() - self.since).to_std();
        age.is_ok_and(|age| age < BELIEVED)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Acks {
    pub system_id: SystemId,
    /// By their names. What is no segment is here only while a repository is away.
    #[serde(rename = "segments")]
    pub files: BTreeMap<String, Ack>,
}

impl Acks {
    /// Those that are noted for `system`; none where they can't be read.
    pub fn of(state: &Path, system: SystemId) -> Self {
        Self::read(state)
            .filter(|acks| acks.system_id == system)
            .unwrap_or_else(|| Self {
                system_id: system,
                files: BTreeMap::new(),
            })
    }

    /// Whether all `stores` are noted to have `file`, as it lies in the folder `wal` now.
    pub fn cover(&self, file: WalName, wal: &Path, stores: &[OpenStore]) -> bool {
        let name = file.to_string();
        let ack = self.files.get(&name).filter(|ack| ack.covers(stores));
        ack.is_some_and(|ack| Facts::of(&wal.join(name)).is_ok_and(|facts| facts == ack.facts))
    }

    /// Bytes of the object of `file`, if it is certain that `store` has it, made from the file with these facts.
    pub fn size_in(&self, store: &OpenStore, file: WalName, facts: &Facts) -> Option<u64> {
        let ack = self.files.get(&file.to_string())?;
        let is_there = ack.facts == *facts && ack.holds_for(store, self.system_id, file);
        let size = ack.stored.get(store.repository.id()).copied();
        size.filter(|_| is_there)
    }

    fn read(state: &Path) -> Option<Self> {
        let json = fs::read(path(state)).ok()?;
        serde_json::from_slice(&json).ok()
    }

    /// Puts them in the place of those that were noted before, at once. The folder is there.
    pub fn write(&self, state: &Path) -> Result<()> {
        let json = serde_json::to_vec(self)
            .map_err(|error| Error::failed("can't write acknowledgements").because(error))?;
        let path = path(state);
        let mut file = NewFile::create(&path, FILE_MODE)?;
        file.write_all(&json).at("write", &path)?;
        file.appear_over()
    }
}

/// The system of `file`, which lies at `at`, if it is certain that all `stores` have it. Every
/// doubt is a no.
pub fn acknowledged(
    state: &Path,
    file: WalName,
    at: &Path,
    data_dir: &Path,
    stores: &[OpenStore],
) -> Option<SystemId> {
    let acks = Acks::read(state)?;
    let ack = acks.files.get(&file.to_string())?;
    let system = acks.system_id;
    let is_same = Facts::of(at).is_ok_and(|facts| facts == ack.facts);
    let is_ours = || Control::read(data_dir).is_ok_and(|control| control.system == system);
    let has = |store: &OpenStore| ack.holds_for(store, system, file);
    (is_same && is_ours() && !stores.is_empty() && stores.iter().all(has)).then_some(system)
}

/// Bytes of the object of `file`.
pub fn stored_size(repository: &Repository, system: SystemId, file: WalName) -> Result<u64> {
    let object = repository.wal_object(&repository.system(system)?, file);
    Ok(repository.storage().head(&object)?.size)
}

fn path(state: &Path) -> PathBuf {
    state.join(FILE)
}

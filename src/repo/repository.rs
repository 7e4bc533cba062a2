//! An opened repository: where it is, whose names it holds, which systems may write into it.

use std::{collections::BTreeMap, fs::File, io::Read, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    codec::Codec,
    coding::Coding,
    crypt::Keys,
    document::FORMAT,
    layout::{self, ClusterName, Layout, ObjectName},
    location::Location,
    storage::Storage,
};
use crate::{
    error::{Error, IoContext, Kind, Result},
    postgres::{
        lsn::SystemId,
        wal_name::{SegmentSize, WalName},
    },
    util::clock::Time,
};

/// Lies in every repository, for whoever has nothing else of pgstow on the worst day.
const COMBINE: &[u8] = include_bytes!("../../docs/combine.py");

/// `repository.json`: never changes once written.
#[derive(Debug, Serialize, Deserialize)]
struct Identity {
    format: u32,
    id: String,
}

/// `systems/<system-id>.json`: a database system that belongs into this cluster's folder,
/// and what is fixed for its WAL. Never changes once written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    pub format: u32,
    pub system_id: SystemId,
    /// Such as 15.
    pub postgres_major: u32,
    pub segment_size: SegmentSize,
    /// One codec for all its WAL, so that a segment has one possible object name.
    pub wal_codec: Codec,
    /// Whether its WAL is encrypted, fixed for the same reason.
    pub encrypted: bool,
    pub registered: Time,
}

impl System {
    /// How its segments are stored.
    pub fn wal_coding(&self) -> Coding {
        Coding {
            codec: self.wal_codec,
            encrypted: self.encrypted,
        }
    }

    /// How `file` is stored: history and backup files are left plain, for people to read.
    pub fn coding_of(&self, file: WalName) -> Coding {
        match file.segment() {
            Some(_) => self.wal_coding(),
            None => Codec::None.into(),
        }
    }
}

/// One cluster's part of a repository.
#[derive(Clone, Debug)]
pub struct Repository {
    storage: Arc<dyn Storage>,
    layout: Layout,
    id: String,
    location: Location,
    keys: Arc<Keys>,
}

impl Repository {
    /// Opens what `init` made; an error of kind `NotFound` where there is no repository.
    pub fn open(location: &Location, cluster: ClusterName) -> Result<Self> {
        Self::open_on(location.open()?, location, cluster)
    }

    /// The same by `storage`, which leads to `location`.
    pub(super) fn open_on(
        storage: Arc<dyn Storage>,
        location: &Location,
        cluster: ClusterName,
    ) -> Result<Self> {
        let identity: Identity = storage.read_json(&layout::repository()).map_err(|error| {
            if error.kind() != Kind::NotFound {
                return error.context(format!("can't open the repository {location}"));
            }
            let hint = match location.awaits_mount() {
                Some(point) => format!("run: mount {}: it is in fstab, and not mounted.", point.display()),
                None => "if there was one, see that its disk is mounted and its path is right; else make one with `pgstow init` (of one that sync fills: `pgstow --repo NAME init`).".to_owned(),
            };
            let what = format!("there is no repository at {location}");
            Error::new(Kind::NotFound, what).because(error).hint(hint)
        })?;
        if identity.format != FORMAT {
            return Err(Error::failed(format!(
                "the repository {location} has format {}, this version of pgstow knows format {FORMAT}",
                identity.format
            ))
            .hint("use the version of pgstow that made it, or a newer one."));
        }
        let layout = Layout::new(cluster);
        Ok(Self {
            storage,
            layout,
            id: identity.id,
            location: location.clone(),
            keys: Arc::default(),
        })
    }

    /// The same with keys to encrypt for and to decrypt with.
    #[must_use]
    pub fn with_keys(self, keys: &Arc<Keys>) -> Self {
        Self {
            keys: Arc::clone(keys),
            ..self
        }
    }

    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// For what outlives this.
    pub fn shared_keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys)
    }

    /// How what is compressed by `codec` is stored from now on.
    pub fn coding(&self, codec: Codec) -> Coding {
        Coding {
            codec,
            encrypted: self.keys.encrypt(),
        }
    }

    /// For whom that is encrypted, as the description of what is stored lists them.
    pub fn recipients(&self) -> Result<Vec<String>> {
        match self.keys.encrypt() {
            true => Ok(self
                .keys
                .recipients()?
                .iter()
                .map(ToString::to_string)
                .collect()),
            false => Ok(Vec::new()),
        }
    }

    /// Refuses to store anything of `system` otherwise than it was registered: nothing plain where all is to be
    /// encrypted, nor the other way round.
    pub fn check_encryption(&self, system: &System) -> Result<()> {
        let (id, location) = (system.system_id, &self.location);
        match (system.encrypted, self.keys.encrypt()) {
            (true, true) => self.keys.recipients().map(drop),
            (false, false) => Ok(()),
            (true, false) => Err(Error::usage(format!(
                "all of system {id} is encrypted in repository {location}, but no recipients are set"
            ))
            .hint(
                "set encryption.recipients of this repository in pgstow.toml to the public keys of those who restore.",
            )),
            (false, true) => Err(Error::usage(format!(
                "recipients are set for repository {location}, but system {id} was registered there without \
                 encryption"
            ))
            .hint(
                "encryption begins with a system: make another repository by `pgstow init`, or take the recipients out of \
                 its settings; what is stored there stays readable for everybody who can read its files.",
            )),
        }
    }

    /// Fails unless the repository is still where it was opened. For who is about to rely on an
    /// object's absence: below a disk that went away, nothing is found either.
    pub fn confirm(&self) -> Result<()> {
        let found = Self::open(&self.location, self.layout.cluster().clone())?;
        if found.id == self.id {
            return Ok(());
        }
        Err(Error::failed(format!(
            "another repository took the place of {} meanwhile",
            self.location
        )))
    }

    /// Whether an error is about one object, which is there and can't be read (damaged, closed to us, on a
    /// bad block), not about the store as a whole. Such an object must not hide the others.
    pub fn is_of_object(&self, error: &Error) -> bool {
        match error.kind() {
            Kind::Damaged => true,
            Kind::Failed => self.confirm().is_ok(),
            _ => false,
        }
    }

    /// Opens the repository, making it first where there is none; true if it was made.
    pub fn open_or_create(location: &Location, cluster: ClusterName) -> Result<(Self, bool)> {
        let identity = Identity {
            format: FORMAT,
            id: random_id()?,
        };
        let made = match location
            .open()?
            .create_json(&layout::repository(), &identity)
        {
            Ok(()) => true,
            Err(error) if error.kind() == Kind::AlreadyExists => false,
            Err(error) => {
                return Err(error.context(format!("can't make a repository at {location}")));
            }
        };
        let repository = Self::open(location, cluster)?;
        if made {
            repository.refuse_overwriting(&identity)?;
        }
        match repository
            .storage
            .create(&layout::combine_script(), COMBINE)
        {
            Err(error) if error.kind() == Kind::AlreadyExists => {}
            other => other?,
        }
        Ok((repository, made))
    }

    /// Of a store that nothing is known of yet.
    fn refuse_overwriting(&self, identity: &Identity) -> Result<()> {
        match self.storage.create_json(&layout::repository(), identity) {
            Err(error) if error.kind() == Kind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
            Ok(()) => {
                self.storage.delete(&layout::repository())?;
                Err(overwrites())
            }
        }
    }

    /// The same on another store, such as one that fails when a test says so.
    #[must_use]
    pub fn over(&self, storage: Arc<dyn Storage>) -> Self {
        Self {
            storage,
            ..self.clone()
        }
    }

    pub fn storage(&self) -> &dyn Storage {
        &*self.storage
    }

    /// For readers that outlive a borrow.
    pub(super) fn shared_storage(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.storage)
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What `file` of that system is stored as.
    pub fn wal_object(&self, system: &System, file: WalName) -> ObjectName {
        let coding = system.coding_of(file);
        self.layout.wal_file(system.system_id, file, coding)
    }

    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The random identity that `init` gave it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The registration of a system; an error of kind `Foreign` if it has none here.
    pub fn system(&self, id: SystemId) -> Result<System> {
        let name = self.layout.system(id);
        let system: System = self.storage.read_json(&name).map_err(|error| {
            if error.kind() != Kind::NotFound {
                return error;
            }
            let cluster = self.layout.cluster();
            Error::new(
                Kind::Foreign,
                format!("system {id} is not registered for cluster {cluster} in repository {}", self.location),
            )
            .because(error)
            .hint(
                "if this is another database cluster, give it a name of its own (--cluster); if it is the \
                 same one after pg_upgrade or a new initdb, run `pgstow init --new-system`; if it was registered here \
                 and that file is lost, `pgstow verify --repair` brings it back from another repository.",
            )
        })?;
        if system.format != FORMAT {
            return Err(Error::failed(format!(
                "{} has format {}",
                self.storage.place(&name),
                system.format
            ))
            .hint("use a newer version of pgstow."));
        }
        Ok(system)
    }

    /// All systems of the cluster, in the order of their registration.
    pub fn systems(&self) -> Result<Vec<System>> {
        let (systems, unreadable) = self.registrations()?;
        unreadable.into_values().next().map_or(Ok(systems), Err)
    }

    /// The same, and why others can't be read.
    pub fn registrations(&self) -> Result<(Vec<System>, BTreeMap<SystemId, Error>)> {
        let (mut systems, mut unreadable) = (Vec::new(), BTreeMap::new());
        for object in self.storage.list(&self.layout.systems(), None)? {
            let Some(id) = self.layout.read_system(&object?.name) else {
                continue;
            };
            match self.system(id) {
                Ok(system) => systems.push(system),
                Err(error) if self.is_of_object(&error) => drop(unreadable.insert(id, error)),
                Err(error) => return Err(error),
            }
        }
        systems.sort_by_key(|system| system.registered);
        Ok((systems, unreadable))
    }

    /// Registers a system; one that is registered already stays as it is.
    pub fn register(&self, system: &System) -> Result<()> {
        match self
            .storage
            .create_json(&self.layout.system(system.system_id), system)
        {
            Err(error) if error.kind() == Kind::AlreadyExists => Ok(()),
            other => other,
        }
    }
}

/// Of a store that doesn't keep what the whole format rests on.
pub fn overwrites() -> Error {
    Error::failed(
        "an object that was there was overwritten: this store doesn't keep create-only writes",
    )
    .hint(
        "two servers could overwrite each other's WAL in this store: better use another. create_only = false in the \
         settings of this repository has pgstow look before each write, which guards against all but two writers at the \
         same moment.",
    )
}

/// 128 random bits, in hexadecimal.
fn random_id() -> Result<String> {
    let path = "/dev/urandom";
    let mut bytes = [0; 16];
    File::open(path)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .at("read", path)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

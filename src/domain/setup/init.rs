//! Makes the repository and registers the system.
//!
//! All repositories are looked at before anything is written. A crash in between leaves a
//! repository without a system, or a system registered in some of them: the next run goes on.

use std::{fs, path::Path, sync::Arc};

use serde::Serialize;
use tracing::info;

use super::server_user::ServerUser;
use crate::{
    error::{Error, IoContext, Kind, Result},
    postgres::server_facts::ServerFacts,
    repo::{
        codec::Codec,
        crypt::Keys,
        document::FORMAT,
        layout::{self, ClusterName, ObjectName},
        location::Location,
        repository::{Repository, System},
    },
    util::clock::{self, readable},
};

/// A repository that is to take the cluster's backups.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    pub location: &'a Location,
    /// Of WAL from now on, if the system is new there.
    pub wal_codec: Codec,
    /// Whether it has recipients decides whether a new system is encrypted.
    pub keys: &'a Arc<Keys>,
}

/// What was made and what was there.
#[derive(Clone, Debug, Serialize)]
pub struct Registered {
    pub repository: String,
    pub repository_made: bool,
    pub system_registered: bool,
    pub wal_codec: Codec,
    pub encrypted: bool,
}

/// A repository that was made, or is there.
#[derive(Clone, Debug, Serialize)]
pub struct Made {
    pub repository: String,
    pub repository_made: bool,
}

/// Makes a repository without any system, which `sync` registers with what it copies. Nothing is made over which a disk is
/// to be mounted, nor with recipients that can't be read.
pub fn make(location: &Location, cluster: &ClusterName, keys: &Keys) -> Result<Made> {
    refuse_unmounted(location, cluster)?;
    if keys.encrypt() {
        keys.recipients()?;
    }
    let (repository, repository_made) = Repository::open_or_create(location, cluster.clone())?;
    repository.lay_reserve_by()?;
    Ok(Made {
        repository: location.to_string(),
        repository_made,
    })
}

/// Refuses a server that is not the one whose backups are there.
pub fn refuse_other_system(
    wanted: &Wanted<'_>,
    cluster: &ClusterName,
    facts: &ServerFacts,
) -> Result<()> {
    let repository = match Repository::open(wanted.location, cluster.clone()) {
        Err(error) if error.kind() == Kind::NotFound => return Ok(()),
        other => other?,
    };
    let systems = repository.systems()?;
    let known = systems.iter().any(|one| one.system_id == facts.system_id);
    if known || systems.is_empty() {
        return Ok(());
    }
    let registered: Vec<String> = systems.iter().map(describe).collect();
    Err(Error::new(
        Kind::Foreign,
        format!(
            "cluster {cluster} of repository {} has backups of another system: {}; this server is system {} \
             (PostgreSQL {})",
            wanted.location,
            registered.join(", "),
            facts.system_id,
            facts.major()
        ),
    )
    .hint(
        "after pg_upgrade or a new initdb of the same cluster: `pgstow init --new-system`. If this is another \
         cluster, give it a name of its own with --cluster; if it is the wrong server, look at host and port.",
    ))
}

/// Refuses to make a repository in the folder over which a disk is to be mounted: it would fill another disk, and hide
/// what is on that one.
pub fn refuse_unmounted(location: &Location, cluster: &ClusterName) -> Result<()> {
    match Repository::open(location, cluster.clone()) {
        Err(error) if error.kind() == Kind::NotFound => match location.awaits_mount() {
            Some(_) => Err(error),
            None => Ok(()),
        },
        other => other.map(drop),
    }
}

/// Refuses settings by which nothing could be stored: recipients that can't be read, or that don't fit what is
/// registered.
pub fn refuse_other_encryption(
    wanted: &Wanted<'_>,
    cluster: &ClusterName,
    facts: &ServerFacts,
) -> Result<()> {
    if wanted.keys.encrypt() {
        wanted.keys.recipients()?;
    }
    let repository = match Repository::open(wanted.location, cluster.clone()) {
        Err(error) if error.kind() == Kind::NotFound => return Ok(()),
        other => other?.with_keys(wanted.keys),
    };
    let systems = repository.systems()?;
    let known = systems.iter().find(|one| one.system_id == facts.system_id);
    known.map_or(Ok(()), |system| repository.check_encryption(system))
}

fn describe(system: &System) -> String {
    format!(
        "system {} (PostgreSQL {}, registered {})",
        system.system_id,
        system.postgres_major,
        readable(system.registered)
    )
}

/// Makes what is missing and gives it to the server's user.
pub fn register(
    wanted: &Wanted<'_>,
    cluster: &ClusterName,
    facts: &ServerFacts,
    user: Option<&ServerUser>,
) -> Result<Registered> {
    // A folder that already holds something else may well belong to somebody else.
    let mut giveable = wanted.location.folder().is_some_and(is_empty_folder);
    if let (Some(folder), Some(user)) = (wanted.location.folder(), user) {
        user.make_folder(folder)?;
    }
    let (repository, repository_made) =
        Repository::open_or_create(wanted.location, cluster.clone())?;
    giveable |= !repository_made;
    let known = repository
        .systems()?
        .into_iter()
        .find(|one| one.system_id == facts.system_id);
    let system_registered = known.is_none();
    let system = match known {
        Some(system) => system,
        None => {
            let system = System {
                format: FORMAT,
                system_id: facts.system_id,
                postgres_major: facts.major(),
                segment_size: facts.segment_size,
                wal_codec: wanted.wal_codec,
                encrypted: wanted.keys.encrypt(),
                registered: clock::now(),
            };
            repository.register(&system)?;
            system
        }
    };
    if system.wal_codec != wanted.wal_codec {
        info!(
            "WAL in repository {} stays {}, as it was registered; compression {} holds for backups",
            wanted.location, system.wal_codec, wanted.wal_codec
        );
    }
    repository.lay_reserve_by()?;
    if let (Some(folder), Some(user)) = (wanted.location.folder(), user) {
        if giveable {
            user.own(folder)?;
        }
        own_object(folder, &layout::repository(), user)?;
        own_object(folder, &repository.layout().system(facts.system_id), user)?;
        own_object(folder, &repository.layout().reserve(), user)?;
    }
    Ok(Registered {
        repository: wanted.location.to_string(),
        repository_made,
        system_registered,
        wal_codec: system.wal_codec,
        encrypted: system.encrypted,
    })
}

fn is_empty_folder(path: &Path) -> bool {
    match fs::read_dir(path).at("read", path) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == Kind::NotFound,
    }
}

/// Gives an object, and the folders between it and the repository's own, to `user`.
fn own_object(root: &Path, object: &ObjectName, user: &ServerUser) -> Result<()> {
    let path = root.join(object.as_str());
    for part in path.ancestors().take_while(|part| *part != root) {
        user.own(part)?;
    }
    Ok(())
}

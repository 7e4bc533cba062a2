//! Whether the target can take what the source has, before the first byte is copied.
//!
//! A system that only the source knows is registered in the target as `init` would do it, with the codec of the
//! source; one whose registration is lost there as it was. The target must be a repository already: below a disk that is not
//! mounted, none is made.

use std::{collections::BTreeSet, sync::Arc};

use tracing::warn;

use super::{
    pass::{Pair, Peer},
    registration::{self, Registration},
};
use crate::{
    error::{Error, Kind, Result},
    postgres::lsn::SystemId,
    repo::repository::System,
};

/// All systems of the source.
pub fn pairs(source: &Peer, target: &Peer, dry_run: bool) -> Result<Vec<Pair>> {
    if source.repository.id() == target.repository.id() {
        return Err(Error::usage(format!(
            "repositories {} and {} are one and the same",
            source.name, target.name
        ))
        .hint("a copy in the same place is none: give it a place of its own."));
    }
    let systems = source.repository.systems()?;
    refuse_strangers(source, target, &systems)?;
    let mut pairs = Vec::with_capacity(systems.len());
    for system in systems {
        let (registered, is_there, is_lost) = match Registration::of(target, &system)? {
            Registration::There(system) => (system, true, false),
            Registration::New(system) => (system, false, false),
            Registration::Lost(system) => (system, false, true),
        };
        let pair = Pair {
            target: registered,
            source: system,
            alike: Arc::default(),
        };
        check(source, target, &pair)?;
        if !is_there && !dry_run {
            registration::write(&target.repository, &pair.target)?;
        }
        if is_lost {
            let repository = &target.repository;
            let name = repository.layout().system(pair.target.system_id);
            warn!(
                "{} was lost or can't be read: it is written anew, by what repository {} knows of that system and what is \
                 stored here",
                repository.storage().place(&name),
                source.name
            );
        }
        pairs.push(pair);
    }
    // After a pg_upgrade the WAL of the old system is copied as well, but the newest first.
    pairs.reverse();
    Ok(pairs)
}

/// A target that holds only other systems is another cluster's.
fn refuse_strangers(source: &Peer, target: &Peer, systems: &[System]) -> Result<()> {
    let (known, unreadable) = target.repository.registrations()?;
    let known = known.iter().map(|one| one.system_id);
    let known: BTreeSet<SystemId> = known.chain(unreadable.into_keys()).collect();
    let shares = |one: &System| known.contains(&one.system_id);
    if known.is_empty() || systems.is_empty() || systems.iter().any(shares) {
        return Ok(());
    }
    let cluster = target.repository.layout().cluster();
    Err(Error::new(
        Kind::Foreign,
        format!(
            "cluster {cluster} in repository {} is another database system than in {}",
            target.name, source.name
        ),
    )
    .hint("give the cluster a name of its own, or the repository another place."))
}

fn check(
    source: &Peer,
    target: &Peer,
    Pair {
        source: from,
        target: to,
        ..
    }: &Pair,
) -> Result<()> {
    let id = from.system_id;
    let between = format!(
        "repository {} can't be filled from {}",
        target.name, source.name
    );
    if from.wal_codec != to.wal_codec {
        return Err(Error::usage(format!(
            "{between}: WAL of system {id} is stored as {} there, and as {} in the source; nothing is compressed anew",
            to.wal_codec, from.wal_codec
        ))
        .hint(format!(
            "set compression = \"{}\" for [repo.{}], give it an empty place, and run `pgstow --repo {} init`.",
            from.wal_codec, target.name, target.name
        )));
    }
    if from.segment_size != to.segment_size {
        let what = format!("{between}: segments of system {id} have another size there");
        return Err(Error::new(Kind::Foreign, what).hint(
            "one of the two registrations in systems/ is wrong: see which fits the server.",
        ));
    }
    if from.encrypted && !to.encrypted {
        return Err(Error::usage(format!(
            "{between}: system {id} is encrypted in the source and would not be there; nothing is decrypted"
        ))
        .hint(format!(
            "set encryption.recipients for [repo.{}], give it an empty place, and run `pgstow --repo {} init`.",
            target.name, target.name
        )));
    }
    target
        .repository
        .check_encryption(to)
        .map_err(|error| error.context(between))
}

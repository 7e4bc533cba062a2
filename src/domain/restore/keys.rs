//! Whether what is to be restored can be decrypted here: asked before anything is touched, and of the server that
//! fetches its WAL itself.

use std::{fs, os::unix::fs::MetadataExt};

use rustix::process::geteuid;

use super::{choice::Choice, folders::Owner};
use crate::{
    error::{Kind, Result},
    postgres::wal_name::Segment,
    repo::{
        backup::Backup,
        repository::{Repository, System},
    },
};

/// Fails with kind `Key` where what this restore can't do without can't be decrypted: each backup of the chain and each segment
/// has recipients of its own. All else that is wrong with them shows when they are read.
pub fn check(repository: &Repository, system: &System, choice: &Choice) -> Result<()> {
    let backup = &choice.backup;
    check_backup(repository, system, backup)?;
    let mut parent = backup.parent.filter(|_| backup.coding().encrypted);
    while let Some(older) = parent.and_then(|parent| repository.backup(parent).ok()) {
        check_backup(repository, system, &older)?;
        parent = older.parent;
    }
    let needed = backup.needed_segments();
    let ends = [needed.start(), needed.end()].into_iter();
    let mut ends = ends.filter_map(|number| choice.reach.segment(*number, system.segment_size));
    ends.try_for_each(|segment| check_segment(repository, system, choice, segment))
}

pub fn check_backup(repository: &Repository, system: &System, backup: &Backup) -> Result<()> {
    if system.encrypted {
        repository.keys().check_identity()?;
    }
    match repository.try_key(backup) {
        Err(error) if error.kind() == Kind::Key => Err(error),
        _ => Ok(()),
    }
}

fn check_segment(
    repository: &Repository,
    system: &System,
    choice: &Choice,
    segment: Segment,
) -> Result<()> {
    let file = choice.stored_as(segment);
    if !system.coding_of(file).encrypted {
        return Ok(());
    }
    match repository.try_key_of(&repository.wal_object(system, file)) {
        Err(error) if error.kind() == Kind::Key => Err(error),
        _ => Ok(()),
    }
}

/// What is to be said of keys beforehand.
pub fn warnings(
    repository: &Repository,
    system: &System,
    choice: &Choice,
    owner: Option<Owner>,
) -> Vec<String> {
    let last = choice.reach.last(system.segment_size);
    let closed = last.filter(|_| repository.keys().can_decrypt());
    let closed = closed.and_then(|last| {
        let error = check_segment(repository, system, choice, last).err()?;
        let why = error.in_one_line();
        Some(format!(
            "the end of the WAL can't be decrypted here, so that recovery fails where such WAL begins, unless its target lies before: {why}"
        ))
    });
    let server = of_server(repository, system, owner);
    server.into_iter().chain(closed).collect()
}

/// For a server that others start: its restore_command runs without this environment.
pub fn of_environment(repository: &Repository, system: &System) -> Option<String> {
    let alone = system.encrypted && repository.keys().are_of_this_call();
    alone.then(|| {
        "the environment of this call alone tells the identity: restore_command runs without it, and can't decrypt \
         WAL, so that the restored server won't start; name the file by encryption.identity_file in pgstow.toml"
            .to_owned()
    })
}

/// What keeps the restored server from decrypting, as far as can be seen from here: restore_command runs as its user.
fn of_server(repository: &Repository, system: &System, owner: Option<Owner>) -> Option<String> {
    if !system.encrypted {
        return None;
    }
    let path = repository.keys().identity_file()?;
    let owner = owner.filter(|_| geteuid().is_root())?;
    let found = fs::metadata(path).ok()?;
    let reads = match () {
        () if found.uid() == owner.user => found.mode() & 0o400 != 0,
        () if found.gid() == owner.group => found.mode() & 0o040 != 0,
        () => false,
    };
    (!reads).then(|| {
        format!(
            "the server's user (uid {}) can't read the identity {}, by which restore_command decrypts WAL: give it to \
             that user (chown, mode 0400) until recovery is over",
            owner.user,
            path.display()
        )
    })
}

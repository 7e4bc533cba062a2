//! Whether what is to be restored can be decrypted here: asked before anything is touched, and of the server that
//! fetches its WAL itself.

use std::{fs, os::unix::fs::MetadataExt};

use rustix::process::geteuid;

use super::folders::Owner;
use crate::{
    error::{Kind, Result},
    repo::{
        catalog::Backup,
        repository::{Repository, System},
    },
};

/// Fails with kind `Key` where it can't. All else that is wrong with the backup shows when it is read.
pub fn check(repository: &Repository, system: &System, backup: &Backup) -> Result<()> {
    if system.encrypted {
        repository.keys().check_identity()?;
    }
    match repository.try_key(backup) {
        Err(error) if error.kind() == Kind::Key => Err(error),
        _ => Ok(()),
    }
}

/// What keeps the restored server from decrypting, as far as can be seen from here: restore_command runs as its
/// user and without this environment.
pub fn warning(repository: &Repository, system: &System, owner: Option<Owner>) -> Option<String> {
    if !system.encrypted {
        return None;
    }
    if repository.keys().are_of_this_call() {
        let what = "the environment of this call alone tells the identity: restore_command runs without it, and can't decrypt \
             WAL, so that the restored server won't start; name the file by encryption.identity_file in pgstow.toml";
        return Some(what.to_owned());
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

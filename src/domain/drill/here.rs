//! Whether a drill can be made on this host at all. Where it can't, that is no fault of what is stored, nor of the host:
//! a timer that comes with all others must not alarm anybody.

use crate::{
    domain::restore::{archive::Archive, keys},
    error::{Error, Kind, Result},
    repo::repository::{Repository, System},
};

/// Why not, where there is no base backup: a repository may be there for dumps alone.
pub fn without_backups(repository: &Repository, error: Error) -> Result<String> {
    let only_dumps = error.kind() == Kind::NotFound
        && repository.backups()?.is_empty()
        && !repository.dumps()?.is_empty();
    match only_dumps {
        true => Ok(
            "there is no base backup, only dumps, which `pgstow verify --dumps` proves".to_owned(),
        ),
        false => Err(error),
    }
}

/// Why not, where backups are encrypted and no identity is here. One that doesn't fit is an error of the drill.
pub fn without_identity(
    repository: &Repository,
    system: &System,
    archive: &Archive,
) -> Option<String> {
    let newest = archive.by_age().pop()?;
    let closed =
        !repository.keys().can_decrypt() && keys::check_backup(repository, system, newest).is_err();
    closed.then(|| {
        "it is encrypted, and this host has no identity: run `pgstow drill` where one is".to_owned()
    })
}

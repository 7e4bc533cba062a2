//! Which part of the backup a lost table or database needs, so that a small one of a large cluster needs little room.

use std::collections::BTreeSet;

use tracing::debug;

use crate::{
    domain::{
        drill::pick::Part,
        restore::{contents::Contents, hollow::is_hollow},
    },
    error::Result,
    repo::{backup::Backup, repository::Repository},
};

/// The files of the databases with these names, as the backup knew them. None where it doesn't know the first one:
/// it may have been made later, or have had another name, and may be any.
pub fn of_databases(
    repository: &Repository,
    backup: &Backup,
    names: &[&str],
) -> Result<Option<Part>> {
    let mut databases = BTreeSet::new();
    let mut first = None;
    let read = repository.relations(backup, &mut |database, relation| {
        if relation.is_none() && names.contains(&database.name.as_str()) {
            databases.insert(database.oid);
            if names.first() == Some(&database.name.as_str()) {
                first = Some(database.oid);
            }
        }
    });
    if let Err(error) = read {
        debug!(
            "all databases are restored, since their names are not known: {}",
            error.in_one_line()
        );
        return Ok(None);
    }
    let Some(database) = first else {
        return Ok(None);
    };
    let contents = Contents::load(repository, backup)?;
    let places = contents.by_place(&[], |member| !is_hollow(member, &databases));
    Ok(Some(Part {
        bytes: places.values().sum(),
        database,
        databases,
    }))
}

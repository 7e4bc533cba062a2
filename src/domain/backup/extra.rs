//! What lies in a backup's folder and isn't part of it. A restore reads what `backup.json` names
//! and nothing else, but a person who unpacks all parts by hand would take a stray one too.

use std::collections::BTreeSet;

use super::verify::Finding;
use crate::{
    error::Result,
    repo::{backup::Backup, layout::BackupObject, repository::Repository},
};

/// A finding for each object that doesn't belong.
pub fn verify(repository: &Repository, backup: &Backup) -> Result<Vec<Finding>> {
    let parts = backup.parts.iter().map(|part| part.name.as_str());
    let objects = backup.objects.iter().map(|object| object.name.as_str());
    let named: BTreeSet<&str> = parts.chain(objects).collect();
    let is_other_edition = |object: BackupObject| {
        let mut counted = named.iter().filter_map(|name| BackupObject::read(name));
        counted.any(|counted| object.is_other_edition_of(counted))
    };
    let folder = repository.layout().backup(&backup.id);
    let storage = repository.storage();
    let mut findings = Vec::new();
    for info in storage.list(&folder, None)? {
        let name = info?.name;
        let rest = name.as_str().strip_prefix(folder.as_str());
        let rest = rest.unwrap_or(name.as_str());
        let problem = match BackupObject::read(rest) {
            _ if named.contains(rest) => continue,
            // What `verify --repair` has replaced, and perhaps may not delete: SHA256SUMS doesn't name it, either.
            Some(object) if is_other_edition(object) => continue,
            Some(
                BackupObject::Started
                | BackupObject::Alive(_)
                | BackupObject::Sums
                | BackupObject::Pending
                | BackupObject::Backup,
            ) => continue,
            Some(_) => {
                "is not part of this backup: delete it, since who unpacks by hand would take it"
            }
            None => "doesn't belong to this backup; restores don't use it",
        };
        findings.push(Finding {
            object: storage.place(&name),
            file: None,
            problem: problem.to_owned(),
        });
    }
    Ok(findings)
}

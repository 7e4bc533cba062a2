//! What lies in a cluster's folder and belongs to nothing that is known: WAL and backups whose
//! system has lost its registration, and what somebody put there.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    backup_id::BackupId,
    catalog::{Entry, State},
    layout::{ObjectName, Prefix},
    repository::Repository,
};
use crate::{
    error::{Error, Result},
    postgres::lsn::SystemId,
};

/// A system that has something here and no `systems/<system-id>.json` that can be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unregistered {
    pub system_id: SystemId,
    /// Where its registration should be.
    pub file: String,
    /// Its backups.
    pub backups: Vec<BackupId>,
    /// Why it can't be read; None where it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
}

impl Unregistered {
    /// What is lost by it, and how to get it back.
    pub fn what(&self) -> String {
        let (is, back) = match &self.damage {
            None => ("is missing".to_owned(), "or run"),
            Some(why) => (format!("can't be read ({why})"), "or delete it and run"),
        };
        format!(
            "{is}: restore-wal can't read the WAL of this system, nor restore use its backups; \
             put the file back from a copy of the repository, {back} `pgstow init`, with the compression \
             that its WAL has, as long as its server runs"
        )
    }
}

impl Repository {
    /// Systems without a registration that can be read; `entries` are all of [`Repository::backups`].
    pub fn unregistered(&self, entries: &[Entry]) -> Result<Vec<Unregistered>> {
        let mut found: BTreeMap<SystemId, Vec<BackupId>> = BTreeMap::new();
        for name in self.directly_below(&self.layout().all_wal())? {
            if let Some(system) = self.layout().read_wal_folder(&name) {
                found.entry(system).or_default();
            }
        }
        for entry in entries {
            if let State::Complete(backup) | State::Damaged(backup, _) | State::Pending(backup) =
                &entry.state
            {
                found.entry(backup.system_id).or_default().push(entry.id);
            }
        }
        let (registered, mut unreadable) = self.registrations()?;
        for system in registered {
            found.remove(&system.system_id);
        }
        for system in unreadable.keys() {
            found.entry(*system).or_default();
        }
        let lost = found.into_iter().map(|(system, backups)| {
            let why = unreadable.remove(&system);
            self.without_registration(system, backups, why.as_ref())
        });
        Ok(lost.collect())
    }

    /// How a system is told of that has no registration, or one that can't be read for this reason.
    pub fn without_registration(
        &self,
        system: SystemId,
        backups: Vec<BackupId>,
        damage: Option<&Error>,
    ) -> Unregistered {
        Unregistered {
            system_id: system,
            file: self.storage().place(&self.layout().system(system)),
            backups,
            damage: damage.map(Error::in_one_line),
        }
    }

    /// What lies among the backups and is none; `entries` are all of [`Repository::backups`].
    pub fn strays_in_base(&self, entries: &[Entry]) -> Result<Vec<ObjectName>> {
        let base = self.layout().base();
        let ids: BTreeSet<String> = entries
            .iter()
            .map(|entry| format!("{}/", entry.id))
            .collect();
        let names = self.directly_below(&base)?.into_iter();
        let strays = names.filter(|name| !ids.contains(name));
        Ok(strays.map(|name| base.object(&name)).collect())
    }

    /// What lies beside the WAL of all systems.
    pub fn strays_in_wal(&self) -> Result<Vec<ObjectName>> {
        let wal = self.layout().all_wal();
        let names = self.directly_below(&wal)?.into_iter();
        let strays = names.filter(|name| self.layout().read_wal_folder(name).is_none());
        Ok(strays.map(|name| wal.object(&name)).collect())
    }

    /// The names in a folder; those of folders end with `/`. Each costs one listing that ends at
    /// its first object.
    fn directly_below(&self, folder: &Prefix) -> Result<Vec<String>> {
        let mut names: Vec<String> = Vec::new();
        loop {
            let after = names.last().map(|last| folder.behind(last));
            let next = self.storage().list(folder, after.as_ref())?.next();
            let Some(info) = next else {
                return Ok(names);
            };
            let name = info?.name;
            let rest = &name.as_str()[folder.as_str().len()..];
            let end = rest.find('/').map_or(rest.len(), |slash| slash + 1);
            names.push(rest[..end].to_owned());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::repo::{layout, location::Location};

    #[test]
    fn each_name_once_and_none_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Folder(folder.path().to_owned());
        let cluster = "main".parse().unwrap();
        let (repository, _) = Repository::open_or_create(&location, cluster).unwrap();
        for name in ["7/a", "7/b/c", "7-x", "7.x/y", "70/a", "700/a", "8", "80/a"] {
            let name = layout::probe().object(name);
            repository.storage().create(&name, b"").unwrap();
        }
        assert_eq!(
            repository.directly_below(&layout::probe()).unwrap(),
            ["7-x", "7.x/", "7/", "70/", "700/", "8", "80/"]
        );
    }
}

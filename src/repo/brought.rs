//! What `sync` has brought: `brought/<n>.json`, of which the highest number holds.
//!
//! A backup or dump that is on this list and is not there was deleted by the repository's own retention: it is not
//! brought again. Without the list each run would bring what the next cleanup deletes. What no source has any more
//! leaves the list; who loses it copies some of that once more.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{backup_id::BackupId, document::FORMAT, dump_name::DumpName, repository::Repository};
use crate::{
    error::{Error, Kind, Result},
    util::clock::{self, Time},
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brought {
    pub format: u32,
    pub time: Time,
    pub backups: BTreeSet<BackupId>,
    pub dumps: BTreeSet<DumpName>,
}

impl Default for Brought {
    fn default() -> Self {
        Self {
            format: FORMAT,
            time: clock::now(),
            backups: BTreeSet::new(),
            dumps: BTreeSet::new(),
        }
    }
}

impl Repository {
    /// What holds; nothing where nothing was ever brought, or the list can't be read.
    pub fn brought(&self) -> Result<Brought> {
        // One that is overtaken may go between the listing and the reading.
        for _ in 0..10 {
            let Some(number) = self.brought_numbers()?.into_iter().max() else {
                return Ok(Brought::default());
            };
            match self
                .storage()
                .read_json::<Brought>(&self.layout().brought(number))
            {
                Ok(brought) if brought.format == FORMAT => return Ok(brought),
                Ok(_) => return Ok(Brought::default()),
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) if self.is_of_object(&error) => return Ok(Brought::default()),
                Err(error) => return Err(error),
            }
        }
        Err(Error::failed(format!(
            "the list of what was brought into {} changes all the time",
            self.location()
        )))
    }

    /// Takes the place of what held before; for who holds the lease.
    pub fn note_brought(&self, brought: &Brought) -> Result<()> {
        let old = self.brought_numbers()?;
        let next = old.iter().max().map_or(1, |newest| newest + 1);
        self.storage()
            .create_json(&self.layout().brought(next), brought)?;
        old.into_iter()
            .try_for_each(|number| self.delete_if_we_may(&self.layout().brought(number)))
    }

    fn brought_numbers(&self) -> Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for info in self.storage().list(&self.layout().brought_all(), None)? {
            let number = self.layout().read_brought(&info?.name);
            numbers.extend(number.filter(|number| *number < u64::MAX / 2));
        }
        Ok(numbers)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::repo::location::Location;

    #[test]
    fn the_last_word_holds_and_takes_the_place_of_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Folder(folder.path().to_owned());
        let cluster = "main".parse().unwrap();
        let (repository, _) = Repository::open_or_create(&location, cluster).unwrap();
        assert!(repository.brought().unwrap().backups.is_empty());
        let mut list = Brought::default();
        for id in ["20261121T020000Z-full", "20261122T020000Z-incr"] {
            list.backups.insert(id.parse().unwrap());
            repository.note_brought(&list).unwrap();
            assert_eq!(repository.brought().unwrap(), list);
        }
        assert_eq!(repository.brought_numbers().unwrap(), [2]);
    }
}

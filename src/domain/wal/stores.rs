//! The repositories that must all have a WAL file before PostgreSQL may forget it.

use std::{ops::Range, path::PathBuf, sync::Arc};

use super::{
    history,
    offered::Offered,
    push::{Pushed, push_in_turn, push_piece},
};
use crate::{
    error::{Error, Result},
    postgres::wal_name::{Segment, WalName},
    repo::{
        codec::Compression, crypt::Keys, layout::ClusterName, location::Location,
        repository::Repository,
    },
    util::meter::Meter,
};

/// A repository as the settings name it.
#[derive(Clone, Debug)]
pub struct Store {
    pub name: String,
    pub location: Location,
    pub compression: Compression,
    pub keys: Arc<Keys>,
    /// Where this host keeps what it knows of it.
    pub state: PathBuf,
}

#[derive(Clone, Debug)]
pub struct OpenStore {
    pub name: String,
    pub repository: Repository,
    compression: Compression,
}

impl Store {
    pub fn open(&self, cluster: &ClusterName, meter: &Meter) -> Result<OpenStore> {
        opening(&self.location, meter);
        let repository = Repository::open_remembered(&self.location, cluster.clone(), &self.state)?;
        Ok(OpenStore {
            name: self.name.clone(),
            repository: repository.with_keys(&self.keys),
            compression: self.compression,
        })
    }

    /// Says which file did not get where.
    pub fn blame(&self, file: WalName, error: Error) -> Error {
        blame(file, &self.name, error)
    }
}

impl OpenStore {
    /// To be called before [`OpenStore::push`]: a segment that is stored has its history.
    pub fn bring_history(&self, offered: &Offered, meter: &Meter) -> Result<()> {
        opening(self.repository.location(), meter);
        history::bring_along(&self.repository, offered, self.compression, meter)
            .map_err(|error| blame(offered.name(), &self.name, error))
    }

    /// Stores the file durably, under its name only when it is its `turn`.
    pub fn push(
        &self,
        offered: &Offered,
        meter: &Meter,
        turn: &dyn Fn() -> Result<()>,
    ) -> Result<Pushed> {
        opening(self.repository.location(), meter);
        push_in_turn(&self.repository, offered, self.compression, meter, turn)
            .map_err(|error| blame(offered.name(), &self.name, error))
    }

    /// Stores `range` of the segment `offered`, which is still being received, durably as a piece of it.
    pub fn push_piece(&self, offered: &Offered, segment: Segment, range: Range<u32>) -> Result<()> {
        push_piece(&self.repository, offered, segment, range, self.compression)
            .map_err(|error| blame(WalName::Partial(segment), &self.name, error))
    }

    /// To be called once the segment itself is stored.
    pub fn delete_pieces(&self, offered: &Offered, segment: Segment) -> Result<()> {
        let system = self.repository.system(offered.system())?;
        self.repository.delete_pieces(&system, segment)
    }
}

/// What is said where it hangs: until the first byte is stored, the store is the suspect.
fn opening(location: &Location, meter: &Meter) {
    meter.begin(&format!("opening the repository {location}"), 0);
}

fn blame(file: WalName, store: &str, error: Error) -> Error {
    error.context(format!("can't archive {file} in repository {store}"))
}

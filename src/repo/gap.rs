//! Ranges of WAL that are known to be lost, and why: `gaps/<first>-<last>.json`.
//!
//! The name alone says what is lost, so that nobody has to read them all. A segment of the range that
//! is stored after all outranks it.

use serde::{Deserialize, Serialize};

use super::repository::Repository;
use crate::{
    error::{Kind, Result},
    postgres::{lsn::SystemId, wal_name::Segment},
    util::clock::Time,
};

/// The segments from `first` to `last` of one timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    pub format: u32,
    pub system_id: SystemId,
    pub first: Segment,
    pub last: Segment,
    /// When the first and the last of them were given up.
    pub since: Time,
    pub until: Time,
    pub reason: String,
    pub host: String,
}

impl Repository {
    /// Stores a gap durably; the same once more is success.
    pub fn add_gap(&self, gap: &Gap) -> Result<()> {
        let name = self.layout().gap(gap.system_id, gap.first, gap.last);
        match self.storage().create_json(&name, gap) {
            Err(error) if error.kind() == Kind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    /// First and last segment of each gap of a system, by their names.
    pub fn gaps(&self, system: SystemId) -> Result<Vec<(Segment, Segment)>> {
        let mut gaps = Vec::new();
        for object in self.storage().list(&self.layout().gaps(system), None)? {
            gaps.extend(self.layout().read_gap(system, &object?.name));
        }
        Ok(gaps)
    }
}

//! Ranges of WAL that are known to be lost, and why: `gaps/<first>-<last>.json`.
//!
//! The name alone says what is lost, so that nobody has to read them all. A segment of the range that
//! is stored after all outranks it.

use serde::{Deserialize, Serialize};

use super::repository::{Repository, System};
use crate::{
    error::{Kind, Result},
    postgres::{
        lsn::{Lsn, SystemId},
        wal_name::{Segment, WalName},
    },
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

    /// The first and last segment of a gap that reaches behind `start`, and of which something
    /// is still missing there; None if there is none.
    pub fn gap_behind(&self, system: &System, start: Lsn) -> Result<Option<(Segment, Segment)>> {
        let size = system.segment_size;
        for (first, last) in self.gaps(system.system_id)? {
            let numbers = first.number(size).max(start.0 / size.bytes())..=last.number(size);
            for number in numbers {
                let segment = Segment::nth(first.timeline, number, size);
                let object = self.wal_object(system, WalName::Segment(segment));
                match self.storage().head(&object) {
                    Ok(_) => {}
                    Err(error) if error.kind() == Kind::NotFound => return Ok(Some((first, last))),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(None)
    }
}

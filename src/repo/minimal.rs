//! Where WAL of `wal_level = minimal` begins: `minimal/<timeline>-<LSN>.json`.
//!
//! Recovery ends there (CheckRequiredParameterValues in `src/backend/access/transam/xlogrecovery.c`), so that no
//! backup from before it leads to anything behind it. Nothing else that is stored shows that without reading all
//! WAL. The name alone tells where; it stays as long as retention keeps WAL of that place.

use serde::{Deserialize, Serialize};

use super::{document::FORMAT, repository::Repository};
use crate::{
    error::{Kind, Result},
    postgres::lsn::{Lsn, SystemId, TimelineId},
    util::{
        clock::{self, Time},
        host,
    },
};

/// One such place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Minimal {
    pub format: u32,
    pub system_id: SystemId,
    pub timeline: TimelineId,
    /// The record that says so, or where a server of that setting was seen.
    pub position: Lsn,
    /// When that was found.
    pub time: Time,
    pub host: String,
}

impl Repository {
    /// Stores such a place durably; the same once more is success.
    pub fn add_minimal(
        &self,
        system_id: SystemId,
        timeline: TimelineId,
        position: Lsn,
    ) -> Result<()> {
        let name = self.layout().minimal(system_id, timeline, position);
        let found = Minimal {
            format: FORMAT,
            system_id,
            timeline,
            position,
            time: clock::now(),
            host: host::name(),
        };
        match self.storage().create_json(&name, &found) {
            Err(error) if error.kind() == Kind::AlreadyExists => Ok(()),
            other => other,
        }
    }
}

//! Histories of timelines that are put into the new pg_wal, since the repository has not got them.

use std::path::Path;

use super::folders::{Owner, give};
use crate::{
    error::Result,
    postgres::{lsn::TimelineId, wal_name::WalName},
    util::fs::write_over,
};

/// The text of a timeline's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    pub timeline: TimelineId,
    pub text: Vec<u8>,
}

impl History {
    pub fn put(&self, pg_wal: &Path, owner: Option<Owner>) -> Result<()> {
        let path = pg_wal.join(WalName::History(self.timeline).to_string());
        write_over(&path, 0o600, &self.text)?;
        give(&path, owner)
    }
}

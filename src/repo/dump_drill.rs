//! Reports of drills of dumps: `drills/<time>-dump.json`, beside those of backups.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::{drill::Phase, layout::ObjectName, repository::Repository, verified::VerifiedCheck};
use crate::{
    error::{Kind, Result},
    util::clock::Time,
};

/// The newest reports that are kept: two years of weekly drills.
const MOST: usize = 104;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DumpDrill {
    pub format: u32,
    /// What was drilled: `dump`.
    pub what: String,
    /// When it began; its name.
    pub time: Time,
    pub finished: Time,
    pub host: String,
    pub pgstow_version: String,
    pub cluster: String,
    /// With its folder; as it was asked for where nobody can read what it is.
    pub dump: String,
    pub database: Option<String>,
    /// Whether every check that could be made was passed, but for that of `.sha256`.
    pub good: bool,
    /// Where it was restored; None: it was not.
    pub server: Option<String>,
    /// As PostgreSQL's server_version_num.
    pub server_version: Option<u32>,
    /// That were read.
    pub bytes: u64,
    pub seconds: f64,
    /// None where an older version drilled.
    #[serde(default)]
    pub phases: Vec<Phase>,
    pub checks: Vec<VerifiedCheck>,
}

impl Repository {
    /// Files a report, under the next moment that is free.
    pub fn add_dump_drill(&self, drill: &mut DumpDrill) -> Result<ObjectName> {
        loop {
            let name = self.layout().dump_drill_at(drill.time);
            match self.storage().create_json(&name, drill) {
                Err(error) if error.kind() == Kind::AlreadyExists => {
                    drill.time += TimeDelta::microseconds(1);
                }
                other => return other.map(|()| name),
            }
        }
    }

    /// Reports beyond those that are kept.
    pub fn old_dump_drills(&self) -> Result<Vec<ObjectName>> {
        let mut reports = Vec::new();
        for info in self.storage().list(&self.layout().drills(), None)? {
            let name = info?.name;
            if self.layout().read_dump_drill(&name).is_some() {
                reports.push(name);
            }
        }
        reports.truncate(reports.len().saturating_sub(MOST));
        Ok(reports)
    }
}

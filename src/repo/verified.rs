//! What `verify` read and found: `verified/<time>.json`, one for each run.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::{backup_id::BackupId, document::FORMAT, layout::ObjectName, repository::Repository};
use crate::{
    error::{Kind, Result},
    util::clock::Time,
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verified {
    pub format: u32,
    pub time: Time,
    pub host: String,
    pub backups: Vec<VerifiedBackup>,
}

/// What a run said of one backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedBackup {
    pub backup: BackupId,
    /// Whether a restore can do without what was damaged.
    pub restorable: bool,
    pub findings: u64,
}

/// The newest word on each backup.
#[derive(Debug, Default)]
pub struct Verdicts {
    pub newest: BTreeMap<BackupId, (Time, VerifiedBackup)>,
    /// Runs of which every word has been overtaken by a later one, but for the newest run.
    pub overtaken: Vec<ObjectName>,
    /// Why runs that are there could not be read: what they say may be against any backup.
    pub unread: Vec<String>,
}

impl Verdicts {
    /// On one backup.
    pub fn word(&self, id: BackupId) -> Option<&VerifiedBackup> {
        self.newest.get(&id).map(|(_, word)| word)
    }
}

impl Repository {
    /// Stores the results of a run, behind those of all earlier ones: names give the order, whatever a clock
    /// said at an earlier run.
    pub fn add_verified(&self, verified: &Verified) -> Result<()> {
        loop {
            let runs = self.verified_runs()?;
            let newest = runs
                .iter()
                .rev()
                .find_map(|name| self.layout().read_verified(name));
            let next = newest.map(|newest| newest + TimeDelta::microseconds(1));
            let name = next.map_or(verified.time, |next| next.max(verified.time));
            match self
                .storage()
                .create_json(&self.layout().verified_at(name), verified)
            {
                Err(error) if error.kind() == Kind::AlreadyExists => {}
                other => return other,
            }
        }
    }

    /// Oldest first.
    fn verified_runs(&self) -> Result<Vec<ObjectName>> {
        let mut runs = Vec::new();
        for info in self.storage().list(&self.layout().verified(), None)? {
            let name = info?.name;
            if self.layout().read_verified(&name).is_some() {
                runs.push(name);
            }
        }
        Ok(runs)
    }

    /// All that was found; `exists` tells of which backups a word is still of use. What is damaged says
    /// nothing.
    pub fn verdicts(&self, exists: impl Fn(BackupId) -> bool) -> Result<Verdicts> {
        let mut verdicts = Verdicts::default();
        for (number, name) in self.verified_runs()?.into_iter().rev().enumerate() {
            let run: Verified = match self.storage().read_json(&name) {
                Ok(run) => run,
                Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Damaged) => continue,
                Err(error) if self.is_of_object(&error) => {
                    verdicts.unread.push(error.in_one_line());
                    continue;
                }
                Err(error) => return Err(error),
            };
            if run.format != FORMAT {
                continue;
            }
            let mut of_use = number == 0;
            for word in run.backups {
                if exists(word.backup) && !verdicts.newest.contains_key(&word.backup) {
                    verdicts.newest.insert(word.backup, (run.time, word));
                    of_use = true;
                }
            }
            if !of_use {
                verdicts.overtaken.push(name);
            }
        }
        Ok(verdicts)
    }
}

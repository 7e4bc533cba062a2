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

impl Repository {
    /// Stores the results of a run. Two that end within a microsecond get names of their own.
    pub fn add_verified(&self, mut verified: Verified) -> Result<()> {
        loop {
            let name = self.layout().verified_at(verified.time);
            match self.storage().create_json(&name, &verified) {
                Err(error) if error.kind() == Kind::AlreadyExists => {
                    verified.time += TimeDelta::microseconds(1);
                }
                other => return other,
            }
        }
    }

    /// All that was found; `exists` tells of which backups a word is still of use. What is damaged says
    /// nothing.
    pub fn verdicts(&self, exists: impl Fn(BackupId) -> bool) -> Result<Verdicts> {
        let mut verdicts = Verdicts::default();
        let mut runs: Vec<ObjectName> = Vec::new();
        for info in self.storage().list(&self.layout().verified(), None)? {
            let name = info?.name;
            if self.layout().read_verified(&name).is_some() {
                runs.push(name);
            }
        }
        // By their names the newest is the last.
        for (number, name) in runs.into_iter().rev().enumerate() {
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

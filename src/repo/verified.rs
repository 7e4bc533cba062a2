//! What `verify` read and found: `verified/<time>.json`, one for each run.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::{
    backup_id::BackupId,
    document::FORMAT,
    dump_name::DumpName,
    layout::ObjectName,
    repository::Repository,
    verified_wal::{VerifiedWal, WalWord},
};
use crate::{
    error::{Error, Kind, Result},
    postgres::lsn::SystemId,
    util::{
        clock::{self, Time},
        host,
    },
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verified {
    pub format: u32,
    pub time: Time,
    pub host: String,
    pub backups: Vec<VerifiedBackup>,
    #[serde(default)]
    pub dumps: Vec<VerifiedDump>,
    /// Of systems whose WAL was read.
    #[serde(default)]
    pub wal: Vec<VerifiedWal>,
}

impl Verified {
    /// Of a run of this moment on this host, which has said nothing yet.
    pub fn now() -> Self {
        Self {
            format: FORMAT,
            time: clock::now(),
            host: host::name(),
            backups: Vec::new(),
            dumps: Vec::new(),
            wal: Vec::new(),
        }
    }
}

/// The check of a dump that its bytes are those that were written.
pub const INTACT: &str = "intact";

/// What a run said of one dump, which it restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedDump {
    pub dump: DumpName,
    /// Whether every check that could be made was passed, but for that of `.sha256`: the data is right.
    pub good: bool,
    /// Checks that were not.
    pub findings: u64,
    /// Where it was restored; None: it was not.
    pub server: Option<String>,
    pub server_version: Option<u32>,
    pub checks: Vec<VerifiedCheck>,
}

impl VerifiedDump {
    /// Of one whose bytes were looked at, and no more.
    pub fn of_bytes(dump: DumpName, intact: VerifiedCheck) -> Self {
        let good = intact.result == CheckState::Passed;
        Self {
            dump,
            good,
            findings: u64::from(!good),
            server: None,
            server_version: None,
            checks: vec![intact],
        }
    }

    /// Whether its bytes are not those that were written: a copy of them may be better.
    pub fn is_damaged(&self) -> bool {
        let mut checks = self.checks.iter();
        checks.any(|check| check.name == INTACT && check.result == CheckState::Failed)
    }

    /// Roles and tablespaces are read only, and so are others where all are read.
    pub fn was_restored(&self) -> bool {
        self.server.is_some()
    }

    /// Why nobody should rely on it, if so.
    pub fn flaw(&self) -> Option<String> {
        let failed = self.checks.iter();
        let failed = failed.filter(|check| check.result == CheckState::Failed);
        let failed: Vec<&str> = failed.map(|check| check.name.as_str()).collect();
        let which = match failed.is_empty() {
            true => String::new(),
            false => format!(" ({})", failed.join(", ")),
        };
        (!self.good).then(|| format!("`pgstow verify` found it not good{which}"))
    }
}

/// One check, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedCheck {
    pub name: String,
    pub result: CheckState,
    /// What was found, in a few words.
    pub what: String,
    /// Each thing that is wrong.
    pub details: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    Passed,
    Failed,
    /// It could not be made: nothing to compare with, or nobody asked for it.
    Skipped,
}

impl VerifiedCheck {
    fn new(name: &str, result: CheckState, what: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            result,
            what: what.into(),
            details: Vec::new(),
        }
    }

    pub fn passed(name: &str, what: impl Into<String>) -> Self {
        Self::new(name, CheckState::Passed, what)
    }

    pub fn failed(name: &str, what: impl Into<String>) -> Self {
        Self::new(name, CheckState::Failed, what)
    }

    pub fn skipped(name: &str, what: impl Into<String>) -> Self {
        Self::new(name, CheckState::Skipped, what)
    }

    /// Failed if something is `wrong`, else passed with what is `fine`.
    pub fn of(name: &str, wrong: Vec<String>, fine: String) -> Self {
        /// More only fill the repository.
        const MOST: usize = 100;
        let count = wrong.len();
        match wrong.first() {
            None => Self::passed(name, fine),
            Some(first) => {
                let what = match count {
                    1 => first.clone(),
                    _ => format!("{first}, and {} more", count - 1),
                };
                let mut check = Self::failed(name, what);
                check.details = wrong;
                check.details.truncate(MOST);
                check
            }
        }
    }
}

/// What a run said of one backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedBackup {
    pub backup: BackupId,
    /// Whether a restore can do without what was damaged.
    pub restorable: bool,
    pub findings: u64,
    /// Only the hashes of what is stored were checked: it could not be decrypted.
    #[serde(default)]
    pub sealed: bool,
    /// What this run found damaged was replaced by what another repository has, of the same hash before encryption.
    #[serde(default)]
    pub healed: bool,
}

/// The newest word on each backup.
#[derive(Debug, Default)]
pub struct Verdicts {
    pub newest: BTreeMap<BackupId, (Time, VerifiedBackup)>,
    /// Of dumps that are there.
    pub dumps: BTreeMap<DumpName, (Time, VerifiedDump)>,
    /// Dumps that were damaged, and are gone.
    pub lost_dumps: BTreeSet<DumpName>,
    /// On the WAL of each system that was read.
    pub wal: BTreeMap<SystemId, WalWord>,
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

    /// Why a dump that is whole is not relied on, if so.
    pub fn against(&self, dump: &DumpName) -> Option<String> {
        self.dumps.get(dump).and_then(|(_, word)| word.flaw())
    }

    /// Whether the bytes of a dump are not those that were written.
    pub fn finds_damaged(&self, dump: &DumpName) -> bool {
        let word = self.dumps.get(dump);
        word.is_some_and(|(_, word)| word.is_damaged())
    }

    /// An error if a run could not be read, for who would delete something by what the others say.
    pub fn all_read(&self) -> Result<()> {
        match self.unread.first() {
            None => Ok(()),
            Some(why) => Err(Error::failed(format!(
                "what `pgstow verify` found can't be read: {why}"
            ))
            .hint("mend what is wrong with it: nothing is deleted for what may be damaged.")),
        }
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
        // Listed only if somebody said something of one.
        let mut dumps: Option<BTreeSet<DumpName>> = None;
        let mut gone = BTreeSet::new();
        let mut names = self.verified_runs()?;
        names.reverse();
        let runs = self.read_each(&names, |name| self.storage().read_json::<Verified>(name));
        for (number, (name, run)) in names.iter().zip(runs).enumerate() {
            let run = match run {
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
            for word in run.dumps {
                let known = match &dumps {
                    Some(known) => known,
                    None => dumps.insert(self.dump_names()?),
                };
                if !known.contains(&word.dump) {
                    if gone.insert(word.dump.clone()) && word.is_damaged() {
                        verdicts.lost_dumps.insert(word.dump);
                    }
                } else if !verdicts.dumps.contains_key(&word.dump) {
                    verdicts.dumps.insert(word.dump.clone(), (run.time, word));
                    of_use = true;
                }
            }
            for word in run.backups {
                let newer = verdicts.newest.get_mut(&word.backup);
                let holds = newer.is_none_or(|(_, newer)| {
                    let is_healed = newer.sealed && word.healed && !newer.healed;
                    newer.healed |= is_healed;
                    of_use |= is_healed;
                    // Who can't decrypt does not know better than who could, but what was replaced since then.
                    newer.sealed && !newer.healed && !word.sealed && !word.restorable
                });
                if exists(word.backup) && holds {
                    verdicts.newest.insert(word.backup, (run.time, word));
                    of_use = true;
                }
            }
            for word in run.wal {
                let known = verdicts.wal.entry(word.system_id).or_default();
                of_use |= known.add(word);
            }
            if !of_use {
                verdicts.overtaken.push(name.clone());
            }
        }
        Ok(verdicts)
    }
}

//! What the target has, and what of that is damaged: as its listing shows it, or as `verify` found it there.
//!
//! What was found damaged and then deleted is wanted again. Whatever else was brought once and is gone, the target's
//! own retention deleted.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    stock::{self, Shown, Stock},
    tally::Copied,
};
use crate::{
    error::Result,
    repo::{
        backup_id::BackupId,
        brought::Brought,
        dump_name::DumpName,
        dumps::{DumpEntry, DumpState},
        repository::Repository,
        verified::{INTACT, Verified, VerifiedBackup, VerifiedCheck, VerifiedDump},
    },
};

const FOUND: &str = "`pgstow verify` found it damaged";

/// What the newest words of `verify` call damaged, whether it is still there or not.
#[derive(Debug, Default)]
pub struct Doubts {
    backups: BTreeSet<BackupId>,
    dumps: BTreeSet<DumpName>,
}

impl Doubts {
    pub fn of(target: &Repository) -> Result<Self> {
        let verdicts = target.verdicts(|_| true)?;
        let backups = verdicts.newest.values();
        let backups = backups.filter_map(|(_, word)| (!word.restorable).then_some(word.backup));
        let dumps = verdicts.dumps.keys();
        let dumps = dumps.filter(|dump| verdicts.finds_damaged(dump)).cloned();
        Ok(Self {
            backups: backups.collect(),
            dumps: dumps.chain(verdicts.lost_dumps.clone()).collect(),
        })
    }

    /// What was or is damaged doesn't count as brought.
    pub fn take_from(&self, brought: &mut Brought) {
        brought.backups.retain(|id| !self.backups.contains(id));
        brought.dumps.retain(|name| !self.dumps.contains(name));
    }

    /// Of what was copied anew and read again, the words of before hold no more.
    pub fn settle(&mut self, target: &Repository, copied: &Copied) -> Result<()> {
        let mut words = Verified::now();
        for backup in &copied.backups {
            if self.backups.remove(&backup.id) {
                let coding = target.backup(backup.id)?.coding();
                words.backups.push(VerifiedBackup {
                    backup: backup.id,
                    restorable: true,
                    findings: 0,
                    sealed: coding.encrypted && target.keys().check_identity().is_err(),
                });
            }
        }
        for dump in &copied.dumps {
            if self.dumps.remove(&dump.name) {
                let intact = VerifiedCheck::passed(INTACT, "it was copied anew, and read again");
                let word = VerifiedDump::of_bytes(dump.name.clone(), intact);
                words.dumps.push(word);
            }
        }
        match words.backups.is_empty() && words.dumps.is_empty() {
            true => Ok(()),
            false => target.add_verified(&words),
        }
    }
}

#[derive(Debug)]
pub struct There {
    pub backups: Stock,
    pub dumps: BTreeMap<DumpName, DumpEntry>,
}

impl There {
    pub fn look(target: &Repository, doubts: &Doubts) -> Result<Self> {
        let mut backups = stock::look(target)?;
        for (id, shown) in &mut backups {
            if matches!(shown, Shown::Complete(_)) && doubts.backups.contains(id) {
                *shown = Shown::Bad(FOUND.to_owned());
            }
        }
        let mut dumps = BTreeMap::new();
        for mut entry in target.dumps()? {
            entry.state = match entry.state {
                DumpState::Complete(dump) if doubts.dumps.contains(&entry.name) => {
                    DumpState::Damaged(dump, FOUND.to_owned())
                }
                state => state,
            };
            dumps.insert(entry.name.clone(), entry);
        }
        Ok(Self { backups, dumps })
    }

    /// Adds what is there and whole to what counts as brought; takes away what is or was damaged.
    pub fn note_in(&self, brought: &mut Brought, doubts: &Doubts) {
        for (id, shown) in &self.backups {
            match shown {
                Shown::Complete(_) => drop(brought.backups.insert(*id)),
                Shown::Bad(_) => drop(brought.backups.remove(id)),
                Shown::Unfinished | Shown::Pending => {}
            }
        }
        for (name, entry) in &self.dumps {
            match &entry.state {
                DumpState::Complete(_) => drop(brought.dumps.insert(name.clone())),
                DumpState::Damaged(..) | DumpState::Unreadable { .. } => {
                    brought.dumps.remove(name);
                }
                DumpState::Unfinished(_) => {}
            }
        }
        doubts.take_from(brought);
    }
}

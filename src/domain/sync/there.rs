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
    postgres::lsn::SystemId,
    repo::{
        backup_id::BackupId,
        brought::Brought,
        dump_name::DumpName,
        dumps::{DumpEntry, DumpState},
        missing::Missing,
        repository::{Repository, System},
        verified::{INTACT, Verified, VerifiedBackup, VerifiedCheck, VerifiedDump},
        verified_wal::{VerifiedWal, WalRange, WalWord},
    },
};

pub const FOUND: &str = "`pgstow verify` found it damaged";

/// What the newest words of `verify` call damaged, whether it is still there or not.
#[derive(Debug, Default)]
pub struct Doubts {
    /// And how much was found of each.
    backups: BTreeMap<BackupId, u64>,
    dumps: BTreeSet<DumpName>,
    wal: BTreeMap<SystemId, WalWord>,
}

impl Doubts {
    pub fn of(target: &Repository) -> Result<Self> {
        let verdicts = target.verdicts(|_| true)?;
        let backups = verdicts.newest.values();
        let backups = backups.filter(|(_, word)| !word.restorable);
        let backups = backups.map(|(_, word)| (word.backup, word.findings));
        let dumps = verdicts.dumps.keys();
        let dumps = dumps.filter(|dump| verdicts.finds_damaged(dump)).cloned();
        Ok(Self {
            backups: backups.collect(),
            dumps: dumps.chain(verdicts.lost_dumps.clone()).collect(),
            wal: verdicts.wal,
        })
    }

    /// Segments of a system.
    pub fn wal(&self, system: &System) -> Vec<Missing> {
        let word = self.wal.get(&system.system_id);
        let damaged = word.iter().flat_map(|word| &word.damaged);
        damaged
            .map(|range| range.numbers(system.segment_size))
            .collect()
    }

    /// What was or is damaged doesn't count as brought.
    pub fn take_from(&self, brought: &mut Brought) {
        brought.backups.retain(|id| !self.backups.contains_key(id));
        brought.dumps.retain(|name| !self.dumps.contains(name));
    }

    /// Of what was copied anew and read again, the words of before hold no more; `wal`: of these segments.
    pub fn settle(
        &mut self,
        target: &Repository,
        copied: &Copied,
        wal: &[(System, Missing)],
    ) -> Result<()> {
        let mut words = Verified::now();
        for (id, word) in &self.wal {
            let of_system = wal.iter().filter(|(system, _)| system.system_id == *id);
            let anew: Vec<Missing> = of_system.clone().map(|(_, segment)| *segment).collect();
            if let Some((system, _)) = of_system.into_iter().next() {
                let size = system.segment_size;
                let damaged = word.damaged.iter().map(|range| range.numbers(size));
                let left = damaged.flat_map(|range| range.without(&anew));
                words.wal.push(VerifiedWal {
                    system_id: *id,
                    damaged: WalRange::joined(left, size),
                    missing: word.missing.clone(),
                    sealed: false,
                });
            }
        }
        let copied_backups: BTreeSet<BackupId> = copied.backups.iter().map(|one| one.id).collect();
        let mut whole = BTreeSet::new();
        // By age: what a backup builds on comes before it.
        for (id, findings) in &self.backups {
            let Ok(backup) = target.backup(*id) else {
                continue;
            };
            // All that was wrong with it was what it builds on.
            let of_parent = *findings == 1 && backup.parent.is_some_and(|id| whole.contains(&id));
            if copied_backups.contains(id) || of_parent {
                whole.insert(*id);
                words.backups.push(VerifiedBackup {
                    backup: *id,
                    restorable: true,
                    findings: 0,
                    sealed: backup.coding().encrypted && target.keys().check_identity().is_err(),
                    healed: true,
                });
            }
        }
        self.backups.retain(|id, _| !whole.contains(id));
        for dump in &copied.dumps {
            if self.dumps.remove(&dump.name) {
                let intact = VerifiedCheck::passed(INTACT, "it was copied anew, and read again");
                let word = VerifiedDump::of_bytes(dump.name.clone(), intact);
                words.dumps.push(word);
            }
        }
        match words.backups.is_empty() && words.dumps.is_empty() && words.wal.is_empty() {
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
            if matches!(shown, Shown::Complete(_)) && doubts.backups.contains_key(id) {
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

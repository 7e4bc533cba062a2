//! What is damaged is healed by what another repository has, and checked once more.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use super::wal::CheckedWal;
use crate::{
    commands::{context::Context, options::RepoSettings, sync},
    domain::{
        backup::seal,
        sync::{
            Peer,
            repair::{self, Damaged, Order, Repair},
        },
    },
    error::Result,
    postgres::wal_name::{Segment, WalName},
    repo::{
        backup_id::BackupId,
        catalog::{Backup, Entry, State},
        repository::{Repository, System},
    },
    util::units,
};

/// Where it comes from, and by how many workers.
pub struct Healer<'a> {
    pub context: &'a Context,
    pub repository: &'a Repository,
    pub others: &'a [RepoSettings],
    pub jobs: usize,
}

impl Healer<'_> {
    /// What is damaged of these backups, and WAL that they need and that is not there.
    pub fn backups(&self, entries: &[Entry], bad: &BTreeSet<BackupId>) -> Result<Vec<Repair>> {
        let mut damaged = Damaged::default();
        for entry in entries.iter().filter(|entry| bad.contains(&entry.id)) {
            let own = match &entry.state {
                State::Complete(own) | State::Damaged(own, _) => Some((**own).clone()),
                State::Unreadable(_) => None,
                // Its WAL is on its way; whoever made it looks after it.
                State::Pending(_) | State::Unfinished(_) => continue,
            };
            if let Some(own) = &own {
                damaged.wal.extend(self.missing_wal(own)?);
            }
            damaged.backups.push((entry.id, own));
        }
        self.heal(&damaged)
    }

    fn missing_wal(&self, backup: &Backup) -> Result<Option<(System, BTreeSet<WalName>)>> {
        // That none is registered is a finding.
        let Ok(system) = self.repository.system(backup.system_id) else {
            return Ok(None);
        };
        let missing = seal::missing_wal(self.repository, &system, backup)?.into_iter();
        let size = system.segment_size;
        let files = missing.flat_map(|range| {
            let numbers = range.numbers();
            numbers.map(move |number| Segment::nth(range.timeline, number, size))
        });
        let files: BTreeSet<WalName> = files.map(WalName::Segment).collect();
        Ok((!files.is_empty()).then_some((system, files)))
    }

    pub fn wal(&self, system: &System, checked: &CheckedWal) -> Result<Vec<Repair>> {
        let findings = checked.checked.findings.iter().chain(&checked.past);
        let files = findings.flat_map(|finding| finding.files(system)).collect();
        self.heal(&Damaged {
            wal: vec![(system.clone(), files)],
            ..Damaged::default()
        })
    }

    fn heal(&self, damaged: &Damaged) -> Result<Vec<Repair>> {
        let is_nothing = damaged.wal.iter().all(|(_, files)| files.is_empty());
        if damaged.backups.is_empty() && is_nothing {
            return Ok(Vec::new());
        }
        let Self {
            context,
            repository,
            ..
        } = *self;
        let target = Peer {
            name: context.settings.repo()?.name.clone(),
            repository: repository.clone(),
        };
        let order = Order {
            target: &target,
            sources: &sync::open_any(context, self.others)?,
            workers: self.jobs,
        };
        repair::run(&order, damaged, &context.cancel, &context.meter)
    }
}

/// Whether anything is other than it was.
pub fn has_healed(repairs: &[Repair]) -> bool {
    repairs.iter().any(|repair| repair.from.is_some())
}

pub fn write(repairs: &[Repair], out: &mut dyn Write) -> io::Result<()> {
    for Repair {
        object,
        from,
        bytes,
        why,
    } in repairs
    {
        match (from, why) {
            (Some(from), _) => {
                let bytes = units::bytes(*bytes);
                writeln!(out, "healed: {object} (from repository {from}, {bytes})")?;
            }
            (None, why) => {
                let why = why.as_deref().unwrap_or_default();
                writeln!(out, "not healed: {object}: {why}")?;
            }
        }
    }
    Ok(())
}

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
            repair::{self, Damaged, Lost, Order, Repair},
        },
    },
    error::Result,
    postgres::wal_name::{Segment, WalName},
    repo::{
        backup::{Backup, Started},
        backup_id::BackupId,
        catalog::{Entry, State, Unfinished},
        dump_name::DumpName,
        dumps::{DumpEntry, DumpState},
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
    /// Registrations of systems that are lost, or can't be read.
    pub fn systems(&self) -> Result<Vec<Repair>> {
        let lost = self.repository.unregistered(&self.repository.backups()?)?;
        self.heal(&Damaged {
            systems: lost.into_iter().map(|one| one.system_id).collect(),
            ..Damaged::default()
        })
    }

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

    /// What has lost its description and is no backup or dump any more, nor being made or copied. `is_asked`: whether a
    /// backup was asked for; `with_dumps`: whether dumps were.
    pub fn lost(
        &self,
        is_asked: impl Fn(BackupId) -> bool,
        with_dumps: bool,
    ) -> Result<Vec<Repair>> {
        let is_lost = |state: &State| match state {
            State::Unfinished(Unfinished { started, .. }) => {
                // A copy may be gone on with from another host.
                let is_claimed = |started: &Started| {
                    let lives = started.process.lives();
                    lives.unwrap_or(started.copied_from.is_some())
                };
                !started.as_ref().is_some_and(is_claimed)
            }
            _ => false,
        };
        let entries = self.repository.backups()?.into_iter();
        let backups = entries.filter(|entry| is_asked(entry.id) && is_lost(&entry.state));
        // A dump that is being made has a claim.
        let is_lost = |dump: &DumpEntry| match dump.state {
            DumpState::Unfinished(_) => !dump.has_claim,
            _ => false,
        };
        let dumps = match with_dumps {
            true => self.repository.dumps()?,
            false => Vec::new(),
        };
        let dumps = dumps.into_iter().filter(is_lost);
        self.heal(&Damaged {
            lost: Lost {
                backups: backups.map(|entry| entry.id).collect(),
                dumps: dumps.map(|dump| dump.name).collect(),
            },
            ..Damaged::default()
        })
    }

    pub fn dumps(&self, bad: &BTreeSet<DumpName>) -> Result<Vec<Repair>> {
        let mut entries = self.repository.dumps()?;
        entries.retain(|entry| bad.contains(&entry.name));
        let dumps = entries.into_iter().map(|entry| match entry.state {
            DumpState::Complete(own) | DumpState::Damaged(own, _) => (entry.name, Some(*own)),
            DumpState::Unfinished(_) | DumpState::Unreadable { .. } => (entry.name, None),
        });
        self.heal(&Damaged {
            dumps: dumps.collect(),
            ..Damaged::default()
        })
    }

    fn heal(&self, damaged: &Damaged) -> Result<Vec<Repair>> {
        if damaged.is_empty() {
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
    repairs.iter().any(Repair::is_done)
}

pub fn write(repairs: &[Repair], out: &mut dyn Write) -> io::Result<()> {
    for Repair {
        object,
        from,
        bytes,
        why,
        hint,
    } in repairs
    {
        match (from, why) {
            (Some(from), _) => {
                let bytes = units::bytes(*bytes);
                writeln!(out, "healed: {object} (from repository {from}, {bytes})")?;
            }
            (None, None) => writeln!(out, "deleted: {object} (healed under another name)")?,
            (None, Some(why)) => {
                writeln!(out, "not healed: {object}: {why}")?;
                if let Some(hint) = hint {
                    writeln!(out, "  {hint}")?;
                }
            }
        }
    }
    Ok(())
}

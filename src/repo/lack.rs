//! What one repository has, and another one that is filled from it by `sync` has not got.
//!
//! What the other one's own retention deleted it does not lack: the lease of its cleanup tells from where on
//! it keeps all WAL, and what begins before that is not wanted there; nor is what `sync` has brought once
//! ([`super::brought`]). What is damaged there, as its listing or the newest word of `verify` tells, it lacks:
//! this one may have the only whole copy.

use std::{collections::BTreeMap, fmt};

use super::{
    backup_id::BackupId,
    brought::Brought,
    catalog::State,
    dump_name::{DumpName, DumpObject},
    dumps::DumpState,
    layout::{BackupObject, ObjectName},
    lease::Cut,
    missing::Missing,
    repository::{Repository, System},
    wal_index::WalIndex,
};
use crate::{
    error::Result,
    postgres::{
        lsn::{Lsn, SystemId, TimelineId},
        wal_name::{Segment, WalName},
    },
    util::clock::Time,
};

/// What a repository has: ranges, so its memory grows with the number of backups and of gaps.
#[derive(Debug, Default)]
pub struct Held {
    /// Whether they are whole, of those that are there and not being made.
    backups: BTreeMap<BackupId, bool>,
    dumps: BTreeMap<DumpName, bool>,
    brought: Brought,
    /// Without what is damaged; and what is.
    wal: BTreeMap<SystemId, (WalIndex, Cut)>,
    damaged_wal: BTreeMap<SystemId, Vec<Missing>>,
}

/// In which way a repository lacks something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// It has not come yet.
    Absent,
    Damaged,
}

impl Lack {
    fn of(is_whole: Option<bool>, was_brought: bool) -> Option<Self> {
        match is_whole {
            Some(true) => None,
            Some(false) => Some(Self::Damaged),
            None => (!was_brought).then_some(Self::Absent),
        }
    }
}

/// Behind the repository's name.
impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "hasn't got it yet",
            Self::Damaged => "has it damaged",
        })
    }
}

impl Held {
    pub fn look(repository: &Repository) -> Result<Self> {
        let mut held = Self::default();
        let verdicts = repository.verdicts(|_| true)?;
        verdicts.all_read()?;
        repository.each_backup(|entry| {
            let is_whole = match entry.state {
                State::Complete(_) => verdicts.word(entry.id).is_none_or(|word| word.restorable),
                State::Damaged(..) | State::Unreadable(_) => false,
                State::Pending(_) | State::Unfinished(_) => return Ok(()),
            };
            held.backups.insert(entry.id, is_whole);
            Ok(())
        })?;
        for entry in repository.dumps()? {
            let is_whole = match entry.state {
                DumpState::Complete(_) => !verdicts.finds_damaged(&entry.name),
                DumpState::Damaged(..) | DumpState::Unreadable { .. } => false,
                DumpState::Unfinished(_) => continue,
            };
            held.dumps.insert(entry.name, is_whole);
        }
        for system in repository.systems()? {
            let mut wal = WalIndex::load(repository, &system)?;
            if let Some(word) = verdicts.wal.get(&system.system_id) {
                let damaged = word.still_there(&wal);
                wal = wal.without(&damaged);
                held.damaged_wal.insert(system.system_id, damaged);
            }
            held.wal
                .insert(system.system_id, (wal, repository.cut(&system)?));
        }
        held.brought = repository.brought()?;
        repository.confirm()?;
        Ok(held)
    }

    /// How it lacks a backup that starts there, in segments of the system's size; None: it does not.
    pub fn lacks_backup(
        &self,
        id: BackupId,
        system: SystemId,
        timeline: TimelineId,
        start: Lsn,
    ) -> Option<Lack> {
        let wanted = || {
            self.wal.get(&system).is_none_or(|(wal, cut)| {
                let first = start.0 / wal.size().bytes();
                let start = Missing {
                    timeline,
                    first,
                    last: first,
                };
                cut.lost(start).is_some()
            })
        };
        let is_whole = self.backups.get(&id).copied();
        Lack::of(is_whole, self.brought.backups.contains(&id)).filter(|_| wanted())
    }

    pub fn lacks_dump(&self, name: &DumpName) -> Option<Lack> {
        let is_whole = self.dumps.get(name).copied();
        Lack::of(is_whole, self.brought.dumps.contains(name))
    }

    /// What it lacks of another one's WAL.
    pub fn lacks_wal(&self, system: SystemId, wal: &WalIndex) -> Vec<Missing> {
        let of_system = self.wal.get(&system);
        let mut lacking = Vec::new();
        for timeline in wal.timelines() {
            for range in wal.ranges(timeline) {
                match of_system {
                    Some((own, cut)) => {
                        let missing = own.missing(timeline, range).into_iter();
                        lacking.extend(missing.filter_map(|missing| cut.lost(missing)));
                    }
                    None => lacking.push(Missing {
                        timeline,
                        first: *range.start(),
                        last: *range.end(),
                    }),
                }
            }
        }
        lacking
    }
}

/// How far a repository is behind the one that it is filled from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behind {
    pub backups: u64,
    pub segments: u64,
    pub dumps: u64,
    /// Of all these: those that are damaged there.
    pub damaged: u64,
    /// Since when the source has the first of these, by its store's clock.
    pub since: Option<Time>,
}

impl Behind {
    pub fn look(source: &Repository, other: &Repository) -> Result<Self> {
        let held = Held::look(other)?;
        let mut behind = Self::default();
        for entry in source.backups()? {
            if let State::Complete(backup) = entry.state
                && let Some(lack) = held.lacks_backup(
                    backup.id,
                    backup.system_id,
                    backup.timeline,
                    backup.start_lsn,
                )
            {
                behind.backups += 1;
                behind.damaged += u64::from(lack == Lack::Damaged);
                let name = source
                    .layout()
                    .backup_object(&backup.id, BackupObject::Backup);
                behind.note(source, &name)?;
            }
        }
        for name in source.dump_names()? {
            if let Some(lack) = held.lacks_dump(&name) {
                behind.dumps += 1;
                behind.damaged += u64::from(lack == Lack::Damaged);
                let name = source.layout().dump_object(&name, DumpObject::Description);
                behind.note(source, &name)?;
            }
        }
        for system in source.systems()? {
            behind.add_wal(source, &system, &held)?;
        }
        Ok(behind)
    }

    fn add_wal(&mut self, source: &Repository, system: &System, held: &Held) -> Result<()> {
        let wal = WalIndex::load(source, system)?;
        for missing in held.lacks_wal(system.system_id, &wal) {
            let count = |range: &Missing| range.last - range.first + 1;
            self.segments += count(&missing);
            let damaged = held.damaged_wal.get(&system.system_id);
            let absent = missing.without(damaged.map_or(&[], Vec::as_slice));
            self.damaged += count(&missing) - absent.iter().map(count).sum::<u64>();
            let first = Segment::nth(missing.timeline, missing.first, system.segment_size);
            let name = source.wal_object(system, WalName::Segment(first));
            self.note(source, &name)?;
        }
        Ok(())
    }

    fn note(&mut self, source: &Repository, name: &ObjectName) -> Result<()> {
        let stored = source.storage().head(name)?.modified;
        self.since = Some(self.since.map_or(stored, |since| since.min(stored)));
        Ok(())
    }
}

//! Which backups the source has and the target lacks. Of each backup some bytes are kept, whatever its description has.

use std::collections::{BTreeMap, BTreeSet};

use super::pass::{Pair, Peer};
use crate::{
    error::{Error, Result},
    postgres::lsn::{Lsn, SystemId, TimelineId},
    repo::{
        backup_id::BackupId,
        brought::Brought,
        catalog::{Backup, State},
        repository::Repository,
        wal_index::Missing,
    },
};

/// What one repository shows of a backup.
#[derive(Clone, Debug)]
pub enum Shown {
    Complete(Known),
    /// Why it can't be used.
    Bad(String),
    /// Is being made or copied, or was interrupted.
    Unfinished,
    Pending,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub parent: Option<BackupId>,
    pub system: SystemId,
    pub timeline: TimelineId,
    pub start: Lsn,
    pub stop: Lsn,
    /// Of all its objects that a restore reads.
    pub bytes: u64,
}

impl Known {
    fn of(backup: &Backup) -> Self {
        let objects = backup.objects.iter().map(|object| object.stored_bytes);
        Self {
            parent: backup.parent,
            system: backup.system_id,
            timeline: backup.timeline,
            start: backup.start_lsn,
            stop: backup.stop_lsn,
            bytes: backup.stored_bytes + objects.sum::<u64>(),
        }
    }

    /// Encrypted or not, it is the same backup.
    fn is_same(&self, other: &Self) -> bool {
        let place = |one: &Self| (one.system, one.timeline, one.start, one.stop, one.parent);
        place(self) == place(other)
    }
}

pub type Stock = BTreeMap<BackupId, Shown>;

pub fn look(repository: &Repository) -> Result<Stock> {
    let mut stock = Stock::new();
    repository.each_backup(|entry| {
        let shown = match entry.state {
            State::Complete(backup) => Shown::Complete(Known::of(&backup)),
            State::Damaged(_, problems) => Shown::Bad(problems.join("; ")),
            State::Unreadable(unreadable) => Shown::Bad(unreadable.why),
            State::Pending(_) => Shown::Pending,
            State::Unfinished(_) => Shown::Unfinished,
        };
        stock.insert(entry.id, shown);
        Ok(())
    })?;
    repository.confirm()?;
    Ok(stock)
}

/// What is to be copied, oldest first, and what is wrong.
#[derive(Debug, Default)]
pub struct Lacking {
    pub backups: BTreeSet<BackupId>,
    /// In the source, and in the target.
    pub of_source: Vec<(BackupId, Error)>,
    pub of_target: Vec<(BackupId, Error)>,
}

impl Lacking {
    pub fn look(
        source: &Stock,
        there: &Stock,
        target: &Peer,
        pairs: &[Pair],
        brought: &Brought,
    ) -> Result<Self> {
        let mut lacking = Self::default();
        for (id, shown) in source {
            let wanted = match shown {
                Shown::Complete(known) => {
                    !brought.backups.contains(id) && is_wanted(target, pairs, known)?
                }
                Shown::Bad(_) => !brought.backups.contains(id),
                Shown::Unfinished | Shown::Pending => false,
            };
            match (shown, there.get(id)) {
                (Shown::Complete(known), Some(Shown::Complete(other))) if known.is_same(other) => {}
                (Shown::Complete(_), Some(Shown::Complete(_))) => {
                    let what = "the target has another backup of this id";
                    lacking.of_target.push((*id, Error::failed(what)));
                }
                (_, Some(Shown::Bad(why))) => {
                    let error = Error::damaged(why.clone()).hint(format!(
                        "delete its folder in repository {}: then the next sync brings it once more.",
                        target.name
                    ));
                    lacking.of_target.push((*id, error));
                }
                (Shown::Bad(why), None) if wanted => {
                    lacking.of_source.push((*id, Error::damaged(why.clone())));
                }
                (Shown::Complete(_), Some(Shown::Unfinished | Shown::Pending)) => {
                    lacking.backups.insert(*id);
                }
                (Shown::Complete(_), None) if wanted => {
                    lacking.backups.insert(*id);
                }
                _ => {}
            }
        }
        lacking.add_parents(source, there);
        Ok(lacking)
    }

    /// An incremental backup is worth nothing without those that it builds on, whoever deleted them.
    fn add_parents(&mut self, source: &Stock, there: &Stock) {
        let parent = |id: &BackupId| match source.get(id) {
            Some(Shown::Complete(known)) => known.parent,
            _ => None,
        };
        let mut next: Vec<BackupId> = self.backups.iter().filter_map(parent).collect();
        while let Some(id) = next.pop() {
            let is_there = there.contains_key(&id) || !source.contains_key(&id);
            if !is_there && self.backups.insert(id) {
                next.extend(parent(&id));
            }
        }
    }
}

/// False where it begins before what the target's own retention keeps.
fn is_wanted(target: &Peer, pairs: &[Pair], known: &Known) -> Result<bool> {
    let pair = pairs
        .iter()
        .find(|pair| pair.target.system_id == known.system);
    let Some(pair) = pair else { return Ok(true) };
    let cut = target.repository.cut(&pair.target)?;
    let first = known.start.0 / pair.target.segment_size.bytes();
    let start = Missing {
        timeline: known.timeline,
        first,
        last: first,
    };
    Ok(cut.lost(start).is_some())
}

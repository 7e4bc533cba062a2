//! Which backups the source has and the target lacks. Of each backup some bytes are kept, whatever its description has.

use std::collections::{BTreeMap, BTreeSet};

use super::pass::{Pair, Peer};
use crate::{
    error::{Error, Result},
    postgres::{
        lsn::{Lsn, SystemId, TimelineId},
        wal_name::segment_numbers,
    },
    repo::{
        backup::Backup,
        backup_id::BackupId,
        brought::Brought,
        catalog::State,
        missing::Missing,
        repository::{Repository, System},
    },
};

/// For two backups of one id.
const SAME_ID: &str = "both began in the same second, by settings that don't know of one another's repository, and neither is \
     copied over the other: each is restored from its own repository. To be told this no more, delete the one that is needed \
     less, its backup.json first, or leave both to retention; name all repositories that backups are made into in each \
     host's pgstow.toml, in the same order, then no two have one id.";

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
                    lacking
                        .of_target
                        .push((*id, Error::failed(what).hint(SAME_ID)));
                }
                (_, Some(Shown::Bad(why))) => {
                    let error = Error::damaged(why.clone()).hint(target.mending());
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

    /// Those of `wanted` that are not there, whoever deleted them.
    pub fn chosen(source: &Stock, there: &Stock, wanted: &BTreeSet<BackupId>) -> Self {
        let mut lacking = Self::default();
        for id in wanted {
            match (source.get(id), there.get(id)) {
                (_, Some(Shown::Complete(_))) | (None, _) => {}
                (_, Some(Shown::Bad(why))) => {
                    lacking.of_target.push((*id, Error::damaged(why.clone())));
                }
                (Some(Shown::Complete(_)), _) => {
                    lacking.backups.insert(*id);
                }
                (Some(Shown::Bad(why)), _) => {
                    lacking.of_source.push((*id, Error::damaged(why.clone())));
                }
                (Some(Shown::Unfinished | Shown::Pending), _) => {
                    let error = Error::failed("it is not complete yet");
                    lacking.of_source.push((*id, error));
                }
            }
        }
        lacking.add_parents(source, there);
        lacking
    }

    /// The segments that they need to become consistent.
    pub fn needed_wal(&self, source: &Stock, system: &System) -> Vec<Missing> {
        let needed = self.backups.iter().filter_map(|id| match source.get(id) {
            Some(Shown::Complete(known)) if known.system == system.system_id => {
                let numbers = segment_numbers(known.start, known.stop, system.segment_size);
                Some(Missing {
                    timeline: known.timeline,
                    first: *numbers.start(),
                    last: *numbers.end(),
                })
            }
            _ => None,
        });
        Missing::joined(needed)
    }

    /// An incremental backup is worth nothing without those that it builds on, whoever deleted them.
    fn add_parents(&mut self, source: &Stock, there: &Stock) {
        // A parent's id is lower, else it is none: there are no rings.
        let parent = |id: &BackupId| match source.get(id) {
            Some(Shown::Complete(known)) => known.parent.filter(|parent| parent < id),
            _ => None,
        };
        let mut next: Vec<BackupId> = self.backups.iter().filter_map(parent).collect();
        while let Some(id) = next.pop() {
            let is_there = there.contains_key(&id) || !source.contains_key(&id);
            if !is_there && self.backups.insert(id) {
                next.extend(parent(&id));
            }
        }
        // What only lacks those is well when they are there; if not, the next run tells.
        let backups = &self.backups;
        self.of_target.retain(|(id, _)| {
            let mut ancestors = std::iter::successors(parent(id), parent);
            !ancestors.any(|ancestor| backups.contains(&ancestor))
        });
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::repo::location::Location;

    fn id(day: u32) -> BackupId {
        format!("202611{day:02}T020000Z-full").parse().unwrap()
    }

    fn complete(parent: Option<BackupId>, stop: u64) -> Shown {
        Shown::Complete(Known {
            parent,
            system: SystemId(1),
            timeline: TimelineId::FIRST,
            start: Lsn(0x100_0028),
            stop: Lsn(stop),
            bytes: 1,
        })
    }

    #[test]
    fn what_is_copied_and_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Folder(folder.path().to_owned());
        let made = Repository::open_or_create(&location, "main".parse().unwrap());
        let target = Peer {
            name: "offsite".to_owned(),
            repository: made.unwrap().0,
        };
        let bad = || Shown::Bad("a part is missing".to_owned());
        let source: Stock = [
            (id(1), complete(None, 1)),
            (id(2), complete(Some(id(1)), 2)),
            (id(3), complete(None, 3)),
            (id(4), bad()),
            (id(5), complete(None, 5)),
            (id(6), Shown::Unfinished),
            (id(7), complete(None, 7)),
            (id(8), complete(Some(id(7)), 8)),
        ]
        .into();
        let there: Stock = [
            (id(3), complete(None, 3)),
            (id(5), complete(None, 0)),
            (id(7), Shown::Unfinished),
            // For want of its parent, which comes.
            (id(8), bad()),
        ]
        .into();
        let look = |brought: &[BackupId]| {
            let brought = Brought {
                backups: brought.iter().copied().collect(),
                ..Brought::default()
            };
            let lacking = Lacking::look(&source, &there, &target, &[], &brought).unwrap();
            let ids = |all: &[(BackupId, Error)]| all.iter().map(|(id, _)| *id).collect::<Vec<_>>();
            let (of_source, of_target) = (ids(&lacking.of_source), ids(&lacking.of_target));
            (Vec::from_iter(lacking.backups), of_source, of_target)
        };
        let all = (vec![id(1), id(2), id(7)], vec![id(4)], vec![id(5)]);
        assert_eq!(look(&[]), all);
        // What was brought before is not brought again, but for what something new builds on.
        assert_eq!(
            look(&[id(1), id(4)]),
            (all.0.clone(), vec![], all.2.clone())
        );
        assert_eq!(look(&[id(1), id(2)]), (vec![id(7)], all.1, all.2));
    }
}

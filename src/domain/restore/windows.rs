//! From where to where a restore is possible: for each backup, and each timeline that leads on
//! from it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{archive::Archive, path::Reach};
use crate::{
    error::Result,
    postgres::{
        lsn::{Lsn, TimelineId},
        timeline::TimelineHistory,
        wal_name::{Segment, WalName},
    },
    repo::{
        catalog::Backup,
        repository::{Repository, System},
        wal_index::{Missing, WalIndex},
    },
    util::clock::Time,
};

/// A line for each promotion: far more than any cluster has.
const HISTORY_LIMIT: u64 = 1 << 20;

/// The moments that a backup can be restored to along one timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Window {
    pub timeline: TimelineId,
    /// The backup's end, by the server's clock.
    pub from_time: Time,
    pub from_lsn: Lsn,
    /// The end of the WAL that follows without a hole; None: the backup can't be restored.
    pub to_lsn: Option<Lsn>,
    /// The last segment of that WAL.
    #[serde(skip)]
    pub last: Option<Segment>,
    /// Missing WAL, behind which there is more.
    pub missing: Option<Missing>,
}

impl Archive {
    /// What the repository holds of one system; `backups` are its complete ones.
    pub fn load(repository: &Repository, system: &System, backups: Vec<Backup>) -> Result<Self> {
        let wal = WalIndex::load(repository, system)?;
        let mut histories = BTreeMap::new();
        for timeline in wal.histories() {
            let file = WalName::History(*timeline);
            let name = repository
                .layout()
                .wal_file(system.system_id, file, system.wal_codec);
            let content = repository.storage().read(&name, HISTORY_LIMIT)?;
            histories.insert(*timeline, TimelineHistory::parse(*timeline, &content)?);
        }
        Ok(Self {
            backups,
            wal,
            histories,
            rescued: BTreeSet::new(),
        })
    }

    /// One window for each timeline whose way from the backup ends there, oldest timeline first.
    pub fn windows(&self, backup: &Backup) -> Vec<Window> {
        let size = self.wal.size();
        let mut windows = Vec::new();
        for timeline in self.timelines() {
            let Some(history) = self.history(timeline) else {
                continue;
            };
            if !history.contains(backup.timeline, backup.stop_lsn) {
                continue;
            }
            let reach = self.reach(backup, &history);
            // A way that ends before this timeline begins is that of its parent.
            let of_parent = reach
                .legs
                .last()
                .is_some_and(|leg| leg.timeline != timeline);
            if of_parent && reach.hole.is_none() {
                continue;
            }
            let to_lsn = reach.end(size).filter(|end| *end >= backup.stop_lsn);
            windows.push(Window {
                timeline,
                from_time: backup.stop_time,
                from_lsn: backup.stop_lsn,
                to_lsn,
                last: reach.last(size),
                missing: reach.hole,
            });
        }
        windows
    }

    /// How far the WAL leads, that in the backup itself included.
    fn reach(&self, backup: &Backup, history: &TimelineHistory) -> Reach {
        if !backup.standalone {
            return Reach::of(backup, history, &self.wal);
        }
        let mut wal = self.wal.clone();
        backup
            .needed_segments()
            .for_each(|number| wal.add(backup.segment(number)));
        Reach::of(backup, history, &wal)
    }
}

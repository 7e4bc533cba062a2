//! What one database system has in the repository, as far as a restore is concerned. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    postgres::{lsn::TimelineId, timeline::TimelineHistory, wal_name::Segment},
    repo::{catalog::Backup, wal_index::WalIndex},
};

#[derive(Debug)]
pub struct Archive {
    /// Complete ones, in any order.
    pub backups: Vec<Backup>,
    pub wal: WalIndex,
    pub histories: BTreeMap<TimelineId, TimelineHistory>,
    /// Segments behind the archive's end that the folder to be replaced still has.
    pub rescued: BTreeSet<Segment>,
}

impl Archive {
    /// The history of a timeline of which anything is there.
    pub fn history(&self, timeline: TimelineId) -> Option<TimelineHistory> {
        let known = || self.timelines().contains(&timeline);
        self.histories
            .get(&timeline)
            .cloned()
            .or_else(|| known().then(|| TimelineHistory::without_ancestors(timeline)))
    }

    /// What is left without a repository: the backups that hold their own WAL.
    pub fn offline(&mut self) {
        self.backups.retain(|backup| backup.standalone);
        self.wal = WalIndex::new(self.wal.size());
        self.histories.clear();
    }

    /// Whether restore-wal has nothing to give for `backup`'s own WAL, but takes later WAL for the
    /// proof of a hole. An archive without any WAL is no such case.
    pub fn begins_behind(&self, backup: &Backup) -> bool {
        let own = self.wal.missing(backup.timeline, &backup.needed_segments());
        backup.standalone && !own.is_empty() && self.wal.segments() > 0
    }

    pub fn timelines(&self) -> BTreeSet<TimelineId> {
        let histories = self.histories.keys().copied();
        let backups = self.backups.iter().map(|backup| backup.timeline);
        histories
            .chain(self.wal.timelines())
            .chain(backups)
            .collect()
    }
}

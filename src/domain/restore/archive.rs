//! What one database system has in the repository, as far as a restore is concerned. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::Serialize;

use super::histories::History;
use crate::{
    error::Error,
    postgres::{
        lsn::{Lsn, TimelineId},
        timeline::TimelineHistory,
        wal_name::{Segment, WalName},
    },
    repo::{
        backup::Backup, backup_id::BackupId, good, lease::Cut, order, verified::Verdicts,
        wal_index::WalIndex,
    },
};

#[derive(Debug)]
pub struct Archive {
    /// Complete ones, in any order.
    pub backups: Vec<Backup>,
    pub wal: WalIndex,
    pub histories: BTreeMap<TimelineId, TimelineHistory>,
    /// Timelines that may lead on from another one, nobody knows from which and where.
    pub rootless: BTreeMap<TimelineId, Rootless>,
    /// What `verify` said last of the backups.
    pub verdicts: Verdicts,
    /// What retention deleted is nobody's loss.
    pub cut: Cut,
    /// Segments that the archive has not got, but this host.
    pub rescued: BTreeSet<Segment>,
    /// Histories that the archive has not got, but this host.
    pub received: Vec<History>,
}

/// A timeline whose history file is damaged or missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rootless {
    pub timeline: TimelineId,
    /// Where the history is, or should be.
    pub file: String,
    /// What is wrong with it; None where it is missing.
    pub damage: Option<String>,
}

impl Rootless {
    /// Refuses what depends on the history.
    pub fn error(&self, what: &str) -> Error {
        Error::damaged(format!("{what}: {self}")).hint(format!(
            "{}; or name another timeline by --target-timeline.",
            self.cure()
        ))
    }

    /// What can't be restored without it.
    pub fn loss(&self) -> &'static str {
        "nothing can be restored along it, but for the backups with their own WAL"
    }

    /// How to get the file back.
    pub fn cure(&self) -> String {
        format!(
            "copy {} to this place from pg_wal of a server of this cluster, or from another copy of the repository (a base backup of a server on timeline {} stores it too)",
            WalName::History(self.timeline),
            self.timeline
        )
    }
}

impl fmt::Display for Rootless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.damage {
            Some(damage) => write!(f, "{} is damaged ({damage})", self.file),
            None => write!(f, "{} is missing", self.file),
        }
    }
}

impl Archive {
    /// Where another timeline leaves that of `segment` within it, the first of them.
    pub fn left_within(&self, segment: Segment) -> Option<Lsn> {
        let size = self.wal.size();
        let within = segment.start(size)..segment.end(size);
        let forks = self.histories.values();
        let forks = forks.filter_map(|history| history.fork(segment.timeline));
        forks.filter(|fork| within.contains(fork)).min()
    }

    /// Whether there is WAL of `timeline` behind the segment of `fork`, where another one left it.
    pub fn goes_on_behind(&self, timeline: TimelineId, fork: Lsn) -> bool {
        let last = self.wal.last(timeline);
        last.is_some_and(|last| last > fork.0 / self.wal.size().bytes())
    }

    /// The history of a timeline of which anything is there; None if it is damaged. Without a file
    /// a timeline is its own beginning, as for the server: archiving may have begun on it.
    pub fn history(&self, timeline: TimelineId) -> Option<TimelineHistory> {
        let known = || self.timelines().contains(&timeline) && !self.is_damaged(timeline);
        self.histories
            .get(&timeline)
            .cloned()
            .or_else(|| known().then(|| TimelineHistory::without_ancestors(timeline)))
    }

    /// The backups, oldest first; a wrong clock puts none out of its place.
    pub fn by_age(&self) -> Vec<&Backup> {
        let history = |_, timeline| self.history(timeline);
        let placed = order::ordered(&self.backups, &[], history);
        placed.into_iter().map(|placed| placed.backup).collect()
    }

    /// Of each backup that others are to be preferred to, why.
    pub fn flawed(&self) -> BTreeMap<BackupId, String> {
        good::flawed_of(&self.backups, &self.verdicts)
    }

    /// Of each backup that can't be restored as it is, why.
    pub fn torn(&self) -> BTreeMap<BackupId, String> {
        good::torn_of(&self.backups, &self.verdicts)
    }

    fn is_damaged(&self, timeline: TimelineId) -> bool {
        let rootless = self.rootless.get(&timeline);
        rootless.is_some_and(|rootless| rootless.damage.is_some())
    }

    /// Timelines whose history is there and can't be read.
    pub fn damaged(&self) -> impl Iterator<Item = &Rootless> {
        let rootless = self.rootless.values();
        rootless.filter(|rootless| rootless.damage.is_some())
    }

    /// What is left without a repository: the backups that hold their own WAL.
    pub fn offline(&mut self) {
        self.backups.retain(|backup| backup.standalone);
        self.wal = WalIndex::new(self.wal.size());
        self.histories.clear();
        self.cut = Cut::default();
        self.rootless.clear();
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
            .chain(self.rootless.keys().copied())
            .chain(self.wal.timelines())
            .chain(backups)
            .collect()
    }
}

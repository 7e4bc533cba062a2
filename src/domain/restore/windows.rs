//! From where to where a restore is possible: for each backup, and each timeline that leads on
//! from it. Pure.

use serde::Serialize;

use super::{archive::Archive, path::Reach};
use crate::{
    postgres::{
        lsn::{Lsn, TimelineId},
        timeline::TimelineHistory,
        wal_name::Segment,
    },
    repo::{backup::Backup, missing::Missing, wal_index::WalIndex},
    util::clock::Time,
};

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
    #[serde(skip)]
    pub missing: Option<Missing>,
}

impl Window {
    /// That of the server's timeline, if it is known and there is one, else the last.
    pub fn along(windows: Vec<Self>, timeline: Option<TimelineId>) -> Option<Self> {
        let of_server = windows.iter().find(|one| Some(one.timeline) == timeline);
        of_server.or(windows.last()).cloned()
    }
}

impl Archive {
    /// One window for each timeline whose way from the backup ends there, oldest timeline first.
    pub fn windows(&self, backup: &Backup) -> Vec<Window> {
        self.windows_in(backup, &self.wal)
    }

    /// The same if there were no other WAL than `wal`.
    pub(super) fn windows_in(&self, backup: &Backup, wal: &WalIndex) -> Vec<Window> {
        let size = wal.size();
        let mut windows = Vec::new();
        for timeline in self.timelines() {
            let Some(history) = self.history(timeline) else {
                continue;
            };
            if !history.contains(backup.timeline, backup.stop_lsn) {
                continue;
            }
            let reach = reach(backup, &history, wal);
            let missing = reach.hole.and_then(|hole| self.cut.lost(hole));
            // A way that ends before this timeline begins is that of its parent.
            let of_parent = reach
                .legs
                .last()
                .is_some_and(|leg| leg.timeline != timeline);
            if of_parent && missing.is_none() {
                continue;
            }
            let to_lsn = reach.end(size).filter(|end| *end >= backup.stop_lsn);
            windows.push(Window {
                timeline,
                from_time: backup.stop_time,
                from_lsn: backup.stop_lsn,
                to_lsn,
                last: reach.last(size),
                missing,
            });
        }
        windows
    }
}

/// How far the WAL leads, that in the backup itself included.
fn reach(backup: &Backup, history: &TimelineHistory, wal: &WalIndex) -> Reach {
    if !backup.standalone {
        return Reach::of(backup, history, wal);
    }
    let mut wal = wal.clone();
    backup
        .needed_segments()
        .for_each(|number| wal.add(backup.segment(number)));
    Reach::of(backup, history, &wal)
}

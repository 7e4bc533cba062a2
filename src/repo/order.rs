//! Which backup is newer: by LSN along the history of a timeline, by time where no history joins two.
//! Never by name. Pure.

use std::collections::BTreeMap;

use super::{backup::Backup, backup_id::BackupId};
use crate::{
    postgres::{
        lsn::{Lsn, SystemId, TimelineId},
        timeline::TimelineHistory,
    },
    util::clock::Time,
};

/// Where and when a backup ended.
#[derive(Clone, Copy, Debug)]
pub struct End {
    pub id: BackupId,
    pub system: SystemId,
    pub timeline: TimelineId,
    pub stop: Lsn,
    /// By the server's clock.
    pub time: Time,
}

pub trait Ended {
    fn end(&self) -> End;
}

impl Ended for Backup {
    fn end(&self) -> End {
        End {
            id: self.id,
            system: self.system_id,
            timeline: self.timeline,
            stop: self.stop_lsn,
            time: self.stop_time,
        }
    }
}

/// A backup with the time that its place in the order gives it.
#[derive(Debug)]
pub struct Placed<'a, B> {
    pub backup: &'a B,
    /// When it ended; not before any backup on its own way, whatever a clock said then. A clock that ran
    /// ahead makes later ones look younger than they are, and stay longer.
    pub ended: Time,
}

impl<B> Clone for Placed<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B> Copy for Placed<'_, B> {}

/// The end of each backup of a timeline, ascending, and the latest time up to there.
type Ends = BTreeMap<(SystemId, TimelineId), Vec<(Lsn, Time)>>;

/// All `backups`, oldest first. `systems`: in the order of their registration; `history`: what leads to a
/// timeline, where that is known.
pub fn ordered<'a, B: Ended>(
    backups: impl IntoIterator<Item = &'a B>,
    systems: &[SystemId],
    history: impl Fn(SystemId, TimelineId) -> Option<TimelineHistory>,
) -> Vec<Placed<'a, B>> {
    let with_end = |backup: &'a B| (backup, backup.end());
    let mut by_place: Vec<(&B, End)> = backups.into_iter().map(with_end).collect();
    by_place.sort_by_key(|(_, end)| (end.system, end.timeline, end.stop, end.id));
    let mut ends = Ends::new();
    let mut placed: Vec<(Placed<'_, B>, End)> = Vec::with_capacity(by_place.len());
    for (backup, end) in by_place {
        let key = (end.system, end.timeline);
        // Ancestors have lower numbers, so that their ends are known.
        let before = match ends.get(&key).and_then(|ends| ends.last()) {
            Some((_, latest)) => Some(*latest),
            None => history(end.system, end.timeline)
                .and_then(|history| latest_of_ancestors(&history, end.system, &ends)),
        };
        let ended = before.map_or(end.time, |before| before.max(end.time));
        ends.entry(key).or_default().push((end.stop, ended));
        placed.push((Placed { backup, ended }, end));
    }
    let number = |system: SystemId| systems.iter().position(|known| *known == system);
    placed.sort_by_key(|(Placed { ended, .. }, end)| {
        let system = number(end.system);
        (*ended, system, end.timeline, end.stop, end.id)
    });
    placed.into_iter().map(|(placed, _)| placed).collect()
}

fn latest_of_ancestors(history: &TimelineHistory, system: SystemId, ends: &Ends) -> Option<Time> {
    let spans = history.path().into_iter();
    let before = spans.filter_map(|span| {
        let ends = ends.get(&(system, span.timeline))?;
        let inside = ends.partition_point(|(stop, _)| span.to.is_none_or(|to| *stop <= to));
        Some(ends[inside.checked_sub(1)?].1)
    });
    before.max()
}

//! Which backup is newer: by LSN along the history of a timeline, by time where no history joins two.
//! Never by name. Pure.

use std::collections::BTreeMap;

use super::facts::{Facts, Known};
use crate::{
    postgres::lsn::{Lsn, SystemId, TimelineId},
    util::clock::Time,
};

/// A backup with the time that its place in the order gives it.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'a> {
    pub backup: &'a Known,
    /// When it ended; not before any backup on its own way, whatever a clock said then. A clock that ran
    /// ahead makes later ones look younger than they are, and stay longer.
    pub ended: Time,
}

/// The end of each backup of a timeline, ascending, and the latest time up to there.
type Ends = BTreeMap<(SystemId, TimelineId), Vec<(Lsn, Time)>>;

/// All backups, oldest first.
pub fn ordered(facts: &Facts) -> Vec<Placed<'_>> {
    let mut by_place: Vec<&Known> = facts.backups.values().collect();
    by_place.sort_by_key(|backup| (backup.system, backup.timeline, backup.stop, backup.id));
    let mut ends = Ends::new();
    let mut placed: Vec<Placed<'_>> = Vec::with_capacity(by_place.len());
    for backup in by_place {
        let key = (backup.system, backup.timeline);
        // Ancestors have lower numbers, so that their ends are known.
        let before = match ends.get(&key).and_then(|ends| ends.last()) {
            Some((_, latest)) => Some(*latest),
            None => latest_of_ancestors(facts, backup, &ends),
        };
        let ended = before.map_or(backup.stop_time, |before| before.max(backup.stop_time));
        ends.entry(key).or_default().push((backup.stop, ended));
        placed.push(Placed { backup, ended });
    }
    let number = |system: SystemId| facts.systems.iter().position(|known| known.id == system);
    placed.sort_by_key(|Placed { backup, ended }| {
        let system = number(backup.system);
        (*ended, system, backup.timeline, backup.stop, backup.id)
    });
    placed
}

fn latest_of_ancestors(facts: &Facts, backup: &Known, ends: &Ends) -> Option<Time> {
    let history = facts.system(backup.system)?.history(backup.timeline)?;
    let spans = history.path().into_iter();
    let before = spans.filter_map(|span| {
        let ends = ends.get(&(backup.system, span.timeline))?;
        let inside = ends.partition_point(|(stop, _)| span.to.is_none_or(|to| *stop <= to));
        Some(ends[inside.checked_sub(1)?].1)
    });
    before.max()
}

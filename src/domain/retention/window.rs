//! From where on every moment stays restorable, and which backups that takes. Pure.

use std::collections::BTreeSet;

use chrono::TimeDelta;

use super::{
    facts::{Facts, Placed, SystemFacts},
    policy::Keep,
};
use crate::{
    postgres::lsn::TimelineId,
    repo::backup_id::BackupId,
    util::clock::{Time, readable},
};

/// Clocks differ: a timeline that ended so shortly before the window counts as one that reaches into it.
const TOLERANCE: TimeDelta = TimeDelta::days(1);

/// Where the window begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// All that there is belongs to it.
    Ever,
    At(Time),
    /// With the backup of that place in the order.
    Backup(usize),
}

/// From when days are counted back, and why, where that isn't the end of the newest good backup.
///
/// The present is not asked alone: where backups cease, or a clock ran ahead, the window would move on
/// and leave nothing behind it. A single backup that ended long after the one before it proves no time
/// either: it was taken while a clock was wrong, or the server was off for as long.
pub fn reference(now: Time, good: &[Placed<'_>], days: Option<Keep>) -> (Time, Option<String>) {
    let Some(newest) = good.first() else {
        return (now, None);
    };
    let most = match days {
        Some(Keep::Count(days)) => TimeDelta::days(i64::from(days) + 1),
        _ => TimeDelta::MAX,
    };
    match good.get(1) {
        Some(before) if newest.ended - before.ended > most => {
            let why = format!(
                "counted back from the end of {}: {} ended long after it, so that a clock may have been wrong",
                before.backup.id, newest.backup.id
            );
            (before.ended.min(now), Some(why))
        }
        _ => (newest.ended.min(now), None),
    }
}

/// So many days before `reference`; None where no calendar goes back that far.
pub fn days_before(reference: Time, days: u32) -> Option<Time> {
    let begin = reference.checked_sub_signed(TimeDelta::days(days.into()))?;
    begin.checked_sub_signed(TOLERANCE).map(|_| begin)
}

/// The good backups without which moments behind `begin` could not be restored: on the way to each
/// timeline that reaches into the window, the newest of those whose end `is_before` it.
pub fn covers(
    facts: &Facts,
    good: &[Placed<'_>],
    begin: Time,
    is_before: fn(&Time, &Time) -> bool,
) -> Vec<(TimelineId, BackupId)> {
    let before = good
        .iter()
        .filter(|placed| is_before(&placed.ended, &begin));
    let mut covers = Vec::new();
    for system in &facts.systems {
        for timeline in timelines(facts, system) {
            if reaches_into(system, timeline, begin, good) {
                let newest = newest_to(system, timeline, before.clone());
                covers.extend(newest.into_iter().map(|id| (timeline, id)));
            }
        }
    }
    covers
}

/// All of which anything is there.
pub fn timelines(facts: &Facts, system: &SystemFacts) -> BTreeSet<TimelineId> {
    let own = facts
        .backups
        .values()
        .filter(|backup| backup.system == system.id);
    let timelines = system
        .wal
        .timelines()
        .chain(own.map(|backup| backup.timeline));
    timelines
        .chain(system.histories.keys().copied())
        .chain(system.rootless.iter().copied())
        .collect()
}

/// Whether `timeline` has moments behind `begin`: something of it arrived later, the newest backup is on
/// it, or nothing shows that another had taken its place before; its end was the present then.
fn reaches_into(
    system: &SystemFacts,
    timeline: TimelineId,
    begin: Time,
    good: &[Placed<'_>],
) -> bool {
    let is_on_it = |placed: &Placed<'_>| {
        (placed.backup.system, placed.backup.timeline) == (system.id, timeline)
    };
    let arrived = system.wal.arrived(timeline);
    let replaces = |placed: &Placed<'_>| {
        !is_on_it(placed)
            && placed.ended < begin
            && arrived.is_none_or(|arrived| arrived < placed.ended)
    };
    good.first().is_some_and(is_on_it)
        || arrived.is_some_and(|arrived| arrived >= begin - TOLERANCE)
        || !good.iter().any(replaces)
}

/// Of these backups the newest that leads to `timeline`.
fn newest_to<'a>(
    system: &SystemFacts,
    timeline: TimelineId,
    backups: impl Iterator<Item = &'a Placed<'a>> + Clone,
) -> Vec<BackupId> {
    let before = backups.filter(|placed| placed.backup.system == system.id);
    let Some(history) = system.history(timeline) else {
        // The history may be found again: it leads through any of the earlier timelines.
        let earlier = |timeline: TimelineId| {
            let of_it = before
                .clone()
                .filter(move |placed| placed.backup.timeline == timeline);
            of_it.max_by_key(|placed| placed.backup.stop)
        };
        let timelines: BTreeSet<TimelineId> = before
            .clone()
            .map(|placed| placed.backup.timeline)
            .collect();
        let earlier = timelines.range(..=timeline).filter_map(|one| earlier(*one));
        return earlier.map(|placed| placed.backup.id).collect();
    };
    let on_the_way =
        before.filter(|placed| history.contains(placed.backup.timeline, placed.backup.stop));
    let newest = on_the_way.max_by_key(|placed| (placed.backup.timeline, placed.backup.stop));
    newest.into_iter().map(|placed| placed.backup.id).collect()
}

/// For people.
pub fn describe(begin: Time) -> String {
    format!("the window, which begins at {}", readable(begin))
}

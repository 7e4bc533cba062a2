//! What lost WAL means for a backup, in the terms of its windows: those that `list` shows. Pure.

use super::{archive::Archive, path::Reach, windows::Window};
use crate::{
    postgres::{
        lsn::{SystemId, TimelineId},
        wal_name::Segment,
    },
    repo::{backup::Backup, missing::Missing},
};

/// How far the WAL leads from a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the end of what is there.
    Whole,
    /// Up to this segment, which is there and damaged.
    Damaged(Segment),
    /// Not even by what is listed.
    Broken,
}

impl Archive {
    /// Segments of `system` that `verify` found damaged and that are still there: the others are missing.
    pub fn damaged_wal(&self, system: SystemId) -> Vec<Missing> {
        let word = self.verdicts.wal.get(&system);
        word.map_or_else(Vec::new, |word| word.still_there(&self.wal))
    }

    /// What is to be said of a way from `backup` that passes such segments.
    pub(super) fn passes_damage(&self, backup: &Backup, reach: &Reach) -> Option<String> {
        let size = self.wal.size();
        // What the backup holds itself is not asked of the archive.
        let from = match backup.standalone {
            true => backup.needed_segments().end() + 1,
            false => 0,
        };
        let damaged = self.damaged_wal(backup.system_id).into_iter();
        let mut on_the_way = damaged.flat_map(|range| {
            let legs = reach
                .legs
                .iter()
                .filter(move |leg| leg.timeline == range.timeline);
            legs.map(move |leg| Missing {
                first: range.first.max(leg.first).max(from),
                last: range.last.min(leg.last),
                ..range
            })
        });
        let lost = on_the_way.find(|range| range.first <= range.last)?;
        Some(format!(
            "`pgstow verify --wal` found WAL {} damaged: recovery ends there, and reaches nothing behind it from this backup, unless another repository of pgstow.toml has it whole",
            lost.describe(size)
        ))
    }

    /// A sentence for each place at which windows of `backup` end before WAL that is missing, or that is
    /// there and `damaged`; none if all windows are whole.
    pub fn consequences(&self, backup: &Backup, damaged: &[Missing]) -> Vec<String> {
        let (id, size) = (backup.id, self.wal.size());
        let sound = self.wal.without(damaged);
        let needed = sound.missing(backup.timeline, &backup.needed_segments());
        if !backup.standalone && !needed.is_empty() {
            let needed: Vec<String> = needed.iter().map(|range| range.describe(size)).collect();
            let needed = needed.join(", ");
            return vec![format!("{id} can't be restored at all: it needs {needed}")];
        }
        let left = self.windows_in(backup, &sound);
        // What is lost on a timeline is lost on those that left it later, too.
        let mut ends: Vec<(Segment, Vec<TimelineId>)> = Vec::new();
        let mut unreachable = Vec::new();
        for shown in self.windows(backup) {
            let timeline = shown.timeline;
            let Some(left) = left.iter().find(|left| left.timeline == timeline) else {
                unreachable.push(format!(
                    "{id} can't be restored to any moment on timeline {timeline}: its first WAL is damaged"
                ));
                continue;
            };
            let Some(lost) = self.first_lost(&shown, left) else {
                continue;
            };
            match ends.iter_mut().find(|(end, _)| *end == lost) {
                Some((_, timelines)) => timelines.push(timeline),
                None => ends.push((lost, vec![timeline])),
            }
        }
        let told = ends.into_iter().map(|(lost, timelines)| {
            let names: Vec<String> = timelines.iter().map(TimelineId::to_string).collect();
            let several = if names.len() > 1 { "s" } else { "" };
            format!(
                "{id} can be restored to any moment before {lost} on timeline{several} {}, and to none after it",
                names.join(", ")
            )
        });
        told.chain(unreachable).collect()
    }

    /// The damaged segment before which the way from `backup` along the server's timeline ends, though by what is
    /// listed it goes on.
    pub fn way(&self, backup: &Backup, timeline: Option<TimelineId>, damaged: &[Missing]) -> Way {
        let listed = Window::along(self.windows(backup), timeline);
        let is_listed = |one: &Window| one.to_lsn.is_some() && one.missing.is_none();
        let Some(listed) = listed.filter(is_listed) else {
            return Way::Broken;
        };
        let sound = self.wal.without(damaged);
        let mut left = self.windows_in(backup, &sound).into_iter();
        let end = match left.find(|left| left.timeline == listed.timeline) {
            Some(left) if left.missing.is_none() && left.last == listed.last => return Way::Whole,
            Some(left) => self.first_lost(&listed, &left),
            None => {
                let first = damaged.iter().find(|one| one.timeline == listed.timeline);
                first.map(|one| Segment::nth(one.timeline, one.first, self.wal.size()))
            }
        };
        end.map_or(Way::Broken, Way::Damaged)
    }

    /// The segment behind the sound end of a window, if there is anything behind that.
    fn first_lost(&self, shown: &Window, left: &Window) -> Option<Segment> {
        let size = self.wal.size();
        // WAL behind a hole counts as there, as in `list`, even if it is damaged.
        let shown_too = shown.missing.filter(|_| left.last == shown.last);
        if let Some(missing) = left.missing.or(shown_too) {
            return Some(Segment::nth(missing.timeline, missing.first, size));
        }
        let last = left.last.filter(|_| left.last != shown.last)?;
        Some(Segment::nth(last.timeline, last.number(size) + 1, size))
    }
}

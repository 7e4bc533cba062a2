//! What lost WAL means for a backup, in the terms of its windows: those that `list` shows. Pure.

use super::{archive::Archive, windows::Window};
use crate::{
    postgres::{lsn::TimelineId, wal_name::Segment},
    repo::{catalog::Backup, wal_index::Missing},
};

impl Archive {
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

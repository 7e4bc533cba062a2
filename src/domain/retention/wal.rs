//! Which WAL stays: all behind the backups of the window, and what the others need. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Known, SystemFacts};
use crate::{
    postgres::{
        lsn::{Lsn, SystemId, TimelineId},
        wal_name::{Segment, SegmentSize},
    },
    repo::{
        backup_id::BackupId,
        lease::WalFrom,
        missing::{Missing, Numbers},
    },
};

/// From where on all WAL stays that can follow.
#[derive(Clone, Debug)]
pub struct Anchor {
    pub id: BackupId,
    pub timeline: TimelineId,
    pub start: Lsn,
    /// What follows is on a timeline whose history has this.
    pub stop: Lsn,
}

impl Anchor {
    pub fn of(backup: &Known) -> Self {
        Self {
            id: backup.id,
            timeline: backup.timeline,
            start: backup.start,
            stop: backup.stop,
        }
    }
}

/// What stays of one system's WAL.
#[derive(Clone, Debug)]
pub struct WalKeeps {
    pub system: SystemId,
    size: SegmentSize,
    /// Why all of it stays, if it does.
    pub all: Option<String>,
    timelines: BTreeMap<TimelineId, TimelineKeeps>,
}

#[derive(Clone, Debug, Default)]
struct TimelineKeeps {
    /// All from that number on, and since which backup.
    from: Option<(u64, BackupId)>,
    /// What else is needed and why, by where it begins.
    needed: Vec<(Numbers, String)>,
    /// The same without overlaps, to be searched for each segment.
    merged: Vec<Numbers>,
}

/// A row of segments that are there and have the same fate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalRow {
    pub timeline: TimelineId,
    pub numbers: Numbers,
    pub keep: bool,
    pub reason: String,
}

impl WalKeeps {
    pub fn everything(system: &SystemFacts, why: String) -> Self {
        Self {
            system: system.id,
            size: system.wal.size(),
            all: Some(why),
            timelines: BTreeMap::new(),
        }
    }

    /// `needing` are the backups that stay, `lacking` what must stay for another reason; `timelines` are all of which anything is there.
    pub fn new<'a>(
        system: &SystemFacts,
        timelines: &BTreeSet<TimelineId>,
        anchors: &[Anchor],
        needing: impl Iterator<Item = &'a Known>,
        lacking: impl Iterator<Item = (Missing, String)>,
    ) -> Self {
        let size = system.wal.size();
        let mut keeps = Self {
            system: system.id,
            size,
            all: None,
            timelines: BTreeMap::new(),
        };
        for timeline in timelines {
            let history = system.history(*timeline);
            let leads_on = |anchor: &&Anchor| match &history {
                _ if anchor.timeline == *timeline => true,
                Some(history) => {
                    let left = history.fork(anchor.timeline);
                    left.is_some_and(|left| anchor.stop <= left)
                }
                // It may.
                None => anchor.timeline < *timeline,
            };
            let anchors = anchors.iter().filter(leads_on);
            let from = anchors
                .map(|anchor| (anchor.start.0 / size.bytes(), anchor.id))
                .min();
            keeps.timelines.entry(*timeline).or_default().from = from;
        }
        keeps.keep_for(needing);
        for (missing, why) in lacking {
            let of_timeline = keeps.timelines.entry(missing.timeline).or_default();
            of_timeline.needed.push((missing.first..=missing.last, why));
        }
        keeps.merge();
        keeps
    }

    /// Has what these backups need to become consistent stay, too.
    pub fn keep_for<'a>(&mut self, backups: impl Iterator<Item = &'a Known>) {
        for backup in backups.filter(|backup| !backup.standalone) {
            let of_timeline = self.timelines.entry(backup.timeline).or_default();
            let why = format!("{} needs it to become consistent", backup.id);
            of_timeline.needed.push((backup.needed(self.size), why));
        }
        self.merge();
    }

    fn merge(&mut self) {
        for of_timeline in self.timelines.values_mut() {
            of_timeline.merge();
        }
    }

    /// Whether a segment stays. One of a timeline that began after the plan was made does.
    pub fn keeps(&self, segment: Segment) -> bool {
        let number = segment.number(self.size);
        // A name that no segment of this size has is not ours to judge.
        !segment.fits(self.size) || self.keeps_any_of(segment.timeline, &(number..=number))
    }

    /// Whether any segment that a gap speaks of would stay.
    pub fn keeps_gap(&self, (first, last): (Segment, Segment)) -> bool {
        let numbers = first.number(self.size)..=last.number(self.size);
        self.keeps_any_of(first.timeline, &numbers)
    }

    /// Whether the segment that holds `position` would stay.
    pub fn keeps_position(&self, timeline: TimelineId, position: Lsn) -> bool {
        let number = position.0 / self.size.bytes();
        self.keeps_any_of(timeline, &(number..=number))
    }

    /// Whether any of these numbers stays, if it is there.
    fn keeps_any_of(&self, timeline: TimelineId, numbers: &Numbers) -> bool {
        let of_timeline = self.timelines.get(&timeline);
        self.all.is_some() || of_timeline.is_none_or(|keeps| keeps.any_of(numbers))
    }

    /// All segments that are there, with their fate, by timeline and number.
    pub fn rows(&self, system: &SystemFacts) -> Vec<WalRow> {
        let mut rows = Vec::new();
        for timeline in system.wal.timelines() {
            for range in system.wal.ranges(timeline) {
                let mut next = *range.start();
                while next <= *range.end() {
                    let (last, keep, reason) = self.fate(timeline, next);
                    let last = last.min(*range.end());
                    rows.push(WalRow {
                        timeline,
                        numbers: next..=last,
                        keep,
                        reason,
                    });
                    next = last + 1;
                }
            }
        }
        rows
    }

    /// What happens to the segment with that number, why, and the last one with the same fate.
    fn fate(&self, timeline: TimelineId, number: u64) -> (u64, bool, String) {
        if let Some(why) = &self.all {
            return (u64::MAX, true, why.clone());
        }
        let Some(keeps) = self.timelines.get(&timeline) else {
            return (
                u64::MAX,
                true,
                "of a timeline that has just begun".to_owned(),
            );
        };
        let from = keeps.from.as_ref().map_or(u64::MAX, |(from, _)| *from);
        if let Some((_, id)) = keeps.from.as_ref().filter(|_| number >= from) {
            return (
                u64::MAX,
                true,
                format!("all from the start of {id} on stays"),
            );
        }
        let around = keeps
            .needed
            .iter()
            .find(|(needed, _)| needed.contains(&number));
        if let Some((needed, why)) = around {
            return ((*needed.end()).min(from - 1), true, why.clone());
        }
        let behind = keeps.needed.iter().map(|(needed, _)| *needed.start());
        let next = behind
            .filter(|start| *start > number)
            .min()
            .unwrap_or(u64::MAX);
        let why = match &keeps.from {
            Some((_, id)) => format!("before the start of {id}, and no other backup needs it"),
            None => "no backup of the window leads to it".to_owned(),
        };
        (next.min(from) - 1, false, why)
    }

    /// For the lease: from where on nothing is missing by the rules, on each timeline of which some
    /// goes now.
    pub fn wal_from(&self, system: &SystemFacts) -> Vec<WalFrom> {
        let rows = self.rows(system);
        let cut = |timeline: &TimelineId| {
            rows.iter()
                .any(|row| row.timeline == *timeline && !row.keep)
        };
        let timelines = system.wal.timelines().filter(cut);
        timelines
            .map(|timeline| {
                let keeps = self
                    .timelines
                    .get(&timeline)
                    .and_then(|keeps| keeps.from.as_ref());
                let behind = || system.wal.last(timeline).map_or(0, |last| last + 1);
                let number = keeps.map_or_else(behind, |(from, _)| *from);
                WalFrom {
                    system_id: self.system,
                    segment: Segment::nth(timeline, number, self.size),
                }
            })
            .collect()
    }
}

impl TimelineKeeps {
    fn merge(&mut self) {
        self.merged.clear();
        self.needed.sort_by_key(|(numbers, _)| *numbers.start());
        for (numbers, _) in &self.needed {
            match self.merged.last_mut() {
                Some(last) if numbers.start() <= last.end() => {
                    *last = *last.start()..=(*last.end()).max(*numbers.end());
                }
                _ => self.merged.push(numbers.clone()),
            }
        }
    }

    fn any_of(&self, numbers: &Numbers) -> bool {
        let behind = self.from.as_ref();
        let behind = behind.is_some_and(|(from, _)| from <= numbers.end());
        let begun = self
            .merged
            .partition_point(|needed| needed.start() <= numbers.end());
        let last = begun.checked_sub(1).and_then(|at| self.merged.get(at));
        behind || last.is_some_and(|last| numbers.start() <= last.end())
    }
}

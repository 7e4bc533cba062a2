//! Which WAL leads from a backup along a timeline's history, and how far it goes. Pure.
//!
//! The segment in which a timeline forks is read under the new timeline's name, as
//! XLogFileReadAnyTLI in `src/backend/access/transam/xlogrecovery.c` does.

use serde::Serialize;

use crate::{
    postgres::{
        lsn::{Lsn, TimelineId},
        timeline::TimelineHistory,
        wal_name::{Segment, SegmentSize},
    },
    repo::{backup::Backup, missing::Missing, wal_index::WalIndex},
};

/// Segments of one timeline, first and last, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Leg {
    pub timeline: TimelineId,
    pub first: u64,
    pub last: u64,
}

/// How far the WAL goes without a hole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Oldest first; empty if not even the backup's first segment is there.
    pub legs: Vec<Leg>,
    /// What is missing, where WAL of this history follows behind it.
    pub hole: Option<Missing>,
    /// The history's own timeline has begun, and none of its WAL is there yet.
    pub unbegun: bool,
}

impl Reach {
    /// The WAL from `backup` on along `history`, which must contain the backup's end.
    pub fn of(backup: &Backup, history: &TimelineHistory, wal: &WalIndex) -> Self {
        let size = wal.size();
        let number = |lsn: Lsn| lsn.0 / size.bytes();
        let start = number(backup.start_lsn);
        let mut reach = Self {
            legs: Vec::new(),
            hole: None,
            unbegun: false,
        };
        let spans = history.path();
        let begin = spans
            .iter()
            .position(|span| span.timeline == backup.timeline)
            .unwrap_or(spans.len());
        for (at, span) in spans.iter().enumerate().skip(begin) {
            let first = if at == begin {
                start
            } else {
                number(span.from).max(start)
            };
            let end = span.to.map(number);
            if end.is_some_and(|end| end <= first) {
                continue;
            }
            let last = wal.reach(span.timeline, first).map(|last| match end {
                Some(end) => last.min(end - 1),
                None => last,
            });
            if let Some(last) = last {
                reach.legs.push(Leg {
                    timeline: span.timeline,
                    first,
                    last,
                });
            }
            let next = last.map_or(first, |last| last + 1);
            if end == Some(next) {
                continue;
            }
            let behind = wal.ranges(span.timeline).iter().map(|range| *range.start());
            let behind = behind.filter(|start| *start > next).min();
            reach.unbegun = end.is_none() && behind.is_none() && last.is_none() && at > begin;
            let until = match (behind, end) {
                (Some(behind), Some(end)) => Some(behind.min(end)),
                (behind, end) => behind.or(end),
            };
            let whole = last.is_some() || at > begin;
            if let Some(until) = until.or((!whole).then_some(next + 1)) {
                reach.hole = Some(Missing {
                    timeline: span.timeline,
                    first: next,
                    last: until - 1,
                });
            }
            break;
        }
        reach
    }

    /// The LSN behind the last byte that can be replayed.
    pub fn end(&self, size: SegmentSize) -> Option<Lsn> {
        self.last(size).map(|segment| segment.end(size))
    }

    /// The last segment.
    pub fn last(&self, size: SegmentSize) -> Option<Segment> {
        let leg = self.legs.last()?;
        Some(Segment::nth(leg.timeline, leg.last, size))
    }

    /// What would follow on the timeline of `history`, which it leads along; None before it is reached.
    pub fn next(&self, history: &TimelineHistory, size: SegmentSize) -> Option<Segment> {
        if self.unbegun {
            let begins = history.path().last()?.from;
            return Some(Segment::holding(history.own, begins, size));
        }
        let last = self
            .last(size)
            .filter(|last| last.timeline == history.own)?;
        Some(Segment::nth(last.timeline, last.number(size) + 1, size))
    }

    /// The segment with that number; None if it isn't on the way.
    pub fn segment(&self, number: u64, size: SegmentSize) -> Option<Segment> {
        let leg = self
            .legs
            .iter()
            .find(|leg| (leg.first..=leg.last).contains(&number))?;
        Some(Segment::nth(leg.timeline, number, size))
    }

    /// Leaves out what follows the segment with that number.
    pub fn cut_behind(&mut self, number: u64) {
        self.legs.retain(|leg| leg.first <= number);
        if let Some(leg) = self.legs.last_mut() {
            leg.last = leg.last.min(number);
        }
    }

    /// How many segments there are.
    pub fn segments(&self) -> u64 {
        self.legs.iter().map(|leg| leg.last - leg.first + 1).sum()
    }
}

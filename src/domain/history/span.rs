//! Which segments hold what happened between two times: found by halving, by the time of the first transaction that
//! ended in a segment. For this, times must rise from segment to segment; where a clock was set back they do not,
//! and what was seen of it is told.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use chrono::TimeDelta;

use super::segments::Segments;
use crate::{
    error::Result,
    util::clock::{Time, readable},
};

/// Transactions pass each other by moments.
const TOLERANCE: TimeDelta = TimeDelta::seconds(2);

/// When the first transactions of segments ended, of those that were looked into.
#[derive(Debug, Default)]
pub struct Clock {
    seen: RefCell<BTreeMap<usize, Option<Time>>>,
    /// Those that can't be read.
    damaged: RefCell<BTreeSet<usize>>,
}

/// Places of segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Of those that hold all that happened; the last one may hold what came later, too.
    pub range: Range<usize>,
    /// Of the first one behind them that tells a later time; None: the WAL ends without one.
    pub next: Option<usize>,
}

impl Clock {
    /// Where all lies that happened from `since` to `until`.
    pub fn span(&self, since: Time, until: Time, segments: &Segments<'_>) -> Result<Span> {
        let first = |place| self.first_time(place, segments);
        let length = segments.way.len();
        let mut span = span(length, since, until, first)?;
        // What can't be read behind the last that tells a time may belong to it.
        let behind = span.range.end..span.next.unwrap_or(length);
        if let Some(last) = self.damaged.borrow().range(behind).next_back() {
            span.range.end = last + 1;
        }
        Ok(span)
    }

    /// The first time in or behind a segment, and where.
    fn first_time(&self, from: usize, segments: &Segments<'_>) -> Result<Option<(usize, Time)>> {
        for place in from..segments.way.len() {
            let known = self.seen.borrow().get(&place).copied();
            let time = match known {
                Some(time) => time,
                None => {
                    let time = segments.first_time(place)?.unwrap_or_else(|_| {
                        self.damaged.borrow_mut().insert(place);
                        None
                    });
                    self.seen.borrow_mut().insert(place, time);
                    time
                }
            };
            if let Some(time) = time {
                return Ok(Some((place, time)));
            }
        }
        Ok(None)
    }

    /// The first time of all.
    pub fn first(&self, segments: &Segments<'_>) -> Result<Option<Time>> {
        Ok(self.first_time(0, segments)?.map(|(_, time)| time))
    }

    /// Where times were seen to fall, in words.
    pub fn falls(&self, segments: &Segments<'_>) -> Vec<String> {
        let seen = self.seen.borrow();
        let times: Vec<(usize, Time)> = seen
            .iter()
            .filter_map(|(place, time)| Some((*place, (*time)?)))
            .collect();
        let name = |place| {
            segments
                .way
                .segment(place)
                .map_or(String::new(), |one| one.to_string())
        };
        let falls = times
            .windows(2)
            .filter(|pair| pair[0].1 - pair[1].1 > TOLERANCE);
        falls
            .map(|pair| {
                format!(
                    "the server's clock was set back: WAL segment {} begins at {}, {} behind it at {}; the times between occur twice, and only one \
                     of them was looked at",
                    name(pair[0].0),
                    readable(pair[0].1),
                    name(pair[1].0),
                    readable(pair[1].1)
                )
            })
            .collect()
    }
}

/// Among `length` segments; `first` tells the first time in or behind one, and where.
fn span(
    length: usize,
    since: Time,
    until: Time,
    first: impl Fn(usize) -> Result<Option<(usize, Time)>>,
) -> Result<Span> {
    let later_than = |time: Time, mut from: usize| -> Result<usize> {
        let mut to = length;
        while from < to {
            let middle = from + (to - from) / 2;
            match first(middle)? {
                Some((found, at)) if at <= time => from = found + 1,
                _ => to = middle,
            }
        }
        Ok(from)
    };
    let begin = later_than(since, 0)?;
    let end = later_than(until, begin)?;
    // What ended at `since` may stand at the end of a segment that begins before.
    Ok(Span {
        range: begin.saturating_sub(1)..end,
        next: first(end)?.map(|(found, _)| found),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn spans_are_found_without_reading_all() {
        let time = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        // Of each segment the first time, if there is any.
        let times = [
            Some(10),
            Some(20),
            None,
            Some(20),
            Some(30),
            None,
            Some(40),
            None,
        ];
        let first = |place: usize| {
            let mut found = (place..times.len()).filter_map(|at| Some((at, time(times[at]?))));
            Ok(found.next())
        };
        for (since, until, range, next) in [
            (0, 9, 0..0, Some(0)),
            (0, 10, 0..1, Some(1)),
            (10, 10, 0..1, Some(1)),
            (15, 19, 0..1, Some(1)),
            (15, 20, 0..4, Some(4)),
            (20, 20, 3..4, Some(4)),
            (25, 29, 3..4, Some(4)),
            (25, 30, 3..5, Some(6)),
            (31, 35, 4..5, Some(6)),
            (41, 99, 6..7, None),
        ] {
            let found = span(times.len(), time(since), time(until), first).unwrap();
            assert_eq!(found, Span { range, next }, "{since} to {until}");
        }
        let nothing = Span {
            range: 0..0,
            next: None,
        };
        assert_eq!(span(0, time(0), time(9), |_| Ok(None)).unwrap(), nothing);
    }
}

//! Which segments hold what happened between two times: found by halving, by the time of the first transaction that
//! ended in a segment. For this, times must rise from segment to segment; where a clock was set back they do not,
//! and what was seen of it is told.

use std::{cell::RefCell, collections::BTreeMap, ops::Range};

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
}

impl Clock {
    /// The places of the segments that hold all that happened from `since` to `until`; the last one may hold what
    /// came later, too. It ends before a segment that tells of a later time, or where the WAL does.
    pub fn span(&self, since: Time, until: Time, segments: &Segments<'_>) -> Result<Range<usize>> {
        let first = |place| self.first_time(place, segments);
        range(segments.way.len(), since, until, first)
    }

    /// The first time in or behind a segment, and where.
    fn first_time(&self, from: usize, segments: &Segments<'_>) -> Result<Option<(usize, Time)>> {
        for place in from..segments.way.len() {
            let known = self.seen.borrow().get(&place).copied();
            let time = match known {
                Some(time) => time,
                None => {
                    // One that can't be read tells no time.
                    let time = match segments.fetch(place)? {
                        Ok(()) => segments.first_time(place)?,
                        Err(_) => None,
                    };
                    segments.remove(place);
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
fn range(
    length: usize,
    since: Time,
    until: Time,
    first: impl Fn(usize) -> Result<Option<(usize, Time)>>,
) -> Result<Range<usize>> {
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
    // Those behind it that tell no time may be damaged; before the first time of all nothing is known.
    let end = match end {
        0 => 0,
        _ => first(end)?.map_or(length, |(found, _)| found),
    };
    // What ended at `since` may stand at the end of a segment that begins before.
    Ok(begin.saturating_sub(1)..end)
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
        for (since, until, expected) in [
            (0, 9, 0..0),
            (0, 10, 0..1),
            (10, 10, 0..1),
            (15, 19, 0..1),
            (15, 20, 0..4),
            (20, 20, 3..4),
            (25, 29, 3..4),
            (25, 30, 3..6),
            (31, 35, 4..6),
            (41, 99, 6..8),
        ] {
            let found = range(times.len(), time(since), time(until), first).unwrap();
            assert_eq!(found, expected, "{since} to {until}");
        }
        assert_eq!(range(0, time(0), time(9), |_| Ok(None)).unwrap(), 0..0);
    }
}

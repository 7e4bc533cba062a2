//! Ranges of segments that are not there. Pure.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::postgres::{
    lsn::TimelineId,
    wal_name::{Segment, SegmentSize},
};

/// Numbers of segments on one timeline, first and last.
pub type Numbers = RangeInclusive<u64>;

/// Segments of one timeline that are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Missing {
    pub timeline: TimelineId,
    pub first: u64,
    pub last: u64,
}

impl Missing {
    pub fn numbers(&self) -> Numbers {
        self.first..=self.last
    }

    /// In order; those that overlap or follow one another become one.
    pub fn joined(ranges: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let mut ranges: Vec<Self> = ranges.into_iter().collect();
        ranges.sort_unstable();
        ranges.dedup_by(|next, kept| {
            let joins = next.timeline == kept.timeline && next.first <= kept.last + 1;
            if joins {
                kept.last = kept.last.max(next.last);
            }
            joins
        });
        ranges
    }

    /// What is left of it without `others`, in order.
    pub fn without(self, others: &[Self]) -> Vec<Self> {
        let mut left = Vec::new();
        let mut first = self.first;
        let others = others.iter().filter(|one| one.timeline == self.timeline);
        for other in Self::joined(others.copied()) {
            if other.first > first {
                let last = (other.first - 1).min(self.last);
                left.push(Self {
                    first,
                    last,
                    ..self
                });
            }
            first = first.max(other.last + 1);
            if first > self.last {
                return left;
            }
        }
        left.push(Self { first, ..self });
        left
    }

    /// Such as `000000010000000000000003 to 000000010000000000000005`.
    pub fn describe(&self, size: SegmentSize) -> String {
        let name = |number| Segment::nth(self.timeline, number, size);
        match self.first == self.last {
            true => name(self.first).to_string(),
            false => format!("{} to {}", name(self.first), name(self.last)),
        }
    }

    pub fn named(self, size: SegmentSize) -> NamedMissing {
        let name = |number| Segment::nth(self.timeline, number, size).to_string();
        NamedMissing {
            first_segment: name(self.first),
            last_segment: name(self.last),
            missing: self,
        }
    }
}

/// The same with names, for readers who don't know the size of segments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NamedMissing {
    #[serde(flatten)]
    pub missing: Missing,
    pub first_segment: String,
    pub last_segment: String,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_range() {
        let range = |timeline, first, last| Missing {
            timeline: TimelineId::new(timeline).unwrap(),
            first,
            last,
        };
        let left = |others: &[Missing]| range(1, 5, 9).without(others);
        assert_eq!(left(&[]), [range(1, 5, 9)]);
        assert_eq!(
            left(&[range(2, 5, 9), range(1, 1, 4), range(1, 10, 10)]),
            [range(1, 5, 9)]
        );
        assert_eq!(
            left(&[range(1, 7, 7), range(1, 2, 5)]),
            [range(1, 6, 6), range(1, 8, 9)]
        );
        assert_eq!(left(&[range(1, 8, 20)]), [range(1, 5, 7)]);
        assert_eq!(left(&[range(1, 5, 7), range(1, 8, 9)]), []);
    }
}

//! How much happened when: transactions counted in steps of equal length. Pure.

use chrono::{DateTime, TimeDelta};
use serde::Serialize;

use super::work::Rows;
use crate::util::clock::Time;

/// About so many steps make up a chart.
const STEPS: i64 = 30;

/// Lengths of steps that people count in, in seconds.
const LENGTHS: [i64; 17] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400,
];

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Chart {
    /// Of each step.
    #[serde(serialize_with = "in_seconds")]
    pub step: TimeDelta,
    pub steps: Vec<Step>,
    /// All of them together.
    #[serde(skip)]
    pub sum: Counts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    pub from: Time,
    #[serde(flatten)]
    pub counts: Counts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub commits: u64,
    pub aborts: u64,
    /// Rows of committed transactions.
    #[serde(flatten)]
    pub rows: Rows,
}

impl Counts {
    fn add(&mut self, committed: bool, rows: Rows) {
        if committed {
            self.commits += 1;
            self.rows.add(rows);
        } else {
            self.aborts += 1;
        }
    }
}

impl Chart {
    /// Empty, from `since` to `until`.
    pub fn new(since: Time, until: Time) -> Self {
        let seconds = (until - since).num_seconds().max(1);
        let fits = |length: &&i64| **length * STEPS >= seconds;
        let length = LENGTHS.iter().find(fits).copied();
        // Years have whole days.
        let length = length.unwrap_or((seconds / STEPS / 86_400 + 1) * 86_400);
        let first = since.timestamp().div_euclid(length);
        let last = until.timestamp().div_euclid(length);
        let step = |number: i64| {
            Some(Step {
                from: DateTime::from_timestamp(number * length, 0)?,
                counts: Counts::default(),
            })
        };
        Self {
            step: TimeDelta::seconds(length),
            steps: (first..=last).filter_map(step).collect(),
            sum: Counts::default(),
        }
    }

    /// Counts a transaction that ended.
    pub fn add(&mut self, time: Option<Time>, committed: bool, rows: Rows) {
        self.sum.add(committed, rows);
        if let Some(step) = time.and_then(|time| self.step_at(time)) {
            self.steps[step].counts.add(committed, rows);
        }
    }

    /// The number of the step in which a time lies.
    pub fn step_at(&self, time: Time) -> Option<usize> {
        let behind = self.steps.partition_point(|step| step.from <= time);
        behind.checked_sub(1)
    }
}

fn in_seconds<S: serde::Serializer>(time: &TimeDelta, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_i64(time.num_seconds())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn time(text: &str) -> Time {
        text.parse().unwrap()
    }

    #[test]
    fn steps_are_round_and_not_too_many() {
        for (until, seconds, steps) in [
            ("2026-11-21T02:00:00Z", 1, 1),
            ("2026-11-21T02:30:00Z", 60, 31),
            ("2026-11-21T02:31:00Z", 120, 16),
            ("2026-11-28T02:00:00Z", 21_600, 29),
            ("2027-11-21T02:00:00Z", 1_123_200, 29),
        ] {
            let chart = Chart::new(time("2026-11-21T02:00:00Z"), time(until));
            let found = (chart.step.num_seconds(), chart.steps.len());
            assert_eq!(found, (seconds, steps), "{until}");
        }
    }

    #[test]
    fn transactions_are_counted_where_they_ended() {
        let mut chart = Chart::new(time("2026-11-21T02:00:30Z"), time("2026-11-21T02:30:00Z"));
        let rows = Rows {
            deleted: 7,
            updated: 1,
        };
        let at = |text| Some(time(text));
        chart.add(at("2026-11-21T02:00:59.9Z"), true, rows);
        chart.add(at("2026-11-21T02:01:00Z"), true, rows);
        chart.add(at("2026-11-21T02:01:01Z"), false, rows);
        let counted = |step: usize| {
            let counts = chart.steps[step].counts;
            (counts.commits, counts.aborts, counts.rows.deleted)
        };
        assert_eq!((counted(0), counted(1)), ((1, 0, 7), (1, 1, 7)));
        assert_eq!(chart.sum.commits, 2);
        assert_eq!(chart.step_at(time("2026-11-21T01:59:59Z")), None);
    }
}

//! From moments to places in a picture. A picture has no width of its own: places are percents of it, so
//! that text keeps its size on a phone. Pure.

use std::ops::RangeInclusive;

use chrono::{DateTime, TimeDelta};

use crate::util::clock::Time;

/// What lies at an end must not be cut off.
const MARGIN: f64 = 2.0;

/// So many labels fit side by side on a phone.
const TICKS: i64 = 4;

/// Where a label, which stands around its tick, isn't cut off: percents.
const LABELLED: RangeInclusive<f64> = 11.0..=89.0;

/// Seconds between ticks, that people count in. None is more than twice the one before it, so that one
/// tick at least is labelled.
const STEPS: [i64; 31] = [
    1,
    2,
    4,
    5,
    10,
    15,
    30,
    60,
    120,
    240,
    300,
    600,
    900,
    1800,
    3600,
    2 * 3600,
    4 * 3600,
    6 * 3600,
    12 * 3600,
    DAY,
    2 * DAY,
    4 * DAY,
    7 * DAY,
    14 * DAY,
    21 * DAY,
    30 * DAY,
    60 * DAY,
    90 * DAY,
    120 * DAY,
    180 * DAY,
    365 * DAY,
];

const DAY: i64 = 86_400;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    from: Time,
    to: Time,
}

/// A moment at the axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    pub x: f64,
    /// None where there is no room for it.
    pub label: Option<String>,
}

impl Scale {
    /// From the earliest of `times` to the latest, `now` included.
    pub fn over(times: impl Iterator<Item = Time>, now: Time) -> Self {
        let start = Self { from: now, to: now };
        let mut scale = times.fold(start, |scale, time| Self {
            from: scale.from.min(time),
            to: scale.to.max(time),
        });
        // A picture of one moment has a width too.
        if scale.to - scale.from < TimeDelta::seconds(10) {
            let earlier = scale.to.checked_sub_signed(TimeDelta::seconds(10));
            scale.from = earlier.unwrap_or(scale.from);
        }
        scale
    }

    pub fn shows(&self, time: Time) -> bool {
        (self.from..=self.to).contains(&time)
    }

    /// Percents of the width, from 0 to 100.
    pub fn x(&self, time: Time) -> f64 {
        let millis = |delta: TimeDelta| delta.num_milliseconds() as f64;
        let whole = millis(self.to - self.from).max(1.0);
        let part = (millis(time - self.from) / whole).clamp(0.0, 1.0);
        MARGIN + part * (100.0 - 2.0 * MARGIN)
    }

    /// Moments that people count in, from left to right.
    pub fn ticks(&self) -> Vec<Tick> {
        let (from, to) = (self.from.timestamp(), self.to.timestamp());
        let most = (to - from) / TICKS;
        let step = STEPS.into_iter().find(|step| *step >= most);
        // Years.
        let step = step.unwrap_or_else(|| (most / (365 * DAY) + 1) * 365 * DAY);
        let first = from.div_euclid(step) * step + step;
        let moments = (0..=TICKS).map(|number| first + number * step);
        let moments = moments.filter(|moment| *moment <= to);
        moments
            .filter_map(|moment| DateTime::from_timestamp(moment, 0))
            .map(|time| {
                let x = self.x(time);
                let label = LABELLED.contains(&x).then(|| label(time, step));
                Tick { x, label }
            })
            .collect()
    }
}

fn label(time: Time, step: i64) -> String {
    let form = match step {
        ..60 => "%H:%M:%S",
        60..DAY => "%-d %b %H:%M",
        DAY..2_592_000 => "%-d %b",
        _ => "%-d %b %Y",
    };
    time.format(form).to_string()
}

/// As an attribute.
pub fn percent(x: f64) -> String {
    format!("{x:.2}%")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        DateTime::from_timestamp(1_795_226_400 + seconds, 0).unwrap()
    }

    #[test]
    fn all_lies_inside_whatever_the_times() {
        let now = at(0);
        let far = [
            Time::MIN_UTC,
            Time::MAX_UTC,
            at(-1),
            at(0),
            at(1),
            at(-DAY * 400),
        ];
        for times in [
            vec![],
            vec![at(0)],
            vec![at(-1), at(0)],
            vec![at(5), at(-3600)],
            far.to_vec(),
        ] {
            let scale = Scale::over(times.iter().copied(), now);
            for time in far {
                let x = scale.x(time);
                assert!((MARGIN..=100.0 - MARGIN).contains(&x), "{x} of {time}");
            }
            let ticks = scale.ticks();
            assert!(ticks.len() <= TICKS as usize + 1, "{ticks:?}");
            assert!(ticks.is_sorted_by(|a, b| a.x < b.x), "{ticks:?}");
        }
    }

    #[test]
    fn places_and_labels() {
        let scale = Scale::over([at(-8 * 3600)].into_iter(), at(0));
        assert_eq!(percent(scale.x(at(-8 * 3600))), "2.00%");
        assert_eq!(percent(scale.x(at(-4 * 3600))), "50.00%");
        assert_eq!(percent(scale.x(at(0))), "98.00%");
        let labels = |back: i64| {
            let ticks = Scale::over([at(-back)].into_iter(), at(0)).ticks();
            let labels: Vec<String> = ticks.into_iter().filter_map(|tick| tick.label).collect();
            labels.join(", ")
        };
        assert_eq!(labels(8 * 3600), "20 Nov 20:00, 20 Nov 22:00, 21 Nov 00:00");
        assert_eq!(labels(7 * DAY), "15 Nov, 17 Nov, 19 Nov");
        assert_eq!(labels(20), "01:59:45, 01:59:50, 01:59:55");
        assert_eq!(labels(3 * 365 * DAY).matches("202").count(), 2);
        for back in (10..4 * 365 * DAY).step_by(7919) {
            assert!(!labels(back).is_empty(), "{back}");
        }
    }
}

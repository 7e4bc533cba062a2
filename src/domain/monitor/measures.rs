//! Earlier measurements of disks, kept in the state folder: `measures.json`.
//!
//! Written whole or not at all; of two monitors at once the last one stays. Losing it only costs
//! the estimate of when a disk is full.

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta};
use serde::{Deserialize, Serialize};

use super::state_file;
use crate::{
    error::{Error, Result},
    util::{
        cancel::Cancel,
        clock::{self, Time},
        fs::{Room, read_if_there},
    },
};

const FILE: &str = "measures.json";

/// One measurement an hour, for a week: a rate that a single backup doesn't make.
const HOURLY: TimeDelta = TimeDelta::minutes(55);
const KEPT: usize = 7 * 24;

/// And one every few minutes of the last hour: a disk that is full soon must not wait for the week to show it.
const EVERY: TimeDelta = TimeDelta::minutes(4);
const RECENT: TimeDelta = TimeDelta::minutes(65);

/// A rate over a shorter time would be a guess: of the week, of the last hour.
const SHORTEST: TimeDelta = TimeDelta::minutes(50);
const SHORTEST_RECENT: TimeDelta = TimeDelta::minutes(9);

/// What the last hour foretells counts if it is to come as soon as this: a nightly backup grows a disk faster than
/// any week, and ends.
const SOON: Duration = Duration::from_secs(3 * 60 * 60);

/// When a disk is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FullIn {
    pub time: Duration,
    /// At the rate of so long.
    pub rate_of: Duration,
}

/// Used bytes of each disk, by its name, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measures {
    disks: BTreeMap<String, VecDeque<Measured>>,
}

/// Seconds since 1970, and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Measured {
    time: i64,
    used: u64,
}

impl Measures {
    pub fn read(state: &Path) -> Result<Self> {
        let json = read_if_there(&state.join(FILE))?;
        json.map_or_else(|| Ok(Self::default()), |json| Self::parse(&json))
    }

    pub fn parse(json: &[u8]) -> Result<Self> {
        serde_json::from_slice(json)
            .map_err(|error| Error::damaged("these are no measurements").because(error))
    }

    /// Notes a disk, unless that was done within the hour; true if it was noted.
    fn add(&mut self, disk: &str, room: &Room, now: Time) -> bool {
        let known = self.disks.entry(disk.to_owned()).or_default();
        let since = |last: &Measured| now - time(last);
        // A clock that was set back must not silence it.
        let fresh = |age: TimeDelta| age >= TimeDelta::zero() && age < EVERY;
        if known.back().map(since).is_some_and(fresh) {
            return false;
        }
        known.retain(|one| time(one) < now);
        known.push_back(Measured {
            time: now.timestamp(),
            used: room.used,
        });
        // Of what is older than an hour one an hour.
        let mut last: Option<Time> = None;
        known.retain(|one| {
            let at = time(one);
            let stays = now - at <= RECENT || last.is_none_or(|last| at - last >= HOURLY);
            if stays {
                last = Some(at);
            }
            stays
        });
        let is_old = |one: &Measured| now - time(one) > RECENT;
        while known.iter().filter(|one| is_old(one)).count() >= KEPT {
            known.pop_front();
        }
        true
    }

    /// Until `disk` is full: at the rate since the earliest measurement, or of the last hour if that is soon.
    pub fn full_in(&self, disk: &str, room: &Room, now: Time) -> Option<FullIn> {
        let known = self.disks.get(disk)?;
        let by = |first: &Measured, shortest: TimeDelta| {
            let elapsed = now - time(first);
            let grown = room.used.checked_sub(first.used);
            let grown = grown.filter(|grown| *grown > 0 && elapsed >= shortest)?;
            let seconds = elapsed.num_seconds() as f64 * (room.available as f64 / grown as f64);
            Some(FullIn {
                time: Duration::try_from_secs_f64(seconds).ok()?,
                rate_of: elapsed.to_std().ok()?,
            })
        };
        let of_all = known.front().and_then(|first| by(first, SHORTEST));
        let mut recent = known.iter();
        let recent = recent.find(|one| now - time(one) <= RECENT);
        let recent = recent.and_then(|first| by(first, SHORTEST_RECENT));
        let soon = recent.filter(|one| one.time <= SOON);
        [of_all, soon]
            .into_iter()
            .flatten()
            .min_by_key(|one| one.time)
    }
}

fn time(measured: &Measured) -> Time {
    DateTime::from_timestamp(measured.time, 0).unwrap_or_default()
}

/// Notes the rooms of disks. Where no note can be left, only the estimate suffers.
pub fn note(
    state: &Path,
    mut measures: Measures,
    rooms: impl IntoIterator<Item = (String, Room)>,
    until: Instant,
    cancel: &Cancel,
) -> Result<()> {
    let now = clock::now();
    let mut noted = false;
    for (disk, room) in rooms {
        noted |= measures.add(&disk, &room, now);
    }
    if !noted {
        return Ok(());
    }
    state_file::note(state, FILE, "disks", measures, until, cancel)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const fn room(used: u64) -> Room {
        Room {
            used,
            available: 1000,
        }
    }

    fn at(minutes: i64) -> Time {
        DateTime::from_timestamp(minutes * 60, 0).unwrap()
    }

    #[test]
    fn a_disk_that_grows_is_full_some_day() {
        let mut measures = Measures::default();
        let full_in = |measures: &Measures, used, now| {
            measures
                .full_in("d", &room(used), at(now))
                .map(|full| full.time.as_secs() / 60)
        };
        assert_eq!(full_in(&measures, 100, 0), None);
        assert!(measures.add("d", &room(100), at(0)));
        // Too soon to tell, and to note it again.
        assert_eq!(full_in(&measures, 200, 8), None);
        assert!(!measures.add("d", &room(200), at(3)));
        assert_eq!(full_in(&measures, 200, 70), Some(700));
        assert_eq!(full_in(&measures, 100, 70), None);
        assert_eq!(full_in(&measures, 50, 70), None);
        assert_eq!(full_in(&Measures::default(), 200, 60), None);
    }

    /// The week says days, where the last minutes say minutes.
    #[test]
    fn what_fills_a_disk_now_is_told_at_once() {
        let mut measures = Measures::default();
        let week = 6 * 24 * 60;
        for (minute, used) in [(0, 10), (week / 2, 10), (week, 200), (week + 5, 400)] {
            assert!(measures.add("d", &room(used), at(minute)));
        }
        let full_in = |measures: &Measures, used, minute| {
            let full = measures.full_in("d", &room(used), at(minute)).unwrap();
            (full.time.as_secs() / 60, full.rate_of.as_secs() / 60)
        };
        assert_eq!(full_in(&measures, 600, week + 10), (25, 10));
        // It goes on slowly: what is to come later than soon is left to the week.
        let slow = full_in(&measures, 210, week + 10);
        assert_eq!(slow.1, week as u64 + 10);
        assert!(slow.0 > 24 * 60, "{slow:?}");
        // An hour behind it is the past.
        assert!(measures.add("d", &room(600), at(week + 10)));
        assert_eq!(full_in(&measures, 600, week + 80).1, week as u64 + 80);
    }

    #[test]
    fn as_many_are_kept_as_fit_a_week() {
        let mut measures = Measures::default();
        for hour in 0..1000 {
            assert!(measures.add("d", &room(hour), at(hour as i64 * 60)));
        }
        // The last two are of the last hour.
        assert_eq!(measures.disks["d"].len(), KEPT + 1);
        assert_eq!(measures.disks["d"].front().unwrap().used, 999 - KEPT as u64);
        // Closer to each other they are no more, but for the last hour.
        let end = 999 * 60;
        for minute in (5..=24 * 60).step_by(5) {
            assert!(measures.add("d", &room(0), at(end + minute)));
        }
        let count = measures.disks["d"].len();
        assert!((KEPT - 12..=KEPT + 14).contains(&count), "{count}");
        let days = at(end) - time(&measures.disks["d"][0]);
        assert!(days.num_days() >= 5, "{days}");
        let json = serde_json::to_vec(&measures).unwrap();
        assert_eq!(Measures::parse(&json).unwrap(), measures);
        // The clock was wrong, and is right again.
        assert!(measures.add("d", &room(7), at(120)));
        assert_eq!(measures.disks["d"].len(), 1);
    }
}

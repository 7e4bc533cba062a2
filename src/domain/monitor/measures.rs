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
const EVERY: TimeDelta = TimeDelta::minutes(55);
const KEPT: usize = 7 * 24;

/// A rate over a shorter time would be a guess.
const SHORTEST: TimeDelta = TimeDelta::minutes(50);

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
        while known.len() > KEPT {
            known.pop_front();
        }
        true
    }

    /// Until `disk` is full, at the rate since the earliest measurement.
    pub fn full_in(&self, disk: &str, room: &Room, now: Time) -> Option<Duration> {
        let first = self.disks.get(disk)?.front()?;
        let elapsed = now - time(first);
        let grown = room
            .used
            .checked_sub(first.used)
            .filter(|grown| *grown > 0)?;
        if elapsed < SHORTEST {
            return None;
        }
        let seconds = elapsed.num_seconds() as f64 * (room.available as f64 / grown as f64);
        Duration::try_from_secs_f64(seconds).ok()
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
                .map(|time| time.as_secs() / 60)
        };
        assert_eq!(full_in(&measures, 100, 0), None);
        assert!(measures.add("d", &room(100), at(0)));
        // Too soon to tell, and to note it again.
        assert_eq!(full_in(&measures, 200, 10), None);
        assert!(!measures.add("d", &room(200), at(10)));
        assert_eq!(full_in(&measures, 200, 60), Some(600));
        assert_eq!(full_in(&measures, 100, 60), None);
        assert_eq!(full_in(&measures, 50, 60), None);
        assert_eq!(full_in(&Measures::default(), 200, 60), None);
    }

    #[test]
    fn as_many_are_kept_as_fit_a_week() {
        let mut measures = Measures::default();
        for hour in 0..1000 {
            assert!(measures.add("d", &room(hour), at(hour as i64 * 60)));
        }
        assert_eq!(measures.disks["d"].len(), KEPT);
        assert_eq!(
            measures.disks["d"].front().unwrap().used,
            1000 - KEPT as u64
        );
        let json = serde_json::to_vec(&measures).unwrap();
        assert_eq!(Measures::parse(&json).unwrap(), measures);
        // The clock was wrong, and is right again.
        assert!(measures.add("d", &room(7), at(120)));
        assert_eq!(measures.disks["d"].len(), 1);
    }
}

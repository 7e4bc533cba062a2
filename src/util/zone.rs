//! Time zones by name, with the rules of this host's own database: those of `date` and of most
//! servers here, which are kept up to date. Tables of our own would be older, and every start of
//! the program would pay for them.

use std::{env, fmt, fs};

use chrono::{Datelike, NaiveDateTime, TimeDelta, Timelike};
use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{AmbiguousOffset, Offset, TimeZone},
};

use super::clock::Time;

/// A zone as Region/City, or UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

/// When clocks somewhere show some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    Once(Time),
    /// They were put back: the earlier one, and the later.
    Twice(Time, Time),
    /// They were put forward over it: read with the offset behind, and with the one before.
    Never(Time, Time),
}

impl Zone {
    /// None where the host's database has no such zone.
    pub fn named(name: &str) -> Option<Self> {
        // To find any other one, all of the database is listed: too much for each start of archive-wal, whose settings
        // name this one.
        match name.eq_ignore_ascii_case("UTC") {
            true => Some(Self(TimeZone::UTC)),
            false => TimeZone::get(name).ok().map(Self),
        }
    }

    /// That of this host: `TZ`, else what `/etc/localtime` links to; None where neither names one.
    pub fn of_host() -> Option<Self> {
        let name = match env::var("TZ") {
            Ok(name) if !name.is_empty() => name,
            _ => fs::read_link("/etc/localtime").ok()?.to_str()?.to_owned(),
        };
        let name = name.trim_start_matches(':');
        Self::named(name.split_once("zoneinfo/").map_or(name, |(_, zone)| zone))
    }

    pub fn is_utc(&self) -> bool {
        self.0 == TimeZone::UTC || self.0.iana_name() == Some("Etc/UTC")
    }

    /// When clocks there show `local`; None for years that no clock shows.
    pub fn shows(&self, local: NaiveDateTime) -> Option<Shown> {
        let civil = DateTime::new(
            local.year().try_into().ok()?,
            local.month() as i8,
            local.day() as i8,
            local.hour() as i8,
            local.minute() as i8,
            local.second() as i8,
            0,
        )
        .ok()?;
        let read = |offset: Offset| (local - seconds(offset)).and_utc();
        Some(match self.0.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => Shown::Once(read(offset)),
            AmbiguousOffset::Fold { before, after } => Shown::Twice(read(before), read(after)),
            AmbiguousOffset::Gap { before, after } => Shown::Never(read(after), read(before)),
        })
    }

    /// What clocks there show.
    pub fn local(&self, time: Time) -> NaiveDateTime {
        let stamp = Timestamp::from_second(time.timestamp()).unwrap_or(Timestamp::UNIX_EPOCH);
        time.naive_utc() + seconds(self.0.to_offset(stamp))
    }
}

fn seconds(offset: Offset) -> TimeDelta {
    TimeDelta::seconds(offset.seconds().into())
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.iana_name().unwrap_or("UTC"))
    }
}

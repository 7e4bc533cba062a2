//! A moment as people type it: `2026-11-21 02:00:00+00`, `...T...Z`, `... Europe/Berlin`.
//!
//! A time without a zone is refused rather than guessed: an hour more or less is another state
//! of the database.

use chrono::{FixedOffset, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc};

use super::{
    clock::{Time, readable},
    zone::{Shown, Zone},
};
use crate::error::{Error, Result};

const FORM: &str = "write it as \"2026-11-21 02:00:00+00\", or with a zone's name behind it: \
                    \"2026-11-21 02:00:00 Europe/Berlin\".";

/// Reads a moment; `host` is the zone that a refusal offers beside UTC.
pub fn parse(text: &str, host: Option<Zone>) -> Result<Time> {
    let text = text.trim();
    let wrong = || Error::usage(format!("not a time: {text:?}")).hint(FORM);
    let (date, rest) = text.split_once([' ', 'T', 't']).ok_or_else(wrong)?;
    let date = read_date(date).ok_or_else(wrong)?;
    let rest = rest.trim_start();
    let end = rest
        .find(|c: char| !c.is_ascii_digit() && c != ':' && c != '.')
        .unwrap_or(rest.len());
    let (clock, zone) = (&rest[..end], rest[end..].trim());
    let local = date.and_time(read_clock(clock).ok_or_else(wrong)?);
    if zone.is_empty() {
        return Err(without_zone(text, local, host));
    }
    match read_zone(zone).ok_or_else(|| no_zone(zone, local))? {
        Written::Offset(offset) => match offset.from_local_datetime(&local) {
            LocalResult::Single(time) => Ok(time.with_timezone(&Utc)),
            _ => Err(wrong()),
        },
        Written::Named(zone) => in_zone(text, local, &zone),
    }
}

/// Reads the moment at which something is over, where later does no harm: a day alone is over at its end, and what
/// has no zone is of `host`'s, else in UTC. A local time that exists twice is the later one.
pub fn parse_end(text: &str, host: Option<Zone>) -> Result<Time> {
    let text = text.trim();
    let (day, time) = match text.split_once([' ', 'T', 't']) {
        Some((day, time)) => (day, time.trim()),
        None => (text, ""),
    };
    let clock = match time {
        "" => Some(None),
        time => read_clock(time).map(Some),
    };
    let local = read_date(day)
        .zip(clock)
        .and_then(|(day, clock)| match clock {
            Some(clock) => Some(day.and_time(clock)),
            None => Some(day.succ_opt()?.and_time(NaiveTime::MIN)),
        });
    let Some(local) = local else {
        return parse(text, host);
    };
    let shown = match &host {
        None => return Ok(local.and_utc()),
        Some(host) => host.shows(local),
    };
    match shown {
        Some(Shown::Once(time) | Shown::Twice(_, time) | Shown::Never(_, time)) => Ok(time),
        None => Err(Error::usage(format!("not a time: {text:?}")).hint(FORM)),
    }
}

/// How a zone is given.
enum Written {
    Offset(FixedOffset),
    Named(Zone),
}

/// Digits alone, since chrono's own parser takes signs and blanks.
fn number(text: &str, digits: usize) -> Option<u32> {
    let plain = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

fn read_date(text: &str) -> Option<NaiveDate> {
    let mut parts = text.split('-');
    let year = number(parts.next()?, 4)?;
    let (month, day) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let date = NaiveDate::from_ymd_opt(year as i32, month, day)?;
    parts.next().is_none().then_some(date)
}

fn read_clock(text: &str) -> Option<NaiveTime> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = whole.split(':');
    let (hour, minute) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let second = match parts.next() {
        Some(second) => number(second, 2)?,
        None if text.contains('.') => return None,
        None => 0,
    };
    // Microseconds are PostgreSQL's resolution.
    let micros = match fraction.len() {
        1..=6 => number(fraction, fraction.len())? * 10u32.pow(6 - fraction.len() as u32),
        _ => return None,
    };
    parts.next().is_none().then_some(())?;
    NaiveTime::from_hms_micro_opt(hour, minute, second, micros)
}

fn read_zone(text: &str) -> Option<Written> {
    if matches!(text, "Z" | "z" | "UTC" | "GMT") {
        return FixedOffset::east_opt(0).map(Written::Offset);
    }
    if let Some(digits) = text.strip_prefix(['+', '-']) {
        let (hours, minutes) = match (digits.split_once(':'), digits.len()) {
            (Some((hours, minutes)), _) => (number(hours, 2)?, number(minutes, 2)?),
            (None, 4) => (number(&digits[..2], 2)?, number(&digits[2..], 2)?),
            (None, _) => (number(digits, 2)?, 0),
        };
        if hours > 15 || minutes > 59 {
            return None;
        }
        let seconds = (hours * 60 + minutes) as i32 * 60;
        let east = if text.starts_with('-') {
            -seconds
        } else {
            seconds
        };
        return FixedOffset::east_opt(east).map(Written::Offset);
    }
    // Only Region/City: CET or EST mean one thing in a zone's file and another to people.
    text.contains('/')
        .then(|| Zone::named(text))
        .flatten()
        .map(Written::Named)
}

fn no_zone(zone: &str, local: NaiveDateTime) -> Error {
    Error::usage(format!("not a time zone: {zone:?}")).hint(format!(
        "write an offset, such as \"{local}+02\", or a zone as Region/City, such as \
         \"{local} Europe/Berlin\"; abbreviations mean different things in different places."
    ))
}

fn without_zone(text: &str, local: NaiveDateTime, host: Option<Zone>) -> Error {
    let error = Error::usage(format!("a time without a zone: {text:?}"));
    let utc = format!("write \"{local}+00\" if it is UTC");
    let Some(host) = host.filter(|host| !host.is_utc()) else {
        return error.hint(format!("{utc}, which is also this host's zone."));
    };
    error.hint(match host.shows(local) {
        Some(Shown::Once(time)) => format!(
            "{utc}, or \"{local} {host}\" if it is this host's zone ({}).",
            readable(time)
        ),
        _ => format!("{utc}; in this host's zone, {host}, it doesn't exist or exists twice."),
    })
}

fn in_zone(text: &str, local: NaiveDateTime, zone: &Zone) -> Result<Time> {
    let (what, first, second) = match zone.shows(local) {
        Some(Shown::Once(time)) => return Ok(time),
        Some(Shown::Twice(first, second)) => ("exists twice, clocks were put back", first, second),
        Some(Shown::Never(first, second)) => {
            ("doesn't exist, clocks were put forward", first, second)
        }
        None => return Err(Error::usage(format!("not a time: {text:?}")).hint(FORM)),
    };
    Err(
        Error::usage(format!("this time {what}: {text:?}")).hint(format!(
            "write the one that is meant: \"{}\" or \"{}\".",
            readable(first),
            readable(second)
        )),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_moment_has_many_forms() {
        for text in [
            "2026-11-21 02:00:00+00",
            "2026-11-21T02:00:00Z",
            "2026-11-21 02:00 UTC",
            "2026-11-21 02:00:00.000+00:00",
            "2026-11-21 07:30:00+0530",
            "2026-11-20 21:00:00 -05:00",
            "2026-11-21 03:00:00 Europe/Berlin",
        ] {
            let time = parse(text, None).unwrap();
            assert_eq!(readable(time), "2026-11-21 02:00:00+00", "{text}");
        }
        let fraction = parse("2026-07-01 12:00:00.123456 America/New_York", None).unwrap();
        assert_eq!(readable(fraction), "2026-07-01 16:00:00.123456+00");
    }

    #[test]
    fn an_end_may_be_a_day_and_needs_no_zone() {
        for (text, zone, end) in [
            ("2026-12-31", None, "2027-01-01 00:00:00+00"),
            (
                "2026-12-31",
                Some("Europe/Berlin"),
                "2026-12-31 23:00:00+00",
            ),
            (
                "2026-12-31 18:00",
                Some("Europe/Berlin"),
                "2026-12-31 17:00:00+00",
            ),
            ("2026-12-31T18:00:30", None, "2026-12-31 18:00:30+00"),
            // Twice there, and never.
            (
                "2026-10-25 02:30",
                Some("Europe/Berlin"),
                "2026-10-25 01:30:00+00",
            ),
            (
                "2026-03-29 02:30",
                Some("Europe/Berlin"),
                "2026-03-29 01:30:00+00",
            ),
            (
                "2026-12-31 18:00:00+02",
                Some("Europe/Berlin"),
                "2026-12-31 16:00:00+00",
            ),
            (
                "2026-12-31 18:00 Asia/Tokyo",
                None,
                "2026-12-31 09:00:00+00",
            ),
        ] {
            let time = parse_end(text, zone.and_then(Zone::named)).unwrap();
            assert_eq!(readable(time), end, "{text}");
        }
        for bad in [
            "",
            "tomorrow",
            "2026-02-30",
            "31.12.2026",
            "2026-12-31 25:00",
            "2026-12-31 x",
        ] {
            assert!(parse_end(bad, None).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for bad in [
            "",
            "now",
            "2026-11-21",
            "2026-11-21 02+00",
            "2026-11-21 24:00:00+00",
            "2026-11-21 02:00:60+00",
            "2026-02-30 02:00:00+00",
            "26-11-21 02:00:00+00",
            "2026-11-21 02:00:00.1234567+00",
            "2026-11-21 02:00:00+1",
            "2026-11-21 02:00:00+16",
            "2026-11-21 02:00:00+01:60",
            "2026-11-21 02:00:00 CEST",
            "2026-11-21 02:00:00 CET",
            "2026-11-21 02:00:00 Europe/Nowhere",
            "2026-11-21 02:00:00+00 x",
        ] {
            assert!(parse(bad, None).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_refusal_offers_the_line_to_write() {
        let berlin = || Zone::named("Europe/Berlin");
        for (text, host, hints) in [
            (
                "2026-11-21 02:00:00",
                berlin(),
                &[
                    "\"2026-11-21 02:00:00+00\"",
                    "\"2026-11-21 02:00:00 Europe/Berlin\"",
                    "(2026-11-21 01:00:00+00)",
                ][..],
            ),
            (
                "2026-11-21 02:00:00",
                Zone::named("Etc/UTC"),
                &["\"2026-11-21 02:00:00+00\" if it is UTC, which is also this host's zone"],
            ),
            (
                "2026-10-25 02:30:00 Europe/Berlin",
                None,
                &["\"2026-10-25 00:30:00+00\" or \"2026-10-25 01:30:00+00\""],
            ),
            (
                "2026-03-29 02:30:00 Europe/Berlin",
                None,
                &["\"2026-03-29 00:30:00+00\" or \"2026-03-29 01:30:00+00\""],
            ),
        ] {
            let error = parse(text, host).unwrap_err();
            for hint in hints {
                assert!(error.hint_text().unwrap().contains(hint), "{error:?}");
            }
        }
    }
}

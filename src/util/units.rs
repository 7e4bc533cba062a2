//! Sizes and durations, as people type and read them.

use std::{str::FromStr, time::Duration};

use crate::error::{Error, Result};

/// `0 B`, `8.0 KiB`, `1.2 GiB`: three digits, binary units.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = count as f64;
    let mut unit = 0;
    // 999.5 would be printed with four digits.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = usize::from(unit > 0 && value < 99.95);
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// `1 part`, `2 parts`: for nouns that take an s.
pub fn count(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..172_800 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// Reads `512`, `64k`, `16M`, `1GiB`, `2 TB`: a letter means the power of 1024, as in PostgreSQL.
pub fn parse_bytes(text: &str) -> Result<u64> {
    let wrong = || {
        Error::usage(format!("not a size: {text:?}"))
            .hint("write a number with an optional unit: 512, 64kB, 16MB, 1GB.")
    };
    let (number, unit) = split(text);
    let power = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        _ => return Err(wrong()),
    };
    let number = u64::from_str(number).map_err(|_| wrong())?;
    number.checked_mul(1024u64.pow(power)).ok_or_else(wrong)
}

/// Reads `30`, `30s`, `5min`, `2h`, `7d`; a bare number is seconds.
pub fn parse_duration(text: &str) -> Result<Duration> {
    let wrong = || {
        Error::usage(format!("not a duration: {text:?}"))
            .hint("write a number with an optional unit: 30s, 5min, 2h, 7d.")
    };
    let (number, unit) = split(text);
    let seconds = match unit {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number = u64::from_str(number).map_err(|_| wrong())?;
    number
        .checked_mul(seconds)
        .map(Duration::from_secs)
        .ok_or_else(wrong)
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let at = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    (&text[..at], text[at..].trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (count, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 KiB"),
            (8192, "8.0 KiB"),
            (1023 * 1024, "1.0 MiB"),
            (150 << 20, "150 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
        for (text, count) in [
            ("512", 512),
            ("64k", 65_536),
            ("16 MB", 16 << 20),
            ("1GiB", 1 << 30),
        ] {
            assert_eq!(parse_bytes(text).ok(), Some(count), "{text}");
        }
        for bad in ["", "k", "-1", "1x", "99999999999T", "1.5G"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations() {
        for (seconds, text) in [
            (0, "0.0 s"),
            (59, "59 s"),
            (200, "3 min 20 s"),
            (7500, "2 h 5 min"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
        assert_eq!(parse_duration("2h").ok(), Some(Duration::from_secs(7200)));
        assert!(parse_duration("2 weeks").is_err());
    }
}

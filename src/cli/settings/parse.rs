//! Values of settings from their text, the same for every layer.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use crate::{
    commands::options::{Checkpoint, Jobs, LogLevel, Place, WalMode},
    domain::{
        monitor::{mail::Security, webhook::Form},
        retention::policy::{Keep, OlderWal},
    },
    error::{Error, Result},
    postgres::file_checksum::Algorithm,
    repo::{
        codec::Codec,
        dump::RowCounts,
        dump_name::{DumpFormat, PathFormat},
    },
    util::{http, units, zone::Zone},
};

/// One of a few words.
fn one_of<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        Error::usage(format!("{text:?} is none of {}", words.join(", ")))
    })
}

fn number<T: std::str::FromStr>(text: &str, what: &str) -> Result<T> {
    text.trim()
        .parse()
        .map_err(|_| Error::usage(format!("not {what}: {text:?}")))
}

pub fn text(text: &str) -> Result<String> {
    Ok(text.to_owned())
}

pub fn path(text: &str) -> Result<PathBuf> {
    Ok(PathBuf::from(text))
}

/// A path that means the same whatever folder pgstow runs in.
pub fn absolute_path(text: &str) -> Result<PathBuf> {
    if text.starts_with('/') {
        Ok(PathBuf::from(text))
    } else {
        Err(Error::usage(format!("not an absolute path: {text:?}")))
    }
}

pub fn port(text: &str) -> Result<u16> {
    match number(text, "a port (1 to 65535)")? {
        0 => Err(Error::usage("not a port (1 to 65535): 0")),
        port => Ok(port),
    }
}

pub fn count(text: &str) -> Result<u32> {
    number(text, "a whole number")
}

pub fn whole(text: &str) -> Result<u64> {
    number(text, "a whole number")
}

pub fn percent(text: &str) -> Result<u64> {
    match number(text, "a percentage (1 to 100)")? {
        percent @ 1..=100 => Ok(percent),
        _ => Err(Error::usage(format!(
            "not a percentage (1 to 100): {text:?}"
        ))),
    }
}

/// None for "off".
pub fn or_off<T>(text: &str, parse: fn(&str) -> Result<T>) -> Result<Option<T>> {
    match text {
        "off" => Ok(None),
        _ => parse(text).map(Some),
    }
}

pub fn duration(text: &str) -> Result<Duration> {
    units::parse_duration(text)
}

/// A time limit that is needed: 0 would never let anything happen.
pub fn time_limit(text: &str) -> Result<Duration> {
    match units::parse_duration(text)? {
        Duration::ZERO => Err(Error::usage("a time limit can't be 0")),
        limit => Ok(limit),
    }
}

/// Each piece costs a request or two and an object.
pub fn live(text: &str) -> Result<Duration> {
    match units::parse_duration(text)? {
        every if every >= Duration::from_secs(1) => Ok(every),
        _ => Err(Error::usage(format!("less than 1s: {text:?}"))
            .hint("leave receive_wal.live out to store whole segments alone.")),
    }
}

pub fn yes_or_no(text: &str) -> Result<bool> {
    let words = [
        ("true", true),
        ("false", false),
        ("on", true),
        ("off", false),
    ];
    one_of(&text.to_ascii_lowercase(), &words)
}

/// Small parts cost an object each; a part must stay below the 5 TB of object stores.
pub fn part_size(text: &str) -> Result<u64> {
    match units::parse_bytes(text)? {
        size if (1 << 20..=1 << 40).contains(&size) => Ok(size),
        _ => Err(Error::usage(format!("not between 1MB and 1TB: {text:?}"))),
    }
}

/// Segments beyond the one that was asked for. More than these would only make notes of them long.
pub fn segments(text: &str) -> Result<usize> {
    match number(text, "a number of segments (0 to 1024)")? {
        count if count <= 1024 => Ok(count),
        _ => Err(Error::usage(format!(
            "not a number of segments (0 to 1024): {text:?}"
        ))),
    }
}

/// Less than the smallest segment would switch fetching ahead off without a word.
pub fn prefetch_size(text: &str) -> Result<u64> {
    match units::parse_bytes(text)? {
        size if size >= 1 << 20 => Ok(size),
        _ => Err(Error::usage(format!("less than 1MB: {text:?}"))
            .hint("wal.prefetch = 0 switches it off.")),
    }
}

pub fn full_every(text: &str) -> Result<Duration> {
    match units::parse_duration(text)? {
        Duration::ZERO => Err(Error::usage("the time between full backups can't be 0")
            .hint("leave it out, and each backup is a full one.")),
        every => Ok(every),
    }
}

pub fn chain_max(text: &str) -> Result<u32> {
    const WHAT: &str = "a number of backups (1 or more)";
    match number(text, WHAT)? {
        0 => Err(Error::usage(format!("not {WHAT}: 0"))
            .hint("leave out full_every, and each backup is a full one.")),
        count => Ok(count),
    }
}

/// WAL that a short outage piles up must not be given up by a mistyped unit.
pub fn drop_above(text: &str) -> Result<u64> {
    match units::parse_bytes(text)? {
        size if size >= 64 << 20 => Ok(size),
        _ => Err(Error::usage(format!("less than 64MB: {text:?}"))),
    }
}

/// The server's own range (MAX_RATE_LOWER, MAX_RATE_UPPER in `src/include/backup/basebackup.h`).
pub fn max_rate(text: &str) -> Result<u64> {
    match units::parse_bytes(text)? {
        rate if (32 << 10..=1 << 30).contains(&rate) => Ok(rate),
        _ => Err(Error::usage(format!(
            "not between 32kB and 1GB (a second): {text:?}"
        ))),
    }
}

pub fn jobs(text: &str) -> Result<Jobs> {
    match text {
        "auto" => Ok(Jobs::Auto),
        _ => match number::<NonZeroUsize>(text, "a number of workers (1 to 256, or auto)")? {
            count if count.get() <= 256 => Ok(Jobs::Count(count)),
            _ => Err(Error::usage(format!(
                "not a number of workers (1 to 256, or auto): {text:?}"
            ))),
        },
    }
}

/// None for 0: the rule is off.
pub fn keep(text: &str) -> Result<Option<Keep>> {
    match text {
        "forever" => Ok(Some(Keep::Forever)),
        _ => match number(text, "a number or \"forever\"")? {
            0 => Ok(None),
            count => Ok(Some(Keep::Count(count))),
        },
    }
}

pub fn older_wal(text: &str) -> Result<OlderWal> {
    one_of(
        text,
        &[("window", OlderWal::Window), ("all", OlderWal::All)],
    )
}

pub fn wal_mode(text: &str) -> Result<WalMode> {
    one_of(text, &[("push", WalMode::Push), ("sync", WalMode::Sync)])
}

/// Only Region/City and UTC: CET or EST mean one thing in a zone's file and another to people.
pub fn time_zone(text: &str) -> Result<Zone> {
    let clear = text == "UTC" || text.contains('/');
    clear.then(|| Zone::named(text)).flatten().ok_or_else(|| {
        Error::usage(format!("not a time zone: {text:?}"))
            .hint("write UTC, or a zone as Region/City, such as Europe/Berlin.")
    })
}

/// Of a web server; old scripts set some to nothing.
pub fn web_address(text: &str) -> Result<String> {
    if !text.is_empty() {
        http::server(text)?;
    }
    Ok(text.to_owned())
}

/// Names or patterns, with commas between them.
pub fn names(text: &str) -> Result<Vec<String>> {
    let names = text
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    Ok(names.map(str::to_owned).collect())
}

/// Texts, one a line.
pub fn lines(text: &str) -> Result<Vec<String>> {
    let lines = text.lines().map(str::trim);
    Ok(lines
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect())
}

pub fn verify_place(text: &str) -> Result<Place> {
    one_of(
        text,
        &[("scratch", Place::Scratch), ("server", Place::Server)],
    )
}

/// pg_dump's own words, and those of old scripts.
pub fn dump_format(text: &str) -> Result<DumpFormat> {
    match text {
        "c" => Ok(DumpFormat::Custom),
        "p" | "sql" => Ok(DumpFormat::Plain),
        "d" | "dir" => Ok(DumpFormat::Directory),
        "t" => Ok(DumpFormat::Tar),
        _ => one_of(text, &DumpFormat::ALL.map(|format| (format.word(), format))),
    }
}

pub fn dump_codec(text: &str) -> Result<Codec> {
    let words = [
        ("none", Codec::None),
        ("gzip", Codec::Gzip),
        ("zstd", Codec::Zstd),
    ];
    one_of(text, &words)
}

pub fn row_counts(text: &str) -> Result<RowCounts> {
    let words = [
        ("exact", RowCounts::Exact),
        ("estimated", RowCounts::Estimated),
        ("none", RowCounts::None),
    ];
    one_of(text, &words)
}

pub fn path_format(text: &str) -> Result<PathFormat> {
    let words = [
        ("database", PathFormat::Database),
        ("flat", PathFormat::Flat),
        ("monthly", PathFormat::Monthly),
        ("daily", PathFormat::Daily),
    ];
    one_of(text, &words)
}

/// The names of other loggers mean the same.
pub fn log_level(text: &str) -> Result<LogLevel> {
    let words = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    match text.to_ascii_lowercase().as_str() {
        "warning" => Ok(LogLevel::Warn),
        "critical" | "fatal" => Ok(LogLevel::Error),
        text => one_of(text, &words),
    }
}

pub fn checkpoint(text: &str) -> Result<Checkpoint> {
    one_of(
        text,
        &[("fast", Checkpoint::Fast), ("spread", Checkpoint::Spread)],
    )
}

pub fn manifest_checksums(text: &str) -> Result<Algorithm> {
    let words = Algorithm::ALL.map(|algorithm| (algorithm.name(), algorithm));
    one_of(&text.to_ascii_uppercase(), &words)
}

pub fn sslmode(text: &str) -> Result<String> {
    let words = [
        "disable",
        "allow",
        "prefer",
        "require",
        "verify-ca",
        "verify-full",
    ];
    one_of(text, &words.map(|word| (word, word))).map(str::to_owned)
}

pub fn channel_binding(text: &str) -> Result<String> {
    let words = ["disable", "prefer", "require"];
    one_of(text, &words.map(|word| (word, word))).map(str::to_owned)
}

/// Whether failures, recoveries and successes are told.
pub fn wishes(text: &str) -> Result<[bool; 3]> {
    let mut wishes = [false; 3];
    let words = [("failure", 0), ("recovery", 1), ("success", 2)];
    for word in text
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
    {
        let at: usize = one_of(word, &words)?;
        wishes[at] = true;
    }
    Ok(wishes)
}

/// None for "auto".
pub fn form(text: &str) -> Result<Option<Form>> {
    one_of(
        text,
        &[
            ("auto", None),
            ("slack", Some(Form::Slack)),
            ("discord", Some(Form::Discord)),
            ("teams", Some(Form::Teams)),
            ("json", Some(Form::Json)),
        ],
    )
}

pub fn mail_tls(text: &str) -> Result<Security> {
    one_of(
        text,
        &[
            ("starttls", Security::StartTls),
            ("tls", Security::Tls),
            ("none", Security::None),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_numbers() {
        for (good, bad) in [
            (port("5432").is_ok(), port("0").is_ok()),
            (port(" 65535 ").is_ok(), port("65536").is_ok()),
            (max_rate("32k").is_ok(), max_rate("31k").is_ok()),
            (max_rate("1G").is_ok(), max_rate("1025M").is_ok()),
            (part_size("1MB").is_ok(), part_size("1").is_ok()),
            (jobs("256").is_ok(), jobs("257").is_ok()),
            (jobs("auto").is_ok(), jobs("0").is_ok()),
            (percent("100").is_ok(), percent("101").is_ok()),
            (segments("0").is_ok(), segments("1025").is_ok()),
            (drop_above("64MB").is_ok(), drop_above("63MB").is_ok()),
            (prefetch_size("1MB").is_ok(), prefetch_size("0").is_ok()),
            (full_every("7d").is_ok(), full_every("0").is_ok()),
            (chain_max("1").is_ok(), chain_max("0").is_ok()),
            (time_limit("1s").is_ok(), time_limit("0").is_ok()),
            (absolute_path("/x").is_ok(), absolute_path("x").is_ok()),
            (sslmode("verify-ca").is_ok(), sslmode("on").is_ok()),
            (web_address("").is_ok(), web_address("ftp://h/").is_ok()),
            (web_address("http://h").is_ok(), web_address("h:80").is_ok()),
            (
                web_address("https://u:p@h:8/x").is_ok(),
                web_address("/x").is_ok(),
            ),
        ] {
            assert!(good);
            assert!(!bad);
        }
    }

    #[test]
    fn words() {
        assert_eq!(log_level("WARNING").ok(), Some(LogLevel::Warn));
        assert!(log_level("loud").is_err());
        assert_eq!(or_off("off", count).ok(), Some(None));
        assert_eq!(or_off("7", count).ok(), Some(Some(7)));
        assert_eq!(keep("0").ok(), Some(None));
        assert_eq!(older_wal("all").ok(), Some(OlderWal::All));
        assert!(older_wal("none").is_err());
        assert_eq!(
            time_zone("Europe/Berlin").ok(),
            Zone::named("Europe/Berlin")
        );
        for bad in ["CET", "Europe/Nowhere", ""] {
            assert!(time_zone(bad).is_err(), "{bad}");
        }
        assert_eq!(keep("forever").ok(), Some(Some(Keep::Forever)));
        assert!(keep("-1").is_err());
        assert_eq!(yes_or_no("On").ok(), Some(true));
    }
}

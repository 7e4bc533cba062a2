//! Repositories that `sync` fills: whether they have what the first one has.

use super::{
    super::{
        facts::Facts,
        verdict::{State, Unit, Verdict},
    },
    known::Yardstick,
};
use crate::util::{clock::readable, units};

const NAME: &str = "unsynced";

pub fn all(facts: &Facts, by: Yardstick<'_>) -> impl Iterator<Item = Verdict> {
    let limits = by.thresholds.unsynced_age;
    facts.synced.iter().map(move |(name, behind)| {
        let behind = match behind {
            Ok(behind) => behind,
            Err(error) => return Verdict::of_error(NAME, State::Unknown, error).about(name),
        };
        let age = behind
            .since
            .map(|since| (by.now - since).to_std().unwrap_or_default());
        let verdict = match (age, behind.since) {
            (Some(age), Some(since)) => Verdict::new(
                NAME,
                // What is damaged there doesn't come by itself.
                limits.judge(age).max(match behind.damaged {
                    0 => State::Ok,
                    _ => State::Warning,
                }),
                format!(
                    "it lacks {} and {} of WAL{}{}, the first since {}",
                    units::count(behind.backups, "backup"),
                    units::count(behind.segments, "segment"),
                    match behind.dumps {
                        0 => String::new(),
                        dumps => format!(", and {}", units::count(dumps, "dump")),
                    },
                    match behind.damaged {
                        0 => String::new(),
                        damaged => format!(" ({damaged} damaged there)"),
                    },
                    readable(since)
                ),
                match behind.damaged {
                    0 => {
                        "see what `pgstow sync` says; until it is there `pgstow cleanup` keeps what it lacks."
                    }
                    _ => "see by `pgstow sync --status` what is damaged there; deleted there, it comes once more.",
                },
            ),
            _ => Verdict::ok(NAME, "it has all that there is"),
        };
        let figure = limits.figure("age", age.unwrap_or_default(), Unit::Seconds);
        verdict.with(figure).about(name)
    })
}

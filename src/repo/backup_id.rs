//! The id of a base backup: when it began, and its kind. Sorts by time.

use std::{fmt, str::FromStr};

use chrono::{NaiveDateTime, SubsecRound, TimeDelta};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    error::{Error, Result},
    util::clock::Time,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackupKind {
    Full,
    Incremental,
}

impl BackupKind {
    /// As in an id.
    fn suffix(self) -> &'static str {
        match self {
            BackupKind::Full => "full",
            BackupKind::Incremental => "incr",
        }
    }
}

impl fmt::Display for BackupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BackupKind::Full => "full",
            BackupKind::Incremental => "incremental",
        })
    }
}

/// Such as `20261121T020000Z-full`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupId {
    time: Time,
    kind: BackupKind,
}

/// Which seconds are whose where backups are made into several repositories: of `of` that follow one another, the one of
/// this number. So backups that begin at once never have one id, though nobody asks the others, which may be away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    pub number: i64,
    pub of: i64,
}

impl Default for Turn {
    /// Every second.
    fn default() -> Self {
        Self { number: 0, of: 1 }
    }
}

impl Turn {
    /// The first of its seconds that does not lie before `second`.
    fn from(self, second: Time) -> Time {
        let wait = (self.number - second.timestamp()).rem_euclid(self.of.max(1));
        second + TimeDelta::seconds(wait)
    }
}

/// Backups that follow one another within a second run ahead of the clock without any fault of it.
const AHEAD: TimeDelta = TimeDelta::minutes(1);

const FORM: &str = "%Y%m%dT%H%M%SZ";

impl BackupId {
    /// The id for a backup that begins `now`, later than `newest` even if the clock ran
    /// backwards; true if it did.
    pub fn next(now: Time, kind: BackupKind, newest: Option<BackupId>, turn: Turn) -> (Self, bool) {
        let now = now.trunc_subsecs(0);
        let (earliest, backwards) = match newest {
            Some(newest) if newest.time >= now => {
                let backwards = newest.time > now + AHEAD;
                (newest.time + TimeDelta::seconds(1), backwards)
            }
            _ => (now, false),
        };
        let time = turn.from(earliest);
        (Self { time, kind }, backwards)
    }

    pub fn time(self) -> Time {
        self.time
    }

    pub fn kind(self) -> BackupKind {
        self.kind
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `pad` keeps widths working in tables.
        f.pad(&format!(
            "{}-{}",
            self.time.format(FORM),
            self.kind.suffix()
        ))
    }
}

impl FromStr for BackupId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let (time, kind) = text.split_once('-')?;
            let kind = [BackupKind::Full, BackupKind::Incremental]
                .into_iter()
                .find(|k| k.suffix() == kind)?;
            let id = Self {
                time: NaiveDateTime::parse_from_str(time, FORM).ok()?.and_utc(),
                kind,
            };
            // The parser is more lenient than the format.
            (id.to_string() == text).then_some(id)
        };
        parse().ok_or_else(|| {
            Error::usage(format!("not a backup's id: {text:?}"))
                .hint("an id looks like 20261121T020000Z-full; `pgstow list` shows them.")
        })
    }
}

impl Serialize for BackupId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BackupId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_never_repeat() {
        let now: Time = "2026-11-21T02:00:00.7Z".parse().unwrap();
        let (first, backwards) = BackupId::next(now, BackupKind::Full, None, Turn::default());
        assert_eq!(
            (first.to_string().as_str(), backwards),
            ("20261121T020000Z-full", false)
        );
        let (second, backwards) =
            BackupId::next(now, BackupKind::Incremental, Some(first), Turn::default());
        assert_eq!(
            (second.to_string().as_str(), backwards),
            ("20261121T020001Z-incr", false)
        );
        let earlier = now - TimeDelta::hours(3);
        let (third, backwards) =
            BackupId::next(earlier, BackupKind::Full, Some(second), Turn::default());
        assert_eq!(
            (third.to_string().as_str(), backwards),
            ("20261121T020002Z-full", true)
        );
        assert!(first < second && second < third);
    }

    #[test]
    fn ids_of_different_repositories_are_never_the_same() {
        let start: Time = "2026-11-21T02:00:00.7Z".parse().unwrap();
        let ids = |number| {
            let mut newest = None;
            let mut ids = Vec::new();
            for at in 0..20 {
                let now = start + TimeDelta::milliseconds(at * 400);
                let turn = Turn { number, of: 3 };
                let (id, backwards) = BackupId::next(now, BackupKind::Full, newest, turn);
                assert!(!backwards && newest < Some(id), "{id} after {newest:?}");
                newest = Some(id);
                ids.push(id);
            }
            ids
        };
        let [first, second, third] = [0, 1, 2].map(ids);
        let others = || second.iter().chain(&third);
        assert!(first.iter().all(|id| others().all(|other| id != other)));
        assert!(second.iter().all(|id| !third.contains(id)));
        // No later than it must be.
        assert_eq!(first[0].to_string(), "20261121T020000Z-full");
        assert_eq!(third[0].to_string(), "20261121T020002Z-full");
    }

    #[test]
    fn only_the_exact_form_is_an_id() {
        for bad in [
            "",
            "20261121T020000Z",
            "20261121T020000Z-diff",
            "20261321T020000Z-full",
            "2026-11-21-full",
        ] {
            assert!(bad.parse::<BackupId>().is_err(), "{bad}");
        }
    }
}

//! The rules of retention, and what each of them wants of a row of good backups. Pure.

use std::{collections::BTreeSet, fmt};

use chrono::Datelike;

use crate::util::{clock::Time, zone::Zone};

/// Which backups are kept; a rule that is None keeps nothing by itself, and without any rule all stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Full backups, each with its incremental ones.
    pub full: Option<Keep>,
    /// Days of which every moment stays restorable.
    pub days: Option<Keep>,
    pub daily: Option<Keep>,
    pub weekly: Option<Keep>,
    pub monthly: Option<Keep>,
    pub yearly: Option<Keep>,
    /// Never fewer full backups than these.
    pub min: u32,
    /// Of backups that are older than the window.
    pub older_wal: OlderWal,
    /// In which days, weeks, months and years begin.
    pub zone: Zone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    Count(u32),
    Forever,
}

impl Keep {
    /// Whether one more is wanted by who has `number` already.
    pub fn wants_more_than(self, number: usize) -> bool {
        match self {
            Keep::Count(count) => number < count as usize,
            Keep::Forever => true,
        }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Keep::Count(count) => count.fmt(f),
            Keep::Forever => f.write_str("forever"),
        }
    }
}

/// What WAL stays for backups that are older than the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OlderWal {
    /// What they need to become consistent.
    Window,
    /// Everything from the oldest of them on.
    All,
}

/// A span of the calendar of which the newest backup is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    Day,
    Week,
    Month,
    Year,
}

impl Span {
    /// The rule's name in settings.
    pub fn rule(self) -> &'static str {
        match self {
            Span::Day => "daily",
            Span::Week => "weekly",
            Span::Month => "monthly",
            Span::Year => "yearly",
        }
    }

    /// Such as `2026-11-21`, `2026-W47` (ISO 8601: a week begins on Monday), `2026-11`, `2026`.
    fn name(self, time: Time, zone: &Zone) -> String {
        let local = zone.local(time).date();
        match self {
            Span::Day => local.to_string(),
            Span::Week => {
                let week = local.iso_week();
                format!("{}-W{:02}", week.year(), week.week())
            }
            Span::Month => format!("{}-{:02}", local.year(), local.month()),
            Span::Year => local.year().to_string(),
        }
    }
}

impl Policy {
    /// Whether anything may be deleted at all.
    pub fn has_rule(&self) -> bool {
        let calendar = self.spans().any(|(_, keep)| keep.is_some());
        calendar || self.full.is_some() || self.days.is_some()
    }

    fn spans(&self) -> impl Iterator<Item = (Span, Option<Keep>)> {
        [
            (Span::Day, self.daily),
            (Span::Week, self.weekly),
            (Span::Month, self.monthly),
            (Span::Year, self.yearly),
        ]
        .into_iter()
    }

    /// Which backups the calendar wants of those that ended at `times`, newest first, and why. Spans
    /// without any backup don't count: where backups cease, nothing goes.
    pub fn by_calendar(&self, times: &[Time]) -> Vec<(usize, String)> {
        let mut wanted = Vec::new();
        for (span, keep) in self.spans() {
            let Some(keep) = keep else { continue };
            let mut seen = BTreeSet::new();
            for (number, time) in times.iter().enumerate() {
                let name = span.name(*time, &self.zone);
                if !keep.wants_more_than(seen.len()) {
                    break;
                }
                if seen.insert(name.clone()) {
                    wanted.push((number, format!("{}: the newest of {name}", span.rule())));
                }
            }
        }
        wanted
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn policy(zone: &str) -> Policy {
        Policy {
            full: None,
            days: None,
            daily: None,
            weekly: None,
            monthly: None,
            yearly: None,
            min: 2,
            older_wal: OlderWal::Window,
            zone: Zone::named(zone).unwrap(),
        }
    }

    fn wanted(policy: &Policy, times: &[&str]) -> Vec<String> {
        let times: Vec<Time> = times.iter().map(|time| time.parse().unwrap()).collect();
        let wanted = policy.by_calendar(&times).into_iter();
        wanted
            .map(|(number, why)| format!("{number} {why}"))
            .collect()
    }

    #[test]
    fn the_newest_of_each_span_that_has_one() {
        let times = [
            "2026-11-21T02:00:00Z",
            "2026-11-20T14:00:00Z",
            "2026-11-20T02:00:00Z",
            "2026-11-16T02:00:00Z",
            "2026-11-15T02:00:00Z",
            "2025-12-30T02:00:00Z",
        ];
        let rules = Policy {
            daily: Some(Keep::Count(2)),
            weekly: Some(Keep::Count(2)),
            yearly: Some(Keep::Forever),
            ..policy("UTC")
        };
        // The last days of 2025 are of the first week of 2026.
        assert_eq!(
            wanted(&rules, &times),
            [
                "0 daily: the newest of 2026-11-21",
                "1 daily: the newest of 2026-11-20",
                "0 weekly: the newest of 2026-W47",
                "4 weekly: the newest of 2026-W46",
                "0 yearly: the newest of 2026",
                "5 yearly: the newest of 2025",
            ]
        );
        assert!(rules.has_rule() && !policy("UTC").has_rule());
        assert_eq!(wanted(&policy("UTC"), &times), [""; 0]);
    }

    #[test]
    fn a_day_begins_in_its_zone() {
        let times = [
            "2026-11-20T23:30:00Z",
            "2026-11-20T22:30:00Z",
            "2026-10-31T23:30:00Z",
        ];
        let rules = |zone| Policy {
            daily: Some(Keep::Count(7)),
            monthly: Some(Keep::Count(12)),
            ..policy(zone)
        };
        assert_eq!(wanted(&rules("UTC"), &times).len(), 4);
        assert_eq!(
            wanted(&rules("Europe/Berlin"), &times),
            [
                "0 daily: the newest of 2026-11-21",
                "1 daily: the newest of 2026-11-20",
                "2 daily: the newest of 2026-11-01",
                "0 monthly: the newest of 2026-11",
            ]
        );
    }
}

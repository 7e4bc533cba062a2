//! What the repositories hold: how old the newest good backup is, over all of them, and what each
//! has that can't be restored.

use std::time::Duration;

use super::{
    super::{
        facts::{Facts, Holding},
        thresholds::{Limits, Thresholds},
        verdict::{State, Unit, Verdict},
    },
    archiving, dumps, good,
    known::{OF_REPOSITORY, Yardstick},
    stored,
};
use crate::{
    domain::setup::stored::Stored,
    postgres::lsn::TimelineId,
    repo::catalog::Backup,
    util::{
        clock::{self, Time, readable},
        units,
    },
};

pub fn all(facts: &Facts, by: Yardstick<'_>) -> Vec<Verdict> {
    let timeline = facts.server.as_ref().ok().map(|server| server.timeline);
    let (backup, full) = ages(&facts.repositories, timeline, by.thresholds, by.now);
    let mut verdicts = vec![backup, full];
    for holding in &facts.repositories {
        let own = match &holding.stored {
            Ok(stored) => of_repository(facts, holding, stored, by),
            Err(error) => {
                let unknown = OF_REPOSITORY.map(|check| {
                    let what = "the repository can't be read";
                    Verdict::new(check, State::Unknown, what, "see the check `repository`.")
                });
                let lost = Verdict::of_error("repository", State::Critical, error);
                [lost].into_iter().chain(unknown).collect()
            }
        };
        verdicts.extend(own.into_iter().map(|one| one.about(&holding.name)));
    }
    verdicts
}

fn of_repository(
    facts: &Facts,
    holding: &Holding,
    held: &Stored,
    by: Yardstick<'_>,
) -> Vec<Verdict> {
    let server = facts.server.as_ref().ok();
    let timeline = server.map(|server| server.timeline);
    vec![
        Verdict::ok("repository", holding.place.as_str()),
        stored::verification(held, by.thresholds, by.now),
        stored::restorable(held, timeline),
        stored::given_up(held, &facts.given_up),
        stored::page_failures(held),
        stored::damaged(held),
        stored::pending(held),
        match timeline {
            Some(timeline) => {
                let findings = held.history(timeline).into_iter().collect();
                Verdict::of_findings("timeline", "its history is as it should be", findings)
            }
            None => unasked("timeline"),
        },
        match server {
            Some(server) => archiving::lag(server, held, &facts.given_up, by.thresholds, by.now),
            None => unasked("wal_lag"),
        },
        dumps::verification(held, by),
    ]
}

fn unasked(check: &'static str) -> Verdict {
    let hint = "see the check `connection`.";
    Verdict::new(check, State::Unknown, "the server can't be asked", hint)
}

/// The ages of the newest good backup and of the newest good full one, wherever they are. Where it is known on
/// which timeline the server is, only those count that lead there: others are of what a restore to the past left.
pub fn ages(
    holdings: &[Holding],
    timeline: Option<TimelineId>,
    limits: &Thresholds,
    now: Time,
) -> (Verdict, Verdict) {
    let stored = holdings.iter().filter_map(|one| one.stored.as_ref().ok());
    let good: Vec<(&str, Vec<&Backup>)> = stored
        .map(|stored| (stored.name.as_str(), good::leading(stored, timeline)))
        .collect();
    // A date of tomorrow is no reason to prefer what has it.
    let ended_last = |pick: &dyn Fn(&[&Backup]) -> Option<Time>| {
        let each = good.iter();
        each.filter_map(|(name, backups)| Some((pick(backups)?, *name)))
            .max_by_key(|(ended, _)| (!clock::is_ahead(*ended, now), *ended))
    };
    let any = ended_last(&|backups| Some(backups.last()?.stop_time));
    let full = ended_last(&|backups| Some(good::newest_full(backups)?.stop_time));
    let has_any = holdings.iter().any(|one| {
        let stored = one.stored.as_ref();
        stored.is_ok_and(|stored| !stored.archive.backups.is_empty())
    });
    let mut unread = holdings
        .iter()
        .filter_map(|one| Some((one, one.stored.as_ref().err()?)));
    let unread = unread.next();
    let judge = |check, what: &str, found: Option<(Time, &str)>, limits: Limits<Duration>| {
        let hint = "see why by `pgstow list --runs`, then take one with `pgstow base`.";
        let Some((ended, repository)) = found else {
            let what = match timeline {
                Some(timeline) if has_any => {
                    format!("no good {what} leads to timeline {timeline}, on which the server is")
                }
                _ => format!("there is no good {what}"),
            };
            return match unread {
                Some((unread, error)) => {
                    let what = format!(
                        "{what} in what can be read; repository {} can't: {}",
                        unread.name,
                        error.in_one_line()
                    );
                    Verdict::new(check, State::Unknown, what, hint)
                }
                None => Verdict::new(check, State::Critical, what, hint),
            };
        };
        if clock::is_ahead(ended, now) {
            let what = format!(
                "the newest good {what} ended at {}, and here it is {}: its age is not known, since a clock was or is wrong",
                readable(ended),
                readable(now)
            );
            let hint = "synchronize the clocks of server and host, then run `pgstow base --full`: its date counts.";
            return Verdict::new(check, State::Unknown, what, hint);
        }
        let age = (now - ended).to_std().unwrap_or_default();
        let what = format!(
            "the newest good {what} ended {} ago, in repository {repository}",
            units::duration(age)
        );
        let figure = limits.figure("age", age, Unit::Seconds);
        Verdict::new(check, limits.judge(age), what, hint).with(figure)
    };
    (
        judge("backup_age", "backup", any, limits.backup_age),
        judge("full_age", "full backup", full, limits.full_age),
    )
}

//! What the repositories hold: how old the newest good backup is, over all of them, and what each
//! has that can't be restored.

use std::time::Duration;

use super::{
    super::{
        facts::{Facts, Holding},
        thresholds::{Limits, Thresholds},
        verdict::{State, Unit, Verdict},
    },
    archiving, drills, dumps, good,
    known::{HERE, OF_REPOSITORY, Yardstick},
    objectives, stored,
};
use crate::{
    domain::setup::stored::Stored,
    postgres::lsn::TimelineId,
    repo::backup::Backup,
    util::{
        clock::{self, Time, readable},
        units,
    },
};

pub fn all(facts: &Facts, by: Yardstick<'_>) -> Vec<Verdict> {
    let timeline = facts.server.as_ref().ok().map(|server| server.timeline);
    let (backup, full) = ages(&facts.repositories, timeline, by.thresholds, by.now);
    let mut verdicts = vec![backup, full];
    let several = facts.repositories.len() > 1;
    for (number, holding) in facts.repositories.iter().enumerate() {
        let own: Vec<Verdict> = match &holding.stored {
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
        // Of a single one the ages say it.
        let own = own.into_iter().filter(|one| several || one.check != HERE);
        let name = &holding.name;
        verdicts.extend(own.map(|one| match number {
            0 => one.about(name),
            _ => one.about(name).naming(name),
        }));
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
        here(held, timeline, by.thresholds.full_age, by.now),
        stored::verification(held, by.thresholds, by.now),
        stored::restorable(held, timeline, &facts.minimal),
        stored::given_up(held, &facts.given_up),
        stored::page_failures(held),
        stored::damaged(held, &holding.lost_dumps),
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
        drills::judge(held, by.thresholds, by.now),
        match server {
            Some(server) => objectives::recovery_point(server, held, by),
            None => unasked("recovery_point"),
        },
        objectives::recovery_time(held, by.thresholds),
    ]
}

/// Whether restores can begin in this repository, too, wherever the newest backup of all is. WAL is pushed to each:
/// without a backup beside it, it is worth nothing, and grows. A second one may be given a backup more rarely than
/// the first, so that its age is judged as that of full ones.
fn here(
    held: &Stored,
    timeline: Option<TimelineId>,
    limits: Limits<Duration>,
    now: Time,
) -> Verdict {
    let name = &held.name;
    let hint = "`pgstow base` takes one there; docs/systemd.md (a second repository) has it taken regularly.";
    let good = good::leading(held, timeline);
    let Some(newest) = good.last() else {
        let what = "it has no good backup on the way to where the server is: its WAL alone restores nothing";
        return Verdict::new(HERE, State::Critical, what, hint);
    };
    let newest = Newest {
        what: "backup",
        ended: newest.stop_time,
        repository: name,
    };
    newest.judge(HERE, limits, now, hint)
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
        // Where full_every is set, one that isn't asked for may be none.
        let call = if check == "full_age" {
            "pgstow base --full"
        } else {
            "pgstow base"
        };
        let hint = format!("see why by `pgstow list --runs`, then take one with `{call}`.");
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
                    Verdict::new(check, State::Unknown, what, "see the check `repository`.")
                }
                None => Verdict::new(check, State::Critical, what, hint),
            };
        };
        let newest = Newest {
            what,
            ended,
            repository,
        };
        newest.judge(check, limits, now, &hint)
    };
    (
        judge("backup_age", "backup", any, limits.backup_age),
        judge("full_age", "full backup", full, limits.full_age),
    )
}

/// The newest good one of what is judged.
struct Newest<'a> {
    what: &'a str,
    ended: Time,
    repository: &'a str,
}

impl Newest<'_> {
    /// By its age.
    fn judge(
        &self,
        check: &'static str,
        limits: Limits<Duration>,
        now: Time,
        hint: &str,
    ) -> Verdict {
        let Self {
            what,
            ended,
            repository,
        } = *self;
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
    }
}

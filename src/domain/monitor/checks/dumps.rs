//! How old the newest good dump of each database is, over all repositories. Where no dumps are made,
//! nobody misses them; where nothing else is made, nobody misses base backups.

use std::collections::BTreeMap;

use super::{
    super::{
        facts::{Facts, GoodDump, Holding, timers::Timer},
        runs::Run,
        verdict::{State, Unit, Verdict},
    },
    known::{Yardstick, is_timer_of_backups},
};
use crate::{
    domain::setup::stored::Stored,
    error::Result,
    repo::dump_name::Subject,
    util::{
        clock::{self, Time, readable},
        units,
    },
};

const NAME: &str = "dump_age";

const VERIFICATION: &str = "dump_verification";

const HINT: &str =
    "see why by `pgstow list --runs`, then make one with `pgstow dump --class auto`.";

pub fn all(facts: &Facts, by: Yardstick<'_>) -> Vec<Verdict> {
    let unread = facts.repositories.iter().find(|one| one.dumps.is_err());
    let mut newest = newest(&facts.repositories, by.now);
    if let Ok(server) = &facts.server {
        // Dumps of a database that was dropped grow old and are kept.
        newest.retain(|subject, _| {
            let there = |name: &str| server.databases.iter().any(|own| own == name);
            subject.database().is_none_or(there)
        });
    }
    if let Some(unread) = unread {
        let what = format!("the dumps in repository {} can't be read", unread.name);
        let hint = "see the check `repository`.";
        return vec![Verdict::new(NAME, State::Unknown, what, hint)];
    }
    if newest.is_empty() {
        return vec![match by.dumps {
            true => {
                let what = "there is no good dump of another class than manual";
                Verdict::new(NAME, State::Critical, what, HINT)
            }
            false => Verdict::ok(NAME, "no dumps are made"),
        }];
    }
    let judged = newest.into_iter();
    judged
        .map(|(subject, found)| judge(found, by).about(&subject.to_string()))
        .collect()
}

/// Whether dumps are all that the cluster is backed up by: no WAL is archived, and [`nothing_else`] is made.
pub fn are_all(facts: &Facts, by: Yardstick<'_>) -> bool {
    let archives = facts.server.as_ref().is_ok_and(|server| {
        let asked = &server.facts.server;
        asked.archiving.is_on(asked.standby)
    });
    let made = Made {
        repositories: &facts.repositories,
        runs: &facts.runs,
        timers: &facts.timers,
    };
    !archives && nothing_else(made, by.dumps)
}

/// What tells which kinds of backups are made here.
#[derive(Clone, Copy)]
pub struct Made<'a> {
    pub repositories: &'a [Holding],
    pub runs: &'a Result<Vec<Run>>,
    pub timers: &'a Result<Option<Vec<Timer>>>,
}

/// Whether dumps are made again and again, or, with `spoken_of`, wanted at least; there never was a base backup, and
/// nobody tries to take one. What can't be read may hold one.
pub fn nothing_else(made: Made<'_>, spoken_of: bool) -> bool {
    let has_none = |holding: &Holding| {
        holding.stored.as_ref().is_ok_and(|stored| {
            let archive = &stored.archive;
            let backups = archive.backups.len() + stored.pending.len() + stored.damaged.len();
            backups == 0 && archive.wal.segments() == 0
        })
    };
    let is_regular = |holding: &Holding| holding.dumps.iter().flatten().any(|dump| dump.is_regular);
    let are_made = spoken_of || made.repositories.iter().any(is_regular);
    let mut runs = made.runs.iter().flatten();
    let mut timers = made.timers.iter().flatten().flatten();
    let is_tried = runs.any(|run| run.job == "base")
        || timers.any(|timer| is_timer_of_backups(&timer.name) && timer.active == "active");
    are_made && !is_tried && made.repositories.iter().all(has_none)
}

/// When a dump of this repository was restored and found good. Where nobody tries them out, nobody misses it.
pub fn verification(stored: &Stored, by: Yardstick<'_>) -> Verdict {
    const HINT: &str =
        "see by `pgstow verify DUMP` what is wrong, and make another with `pgstow dump`.";
    let words = || stored.archive.verdicts.dumps.values();
    let Some((_, newest)) = words().max_by_key(|(time, _)| *time) else {
        return Verdict::ok(VERIFICATION, "no dump was restored to be checked");
    };
    let bad = words().filter(|(_, word)| !word.good);
    let count = bad.clone().count() as u64;
    // If the one that was tried out last is one of them, it is the one that makes the state.
    if let Some((_, word)) = bad.max_by_key(|(time, _)| *time) {
        let state = match newest.good {
            true => State::Warning,
            false => State::Critical,
        };
        let others = match count {
            1 => String::new(),
            _ => format!("; {count} dumps are not good in all"),
        };
        let flaw = word.flaw().unwrap_or_default();
        let what = format!("{}: {flaw}{others}", word.dump);
        return Verdict::new(VERIFICATION, state, what, HINT);
    }
    if let Some((_, word)) = words().find(|(_, word)| word.findings > 0) {
        let what = format!("{} is good, but what lies beside it is not", word.dump);
        let hint = "see what by `pgstow verify DUMP`, find out who altered it, and write its .sha256 anew (sha256sum).";
        return Verdict::new(VERIFICATION, State::Warning, what, hint);
    }
    let limits = by.thresholds.verify_age;
    // All of them are good.
    let age = (by.now - proven(stored).unwrap_or(by.now))
        .to_std()
        .unwrap_or_default();
    let what = format!(
        "a dump was restored and found good {} ago",
        units::duration(age)
    );
    let figure = limits.figure("age", age, Unit::Seconds);
    let hint = "run `pgstow verify --dumps`, best regularly.";
    Verdict::new(VERIFICATION, limits.judge(age), what, hint).with(figure)
}

/// The newest moment at which a dump was restored and found good.
pub fn proven(stored: &Stored) -> Option<Time> {
    let good = stored
        .archive
        .verdicts
        .dumps
        .values()
        .filter(|(_, word)| word.good);
    good.map(|(time, _)| *time).max()
}

/// Of the newest dump of any database; None where no dumps are made.
pub fn newest_of_all(holdings: &[Holding], by: Yardstick<'_>) -> Option<Verdict> {
    let newest = newest(holdings, by.now).into_values();
    let last = newest.max_by_key(|found| found.map(|(dump, _)| rank(dump, by.now)))?;
    Some(judge(last, by))
}

/// Of dumps that are to be made, and were not.
pub fn none_yet() -> Verdict {
    let what = "there is no good dump of another class than manual";
    Verdict::new(NAME, State::Critical, what, HINT)
}

/// A dump, and the repository that has it; None: not one is good.
type Found<'a> = Option<(&'a GoodDump, &'a str)>;

/// A date of tomorrow is no reason to prefer what has it.
fn rank(dump: &GoodDump, now: Time) -> (bool, Time) {
    (!clock::is_ahead(dump.time, now), dump.time)
}

/// Of each database of which dumps are made again and again.
fn newest(holdings: &[Holding], now: Time) -> BTreeMap<&Subject, Found<'_>> {
    let mut newest: BTreeMap<&Subject, Found<'_>> = BTreeMap::new();
    for holding in holdings {
        let regular = holding.dumps.iter().flatten();
        for dump in regular.filter(|dump| dump.is_regular) {
            let known = newest.entry(&dump.subject).or_default();
            let here = dump.good.as_ref().map(|good| (good, holding.name.as_str()));
            let rank = |found: Found<'_>| found.map(|(dump, _)| rank(dump, now));
            if rank(*known) < rank(here) {
                *known = here;
            }
        }
    }
    newest
}

fn judge(found: Found<'_>, by: Yardstick<'_>) -> Verdict {
    let Some((dump, repository)) = found else {
        let hint = "see by `pgstow list --dumps` what is wrong with them, then make one with `pgstow dump`.";
        return Verdict::new(NAME, State::Critical, "not one dump is good", hint);
    };
    if clock::is_ahead(dump.time, by.now) {
        let what = format!(
            "the newest good dump is dated {}, and here it is {}: its age is not known, since a clock was or is wrong",
            readable(dump.time),
            readable(by.now)
        );
        let hint = "synchronize the clocks of server and host, then run `pgstow dump`, and delete that dump's files.";
        return Verdict::new(NAME, State::Unknown, what, hint);
    }
    let limits = by.thresholds.dump_age;
    let age = (by.now - dump.time).to_std().unwrap_or_default();
    let what = format!(
        "the newest good dump is of {} ago, in repository {repository}",
        units::duration(age)
    );
    let figure = limits.figure("age", age, Unit::Seconds);
    Verdict::new(NAME, limits.judge(age), what, HINT).with(figure)
}

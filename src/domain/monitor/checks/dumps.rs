//! How old the newest good dump of each database is, over all repositories. Where no dumps are made,
//! nobody misses them; where nothing else is made, nobody misses base backups.

use std::collections::BTreeMap;

use super::{
    super::{
        facts::{Facts, GoodDump, Holding, arrivals::Arrivals, server::Server, timers::Timer},
        runs::Run,
        verdict::{State, Unit, Verdict},
    },
    known::{Yardstick, is_timer_of_backups},
    wanted::Why,
};
use crate::{
    domain::setup::{finding::Finding, stored::Stored},
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
    if let Some(unread) = facts.repositories.iter().find(|one| one.dumps.is_err()) {
        let what = format!("the dumps in repository {} can't be read", unread.name);
        let hint = "see the check `repository`.";
        return vec![Verdict::new(NAME, State::Unknown, what, hint)];
    }
    let regular = newest(&facts.repositories, by.now, true);
    let mut judged = BTreeMap::new();
    for (subject, found) in newest(&facts.repositories, by.now, false) {
        let verdict = match (by.wanted.why(subject), regular.get(subject)) {
            // Who wants one has one, though it was made by hand.
            (Why::Named | Why::Matched, _) => judge(found, by),
            (Why::Usual, Some(found)) => judge(*found, by),
            (Why::Never, Some(found)) => retired(*found, by),
            (Why::Usual | Why::Never, None) => continue,
        };
        judged.insert(subject.clone(), verdict);
    }
    if let Ok(server) = &facts.server {
        // Dumps of a database that was dropped grow old and are kept.
        judged.retain(|subject, _| {
            let there = |name: &str| server.databases.iter().any(|own| own == name);
            subject.database().is_none_or(there)
        });
    }
    if !regular.keys().any(|subject| judged.contains_key(*subject)) {
        return vec![match by.wanted.spoken_of {
            true => {
                let what = "there is no good dump of another class than manual";
                Verdict::new(NAME, State::Critical, what, HINT)
            }
            false => Verdict::ok(NAME, "no dumps are made"),
        }];
    }
    let undumped = facts
        .server
        .iter()
        .flat_map(|server| undumped(server, &facts.arrivals, by));
    for (subject, verdict) in undumped {
        judged.entry(subject).or_insert(verdict);
    }
    let judged = judged.into_iter();
    judged
        .map(|(subject, verdict)| verdict.about(&subject.to_string()))
        .collect()
}

/// What the settings ask for and there may be no dump of, whatever came of other databases in the last run.
fn undumped(server: &Server, arrivals: &Arrivals, by: Yardstick<'_>) -> BTreeMap<Subject, Verdict> {
    let of = |name: &str| Subject::Database(name.to_owned());
    let mut all = BTreeMap::new();
    if !by.wanted.spoken_of {
        return all;
    }
    for name in by.wanted.choice.names() {
        if by.wanted.why(&of(name)) == Why::Never {
            continue;
        }
        let verdict = match server.databases.iter().any(|own| own == name) {
            true => Verdict::new(
                NAME,
                State::Critical,
                "there is no dump of it, and dump.databases names it",
                HINT,
            ),
            false => Verdict::new(
                NAME,
                State::Warning,
                "dump.databases names it, and the server has no such database",
                "take it out of dump.databases, or mend the name there: capitals count.",
            ),
        };
        all.insert(of(name), verdict);
    }
    let limits = by.thresholds.dump_age;
    for name in &server.dumpable {
        if by.wanted.why(&of(name)) != Why::Matched {
            continue;
        }
        // The next run may be the first since it was made.
        let since = arrivals.since(name).unwrap_or(by.now);
        let age = (by.now - since).to_std().unwrap_or_default();
        let what = format!(
            "there is no dump of it, which is here for {} or longer, and the settings ask for one",
            units::duration(age)
        );
        let hint = "see why by `pgstow list --runs`, then make one with `pgstow dump --class auto`; or leave it out: \
                    dump.exclude.";
        all.insert(of(name), Verdict::new(NAME, limits.judge(age), what, hint));
    }
    all
}

/// Of what the settings leave out: its dumps grow old on purpose.
fn retired(found: Found<'_>, by: Yardstick<'_>) -> Verdict {
    const WHY: &str =
        "the settings ask for no dump of it (dump.databases, dump.exclude, dump.globals)";
    let Some((dump, repository)) = found else {
        return Verdict::ok(
            NAME,
            format!("{WHY}; of those that are left not one is good"),
        );
    };
    let age = (by.now - dump.time).to_std().unwrap_or_default();
    let age = units::duration(age);
    let what = format!("{WHY}; the newest good one is of {age} ago, in repository {repository}");
    Verdict::ok(NAME, what)
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
    !archives && nothing_else(made, by.wanted.spoken_of)
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
    const HINT: &str = "see by `pgstow verify DUMP` what is wrong; then put its files back from a copy of the \
                        repository, or make another with `pgstow dump` and delete this one's files, the .json first.";
    // What was only read, and is right, was tried out by nobody.
    let all = || stored.archive.verdicts.dumps.values();
    let words = || all().filter(|(_, word)| word.was_restored() || !word.good);
    let Some((_, newest)) = words().max_by_key(|(time, _)| *time) else {
        return Verdict::ok(VERIFICATION, "no dump was restored to be checked");
    };
    let bad: Vec<_> = words().filter(|(_, word)| !word.good).collect();
    // If the one that was tried out last is one of them, it is the one that makes the state.
    if let Some((_, word)) = bad.iter().max_by_key(|(time, _)| *time) {
        let state = match newest.good {
            true => State::Warning,
            false => State::Critical,
        };
        let others = match bad.len() {
            1 => String::new(),
            count => format!("; {count} dumps are not good in all"),
        };
        let flaw = word.flaw().unwrap_or_default();
        let what = format!("{}: {flaw}{others}", word.dump);
        let each = bad.iter().map(|(_, word)| {
            let what = format!("dump {}: {}", word.dump, word.flaw().unwrap_or_default());
            Finding::warning(VERIFICATION, what, HINT).about(&word.dump)
        });
        return Verdict::new(VERIFICATION, state, what, HINT).having(each.collect());
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
        .filter(|(_, word)| word.good && word.was_restored());
    good.map(|(time, _)| *time).max()
}

/// Of the newest dump of any database; None where no dumps are made.
pub fn newest_of_all(holdings: &[Holding], by: Yardstick<'_>) -> Option<Verdict> {
    let newest = newest(holdings, by.now, true).into_values();
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

fn better<'a>(one: Found<'a>, other: Found<'a>, now: Time) -> Found<'a> {
    let rank = |found: Found<'_>| found.map(|(dump, _)| rank(dump, now));
    match rank(one) < rank(other) {
        true => other,
        false => one,
    }
}

/// Of each database; with `regular` only where dumps of it are made again and again.
fn newest(holdings: &[Holding], now: Time, regular: bool) -> BTreeMap<&Subject, Found<'_>> {
    let mut newest: BTreeMap<&Subject, Found<'_>> = BTreeMap::new();
    for holding in holdings {
        let dumps = holding.dumps.iter().flatten();
        for dump in dumps.filter(|dump| dump.is_regular || !regular) {
            let known = newest.entry(&dump.subject).or_default();
            let here = dump.good.as_ref().map(|good| (good, holding.name.as_str()));
            *known = better(*known, here, now);
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

//! When a drill last proved that what is stored can be restored. Where nobody makes any, nobody misses it.

use super::super::{
    thresholds::Thresholds,
    verdict::{State, Unit, Verdict},
};
use crate::{
    domain::setup::{finding::Finding, stored::Stored},
    repo::verified::VerifiedCheck,
    util::{
        clock::{self, Time, readable, whole_seconds},
        units,
    },
};

const NAME: &str = "drill";

const OF_STORED: &str = "see what `pgstow verify --all --wal` finds, take a backup with `pgstow base`, then run `pgstow drill` again.";

/// By what a drill looked at: what is stored, or what was in the server before.
fn cure(check: &VerifiedCheck) -> &'static str {
    match check.name.as_str() {
        "plan" | "restore" | "backup_manifest" | "recovery" | "checksums" => OF_STORED,
        "recovery_point" => {
            "see the check `wal_lag` and the server's archive_timeout, then run `pgstow drill` again."
        }
        _ => {
            "look at the same in the living server: what is wrong there is in every backup, so mend it there, or what drill.sql \
             says; if all is well there, take a backup with `pgstow base`. Then run `pgstow drill` again."
        }
    }
}

pub fn judge(stored: &Stored, limits: &Thresholds, now: Time) -> Verdict {
    const AGAIN: &str = "run `pgstow drill`, best regularly: docs/drills.md.";
    let drills = &stored.drills;
    if let Some(why) = drills.unread.first() {
        let what = format!("a report can't be read: {why}");
        return Verdict::new(NAME, State::Warning, what, "delete that object.");
    }
    let Some(newest) = drills.newest() else {
        if stored.is_closed() {
            let what = "it can't be proven on this host, which has no identity: `pgstow drill` where one is does";
            return Verdict::ok(NAME, what);
        }
        return Verdict::ok(NAME, "no drill was made: `pgstow drill` proves a backup");
    };
    if !newest.good {
        let failed = newest.failed().next();
        let why = failed.map_or("it came to no end".to_owned(), |check| {
            format!("{}: {}", check.name, check.what)
        });
        let backup = newest.backup.map(|id| format!(" of {id}"));
        let others: Vec<&str> = newest.failed().skip(1).map(|check| &*check.name).collect();
        let others = match others.is_empty() {
            true => String::new(),
            false => format!("; and by {}", others.join(", ")),
        };
        let what = format!(
            "the drill of {}{} found that something is wrong: {why}{others}",
            readable(whole_seconds(newest.time)),
            backup.unwrap_or_default()
        );
        let hint = newest.failed().next().map_or(OF_STORED, cure);
        let failed = newest.failed().map(|check| {
            let what = format!("{}: {}", check.name, check.what);
            Finding::critical(NAME, what, cure(check)).about(&check.name)
        });
        return Verdict::new(NAME, State::Critical, what, hint).having(failed.collect());
    }
    if clock::is_ahead(newest.finished, now) {
        let what = format!(
            "the newest drill is dated {}, and here it is {}: its age is not known, since a clock was or is wrong",
            readable(newest.finished),
            readable(now)
        );
        let hint = "synchronize the clocks of the hosts, then run `pgstow drill`.";
        return Verdict::new(NAME, State::Unknown, what, hint);
    }
    let limits = limits.drill_age;
    let age = (now - newest.finished).to_std().unwrap_or_default();
    let backup = newest.backup.map(|id| id.to_string());
    let mut what = format!(
        "a drill proved {} {} ago, to {}",
        backup.unwrap_or_default(),
        units::duration(age),
        newest.moment()
    );
    let state = limits.judge(age);
    let reached = match state {
        State::Critical => limits.critical,
        State::Warning => limits.warning,
        State::Ok | State::Unknown => None,
    };
    if let Some(reached) = reached {
        let reached = units::duration(reached);
        what = format!("the newest proof is older than {reached}: {what}");
    }
    let figure = limits.figure("age", age, Unit::Seconds);
    Verdict::new(NAME, state, what, AGAIN).with(figure)
}

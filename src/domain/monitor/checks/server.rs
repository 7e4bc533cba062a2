//! The server: whether it answers, and what would make backups or restores from them fail.

use std::{cmp::Reverse, time::Duration};

use super::{
    super::{
        facts::{
            Facts,
            server::{Server, Slot},
        },
        thresholds::Limits,
        verdict::{State, Unit, Verdict},
    },
    archiving,
    known::{OF_SERVER, Yardstick},
};
use crate::{
    domain::{
        logical::restore::aside::{self, Left},
        setup::{checks as setup, finding::Finding},
        wal::receive::slot::ReceiverSlot,
    },
    postgres::wal_summary,
    util::units,
};

pub fn all(facts: &Facts, by: Yardstick<'_>) -> Vec<Verdict> {
    let server = match &facts.server {
        Ok(server) => server,
        Err(error) => {
            let unknown = OF_SERVER.map(|check| {
                let hint = "see the check `connection`.";
                Verdict::new(check, State::Unknown, "the server can't be asked", hint)
            });
            let lost = Verdict::of_error("connection", State::Critical, error);
            return [lost].into_iter().chain(unknown).collect();
        }
    };
    let (asked, limits) = (&server.facts, by.thresholds);
    let standby = if asked.server.standby {
        ", a standby"
    } else {
        ""
    };
    let connected = format!("connected as role {}{standby}", asked.role);
    let one = |check, finding| Verdict::of_findings(check, "", vec![finding]);
    let slot = server.slots.iter().find(|slot| slot.name == by.slot);
    let receiver = slot.map(|slot| ReceiverSlot {
        name: slot.name.clone(),
        is_active: slot.active,
    });
    let receiver = receiver.as_ref();
    vec![
        Verdict::ok("connection", connected),
        version(server),
        one("wal_level", setup::archiving::wal_level(asked)),
        one(
            "archive_mode",
            setup::archiving::archive_mode(asked, receiver),
        ),
        one(
            "archive_command",
            setup::archiving::archive_command(asked, by.command, receiver),
        ),
        archiving::timeout(server, limits),
        archiving::archiver(server, facts.archive_failed.as_ref()),
        archiving::waiting(server, limits, by.now),
        one("recovery_target", setup::recovery_target(asked)),
        one("full_page_writes", setup::full_page_writes(asked)),
        slots(server, limits.slot_wal),
        receiving(facts, server, by),
        clock(server, limits.clock),
        left_databases(server),
    ]
}

/// Before the minor releases of August 2026, incremental backups of the server's own kind may lack
/// changes of visibility maps: their restores give wrong answers.
fn version(server: &Server) -> Verdict {
    const NAME: &str = "version";
    let number = server.facts.server.version;
    let finding = setup::version(&server.facts);
    let summarizes = server.summarizes_wal && !wal_summary::are_right(number);
    if finding.hint.is_some() || !summarizes {
        return Verdict::of_findings(NAME, "", vec![finding]);
    }
    Verdict::new(
        NAME,
        State::Warning,
        format!(
            "{} summarizes its WAL wrongly: incremental backups by pg_basebackup may lack changes (those of pgstow don't use its summaries)",
            finding.what
        ),
        "update to PostgreSQL 17.11, 18.6 or later, then take a full backup.",
    )
}

/// Each slot that is bad, so that none hides behind another.
fn slots(server: &Server, limits: Limits<u64>) -> Verdict {
    const NAME: &str = "slots";
    const HINT: &str = "let who uses the slot catch up, or drop it by pg_drop_replication_slot(): it keeps WAL until the disk is full.";
    let mut slots: Vec<&Slot> = server.slots.iter().collect();
    slots.sort_by_key(|slot| Reverse(slot.held));
    let Some(most) = slots.first() else {
        return Verdict::ok(NAME, "no replication slot holds WAL back");
    };
    let held = |slot: &Slot| {
        let idle = if slot.active { "" } else { ", not in use" };
        let held = units::bytes(slot.held);
        format!("slot {} holds back {held} of WAL{idle}", slot.name)
    };
    let judge = |slot: &&Slot| match (limits.judge(slot.held), slot.wal_status.as_str()) {
        (State::Ok, "lost") => {
            let what = format!("slot {} has lost WAL that it needs", slot.name);
            let hint = "who uses it must be set up anew; then drop the slot.";
            Some(Finding::warning(NAME, what, hint))
        }
        (State::Ok, _) => None,
        (State::Critical, _) => Some(Finding::critical(NAME, held(slot), HINT)),
        (State::Warning | State::Unknown, _) => Some(Finding::warning(NAME, held(slot), HINT)),
    };
    let bad = slots
        .iter()
        .filter_map(|slot| Some(judge(slot)?.about(&slot.name)));
    let verdict = Verdict::of_findings(NAME, &held(most), bad.collect());
    verdict.with(limits.figure("held", most.held, Unit::Bytes))
}

/// Whether receive-wal is there and keeps up, and what it keeps until repositories take it.
fn receiving(facts: &Facts, server: &Server, by: Yardstick<'_>) -> Verdict {
    let verdict = slot(server, facts.has_received, by);
    let waiting = facts.received;
    let age = waiting
        .oldest
        .and_then(|since| (by.now - since).to_std().ok());
    let age = age.unwrap_or_default();
    let limits = by.thresholds;
    let state = limits.waiting.judge(waiting.files);
    let state = state.max(limits.waiting_age.judge(age));
    if state == State::Ok {
        return verdict;
    }
    let (files, age) = (units::count(waiting.files, "segment"), units::duration(age));
    Verdict {
        state: state.max(verdict.state),
        reason: format!("{}; {files} received, which not all repositories have, the oldest since {age}", verdict.reason),
        hint: Some("the log of `pgstow receive-wal` tells why they are not stored; they are safe on this host alone.".to_owned()),
        ..verdict
    }
}

/// What the slot of receive-wal shows. Where it `has_received` here, there must be one.
fn slot(server: &Server, has_received: bool, by: Yardstick<'_>) -> Verdict {
    const NAME: &str = "receive_wal";
    let Some(slot) = server.slots.iter().find(|slot| slot.name == by.slot) else {
        let waits = commits_wait_for(&server.standbys, by.slot);
        if has_received || waits {
            let why = match waits {
                true => "for which commits wait (synchronous_standby_names)",
                false => "through which this host received",
            };
            let what = format!("there is no slot {}, {why}: nothing is received", by.slot);
            let hint = "`pgstow receive-wal --create-slot` makes it anew; then take a new backup, unless archive_command is ours too. If nothing is to be received here any more, and all that waits is stored, remove the folder `receive` in the cluster's state folder.";
            let gone = Finding::critical(NAME, what, hint).about("gone");
            return Verdict::of_findings(NAME, "", vec![gone]);
        }
        let unused = format!("not used: there is no slot {}", by.slot);
        return Verdict::ok(NAME, unused);
    };
    if slot.wal_status == "lost" {
        let what = format!("slot {} has lost WAL: nothing is received", slot.name);
        let hint = "drop the slot, make it anew by `pgstow receive-wal --create-slot`, and take a new backup.";
        let lost = Finding::critical(NAME, what, hint).about("lost");
        return Verdict::of_findings(NAME, "", vec![lost]);
    }
    let limits = by.thresholds.wal_lag;
    let figure = limits.figure("bytes", slot.held, Unit::Bytes);
    let (state, behind) = (limits.judge(slot.held), units::bytes(slot.held));
    let verdict = match slot.active {
        true => Verdict::new(
            NAME,
            state,
            format!("receives, and is {behind} behind"),
            "look at the line to the server and at the disk below the receiver's state_dir.",
        ),
        false if commits_wait_for(&server.standbys, &slot.name) => Verdict::new(
            NAME,
            State::Critical,
            format!(
                "nobody receives through slot {}, and commits wait for it (synchronous_standby_names)",
                slot.name
            ),
            "start `pgstow receive-wal`; or take its name out of synchronous_standby_names, and reload the server.",
        ),
        false => Verdict::new(
            NAME,
            state.max(State::Warning),
            format!("nobody receives through slot {}: {behind} wait", slot.name),
            "start `pgstow receive-wal`, or drop the slot if it is not wanted any more: commits may wait for it, and the server keeps its WAL.",
        ),
    };
    verdict.with(figure)
}

/// Whether no commit is reported without the standby `name`: `names`, as in synchronous_standby_names, asks for all that
/// it names. Grammar: `src/backend/replication/syncrep_gram.y`.
pub(super) fn commits_wait_for(names: &str, name: &str) -> bool {
    let list = names.trim().strip_suffix(')');
    let (needed, list) = match list.and_then(|text| text.split_once('(')) {
        // `2 (a, b)`, `FIRST 2 (a, b)`, `ANY 2 (a, b)`.
        Some((method, list)) => {
            let number = method.split_whitespace().last();
            (
                number.and_then(|number| number.parse().ok()).unwrap_or(1),
                list,
            )
        }
        None => (1, names),
    };
    let mut names = list.split(',').map(|one| one.trim().trim_matches('"'));
    list.split(',').count() <= needed && names.any(|one| one.eq_ignore_ascii_case(name))
}

/// What restores that were killed left: it takes room, and nobody else tells of it.
fn left_databases(server: &Server) -> Verdict {
    const NAME: &str = "left_databases";
    let names = |names: &[&String]| {
        let first: Vec<String> = names
            .iter()
            .take(3)
            .map(|name| format!("{name:?}"))
            .collect();
        match names.len() {
            0..=3 => first.join(", "),
            more => format!("{} and {} more", first.join(", "), more - 3),
        }
    };
    let beside = |wanted: Left| {
        let databases = || server.databases.iter();
        let all = databases()
            .filter(move |name| aside::left(name, databases().map(String::as_str)) == Some(wanted));
        all.collect::<Vec<_>>()
    };
    let mut told = Vec::new();
    let mut findings = Vec::new();
    for (databases, what, hint) in [
        (
            server.left_databases.iter().collect(),
            "left by restores that were killed",
            "the next `pgstow restore-dump`, or `pgstow restore` with --table or --database, into this server drops them, or do it by DROP DATABASE.",
        ),
        (
            beside(Left::Replaced),
            "replaced by `restore-dump --clean`, but not dropped",
            "see that nothing in it is missed, then drop it by DROP DATABASE.",
        ),
        (
            beside(Left::Restored),
            "restored, but not in the place of the one that it was for",
            "drop it by DROP DATABASE, or rename both (ALTER DATABASE ... RENAME TO) if it is the one that is wanted.",
        ),
    ] {
        if databases.is_empty() {
            continue;
        }
        told.push((format!("{what}: {}", names(&databases)), hint));
        findings.extend(
            databases
                .into_iter()
                .map(|name| Finding::warning(NAME, format!("{what}: {name:?}"), hint).about(name)),
        );
    }
    if let Some((_, hint)) = told.first() {
        let what: Vec<&str> = told.iter().map(|(what, _)| what.as_str()).collect();
        return Verdict::new(NAME, State::Warning, what.join("; "), *hint).having(findings);
    }
    Verdict::ok(NAME, "no database of a restore is left")
}

fn clock(server: &Server, limits: Limits<Duration>) -> Verdict {
    const NAME: &str = "clock";
    let ahead = server.facts.clock_ahead;
    let apart = ahead.abs().to_std().unwrap_or_default();
    let figure = limits.figure("apart", apart, Unit::Seconds);
    let finding = setup::clock(ahead);
    let hint = finding
        .hint
        .unwrap_or_else(|| "synchronize both by NTP.".to_owned());
    Verdict::new(NAME, limits.judge(apart), finding.what, hint).with(figure)
}

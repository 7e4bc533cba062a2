//! Tables of cases: what each rule keeps, and what nothing may take away. Among them are those that
//! the tests of pgBackRest's `expire` and WAL-G's `delete` name, told anew in terms of these rules:
//!
//! | there | here |
//! | --- | --- |
//! | `delete_retain_full`, `retention-full=2`, `=1` with dependants, not enough to expire any, no current backups, no archive on disk | `counted` |
//! | `retention-full` not set, `delete_without_confirm` | `counted`: nothing is set; a dry run in `kills` |
//! | `delete_before_time_find_full`, `delete_before_name_find_full`; time-based: not met, oldest not expired with WAL before it and without, oldest expired, must keep one | `by_days` |
//! | `delete_retain_after`, `delete_retain_find_full` | `by_days`: rules add up; an incremental one at the start |
//! | `delete_before_permanent_full`, `_delta`, `backup_mark_permanent`, `_impermanent` | `pinned`, and `pins` |
//! | `delete_garbage`, a backup without a manifest, one that runs or may be resumed | `in_progress` |
//! | archive retention across timelines, lowest for each archive id, across db-ids and versions, a history id or version that is another's | `across_timelines`, `across_systems` |
//! | the latest archive is not expired, backups without archive-start | `counted`: no rule; `not_good`: standalone, without WAL |
//! | page errors in newer backups | `not_good` |
//! | dry run; expire via the backup command | `kills`; `real` |
//! | `delete_*_multist` (storages beside each other) | each repository has rules of its own: `unsynced` |
//! | `delete_end_to_end` | `stories::retention` |
//!
//! Without a like: `delete_target*`, adhoc expire, `--oldest` and `archive-expire-before`, since nothing is deleted by its name, only
//! by rules (a pending backup alone, by `--drop-pending`: `in_progress`); retention of differential backups and of archives by
//! backup type, of which there are none; expired histories, which are never deleted; stop files; the next repository after one that
//! fails, since a run is of one.

use pgstow::{
    domain::retention::facts::{Protects, What},
    repo::missing::Missing,
};

use super::story::{Story, time, tli};
use crate::harness::golden::golden;

/// Full backups on four days, ten segments apart, and WAL from the first to behind the last.
fn four(title: &str) -> Story {
    let mut story = Story::new(title, "11-21 12:00");
    for (day, segment) in [("11-06", 10), ("11-11", 20), ("11-16", 30), ("11-21", 40)] {
        story.full(day, segment);
    }
    story.wal(1, 8..=45, "11-21 11:00");
    story
}

/// Two full backups, each with two incremental ones.
fn chains(title: &str) -> Story {
    let mut story = Story::new(title, "11-21 12:00");
    for (full, segment) in [(16, 10), (19, 40)] {
        let mut parent = story.full(&format!("11-{full}"), segment);
        for number in 1..=2 {
            let (day, segment) = (full + number, segment + 10 * number);
            parent = story.incr(&format!("11-{day}"), segment, parent);
        }
    }
    story.wal(1, 8..=65, "11-21 11:00");
    story
}

#[test]
fn counted() {
    let mut told = String::new();
    told += &four("nothing is set: nothing goes").told("min=1");
    told += &four("full backups without others").told("full=2");
    told += &four("more than there are").told("full=9");
    told += &four("as many as there are").told("full=4");
    told += &four("forever").told("full=forever");
    told += &chains("a full backup goes with those that build on it").told("full=1");
    told += &chains("and stays with them").told("full=2");
    told += &four("the floor holds against every rule").told("daily=1 min=3");
    told += &four("without days and full the window is that of min").told("monthly=1 min=2");
    told += &four("all WAL behind the oldest that stays").told("full=1 yearly=1 daily=3 wal=all");

    let mut story = Story::new("no backup at all", "11-21");
    story.wal(1, 1..=9, "11-20");
    told += &story.told("full=1");

    let mut story = Story::new("no WAL at all", "11-21");
    story.full("11-20", 10);
    told += &story.told("full=1");
    golden("cleanup/counted.txt", &told);
}

#[test]
fn by_days() {
    let mut told = String::new();
    told += &four("the backup before the window's start stays, as does all since").told("days=7");
    told += &four("not yet as old as that").told("days=30");
    told += &four("the oldest covers the start: only WAL before it goes").told("days=12");
    told += &four("no WAL before the oldest").told("days=16");
    told += &four("forever").told("days=forever");
    told += &four("rules add up").told("days=1 full=3");

    let mut story = Story::new("old, but the only one", "11-21");
    story.full("10-01", 10);
    story.wal(1, 1..=90, "11-20");
    told += &story.told("days=7");

    let mut story = Story::new("backups have ceased: nothing more goes", "2027-03-01");
    for (day, segment) in [("11-11", 10), ("11-16", 20), ("11-19", 30), ("11-21", 40)] {
        story.full(day, segment);
    }
    story.wal(1, 8..=90, "2027-02-28");
    told += &story.told("days=4");

    let mut story = Story::new(
        "an incremental one at the start needs its parents",
        "11-21 12:00",
    );
    let full = story.full("11-01", 10);
    let first = story.incr("11-05", 20, full);
    story.incr("11-12", 30, first);
    story.full("11-20", 40);
    story.wal(1, 8..=45, "11-21");
    told += &story.told("days=7");
    golden("cleanup/days.txt", &told);
}

#[test]
fn by_the_calendar() {
    let daily = |title: &str| {
        let mut story = Story::new(title, "11-21 12:00");
        let mut segment = 10;
        for (month, days) in [("09", 29..=30), ("10", 24..=31), ("11", 1..=21)] {
            for day in days {
                let full = story.full(&format!("{month}-{day:02}"), segment);
                story.known(full).stop = super::story::within(segment, 0x1000);
                segment += 10;
            }
        }
        story.wal(1, 5..=segment, "11-21 11:00");
        story
    };
    let mut told = String::new();
    told += &daily("grandfather, father, son").told("daily=3 weekly=2 monthly=3 yearly=forever");
    told += &daily("with a window").told("days=2 weekly=3");

    let evening = |title: &str| {
        let mut story = Story::new(title, "11-21 12:00");
        for (hour, segment) in [
            ("11-19 22:30", 10),
            ("11-19 23:30", 20),
            ("11-20 22:30", 30),
            ("11-20 23:30", 40),
        ] {
            story.full(hour, segment);
        }
        story.wal(1, 10..=45, "11-21 11:00");
        story
    };
    told += &evening("days of UTC").told("daily=7");
    told += &evening("days of Berlin, an hour ahead").told("daily=7 zone=Europe/Berlin");

    let mut story = Story::new("spans without a backup don't count", "11-21 12:00");
    for (day, segment) in [
        ("2024-02-28", 10),
        ("2024-02-29", 20),
        ("2025-07-01", 30),
        ("11-20", 40),
    ] {
        story.full(day, segment);
    }
    story.wal(1, 10..=45, "11-21 11:00");
    told += &story.told("daily=3 yearly=2");

    let mut story = Story::new("of a day the newest good one", "11-21 12:00");
    for (hour, segment) in [
        ("11-19 02:00", 10),
        ("11-19 14:00", 20),
        ("11-20 02:00", 30),
        ("11-21 02:00", 40),
    ] {
        story.full(hour, segment);
    }
    let bad = "20261119T140000Z-full".parse().unwrap();
    story.known(bad).problem = Some("it has 2 damaged pages".to_owned());
    story.wal(1, 10..=45, "11-21 11:00");
    told += &story.told("daily=3 min=0");
    golden("cleanup/calendar.txt", &told);
}

#[test]
fn pinned() {
    let mut told = String::new();
    let mut story = four("a pinned backup keeps the WAL that it needs, not that behind it");
    story.pin("20261106T020000Z-full".parse().unwrap(), None);
    told += &story.told("full=1");

    let mut story = chains("what a pinned one builds on stays, what builds on it goes");
    story.pin("20261117T020000Z-incr".parse().unwrap(), None);
    told += &story.told("full=1");

    let mut story = four("until a time that is over, and one that isn't");
    story.pin("20261106T020000Z-full".parse().unwrap(), Some("11-20"));
    story.pin("20261111T020000Z-full".parse().unwrap(), Some("11-22"));
    told += &story.told("full=1");

    let mut story = four("one of a backup that is gone");
    story.pin("20200101T020000Z-full".parse().unwrap(), None);
    told += &story.told("full=3");
    golden("cleanup/pinned.txt", &told);
}

#[test]
fn not_good() {
    let newest = "20261121T020000Z-full".parse().unwrap();
    let mut told = String::new();
    let mut story = four("the newest has damaged pages: it takes no good one's place");
    story.known(newest).problem = Some("it has 2 damaged pages".to_owned());
    told += &story.told("full=2");

    let mut story = four("the newest failed its verification");
    story.known(newest).problem = Some("`pgstow verify` found it damaged".to_owned());
    told += &story.told("days=7");

    let mut story = four("an old one that isn't good goes with its age");
    let old = "20261106T020000Z-full".parse().unwrap();
    story.known(old).problem = Some("part-0001.tar.zst is missing".to_owned());
    told += &story.told("full=2");

    let mut story = Story::new("its WAL is missing", "11-21 12:00");
    for (day, segment) in [("11-06", 10), ("11-16", 30), ("11-21", 40)] {
        story.full(day, segment);
    }
    story.wal(1, 10..=39, "11-20");
    told += &story.told("full=1");

    let mut story = Story::new("the WAL of an older one is missing", "11-21 12:00");
    for (day, segment) in [("11-06", 10), ("11-16", 30), ("11-21", 40)] {
        story.full(day, segment);
    }
    story.wal(1, 10..=29, "11-15");
    story.wal(1, 31..=45, "11-20");
    told += &story.told("full=2");

    let mut story = four("the WAL of the newest was found damaged");
    let damaged = Missing {
        timeline: tli(1),
        first: 40,
        last: 40,
    };
    story.facts.systems[0].damaged.push(damaged);
    told += &story.told("full=2");

    let mut story = Story::new("a standalone one needs none", "11-21 12:00");
    let first = story.full("11-06", 10);
    story.known(first).standalone = true;
    let second = story.full("11-16", 30);
    story.known(second).standalone = true;
    told += &story.told("full=1");

    let mut story = chains("what builds on a bad one is none either");
    let full = "20261119T020000Z-full".parse().unwrap();
    story.known(full).problem = Some("it has 2 damaged pages".to_owned());
    told += &story.told("full=1");

    let mut story = chains("without its own WAL a full one still carries others");
    let full = "20261119T020000Z-full".parse().unwrap();
    story.known(full).start = super::story::within(100, 0);
    story.known(full).stop = super::story::within(100, 1);
    told += &story.told("full=1");

    let mut story = four("none is good: nothing goes");
    for known in story.facts.backups.values_mut() {
        known.problem = Some("it has 2 damaged pages".to_owned());
    }
    told += &story.told("full=1 days=1");

    let mut story = Story::new("its parent is gone", "11-21 12:00");
    let gone = "20261110T020000Z-full".parse().unwrap();
    story.incr("11-12", 20, gone);
    story.full("11-20", 30);
    story.wal(1, 10..=35, "11-21");
    told += &story.told("full=1");
    golden("cleanup/not-good.txt", &told);
}

#[test]
fn in_progress() {
    let mut told = String::new();
    let mut story = four("one that runs keeps its WAL");
    let protects = story.protects(15, None);
    story.other("20261121T110000Z-full", What::Running, protects);
    told += &story.told("full=1");

    let mut story = chains("one that runs keeps its parent");
    let protects = story.protects(64, Some("20261118T020000Z-incr".parse().unwrap()));
    story.other("20261121T110000Z-incr", What::Running, protects);
    told += &story.told("full=1");

    let mut story = four("one that waits for its WAL");
    let protects = story.protects(25, None);
    story.other("20261113T110000Z-full", What::Pending, protects);
    told += &story.told("full=1");

    let mut story = four("one that was given up, and what an interrupted run left");
    story.other("20261113T110000Z-full", What::Dropped, Protects::Nothing);
    story.other("20261114T110000Z-full", What::Remains, Protects::Nothing);
    told += &story.told("full=1");

    let mut story = four("without a rule nothing goes, but for what was given up");
    story.other("20261113T110000Z-full", What::Dropped, Protects::Nothing);
    story.other("20261114T110000Z-full", What::Remains, Protects::Nothing);
    told += &story.told("min=1");

    let mut story = four("a claim that can't be read may need anything");
    story.other("20261121T110000Z-incr", What::Running, Protects::Everything);
    told += &story.told("full=1");

    let mut story = four("a description that can't be read");
    let protects = story.protects(25, None);
    story.other("20261113T110000Z-full", What::Unreadable, protects);
    told += &story.told("full=1");

    let mut story = four("of a system that isn't registered");
    story.other("20261113T110000Z-full", What::Foreign, Protects::Nothing);
    told += &story.told("full=1");
    golden("cleanup/in-progress.txt", &told);
}

#[test]
fn across_timelines() {
    let mut told = String::new();
    // Backups before and behind a fork; the segment of the fork is there twice.
    let forked = |title: &str| {
        let mut story = Story::new(title, "11-21 12:00");
        story.full("11-06", 10);
        story.full("11-11", 20);
        story.wal(1, 8..=28, "11-14");
        story.fork(2, 1, 25);
        story.wal(2, 25..=45, "11-21 11:00");
        story.backup("11-16", "full", 2, 30..=30, None);
        story.backup("11-21", "full", 2, 40..=40, None);
        story
    };
    told += &forked("the window begins behind the fork").told("full=1");
    told += &forked("the window begins before the fork").told("full=3");
    told += &forked("days: the cover lies before the fork").told("days=6");

    let mut story = Story::new(
        "a restore to the past: the newest backup is on no way to the present",
        "11-21 12:00",
    );
    story.full("11-06", 10);
    story.full("11-11", 20);
    story.full("11-16", 30);
    story.wal(1, 8..=38, "11-18");
    story.fork(2, 1, 15);
    story.wal(2, 15..=19, "11-21 11:00");
    story.backup("11-20", "full", 2, 18..=18, None);
    told += &story.told("days=3");

    let mut story = Story::new("a timeline that was left long ago", "11-21 12:00");
    story.full("10-06", 10);
    story.full("10-11", 20);
    story.wal(1, 8..=28, "10-13");
    story.fork(2, 1, 15);
    story.wal(2, 15..=60, "11-21 11:00");
    story.backup("11-01", "full", 2, 30..=30, None);
    story.backup("11-20", "full", 2, 50..=50, None);
    told += &story.told("days=7");

    let mut story = Story::new(
        "a stray: the newest timeline is not that of the server",
        "11-21 12:00",
    );
    for (day, segment) in [("11-06", 10), ("11-11", 20), ("11-16", 30), ("11-21", 40)] {
        story.full(day, segment);
    }
    story.wal(1, 8..=45, "11-21 11:00");
    story.fork(2, 1, 15);
    story.wal(2, 15..=17, "11-08");
    story.backup("11-08", "full", 2, 16..=16, None);
    told += &story.told("full=2");
    told += &story.told("days=3");

    let mut story = Story::new(
        "a restore to the past, and no backup since: what leads to the living timeline stays",
        "11-21 12:00",
    );
    for (day, segment) in (16..=21).zip((10..).step_by(10)) {
        story.full(&format!("11-{day}"), segment);
    }
    story.wal(1, 8..=65, "11-21 08:00");
    story.fork(2, 1, 25);
    story.wal(2, 25..=30, "11-21 11:30");
    for rules in ["full=2", "weekly=1 min=1", "daily=3", "days=2"] {
        told += &story.told(rules);
    }

    let mut story = Story::new(
        "a restore to the past, gone on from an incremental one: the branch that was left has a newer full one",
        "11-21 12:00",
    );
    let first = story.full("11-16", 10);
    story.full("11-18", 30);
    story.wal(1, 8..=45, "11-19");
    story.fork(2, 1, 25);
    story.wal(2, 25..=40, "11-21 11:00");
    story.backup("11-20", "incr", 2, 32..=32, Some(first));
    for rules in ["full=1", "full=2", "min=2 weekly=1"] {
        told += &story.told(rules);
    }

    let mut story = forked("nobody knows where a timeline comes from");
    story.facts.systems[0].histories.clear();
    story.facts.systems[0].rootless.insert(tli(2));
    told += &story.told("days=6");
    golden("cleanup/timelines.txt", &told);
}

#[test]
fn across_systems() {
    let upgraded = |title: &str| {
        let mut story = Story::new(title, "11-21 12:00");
        story.full("11-06", 910);
        story.full("11-11", 920);
        story.wal(1, 905..=930, "11-12");
        story.upgrade();
        story
    };
    let mut told = String::new();
    let mut story = upgraded("after pg_upgrade the newest backups have the lowest names");
    story.full("11-16", 10);
    story.full("11-21", 20);
    story.wal(1, 5..=25, "11-21 11:00");
    told += &story.told("full=1");
    told += &story.told("full=2");
    told += &story.told("full=3");
    told += &story.told("days=7");

    let mut story = upgraded("no backup of the new system yet");
    story.wal(1, 5..=25, "11-21 11:00");
    told += &story.told("full=1");

    let mut story = upgraded("the clock went back with the new system");
    story.full("11-01", 10);
    story.wal(1, 5..=25, "11-21 11:00");
    told += &story.told("full=1 min=1");

    let mut story = upgraded("the old server lives on: its own backups are the newest");
    story.full("11-13", 10);
    story.wal(1, 5..=25, "11-13");
    story.facts.systems.reverse();
    story.full("11-20", 940);
    story.wal(1, 931..=950, "11-21");
    story.facts.systems.reverse();
    told += &story.told("full=1 min=1");
    golden("cleanup/systems.txt", &told);
}

#[test]
fn clocks_that_jump() {
    let nightly = |title: &str, now: &str| {
        let mut story = Story::new(title, now);
        for (day, segment) in (11..=21).zip(1..) {
            story.full(&format!("11-{day}"), 10 * segment);
        }
        story.wal(1, 5..=115, "11-21 11:00");
        story
    };
    let mut told = String::new();
    told += &nightly("this host is four years ahead", "2030-11-21").told("days=3");
    told += &nightly("this host is a month behind", "10-21").told("days=3");

    let mut story = nightly(
        "a backup was taken while the clock was four years ahead",
        "2030-11-22",
    );
    story.full("2030-11-22", 120);
    story.wal(1, 116..=125, "2030-11-22");
    told += &story.told("days=3");

    story.facts.now = time("11-23 12:00");
    told += &story.told("days=3 daily=3");

    let mut story = nightly(
        "a backup was taken while the clock stood at 1970",
        "11-22 12:00",
    );
    let lost = story.full("11-22", 120);
    story.known(lost).stop_time = time("1970-01-01");
    story.wal(1, 116..=125, "11-22");
    told += &story.told("days=3 full=2");
    golden("cleanup/clocks.txt", &told);
}

//! What real servers can't be brought to, and the arithmetic: tables of facts and verdicts.

#![allow(clippy::unwrap_used)]

mod dumps;
mod wal;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use chrono::{DateTime, TimeDelta};

use super::{
    super::{
        facts::{
            Facts, GoodDump, Holding, NewestDump,
            arrivals::Arrivals,
            disks::Disk,
            minimal::Spell,
            server::{Server, Slot},
            timers::Timer,
        },
        runs::{Run, RunState, Told},
        thresholds::{Limits, Thresholds},
        verdict::{State, Verdict, worst},
    },
    Wanted, Yardstick, all,
    archiving::Lag,
    good, names,
};

use crate::{
    domain::{
        logical::request::Choice,
        setup::{
            checks::tests::{command, facts as server_facts},
            facts::Waiting,
            stored::{Stored, Unusable},
        },
    },
    error::{Error, Result},
    postgres::{
        lsn::{Lsn, SystemId, TimelineId},
        timeline::TimelineHistory,
        wal_name::{Segment, SegmentSize},
    },
    repo::{
        backup::Backup,
        codec::Codec,
        document::FORMAT,
        dump_name::{Class, DumpName, Subject},
        gap::Gap,
        lack::Behind,
        layout::Piece,
        location::Location,
        repository::{Repository, System},
        verified::{VerifiedBackup, VerifiedDump},
        wal_index::WalIndex,
    },
    util::{clock::Time, fs::Room},
};

const SEGMENT: u64 = 16 << 20;

fn size() -> SegmentSize {
    SegmentSize::new(16 << 20).unwrap()
}

fn tli(number: u32) -> TimelineId {
    TimelineId::new(number).unwrap()
}

/// So many hours into a day.
fn at(hours: i64) -> Time {
    DateTime::from_timestamp(1_795_219_200 + hours * 3600, 0).unwrap()
}

fn server() -> Server {
    let mut facts = server_facts();
    facts.waiting = Some(Waiting::default());
    Server {
        facts,
        position: Lsn(5 * SEGMENT + 100),
        timeline: tli(1),
        archive_timeout: Duration::ZERO,
        standbys: String::new(),
        summarizes_wal: false,
        replayed: None,
        slots: Vec::new(),
        segments: Some(Vec::new()),
        databases: vec!["shop".to_owned(), "blog".to_owned()],
        dumpable: vec!["shop".to_owned(), "blog".to_owned()],
        left_databases: Vec::new(),
    }
}

/// Segments 1 to 4 of timeline 1 in a repository.
fn stored(backups: &[Backup]) -> Stored {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::Folder(folder.path().to_owned());
    let cluster = "main".parse().unwrap();
    let (repository, _) = Repository::open_or_create(&location, cluster).unwrap();
    let system = System {
        format: FORMAT,
        system_id: SystemId(7),
        postgres_major: 17,
        segment_size: size(),
        wal_codec: Codec::Zstd,
        encrypted: false,
        registered: at(0),
    };
    repository.register(&system).unwrap();
    let mut stored = Stored::gather("local", &repository, &system).unwrap();
    for number in 1..=4 {
        stored.archive.wal.add(Segment::nth(tli(1), number, size()));
    }
    stored.archive.backups = backups.to_vec();
    stored
}

/// A good full backup that ended at that hour.
fn backup(hour: i64) -> Backup {
    let id = at(hour).format("%Y%m%dT%H%M%SZ-full").to_string();
    serde_json::from_value(serde_json::json!({
        "format": 1, "id": id, "kind": "full", "parent": null, "cluster": "main",
        "system_id": "7", "postgres_version": 170_011, "timeline": 1,
        "start_lsn": "0/2000028", "stop_lsn": "0/2000120",
        "start_time": at(hour), "stop_time": at(hour),
        "start_segment": "", "stop_segment": "", "segment_size": 16 << 20,
        "block_size": 8192, "data_checksums": true, "method": "local", "standby": false,
        "standalone": false, "label": "", "data_directory": "/data", "compression": "zstd",
        "level": 3, "recipients": [], "tablespaces": [], "parts": [], "files": 0, "bytes": 0,
        "base_bytes": 0, "stored_bytes": 0, "objects": [], "config_files": [],
        "config_missing": [], "page_failures": [],
        "settings": {"max_connections": 1, "max_worker_processes": 1, "max_wal_senders": 1,
            "max_prepared_transactions": 0, "max_locks_per_transaction": 64},
        "verified": true, "host": "h", "pgstow_version": "0"
    }))
    .unwrap()
}

fn run(job: &str, state: RunState, told: Told) -> Run {
    Run {
        job: job.to_owned(),
        repository: "local".to_owned(),
        begun: at(1),
        state,
        ended: Some(at(2)),
        exit_code: Some(u8::from(state != RunState::Done)),
        told,
        error: None,
        id: String::new(),
        invocation: None,
    }
}

fn facts(server: Result<Server>, stored: Result<Stored>) -> Facts {
    let is_read = stored.is_ok();
    Facts {
        server,
        repositories: vec![Holding {
            name: "local".to_owned(),
            place: "/repository".to_owned(),
            stored,
            dumps: match is_read {
                true => Ok(Vec::new()),
                false => Err(Error::failed("no")),
            },
            lost_dumps: BTreeMap::new(),
        }],
        synced: Vec::new(),
        given_up: Ok(Vec::new()),
        minimal: Ok(None),
        arrivals: Arrivals::default(),
        archive_failed: None,
        received: Waiting::default(),
        has_received: false,
        disks: vec![Disk {
            name: "data".to_owned(),
            path: PathBuf::from("/data"),
            room: Ok(Room {
                used: 1,
                available: 9,
            }),
            full_in: None,
        }],
        state: Ok(Room {
            used: 1,
            available: 9,
        }),
        runs: Ok(Vec::new()),
        timers: Ok(None),
    }
}

fn healthy() -> Facts {
    facts(Ok(server()), Ok(stored(&[backup(10)])))
}

fn thresholds() -> Thresholds {
    fn limits<T>(warning: T, critical: T) -> Limits<T> {
        Limits {
            warning: Some(warning),
            critical: Some(critical),
        }
    }
    let hours = |from: u64, to: u64| {
        limits(
            Duration::from_secs(from * 3600),
            Duration::from_secs(to * 3600),
        )
    };
    Thresholds {
        backup_age: hours(26, 50),
        full_age: hours(200, 400),
        dump_age: hours(26, 50),
        verify_age: hours(200, 400),
        drill_age: hours(200, 400),
        rto: hours(1, 2),
        rpo: hours(1, 2),
        unsynced_age: hours(24, 72),
        waiting: limits(100, 1000),
        waiting_age: hours(1, 2),
        wal_lag: limits(2 * SEGMENT, 4 * SEGMENT),
        wal_age: hours(1, 2),
        slot_wal: limits(100, 1000),
        disk_used: limits(80, 90),
        clock: hours(1, 2),
        failed_runs: limits(1, 3),
    }
}

fn judged(facts: &Facts) -> Vec<Verdict> {
    judged_where(facts, false)
}

/// `dumps`: whether the settings speak of them.
fn judged_where(facts: &Facts, dumps: bool) -> Vec<Verdict> {
    let wanted = Wanted {
        spoken_of: dumps,
        globals: true,
        ..Wanted::default()
    };
    judged_by(facts, &wanted)
}

fn judged_by(facts: &Facts, wanted: &Wanted) -> Vec<Verdict> {
    let command = command();
    let verdicts = all(
        facts,
        Yardstick {
            thresholds: &thresholds(),
            command: &command,
            wanted,
            slot: "pgstow",
            repositories: &[],
            now: at(12),
        },
    );
    for verdict in &verdicts {
        assert!(names().any(|name| name == verdict.check), "{verdict:?}");
        assert_eq!(
            verdict.hint.is_some(),
            verdict.state != State::Ok,
            "{verdict:?}"
        );
        let twins = verdicts.iter().filter(|one| one.title() == verdict.title());
        assert_eq!(twins.count(), 1, "{verdict:?}");
    }
    verdicts
}

/// The verdicts that aren't ok, on healthy facts that were changed.
fn bad(change: impl FnOnce(&mut Facts)) -> Vec<(&'static str, State)> {
    let mut facts = healthy();
    change(&mut facts);
    let verdicts = judged(&facts).into_iter();
    verdicts
        .filter(|one| one.state != State::Ok)
        .map(|one| (one.check, one.state))
        .collect()
}

fn asked(facts: &mut Facts) -> &mut Server {
    facts.server.as_mut().unwrap()
}

fn held(facts: &mut Facts) -> &mut Stored {
    facts.repositories[0].stored.as_mut().unwrap()
}

/// The slot of receive-wal.
fn received(active: bool, held: u64) -> Slot {
    Slot {
        name: "pgstow".to_owned(),
        active,
        wal_status: "reserved".to_owned(),
        held,
    }
}

#[test]
fn each_fact_has_its_verdict() {
    use State::{Critical, Unknown, Warning};
    assert_eq!(bad(|_| ()), []);
    let timer = |active: &str, enabled: &str| {
        Ok(Some(vec![Timer {
            name: "pgstow-base@main.timer".to_owned(),
            enabled: enabled.to_owned(),
            active: active.to_owned(),
            last: None,
            next: None,
        }]))
    };
    assert_eq!(bad(|f| f.timers = timer("active", "enabled")), []);
    let lost = Slot {
        name: "s".to_owned(),
        active: false,
        wal_status: "lost".to_owned(),
        held: 0,
    };
    let used = |used| {
        Ok(Room {
            used,
            available: 100 - used,
        })
    };
    let failed = |count| {
        let failed = |_| run("base", RunState::Failed, Told::default());
        Ok((0..count).map(failed).collect::<Vec<Run>>())
    };
    type Change = Box<dyn FnOnce(&mut Facts)>;
    let cases: Vec<(Change, &[(&str, State)])> = vec![
        (
            Box::new(|f| asked(f).facts.server.version = 140_000),
            &[("version", Critical)],
        ),
        (
            Box::new(|f| {
                (asked(f).facts.server.version, asked(f).summarizes_wal) = (170_010, true);
            }),
            &[("version", Warning)],
        ),
        (
            Box::new(|f| asked(f).archive_timeout = Duration::from_secs(7200)),
            &[("archive_timeout", Warning), ("recovery_point", Critical)],
        ),
        (
            Box::new(|f| asked(f).slots.push(lost)),
            &[("slots", Warning)],
        ),
        (
            Box::new(|f| asked(f).slots.push(received(false, 7))),
            &[("receive_wal", Warning)],
        ),
        (Box::new(|f| asked(f).slots.push(received(true, 7))), &[]),
        (
            Box::new(|f| {
                asked(f).standbys = "FIRST 1 (pgstow)".to_owned();
                asked(f).slots.push(received(false, 7));
            }),
            &[("receive_wal", Critical)],
        ),
        (
            Box::new(|f| asked(f).standbys = "pgstow".to_owned()),
            &[("receive_wal", Critical)],
        ),
        (
            // Somebody dropped it.
            Box::new(|f| f.has_received = true),
            &[("receive_wal", Critical)],
        ),
        (
            // However well it receives; also where nobody receives any more.
            Box::new(|f| {
                asked(f).slots.push(received(true, 7));
                f.received = Waiting {
                    files: 2,
                    oldest: Some(at(12) - TimeDelta::minutes(90)),
                };
            }),
            &[("receive_wal", Warning)],
        ),
        (
            Box::new(|f| {
                f.received = Waiting {
                    files: 1001,
                    oldest: Some(at(12)),
                };
            }),
            &[("receive_wal", Critical)],
        ),
        (
            Box::new(|f| asked(f).slots.push(received(true, 1 << 30))),
            &[("slots", Critical), ("receive_wal", Critical)],
        ),
        (
            Box::new(|f| asked(f).facts.clock_ahead = TimeDelta::hours(-1)),
            &[("clock", Warning)],
        ),
        (
            Box::new(|f| asked(f).timeline = tli(2)),
            &[("timeline", Critical), ("wal_lag", Warning)],
        ),
        (
            // Restored to before the end of the only backup: nothing leads to where the server is.
            Box::new(|f| {
                asked(f).timeline = tli(2);
                let left = TimelineHistory::parse(tli(2), b"1\t0/2000080\tx\n").unwrap();
                held(f).archive.histories.insert(tli(2), left);
            }),
            &[
                ("backup_age", Critical),
                ("full_age", Critical),
                ("restorable", Critical),
                ("wal_lag", Warning),
            ],
        ),
        (
            Box::new(move |f| f.disks[0].room = used(80)),
            &[("disk", Warning)],
        ),
        (
            Box::new(move |f| f.disks[0].room = used(90)),
            &[("disk", Critical)],
        ),
        (
            Box::new(|f| f.disks[0].room = Err(Error::failed("no"))),
            &[("disk", Unknown)],
        ),
        (Box::new(move |f| f.state = used(80)), &[("state", Warning)]),
        (
            Box::new(|f| f.state = Err(Error::failed("no"))),
            &[("state", Critical)],
        ),
        (Box::new(move |f| f.runs = failed(2)), &[("runs", Warning)]),
        (Box::new(move |f| f.runs = failed(3)), &[("runs", Critical)]),
        (
            Box::new(|f| f.runs = Err(Error::failed("no"))),
            &[("runs", Unknown)],
        ),
        (
            Box::new(|f| f.runs = Ok(vec![run("verify", RunState::Killed, Told::default())])),
            &[("runs", Warning)],
        ),
        (
            Box::new(move |f| f.timers = timer("active", "disabled")),
            &[("timers", Warning)],
        ),
        (
            Box::new(move |f| f.timers = timer("inactive", "enabled")),
            &[("timers", Critical)],
        ),
        (
            Box::new(|f| f.timers = Err(Error::failed("no"))),
            &[("timers", Unknown)],
        ),
        (
            Box::new(|f| f.given_up = Err(Error::failed("no"))),
            &[("given_up", Critical)],
        ),
        (
            Box::new(|f| {
                held(f)
                    .damaged
                    .push(Unusable::damaged(backup(9).id, &["gone".to_owned()]))
            }),
            &[("damaged", Warning)],
        ),
        (
            Box::new(|f| {
                held(f)
                    .damaged
                    .push(Unusable::damaged(backup(11).id, &["gone".to_owned()]))
            }),
            &[("damaged", Critical)],
        ),
        (
            Box::new(|f| held(f).archive.backups[0].verified = false),
            &[("verification", Warning)],
        ),
    ];
    let lost: DumpName =
        serde_json::from_str("\"shop/main_shop_20261121T010000Z_yearly\"").unwrap();
    let told = bad(|facts| {
        let lost = (lost, "its data is missing".to_owned());
        facts.repositories[0].lost_dumps.extend([lost]);
    });
    assert_eq!(told, [("damaged", Warning)]);
    for (change, expected) in cases {
        assert_eq!(bad(change), expected);
    }
}

#[test]
fn what_cannot_be_asked_is_told_and_nothing_is_left_out() {
    let offsite = |behind| vec![("offsite".to_owned(), behind)];
    let blind = Facts {
        synced: offsite(Err(Error::failed("no"))),
        state: Err(Error::failed("no")),
        runs: Err(Error::failed("no")),
        timers: Err(Error::failed("no")),
        given_up: Err(Error::failed("no")),
        minimal: Err(Error::failed("no")),
        ..facts(Err(Error::failed("no")), Err(Error::failed("no")))
    };
    let verdicts = judged(&blind);
    assert_eq!(worst(&verdicts), State::Critical);
    // That is of several repositories.
    for name in names().filter(|name| *name != "backup_here") {
        let of_name = verdicts.iter().find(|one| one.check == name).unwrap();
        let expected = match name {
            "connection" | "repository" | "state" => State::Critical,
            "disk" => State::Ok,
            _ => State::Unknown,
        };
        assert_eq!(of_name.state, expected, "{name}");
    }
    // In any order the same names for what is well and what isn't.
    let titles = |verdicts: &[Verdict]| {
        let mut titles: Vec<String> = verdicts.iter().map(Verdict::title).collect();
        titles.sort();
        titles
    };
    let well = Facts {
        synced: offsite(Ok(Behind::default())),
        ..healthy()
    };
    assert_eq!(titles(&verdicts), titles(&judged(&well)));
}

#[test]
fn each_of_several_repositories_is_to_have_a_backup() {
    use State::{Critical, Ok, Unknown, Warning};
    let second = |backups: Result<&[Backup]>| {
        let mut both = healthy();
        let stored = backups.map(stored);
        let mut more = facts(Result::Ok(server()), stored);
        more.repositories[0].name = "offsite".to_owned();
        both.repositories.append(&mut more.repositories);
        let verdicts = judged(&both);
        let mut of_both = verdicts.iter();
        assert!(of_both.any(|one| one.title() == "backup_here local" && one.state == Ok));
        let here = of_both.find(|one| one.title() == "backup_here offsite");
        // Of all of them the newest is young.
        let newest = verdicts.iter().find(|one| one.check == "backup_age");
        assert_eq!(newest.unwrap().state, Ok);
        here.unwrap().state
    };
    assert_eq!(second(Result::Ok(&[])), Critical);
    assert_eq!(second(Result::Ok(&[backup(9)])), Ok);
    // As old as only full ones may be.
    assert_eq!(second(Result::Ok(&[backup(12 - 210)])), Warning);
    assert_eq!(second(Result::Ok(&[backup(12 - 410)])), Critical);
    assert_eq!(second(Err(Error::failed("no"))), Unknown);
}

#[test]
fn a_good_backup_has_no_flaw() {
    let ids = |stored: &Stored| -> Vec<i64> {
        let good = good::backups(stored);
        let hours = good.iter().map(|one| (one.stop_time - at(0)).num_hours());
        hours.collect()
    };
    let mut held = stored(&[backup(3), backup(1), backup(2)]);
    assert_eq!(ids(&held), [1, 2, 3]);
    let read = |held: &mut Stored, hour: i64, restorable| {
        let word = VerifiedBackup {
            backup: backup(hour).id,
            restorable,
            findings: 1,
            sealed: false,
            healed: false,
        };
        let verdicts = &mut held.archive.verdicts.newest;
        verdicts.insert(word.backup, (at(20), word));
    };
    read(&mut held, 2, false);
    read(&mut held, 3, true);
    assert_eq!(ids(&held), [1, 3]);

    let mut child = backup(4);
    child.parent = Some(backup(3).id);
    let mut held = stored(&[backup(1), backup(3), child]);
    assert_eq!(ids(&held), [1, 3, 4]);
    read(&mut held, 3, false);
    assert_eq!(ids(&held), [1]);

    let mut without_wal = backup(2);
    without_wal.start_lsn = Lsn(9 * SEGMENT);
    without_wal.stop_lsn = Lsn(9 * SEGMENT + 5);
    assert_eq!(ids(&stored(&[backup(1), without_wal])), [1]);
}

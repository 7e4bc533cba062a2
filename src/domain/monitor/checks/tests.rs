//! What real servers can't be brought to, and the arithmetic: tables of facts and verdicts.

#![allow(clippy::unwrap_used)]

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
        catalog::Backup,
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

#[test]
fn dumps_that_were_tried_out_are_judged() {
    use State::{Critical, Warning};
    let told = |words: &[(&str, i64, bool)]| {
        bad(|facts| {
            for (hour, ago, good) in words {
                let name = format!("\"shop/main_shop_20261121T{hour}0000Z_daily\"");
                let dump: DumpName = serde_json::from_str(&name).unwrap();
                let word = VerifiedDump {
                    dump: dump.clone(),
                    good: *good,
                    findings: u64::from(!good),
                    server: Some("h".to_owned()),
                    server_version: None,
                    checks: Vec::new(),
                };
                held(facts)
                    .archive
                    .verdicts
                    .dumps
                    .insert(dump, (at(12 - ago), word));
            }
        })
    };
    assert_eq!(told(&[]), []);
    assert_eq!(told(&[("01", 1, true)]), []);
    let check = "dump_verification";
    assert_eq!(told(&[("01", 201, true)]), [(check, Warning)]);
    assert_eq!(told(&[("01", 401, true)]), [(check, Critical)]);
    assert_eq!(
        told(&[("01", 2, false), ("02", 1, true)]),
        [(check, Warning)]
    );
    assert_eq!(
        told(&[("01", 2, true), ("02", 1, false)]),
        [(check, Critical)]
    );
}

/// The newest one of a database, or of the globals, which is not made by hand.
fn dump(name: &str, hours: i64) -> NewestDump {
    NewestDump {
        subject: match name {
            "" => Subject::Globals,
            name => Subject::Database(name.to_owned()),
        },
        is_regular: true,
        good: Some(GoodDump {
            class: Class::Daily,
            time: at(12 - hours),
            stored_bytes: 1,
            proven: None,
        }),
    }
}

#[test]
fn dumps_are_missed_of_what_the_settings_ask_for() {
    use State::{Critical, Ok, Warning};
    let told = |facts: &Facts, names: &[&str], exclude: &[&str], globals| {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let choice = Choice {
            names: texts(names),
            exclude: texts(exclude),
        };
        let wanted = Wanted {
            spoken_of: true,
            choice,
            globals,
        };
        let verdicts = judged_by(facts, &wanted).into_iter();
        let of_dumps = verdicts.filter(|one| one.check == "dump_age");
        let told: Vec<(String, State)> = of_dumps
            .map(|one| (one.object.unwrap_or_default(), one.state))
            .collect();
        told
    };
    let about = |name: &str, state| (name.to_owned(), state);
    let mut facts = healthy();
    facts.repositories[0].dumps = Result::Ok(vec![dump("shop", 1), dump("", 99)]);
    let globals = about("@globals", Critical);
    // Named and not there, whatever became of the others.
    let named = told(&facts, &["shop", "blog", "Blog"], &[], true);
    let missed = [
        about("Blog", Warning),
        about("blog", Critical),
        about("shop", Ok),
        globals.clone(),
    ];
    assert_eq!(named, missed);
    // Of a new one the next run may be the first; without a note nobody knows since when it is there.
    let all = |facts: &Facts| told(facts, &[], &[], true);
    assert_eq!(all(&facts)[0], about("blog", Ok));
    for (hours, state) in [(25, Ok), (26, Warning), (50, Critical)] {
        let mut arrivals = Arrivals::default();
        let _ = arrivals.update(["blog".to_owned()], at(12 - hours));
        facts.arrivals = arrivals;
        assert_eq!(all(&facts)[0], about("blog", state), "{hours}");
    }
    facts.server.as_mut().unwrap().dumpable.pop();
    let well = [about("shop", Ok), globals.clone()];
    assert_eq!(all(&facts), well);
    assert_eq!(told(&facts, &[], &["bl*"], true), well);
    // What is left out isn't missed, how old its dumps may be.
    let old = vec![dump("shop", 99), dump("blog", 1), dump("", 99)];
    facts.repositories[0].dumps = Result::Ok(old);
    let both = |shop| [about("blog", Ok), about("shop", shop), globals.clone()];
    assert_eq!(told(&facts, &["blog"], &[], true), both(Ok));
    assert_eq!(told(&facts, &[], &["shop"], true), both(Ok));
    assert_eq!(told(&facts, &["blog", "sh?p"], &[], true), both(Critical));
    assert_eq!(told(&facts, &[], &[], false)[2], about("@globals", Ok));
    // A dump by hand is one, too, where one is asked for.
    let dumps = facts.repositories[0].dumps.as_mut().unwrap();
    dumps[0] = NewestDump {
        is_regular: false,
        ..dump("shop", 2)
    };
    assert_eq!(told(&facts, &["blog", "shop"], &[], true)[1].1, Ok);
    assert_eq!(told(&facts, &["blog"], &[], true).len(), 2);
}

#[test]
fn dumps_are_missed_where_they_are_made() {
    use State::{Critical, Ok, Unknown, Warning};
    let told = |facts: &Facts, wanted: bool| -> Vec<(Option<String>, State)> {
        let verdicts = judged_where(facts, wanted).into_iter();
        let of_dumps = verdicts.filter(|one| one.check == "dump_age");
        of_dumps.map(|one| (one.object, one.state)).collect()
    };
    let mut facts = healthy();
    assert_eq!(told(&facts, false), [(None, Ok)]);
    assert_eq!(told(&facts, true), [(None, Critical)]);
    // One database is dumped no more, another one was dropped.
    facts.repositories[0].dumps = Result::Ok(vec![
        dump("shop", 1),
        dump("blog", 27),
        dump("gone", 999),
        dump("", 51),
    ]);
    let about = |name: &str, state| (Some(name.to_owned()), state);
    let both = [
        about("blog", Warning),
        about("shop", Ok),
        about("@globals", Critical),
    ];
    assert_eq!(told(&facts, false), both);
    // Of several repositories the newest dump counts.
    facts.repositories.push(Holding {
        name: "offsite".to_owned(),
        place: "/offsite".to_owned(),
        stored: Result::Ok(stored(&[backup(10)])),
        dumps: Result::Ok(vec![dump("blog", 2)]),
        lost_dumps: BTreeMap::new(),
    });
    assert_eq!(told(&facts, false)[0], about("blog", Ok));
    // One of tomorrow hides no other, and is never ok.
    facts.repositories[1].dumps = Result::Ok(vec![dump("blog", -48)]);
    assert_eq!(told(&facts, false)[0], about("blog", Warning));
    let by_wrong_clock = |facts: &mut Facts, hours| {
        facts.repositories[0].dumps.as_mut().unwrap()[1] = dump("blog", hours);
    };
    by_wrong_clock(&mut facts, -48);
    assert_eq!(told(&facts, false)[0], about("blog", Unknown));
    by_wrong_clock(&mut facts, 27);
    facts.repositories[1].dumps = Result::Ok(vec![dump("blog", 2)]);
    // Where not one is good, or is but was made by hand.
    let dumps = facts.repositories[1].dumps.as_mut().unwrap();
    dumps[0].good = None;
    assert_eq!(told(&facts, false)[0], about("blog", Warning));
    let first = facts.repositories[0].dumps.as_mut().unwrap();
    first[1].is_regular = false;
    assert_eq!(told(&facts, false)[0], about("blog", Critical));
    // Nobody can say whether a database that can't be asked for was dropped.
    facts.server = Err(Error::failed("no"));
    assert_eq!(told(&facts, false).len(), 4);
    facts.repositories[1].dumps = Err(Error::failed("no"));
    assert_eq!(told(&facts, false), [(None, Unknown)]);
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
fn base_backups_are_not_missed_where_dumps_are_all_that_is_made() {
    let only_dumps = || {
        let mut facts = facts(Ok(server()), Ok(stored(&[])));
        held(&mut facts).archive.wal = WalIndex::new(size());
        let archiving = &mut facts.server.as_mut().unwrap().facts.server.archiving;
        archiving.mode = "off".to_owned();
        facts
    };
    let told = |facts: &Facts| -> Vec<&'static str> {
        let verdicts = judged_where(facts, true).into_iter();
        let bad = verdicts.filter(|one| one.state != State::Ok);
        bad.map(|one| one.check).collect()
    };
    assert_eq!(told(&only_dumps()), ["dump_age"]);
    // A server that is away says nothing of base backups.
    let mut away = only_dumps();
    away.server = Err(Error::failed("no"));
    assert!(!told(&away).contains(&"backup_age"));
    let missed = |change: &dyn Fn(&mut Facts)| {
        let mut facts = only_dumps();
        change(&mut facts);
        let told = told(&facts);
        told.contains(&"backup_age") && told.contains(&"archive_mode")
    };
    // There are none, but there once were or soon will be.
    let wal = |facts: &mut Facts| held(facts).archive.wal.add(Segment::nth(tli(1), 1, size()));
    assert!(missed(&wal));
    assert!(missed(&|facts| held(facts).pending = vec![backup(1)]));
    assert!(missed(&|facts| {
        let failed = run("base", RunState::Failed, Told::default());
        facts.runs = Ok(vec![failed]);
    }));
    let timer = |facts: &mut Facts, active: &str| {
        facts.timers = Ok(Some(vec![Timer {
            name: "pgstow-incremental@main.timer".to_owned(),
            enabled: "enabled".to_owned(),
            active: active.to_owned(),
            last: None,
            next: None,
        }]));
    };
    assert!(missed(&|facts| timer(facts, "active")));
    let mut disabled = only_dumps();
    timer(&mut disabled, "inactive");
    assert_eq!(told(&disabled), ["dump_age"]);
    let mut archives = only_dumps();
    let archiving = &mut archives.server.as_mut().unwrap().facts.server.archiving;
    archiving.mode = "on".to_owned();
    assert!(told(&archives).contains(&"backup_age"));
    // Nobody speaks of dumps.
    let verdicts = judged(&only_dumps());
    assert_eq!(worst(&verdicts), State::Critical);
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

/// Nothing that is stored says so once the setting is right again.
#[test]
fn wal_of_level_minimal_is_told_until_a_backup_is_behind_it() {
    let spell = |position: u64, timeline: u32| Spell {
        system_id: SystemId(7),
        timeline: tli(timeline),
        position: Lsn(position),
        time: at(11),
    };
    let told = |spell: Spell, backups: &[Backup]| {
        let facts = Facts {
            minimal: Ok(Some(spell)),
            ..facts(Ok(server()), Ok(stored(backups)))
        };
        let mut verdicts = judged(&facts).into_iter();
        let verdict = verdicts.find(|one| one.check == "restorable").unwrap();
        (verdict.state, verdict.reason)
    };
    let (state, reason) = told(spell(0x300_0028, 1), &[backup(10)]);
    assert_eq!(state, State::Critical);
    assert!(
        reason.contains("wal_level was minimal at") && reason.contains("0/3000028"),
        "{reason}"
    );
    let behind = Backup {
        start_lsn: Lsn(0x400_0028),
        stop_lsn: Lsn(0x400_0120),
        ..backup(11)
    };
    for (spell, backups) in [
        (spell(0x300_0028, 1), vec![backup(10), behind]),
        // Before the backup, of another system, on a timeline that was left.
        (spell(0x100_0028, 1), vec![backup(10)]),
        (
            Spell {
                system_id: SystemId(8),
                ..spell(0x300_0028, 1)
            },
            vec![backup(10)],
        ),
        (spell(0x300_0028, 2), vec![backup(10)]),
    ] {
        assert_eq!(told(spell, &backups).0, State::Ok);
    }
}

#[test]
fn only_complete_segments_of_the_servers_line_lag() {
    let lag = |server: &Server, stored: &Stored| {
        let lag = Lag::of(server, stored, at(12)).unwrap();
        let age = lag.age.map(|age| age.as_secs() / 3600);
        (lag.bytes / SEGMENT, lag.complete / SEGMENT, age)
    };
    let held = stored(&[]);
    let mut asked = server();
    assert_eq!(lag(&asked, &held), (0, 0, None));
    asked.position = Lsn(5 * SEGMENT);
    assert_eq!(lag(&asked, &held), (0, 0, None));
    asked.position = Lsn(8 * SEGMENT + 9);
    assert_eq!(lag(&asked, &held), (3, 3, None));
    let segment = |number, hours| (Segment::nth(tli(1), number, size()), at(hours));
    // A recycled one that lies ahead, one that is stored, and two that wait.
    asked.segments = Some(vec![
        segment(4, 1),
        segment(6, 9),
        segment(5, 8),
        segment(12, 2),
    ]);
    assert_eq!(lag(&asked, &held), (3, 3, Some(4)));
    asked.facts.clock_ahead = TimeDelta::hours(1);
    assert_eq!(lag(&asked, &held), (3, 3, Some(5)));
    // Once it is recycled, the age is that of what came before it.
    let mut held = held;
    held.archive.wal.note_arrival(tli(1), at(2));
    asked.segments = Some(vec![segment(6, 9)]);
    assert_eq!(lag(&asked, &held), (3, 3, Some(10)));
    asked.segments = None;
    assert_eq!(lag(&asked, &held), (3, 3, None));
    // Of the next one there are pieces.
    held.archive.wal.add_piece(Piece {
        segment: Segment::nth(tli(1), 5, size()),
        from: 0,
        to: SEGMENT as u32 / 2,
    });
    assert_eq!(lag(&asked, &held), (2, 3, None));
    asked.position = Lsn(5 * SEGMENT + SEGMENT / 2);
    assert_eq!(lag(&asked, &held), (0, 0, None));

    // A timeline that begins within segment 3: what its parent has behind leads elsewhere.
    let mut forked = stored(&[]);
    let history = TimelineHistory::parse(tli(2), b"1\t0/3000148").unwrap();
    forked.archive.histories.insert(tli(2), history);
    asked = server();
    asked.timeline = tli(2);
    asked.position = Lsn(3 * SEGMENT + 500);
    assert_eq!(lag(&asked, &forked), (0, 0, None));
    asked.position = Lsn(4 * SEGMENT + 500);
    assert_eq!(lag(&asked, &forked), (1, 1, None));
    forked.archive.wal.add(Segment::nth(tli(2), 3, size()));
    assert_eq!(lag(&asked, &forked), (0, 0, None));
    // Nothing of another line counts.
    asked.timeline = tli(3);
    assert_eq!(Lag::of(&asked, &forked, at(12)), None);
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

#[test]
fn what_the_server_archived_is_there() {
    use State::{Critical, Ok as Well};
    let archived = |file: &str, hour| Some((file.to_owned(), at(hour)));
    let name = |number| Segment::nth(tli(1), number, size()).to_string();
    let gap = |first, last| Gap {
        format: FORMAT,
        system_id: SystemId(7),
        first: Segment::nth(tli(1), first, size()),
        last: Segment::nth(tli(1), last, size()),
        since: at(1),
        until: at(2),
        reason: String::new(),
        host: String::new(),
    };
    type Change = Box<dyn FnOnce(&mut Facts)>;
    let cases: Vec<(Change, State)> = vec![
        (Box::new(|_| ()), Critical),
        (
            Box::new(move |f| asked(f).facts.archiver.last_archived = archived(&name(4), 11)),
            Well,
        ),
        // By an earlier setting, or before there was a repository.
        (
            Box::new(|f| asked(f).facts.archiver.settings_read = Some(at(12))),
            Well,
        ),
        (Box::new(|f| held(f).system.registered = at(12)), Well),
        (
            Box::new(|f| asked(f).facts.clock_ahead = TimeDelta::hours(-20)),
            Critical,
        ),
        (
            Box::new(move |f| {
                let history = "00000002.history";
                asked(f).facts.archiver.last_archived = archived(history, 11);
            }),
            Well,
        ),
        (
            Box::new(move |f| {
                let file = "000000010000000000000009.00000028.backup";
                asked(f).facts.archiver.last_archived = archived(file, 11);
            }),
            Well,
        ),
        (
            Box::new(|f| asked(f).facts.archiver.last_archived = None),
            Well,
        ),
        (Box::new(move |f| f.given_up = Ok(vec![gap(7, 9)])), Well),
        (
            Box::new(move |f| f.given_up = Ok(vec![gap(7, 8)])),
            Critical,
        ),
        // A timeline of which nothing is there.
        (
            Box::new(move |f| {
                let file = Segment::nth(tli(2), 4, size()).to_string();
                asked(f).facts.archiver.last_archived = archived(&file, 11);
            }),
            Critical,
        ),
    ];
    for (number, (change, expected)) in cases.into_iter().enumerate() {
        let mut facts = healthy();
        asked(&mut facts).facts.archiver.last_archived =
            archived(&Segment::nth(tli(1), 9, size()).to_string(), 11);
        change(&mut facts);
        let verdicts = judged(&facts);
        let lag = verdicts.iter().find(|one| one.check == "wal_lag");
        assert_eq!(lag.unwrap().state, expected, "{number}: {lag:?}");
    }
}

#[test]
fn what_would_be_lost_is_told_and_judged() {
    use State::{Critical, Ok as Well, Warning};
    // Of segment 5, which is open: half of it is written, and the one before it was full some time ago.
    let judged_with = |change: &dyn Fn(&mut Facts)| {
        let mut facts = healthy();
        asked(&mut facts).segments = Some(vec![(Segment::nth(tli(1), 4, size()), at(11))]);
        change(&mut facts);
        let verdicts = judged(&facts);
        let mut found = verdicts.into_iter();
        let found = found.find(|one| one.check == "recovery_point").unwrap();
        (found.state, found.reason)
    };
    let timeout = |facts: &mut Facts, seconds: u64| {
        asked(facts).archive_timeout = Duration::from_secs(seconds);
    };
    let (state, what) = judged_with(&|_| {});
    assert_eq!(state, Warning);
    assert!(what.contains("the last 1 h"), "{what}");
    // An open segment in which something is committed would have been ended by then.
    let (state, what) = judged_with(&|f| timeout(f, 60));
    assert_eq!(state, Well);
    assert!(what.contains("the last 1 min"), "{what}");
    // Full, and on its way for an hour; before that it was open for no longer than the timeout.
    let on_its_way = |facts: &mut Facts| {
        let server = asked(facts);
        server.position = Lsn(7 * SEGMENT + 100);
        let segments = [(4, 5), (5, 11)].map(|(number, hour)| {
            let segment = Segment::nth(tli(1), number, size());
            (segment, at(hour))
        });
        server.segments = Some(segments.to_vec());
    };
    assert_eq!(judged_with(&on_its_way).0, Critical);
    let (state, what) = judged_with(&|f| {
        on_its_way(f);
        timeout(f, 60);
    });
    assert_eq!(state, Warning);
    assert!(what.contains("the last 1 h 1 min"), "{what}");
    for all_here in [5 * SEGMENT, 4 * SEGMENT] {
        let (state, what) = judged_with(&|f| asked(f).position = Lsn(all_here));
        assert_eq!(state, Well);
        assert!(what.contains("all of the server's WAL is here"), "{what}");
    }
    let (state, what) = judged_with(&|f| asked(f).slots.push(received(true, 7)));
    assert_eq!(state, Well);
    assert!(what.contains("receive-wal has"), "{what}");
    for idle in [received(false, 7), received(true, 2 * SEGMENT)] {
        let found = judged_with(&|f| asked(f).slots.push(idle.clone()));
        assert_eq!(found.0, Warning);
    }
    // Of a role that may not look, and nothing has come yet.
    let (state, what) = judged_with(&|f| asked(f).segments = None);
    assert_eq!(state, Well);
    assert!(what.contains("not known"), "{what}");
}

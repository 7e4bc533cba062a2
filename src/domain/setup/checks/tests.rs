//! Every fact, good and bad.

#![allow(clippy::unwrap_used)]

use chrono::TimeDelta;

use super::{
    super::{
        archive_command::{ArchiveCommand, Target},
        facts::{Facts, Leftover, Readiness, Waiting},
        finding::State,
    },
    archiving, server,
};
use crate::{
    error::Error,
    postgres::{
        lsn::{Lsn, SystemId, TimelineId},
        replication::IdentifySystem,
        server_facts::{ArchiverState, Archiving, ServerFacts},
        wal_name::SegmentSize,
    },
};

fn identity(system: u64) -> IdentifySystem {
    IdentifySystem {
        system_id: SystemId(system),
        timeline: TimelineId::FIRST,
        xlogpos: Lsn(1 << 24),
        dbname: None,
    }
}

/// Of a healthy server.
pub(in crate::domain) fn facts() -> Facts {
    Facts {
        server: ServerFacts {
            version: 170_006,
            system_id: SystemId(7),
            standby: false,
            data_directory: "/data".into(),
            block_size: 8192,
            segment_size: SegmentSize::new(16 << 20).unwrap(),
            data_checksums: true,
            wal_level: "replica".into(),
            archiving: Archiving {
                mode: "on".into(),
                command: "/usr/bin/pgstow archive-wal %p".into(),
                library: String::new(),
            },
            config_files: Vec::new(),
            max_connections: 100,
            max_worker_processes: 8,
            max_wal_senders: 10,
            max_prepared_transactions: 0,
            max_locks_per_transaction: 64,
        },
        role: "backup".into(),
        archive_command: "/usr/bin/pgstow archive-wal %p".into(),
        archive_library: String::new(),
        archiver: ArchiverState::default(),
        waiting: None,
        leftovers: Vec::new(),
        full_page_writes: true,
        clock_ahead: TimeDelta::zero(),
        user: None,
    }
}

fn readiness() -> Readiness {
    Readiness {
        walsender: Ok(identity(7)),
        local: false,
        may_switch_wal: true,
        free_senders: 10,
        database_bytes: 0,
    }
}

pub(in crate::domain) fn command() -> ArchiveCommand {
    calling(&["/usr/bin/pgstow"], &["/a"])
}

/// For repositories at these places, named `0` and so on.
fn calling(words: &[&str], places: &[&str]) -> ArchiveCommand {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let named = |(number, place): (usize, &&str)| (number.to_string(), place.parse().unwrap());
    let target = Target {
        cluster: "main".parse().unwrap(),
        must_be_named: false,
        repositories: places.iter().enumerate().map(named).collect(),
    };
    ArchiveCommand::new(&words, target).unwrap()
}

/// The findings that aren't ok.
fn bad(change: impl FnOnce(&mut Facts)) -> Vec<(&'static str, State)> {
    bad_ready(|facts, _| change(facts))
}

fn bad_ready(change: impl FnOnce(&mut Facts, &mut Readiness)) -> Vec<(&'static str, State)> {
    let (mut facts, mut readiness) = (facts(), readiness());
    change(&mut facts, &mut readiness);
    let findings = server(&facts, &readiness, &command(), None, None).into_iter();
    findings
        .filter(|one| one.state != State::Ok)
        .inspect(|one| assert!(one.hint.is_some()))
        .map(|one| (one.name, one.state))
        .collect()
}

fn waiting(files: u64) -> Waiting {
    Waiting {
        files,
        oldest: None,
    }
}

fn leftover(name: &str, pending: bool) -> Leftover {
    Leftover {
        name: name.into(),
        value: "x".into(),
        pending,
    }
}

#[test]
fn each_fact_has_its_finding() {
    use State::{Critical, Warning};
    assert_eq!(bad(|_| ()), []);
    let at = |seconds| {
        let time = chrono::DateTime::from_timestamp(seconds, 0).unwrap();
        Some(("000000010000000000000001".to_owned(), time))
    };
    type Change = Box<dyn FnOnce(&mut Facts, &mut Readiness)>;
    let cases: Vec<(Change, &str, State)> = vec![
        (
            Box::new(|f, _| f.server.version = 140_001),
            "version",
            Critical,
        ),
        (
            Box::new(|f, _| f.server.version = 190_000),
            "version",
            Warning,
        ),
        (
            Box::new(|_, r| r.may_switch_wal = false),
            "rights",
            Critical,
        ),
        (
            Box::new(|_, r| r.walsender = Err(Error::failed("no"))),
            "replication",
            Critical,
        ),
        (
            Box::new(|_, r| r.walsender = Ok(identity(8))),
            "replication",
            Critical,
        ),
        (
            Box::new(|_, r| r.free_senders = 0),
            "max_wal_senders",
            Critical,
        ),
        (
            Box::new(|_, r| r.free_senders = 1),
            "max_wal_senders",
            Warning,
        ),
        (
            Box::new(|_, r| (r.local, r.free_senders) = (true, 0)),
            "max_wal_senders",
            Warning,
        ),
        (
            Box::new(|_, r| (r.local, r.walsender) = (true, Err(Error::failed("no")))),
            "replication",
            Warning,
        ),
        (
            Box::new(|f, _| f.server.wal_level = "minimal".into()),
            "wal_level",
            Critical,
        ),
        (
            Box::new(|f, _| f.server.archiving.mode = "off".into()),
            "archive_mode",
            Critical,
        ),
        (
            Box::new(|f, _| f.archive_command = "cp %p /x/%f".into()),
            "archive_command",
            Critical,
        ),
        (
            Box::new(|f, _| f.archive_command = "x; pgstow archive-wal %p".into()),
            "archive_command",
            Warning,
        ),
        (
            Box::new(|f, _| f.archive_library = "basic_archive".into()),
            "archive_command",
            Critical,
        ),
        (
            Box::new(move |f, _| f.archiver.last_failed = at(9)),
            "archiver",
            Critical,
        ),
        (
            Box::new(|f, _| f.waiting = Some(waiting(500))),
            "archiver",
            Warning,
        ),
        (
            Box::new(|f, _| f.leftovers.push(leftover("recovery_target_time", false))),
            "recovery_target",
            Critical,
        ),
        (
            Box::new(|f, _| f.leftovers.push(leftover("recovery_target_xid", true))),
            "recovery_target",
            Critical,
        ),
        (
            Box::new(|f, _| f.full_page_writes = false),
            "full_page_writes",
            Warning,
        ),
        (
            Box::new(|f, _| f.clock_ahead = TimeDelta::seconds(-90)),
            "clock",
            Warning,
        ),
    ];
    for (change, name, state) in cases {
        assert_eq!(bad_ready(change), [(name, state)]);
    }
}

#[test]
fn a_standby_is_judged_as_one() {
    let standby = |f: &mut Facts| {
        f.server.standby = true;
        f.full_page_writes = false;
    };
    let may_not_switch = |f: &mut Facts, r: &mut Readiness| {
        standby(f);
        r.may_switch_wal = false;
    };
    assert_eq!(bad_ready(may_not_switch), []);
    let recovering = bad(|f| {
        standby(f);
        f.leftovers.push(leftover("recovery_target_lsn", false));
    });
    assert_eq!(recovering, [("recovery_target", State::Warning)]);
}

#[test]
fn a_call_that_leads_elsewhere_is_seen() {
    let one = calling(&["/usr/bin/pgstow", "--repo-url", "/a"], &["/a"]);
    let two = calling(&["/usr/bin/pgstow"], &["/a", "/b"]);
    for (wanted, existing, state) in [
        (
            &one,
            "pgstow --repo-url /a --cluster main archive-wal %p",
            State::Ok,
        ),
        (
            &one,
            "pgstow --repo-url file:///a/ archive-wal %p",
            State::Ok,
        ),
        (&one, "pgstow --repo-url /b archive-wal %p", State::Critical),
        (&one, "pgstow --repo-url b archive-wal %p", State::Critical),
        (&one, "archive-wal --cluster=y %p", State::Critical),
        (&one, "pgstow archive-wal %f", State::Critical),
        (&one, "pgstow archive-wal %%p", State::Critical),
        (&one, "pgstow archive-wal \"%p\"", State::Ok),
        (&one, "pgstow --repo 0 archive-wal %p", State::Ok),
        (&one, "pgstow --repo 1 archive-wal %p", State::Critical),
        (&two, "pgstow --repo 0 archive-wal %p", State::Critical),
        (&two, "pgstow --repo-url /b archive-wal %p", State::Ok),
        // Where no file of this host can be looked at.
        (&one, "pgstow --config /none archive-wal %p", State::Ok),
    ] {
        let mut facts = facts();
        facts.archive_command = existing.into();
        assert_eq!(
            archiving::archive_command(&facts, wanted, None).state,
            state,
            "{existing}"
        );
    }
}

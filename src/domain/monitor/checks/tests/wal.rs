//! WAL: how far it lags, holes, levels, and what would be lost.

use super::*;

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

#[test]
fn commits_wait_for_who_cant_be_replaced() {
    let waits = |names| super::super::server::commits_wait_for(names, "pgstow");
    for names in [
        "pgstow",
        " \"pgstow\" ",
        "PGSTOW",
        "1(pgstow)",
        "FIRST 2 (other, pgstow)",
        "ANY 2 (pgstow, other)",
    ] {
        assert!(waits(names), "{names}");
    }
    for names in ["", "other", "pgstow, other", "ANY 1 (pgstow, other)", "*"] {
        assert!(!waits(names), "{names}");
    }
}

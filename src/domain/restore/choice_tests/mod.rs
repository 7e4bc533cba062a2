//! Cases of [`choose`]: backups, WAL, forks and holes against wishes. Segments are 16 MiB, so
//! that segment 3 begins at 0/3000000.

mod ends;
mod timelines;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    archive::{Archive, Rootless},
    choice::*,
    lost::Way,
    target::*,
};

use crate::{
    postgres::{
        lsn::{Lsn, SystemId, TimelineId},
        timeline::TimelineHistory,
        wal_name::{Segment, SegmentSize},
    },
    repo::{
        backup::{Backup, Method},
        backup_id::{BackupId, BackupKind},
        codec::Codec,
        layout::Piece,
        missing::Missing,
        verified::VerifiedBackup,
        wal_index::WalIndex,
    },
    util::clock::Time,
};

const MIB16: u32 = 16 << 20;

fn size() -> SegmentSize {
    SegmentSize::new(MIB16).unwrap()
}

fn tli(number: u32) -> TimelineId {
    TimelineId::new(number).unwrap()
}

fn at(hour: u32, minute: u32) -> Time {
    format!("2026-11-21T{hour:02}:{minute:02}:00Z")
        .parse()
        .unwrap()
}

fn lsn(text: &str) -> Lsn {
    text.parse().unwrap()
}

/// Of 10 minutes that begin at the hour.
fn backup(hour: u32, timeline: u32, start: &str, stop: &str) -> Backup {
    let (id, _) = BackupId::next(at(hour, 0), BackupKind::Full, None, Default::default());
    Backup {
        format: 1,
        id,
        kind: BackupKind::Full,
        parent: None,
        cluster: "main".into(),
        system_id: SystemId(7),
        postgres_version: 150_019,
        timeline: tli(timeline),
        start_lsn: lsn(start),
        stop_lsn: lsn(stop),
        start_time: at(hour, 0),
        stop_time: at(hour, 10),
        start_segment: String::new(),
        stop_segment: String::new(),
        start_segment_sha256: None,
        stop_segment_sha256: None,
        segment_size: size(),
        block_size: 8192,
        data_checksums: true,
        method: Method::Stream,
        standby: false,
        standalone: false,
        label: String::new(),
        data_directory: "/data".into(),
        compression: Codec::Zstd,
        level: 3,
        recipients: Vec::new(),
        tablespaces: Vec::new(),
        parts: Vec::new(),
        files: 0,
        bytes: 0,
        base_bytes: 0,
        stored_bytes: 0,
        objects: Vec::new(),
        config_files: Vec::new(),
        config_missing: Vec::new(),
        page_failures: Vec::new(),
        settings: Default::default(),
        verified: true,
        host: String::new(),
        pgstow_version: String::new(),
        annotations: BTreeMap::new(),
    }
}

/// Of ranges: timeline, first and last segment.
fn wal(ranges: &[(u32, u64, u64)]) -> WalIndex {
    let mut index = WalIndex::new(size());
    for (timeline, first, last) in ranges {
        index.add_range(Missing {
            timeline: tli(*timeline),
            first: *first,
            last: *last,
        });
    }
    index
}

/// `ranges`: as of [`wal`]; `histories`: timeline and its file.
fn archive(backups: Vec<Backup>, ranges: &[(u32, u64, u64)], histories: &[(u32, &str)]) -> Archive {
    let read = |(timeline, text): &(u32, &str)| {
        let timeline = tli(*timeline);
        (
            timeline,
            TimelineHistory::parse(timeline, text.as_bytes()).unwrap(),
        )
    };
    Archive {
        backups,
        wal: wal(ranges),
        histories: histories.iter().map(read).collect(),
        rootless: BTreeMap::new(),
        verdicts: Default::default(),
        cut: Default::default(),
        rescued: BTreeSet::new(),
        received: Vec::new(),
    }
}

fn wish(target: Target) -> Wish {
    Wish {
        target,
        ..Wish::latest()
    }
}

/// What was chosen in one line, or the refusal.
fn chosen(archive: &Archive, wish: &Wish) -> String {
    match choose(archive, wish) {
        Err(error) => format!("refused: {}", error.message()),
        Ok(choice) => {
            let legs = choice.reach.legs.iter();
            let legs: Vec<String> = legs
                .map(|leg| format!("{}:{}-{}", leg.timeline, leg.first, leg.last))
                .collect();
            let partial = if choice.partial.is_some() {
                " partial"
            } else {
                ""
            };
            let live = if choice.live.is_some() { " live" } else { "" };
            let rescued = match choice.rescued.len() {
                0 => String::new(),
                count => format!(" rescued {count}"),
            };
            let hour = choice.backup.start_time.format("%H");
            format!(
                "{hour}h on {} by {}{partial}{live}{rescued}",
                choice.timeline,
                legs.join(" ")
            )
        }
    }
}

#[track_caller]
fn cases(archive: &Archive, cases: &[(Wish, &str)]) {
    for (wish, expected) in cases {
        let got = chosen(archive, wish);
        assert!(
            got == *expected
                || got.starts_with("refused")
                    && expected.starts_with("refused")
                    && got.contains(&expected[9..]),
            "{wish:?}\n got      {got}\n expected {expected}"
        );
    }
}

/// Backups at 2 and 4 o'clock on one timeline, WAL without a hole.
fn plain() -> Archive {
    let backups = vec![
        backup(4, 1, "0/5000028", "0/5000100"),
        backup(2, 1, "0/2000028", "0/3000100"),
    ];
    archive(backups, &[(1, 2, 8)], &[])
}

#[test]
fn the_newest_backup_that_ended_before_the_target() {
    let first = plain().backups[1].id;
    let of_first = |target| Wish {
        backup: Some(first),
        ..wish(target)
    };
    cases(
        &plain(),
        &[
            (wish(Target::Latest), "04h on 1 by 1:5-8"),
            (wish(Target::Immediate), "04h on 1 by 1:5-5"),
            (of_first(Target::Latest), "02h on 1 by 1:2-8"),
            (of_first(Target::Immediate), "02h on 1 by 1:2-3"),
            // Not merely started: the later one ended at 4:10.
            (wish(Target::Time(at(4, 5))), "02h on 1 by 1:2-8"),
            (wish(Target::Time(at(4, 10))), "02h on 1 by 1:2-8"),
            (wish(Target::Time(at(4, 11))), "04h on 1 by 1:5-8"),
            (
                wish(Target::Time(at(2, 5))),
                "refused: lies before the end of the first backup",
            ),
            (wish(Target::Lsn(lsn("0/50000FF"))), "02h on 1 by 1:2-8"),
            // How far the WAL is needed is seen in it.
            (wish(Target::Lsn(lsn("0/5000100"))), "04h on 1 by 1:5-8"),
            (
                wish(Target::Lsn(lsn("0/9000000"))),
                "refused: isn't in the repository yet: its WAL ends at 0/9000000",
            ),
            (
                wish(Target::Lsn(lsn("0/30000FF"))),
                "refused: lies before the end",
            ),
            (
                of_first(Target::Time(at(2, 5))),
                "refused: lies before the end of backup",
            ),
            (wish(Target::Xid(700)), "04h on 1 by 1:5-8"),
        ],
    );
    let mut none = plain();
    none.backups.clear();
    none.wal = WalIndex::new(size());
    cases(
        &none,
        &[(wish(Target::Latest), "refused: there is no complete backup")],
    );
}

/// The hint of a refusal names positions that the same restore takes, and none that it refuses.
#[test]
fn what_is_said_to_be_possible_is() {
    let refused = choose(&plain(), &wish(Target::Lsn(lsn("0/9000000")))).unwrap_err();
    let hint = refused.hint_text().unwrap();
    assert!(
        hint.contains("(LSN 0/5000100) to any LSN before 0/9000000 on timeline 1"),
        "{hint}"
    );
    cases(
        &plain(),
        &[
            (wish(Target::Lsn(lsn("0/5000100"))), "04h on 1 by 1:5-8"),
            (wish(Target::Lsn(lsn("0/8FFFFFF"))), "04h on 1 by 1:5-8"),
        ],
    );
}

#[test]
fn what_verify_found_damaged_is_taken_only_where_nothing_else_leads_on() {
    let damage = |archive: &mut Archive, number: usize| {
        let word = VerifiedBackup {
            backup: archive.backups[number].id,
            restorable: false,
            findings: 1,
            sealed: false,
            healed: false,
        };
        let newest = &mut archive.verdicts.newest;
        newest.insert(word.backup, (at(9, 0), word));
    };
    let told = |archive: &Archive, wish: &Wish| choose(archive, wish).unwrap().warnings[0].clone();
    let mut torn = plain();
    damage(&mut torn, 0);
    cases(
        &torn,
        &[
            (wish(Target::Latest), "02h on 1 by 1:2-8"),
            (wish(Target::Time(at(4, 11))), "02h on 1 by 1:2-8"),
            (wish(Target::Lsn(lsn("0/5000100"))), "02h on 1 by 1:2-8"),
            // Its own end no other one reaches as such.
            (wish(Target::Immediate), "04h on 1 by 1:5-5"),
        ],
    );
    let said = told(&torn, &wish(Target::Latest));
    assert!(said.contains("is newer, but not taken: `pgstow verify` found it damaged"));
    let said = told(&torn, &wish(Target::Immediate));
    assert!(said.contains("no good one is known to lead to this target"));
    let named = Wish {
        backup: Some(torn.backups[0].id),
        ..wish(Target::Latest)
    };
    cases(&torn, &[(named.clone(), "04h on 1 by 1:5-8")]);
    assert!(told(&torn, &named).contains(", as asked for, isn't good"));

    // A hole behind the older one, with the target before it, or behind.
    let mut hole = archive(plain().backups, &[(1, 2, 6), (1, 8, 8)], &[]);
    damage(&mut hole, 0);
    cases(
        &hole,
        &[(wish(Target::Lsn(lsn("0/6000000"))), "02h on 1 by 1:2-6")],
    );
    let mut gap = archive(plain().backups, &[(1, 2, 3), (1, 5, 8)], &[]);
    damage(&mut gap, 0);
    cases(&gap, &[(wish(Target::Latest), "04h on 1 by 1:5-8")]);
    // Nor where the older one is as bad.
    damage(&mut torn, 1);
    cases(&torn, &[(wish(Target::Latest), "04h on 1 by 1:5-8")]);
    assert_eq!(plain().torn().len(), 0);
    assert_eq!(
        choose(&plain(), &wish(Target::Latest))
            .unwrap()
            .warnings
            .len(),
        0
    );
}

#[test]
fn holes_are_named_and_never_jumped() {
    let backups = plain().backups;
    let missing_six = archive(backups.clone(), &[(1, 2, 5), (1, 7, 8)], &[]);
    cases(
        &missing_six,
        &[
            (
                wish(Target::Latest),
                "refused: WAL segment 000000010000000000000006 is missing, and later WAL is there",
            ),
            (wish(Target::Lsn(lsn("0/5800000"))), "04h on 1 by 1:5-5"),
            (
                wish(Target::Lsn(lsn("0/7800000"))),
                "refused: 000000010000000000000006 is missing on the way to LSN 0/7800000",
            ),
            (wish(Target::Immediate), "04h on 1 by 1:5-5"),
        ],
    );
    // An old backup whose following WAL has expired is restored to its end.
    let expired = archive(backups.clone(), &[(1, 2, 3), (1, 5, 8)], &[]);
    let first = Wish {
        backup: Some(backups[1].id),
        ..wish(Target::Immediate)
    };
    cases(
        &expired,
        &[
            (first, "02h on 1 by 1:2-3"),
            (wish(Target::Latest), "04h on 1 by 1:5-8"),
        ],
    );
    let needed = archive(backups, &[(1, 2, 4), (1, 6, 8)], &[]);
    cases(
        &needed,
        &[(
            wish(Target::Immediate),
            "refused: can't be restored: WAL segment 000000010000000000000005 is missing",
        )],
    );
}

/// A way that listings show as whole.
#[test]
fn a_way_ends_at_the_first_damaged_segment_on_it() {
    let segment = |timeline, number| Missing {
        timeline: tli(timeline),
        first: number,
        last: number,
    };
    let fork = [(2, "1\t0/5000148")];
    let one = |standalone| Backup {
        standalone,
        ..backup(2, 1, "0/2000028", "0/3000100")
    };
    let two = archive(vec![one(false)], &[(1, 2, 5), (2, 5, 8)], &fork);
    let ends = |archive: &Archive, on, damaged: &[Missing]| {
        archive.way(&archive.backups[0], Some(tli(on)), damaged)
    };
    let at = |timeline, number| Way::Damaged(Segment::nth(tli(timeline), number, size()));
    for (on, damaged, expected) in [
        (2, vec![], Way::Whole),
        (2, vec![segment(1, 3)], at(1, 3)),
        (2, vec![segment(1, 4)], at(1, 4)),
        // The new timeline has the segment of the fork under its own name.
        (2, vec![segment(1, 5)], Way::Whole),
        (1, vec![segment(1, 5)], at(1, 5)),
        (2, vec![segment(2, 8)], at(2, 8)),
        (2, vec![segment(2, 7), segment(2, 6)], at(2, 6)),
        (
            2,
            (5..=8).map(|number| segment(2, number)).collect(),
            at(2, 5),
        ),
        // What is gone since.
        (2, vec![segment(2, 9), segment(1, 1)], Way::Whole),
    ] {
        assert_eq!(ends(&two, on, &damaged), expected, "{on} {damaged:?}");
    }
    let hole = archive(vec![one(false)], &[(1, 2, 4), (1, 6, 8)], &[]);
    assert_eq!(ends(&hole, 1, &[segment(1, 7)]), Way::Broken);
    let alone = archive(vec![one(true)], &[(1, 2, 6)], &[]);
    assert_eq!(ends(&alone, 1, &[segment(1, 3)]), Way::Whole);
    assert_eq!(ends(&alone, 1, &[segment(1, 4)]), at(1, 4));
}

/// Timeline 2 leaves 1 in the middle of segment 4, and 1 goes on (a restore to before the
/// backup of 4 o'clock); another backup was taken on 2 at 6 o'clock.
fn forked() -> Archive {
    let backups = vec![
        backup(2, 1, "0/2000028", "0/3000100"),
        backup(4, 1, "0/5000028", "0/5000100"),
        backup(6, 2, "0/6000028", "0/6000100"),
    ];
    archive(
        backups,
        &[(1, 2, 8), (2, 4, 7)],
        &[(2, "1\t0/4800000\tbefore x\n")],
    )
}

/// Segments, and a `.partial` on timeline 1.
fn partial_wal(wal: &[(u32, u64, u64)], partial: u64) -> WalIndex {
    let mut index = archive(Vec::new(), wal, &[]).wal;
    index.add_partial(Segment::nth(tli(1), partial, size()));
    index
}

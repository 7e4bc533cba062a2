//! Cases of [`choose`]: backups, WAL, forks and holes against wishes. Segments are 16 MiB, so
//! that segment 3 begins at 0/3000000.

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
        backup_id::{BackupId, BackupKind},
        catalog::{Backup, Method},
        codec::Codec,
        layout::Piece,
        verified::VerifiedBackup,
        wal_index::{Missing, WalIndex},
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

/// `wal`: timeline, first and last segment; `histories`: timeline and its file.
fn archive(backups: Vec<Backup>, wal: &[(u32, u64, u64)], histories: &[(u32, &str)]) -> Archive {
    let mut index = WalIndex::new(size());
    for (timeline, first, last) in wal {
        for number in *first..=*last {
            index.add(Segment::nth(tli(*timeline), number, size()));
        }
    }
    let read = |(timeline, text): &(u32, &str)| {
        let timeline = tli(*timeline);
        (
            timeline,
            TimelineHistory::parse(timeline, text.as_bytes()).unwrap(),
        )
    };
    Archive {
        backups,
        wal: index,
        histories: histories.iter().map(read).collect(),
        rootless: BTreeMap::new(),
        verdicts: Default::default(),
        cut: Default::default(),
        rescued: BTreeSet::new(),
    }
}

fn wish(target: Target) -> Wish {
    Wish {
        backup: None,
        target,
        exclusive: false,
        timeline: TimelineWish::Latest,
        action: Action::Promote,
        standby: false,
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

#[test]
fn what_came_last_from_another_timeline_is_told() {
    let told = |timeline, number| {
        let mut archive = forked();
        let newest = Segment::nth(tli(timeline), number, size());
        archive.wal.note_segment(newest, at(7, 0));
        let choice = choose(&archive, &wish(Target::Latest)).unwrap();
        choice
            .warnings
            .iter()
            .any(|text| text.contains("archived last"))
    };
    // The first of a timeline begins before it does.
    assert!(!told(2, 4) && !told(2, 7) && !told(1, 3));
    assert!(told(1, 8));
}

#[test]
fn the_way_follows_the_history() {
    let on = |number, target| Wish {
        timeline: TimelineWish::Number(tli(number)),
        ..wish(target)
    };
    let current = |target| Wish {
        timeline: TimelineWish::Current,
        ..wish(target)
    };
    let archive = forked();
    let first = Wish {
        backup: Some(archive.backups[0].id),
        ..wish(Target::Latest)
    };
    let second = Wish {
        backup: Some(archive.backups[1].id),
        ..wish(Target::Latest)
    };
    cases(
        &archive,
        &[
            (wish(Target::Latest), "06h on 2 by 2:6-7"),
            // The fork's segment is read under the new name.
            (first.clone(), "02h on 2 by 1:2-3 2:4-7"),
            (wish(Target::Time(at(5, 0))), "02h on 2 by 1:2-3 2:4-7"),
            (
                wish(Target::Lsn(lsn("0/4700000"))),
                "02h on 2 by 1:2-3 2:4-7",
            ),
            // This backup ended behind the fork, so 2 doesn't descend from it.
            (second, "04h on 1 by 1:5-8"),
            (on(1, Target::Latest), "04h on 1 by 1:5-8"),
            (on(1, Target::Time(at(3, 0))), "02h on 1 by 1:2-8"),
            (
                on(3, Target::Latest),
                "refused: has nothing of timeline 3; it has 1, 2",
            ),
            (current(Target::Time(at(5, 0))), "04h on 1 by 1:5-8"),
            (current(Target::Latest), "06h on 2 by 2:6-7"),
        ],
    );
    let warned = choose(&archive, &first).unwrap();
    assert!(
        warned
            .warnings
            .iter()
            .any(|text| text.contains("--target-timeline 1")),
        "{warned:?}"
    );
    let wrong = Wish {
        backup: Some(archive.backups[1].id),
        ..on(2, Target::Latest)
    };
    cases(&archive, &[(wrong, "refused: not part of timeline 2")]);
    // The segment of the fork is there under the old name only.
    let mut lost = forked();
    lost.wal = WalIndex::new(size());
    for (timeline, number) in [(1, 2), (1, 3), (1, 4), (2, 5), (2, 6)] {
        lost.wal.add(Segment::nth(tli(timeline), number, size()));
    }
    cases(
        &lost,
        &[(
            first,
            "refused: WAL segment 000000020000000000000004 is missing, and later WAL is there",
        )],
    );
}

#[test]
fn a_fork_on_a_border_needs_no_segment_twice() {
    let backups = vec![backup(2, 1, "0/2000028", "0/3000100")];
    let archive = archive(
        backups,
        &[(1, 2, 3), (2, 4, 5)],
        &[(2, "1\t0/4000000\tx\n")],
    );
    cases(
        &archive,
        &[(wish(Target::Latest), "02h on 2 by 1:2-3 2:4-5")],
    );
}

/// The file of timeline `number` is damaged, or missing.
fn lose_history(archive: &mut Archive, number: u32, damage: Option<&str>) {
    let timeline = tli(number);
    archive.histories.remove(&timeline);
    let rootless = Rootless {
        timeline,
        file: format!("/repository/{number:08X}.history"),
        damage: damage.map(str::to_owned),
    };
    archive.rootless.insert(timeline, rootless);
}

#[test]
fn a_history_that_is_lost_never_leads_to_an_older_timeline_in_silence() {
    let on = |number| Wish {
        timeline: TimelineWish::Number(tli(number)),
        ..wish(Target::Latest)
    };
    let of = |archive: &Archive, number: usize| Wish {
        backup: Some(archive.backups[number].id),
        ..wish(Target::Latest)
    };
    for damage in [Some("cut off"), None] {
        let mut archive = forked();
        lose_history(&mut archive, 2, damage);
        cases(
            &archive,
            &[
                (
                    of(&archive, 0),
                    "refused: whether timeline 2 leads on from backup",
                ),
                (on(1), "04h on 1 by 1:5-8"),
            ],
        );
        let refused = choose(&archive, &of(&archive, 0)).unwrap_err();
        assert!(refused.message().contains("00000002.history is"));
        let hint = refused.hint_text().unwrap();
        assert!(hint.contains("pg_wal") && hint.contains("--target-timeline"));
        // The server asks for the file of the timeline that it is told, whichever backup it has.
        let (own, unnamed) = match damage {
            Some(_) => (
                "refused: whether timeline 2 leads on from backup",
                "refused: timeline 2 is the newest, and what leads to it is not known",
            ),
            None => {
                let refused = "refused: no server recovers along timeline 2 without its history";
                (refused, refused)
            }
        };
        cases(
            &archive,
            &[(of(&archive, 2), own), (wish(Target::Latest), unnamed)],
        );
        // Without a backup on it, nothing leads there.
        archive.backups.pop();
        let asked = match damage {
            Some(_) => "refused: what leads to timeline 2 is not known",
            None => "refused: no backup is known to lead to timeline 2",
        };
        cases(&archive, &[(on(2), asked)]);
        assert!(chosen(&archive, &wish(Target::Latest)).starts_with("refused"));
        // A newer one tells its whole way.
        let third = TimelineHistory::parse(tli(3), b"1\t0/4800000\tx\n2\t0/6800000\ty\n");
        archive.histories.insert(tli(3), third.unwrap());
        archive.wal.add(Segment::nth(tli(3), 6, size()));
        cases(
            &archive,
            &[(wish(Target::Latest), "02h on 3 by 1:2-3 2:4-5 3:6-6")],
        );
        let warnings = choose(&archive, &wish(Target::Latest)).unwrap().warnings;
        assert_eq!(
            warnings.iter().any(|one| one.contains("doesn't need it")),
            damage.is_some()
        );
    }
}

#[test]
fn a_stray_history_leads_nowhere() {
    // 3 comes from a timeline on which no backup lies.
    let mut archive = plain();
    let stray = TimelineHistory::parse(tli(3), b"1\t0/1000000\tx\n").unwrap();
    archive.histories.insert(tli(3), stray);
    archive.wal.add(Segment::nth(tli(3), 1, size()));
    cases(
        &archive,
        &[(
            wish(Target::Latest),
            "refused: no backup lies on the way to timeline 3",
        )],
    );
    let named = Wish {
        backup: Some(archive.backups[0].id),
        ..wish(Target::Latest)
    };
    cases(&archive, &[(named, "04h on 1 by 1:5-8")]);
}

#[test]
fn right_after_a_promotion_the_end_is_the_parents() {
    let backups = vec![backup(2, 1, "0/2000028", "0/3000100")];
    let history = [(2, "1\t0/5000100\tno recovery target specified\n")];
    let mut promoted = archive(backups.clone(), &[(1, 2, 4)], &history);
    cases(&promoted, &[(wish(Target::Latest), "02h on 1 by 1:2-4")]);
    promoted.wal = partial_wal(&[(1, 2, 4)], 5);
    cases(
        &promoted,
        &[
            (wish(Target::Latest), "02h on 1 by 1:2-5 partial"),
            (
                wish(Target::Lsn(lsn("0/5000090"))),
                "02h on 1 by 1:2-5 partial",
            ),
            (
                wish(Target::Lsn(lsn("0/4000090"))),
                "02h on 1 by 1:2-5 partial",
            ),
        ],
    );
    // Where the parent goes on, it is for the operator to say.
    let both = archive(backups, &[(1, 2, 6)], &history);
    cases(
        &both,
        &[(wish(Target::Latest), "refused: --target-timeline")],
    );
}

#[test]
fn a_partial_serves_its_own_timeline_alone() {
    let mut forked = forked();
    forked.wal = partial_wal(&[(1, 2, 3), (2, 4, 7)], 4);
    let on_one = Wish {
        timeline: TimelineWish::Number(tli(1)),
        backup: Some(forked.backups[0].id),
        ..wish(Target::Latest)
    };
    let on_two = Wish {
        timeline: TimelineWish::Latest,
        ..on_one.clone()
    };
    cases(
        &forked,
        &[
            (on_one, "02h on 1 by 1:2-4 partial"),
            (on_two, "02h on 2 by 1:2-3 2:4-7"),
        ],
    );
}

#[test]
fn pieces_end_the_way_where_nothing_else_has_that_wal() {
    let with = |mut archive: Archive, pieces: &[(u32, u64, u32)]| {
        for (timeline, number, from) in pieces {
            archive.wal.add_piece(Piece {
                segment: Segment::nth(tli(*timeline), *number, size()),
                from: *from,
                to: from + 8192,
            });
        }
        archive
    };
    let mut pieces = with(plain(), &[(1, 9, 0)]);
    let latest = || wish(Target::Latest);
    cases(
        &pieces,
        &[
            (latest(), "04h on 1 by 1:5-9 live"),
            (
                wish(Target::Lsn(lsn("0/9000100"))),
                "04h on 1 by 1:5-9 live",
            ),
            (wish(Target::Immediate), "04h on 1 by 1:5-5"),
        ],
    );
    // The server's own WAL has more, and goes on; so does what it archived of its last segment.
    pieces.rescued = [9]
        .map(|number| Segment::nth(tli(1), number, size()))
        .into();
    cases(&pieces, &[(latest(), "04h on 1 by 1:5-9 rescued 1")]);
    pieces.rescued.clear();
    pieces.wal.add_partial(Segment::nth(tli(1), 9, size()));
    cases(&pieces, &[(latest(), "04h on 1 by 1:5-9 partial")]);
    // Nothing leads to them, or from their segment's beginning on.
    for stray in [(1, 10, 0), (1, 9, 8192), (2, 9, 0)] {
        let stray = with(plain(), &[stray]);
        cases(&stray, &[(latest(), "04h on 1 by 1:5-8")]);
    }
    let beyond = with(plain(), &[(1, 9, 0), (1, 10, 0)]);
    cases(&beyond, &[(latest(), "04h on 1 by 1:5-9 live")]);

    // Of a timeline that has just begun.
    let backups = vec![backup(2, 1, "0/2000028", "0/3000100")];
    let history = [(2, "1\t0/5000100\tno recovery target specified\n")];
    let promoted = archive(backups, &[(1, 2, 4)], &history);
    let promoted = with(promoted, &[(1, 5, 0), (2, 5, 0)]);
    let on_one = Wish {
        timeline: TimelineWish::Number(tli(1)),
        ..latest()
    };
    cases(
        &promoted,
        &[
            (latest(), "02h on 2 by 1:2-4 2:5-5 live"),
            (on_one, "02h on 1 by 1:2-5 live"),
        ],
    );
}

/// Segments, and a `.partial` on timeline 1.
fn partial_wal(wal: &[(u32, u64, u64)], partial: u64) -> WalIndex {
    let mut index = archive(Vec::new(), wal, &[]).wal;
    index.add_partial(Segment::nth(tli(1), partial, size()));
    index
}

#[test]
fn the_old_folders_wal_continues_the_archive() {
    let mut archive = plain();
    let segment = |number| Segment::nth(tli(1), number, size());
    archive.rescued = [9, 10, 12].map(segment).into();
    cases(
        &archive,
        &[
            (wish(Target::Latest), "04h on 1 by 1:5-10 rescued 2"),
            (
                wish(Target::Lsn(lsn("0/9000100"))),
                "04h on 1 by 1:5-10 rescued 2",
            ),
            (wish(Target::Immediate), "04h on 1 by 1:5-5"),
        ],
    );
    // It fills no hole: restore-wal would call it one.
    archive.wal.add(segment(11));
    cases(
        &archive,
        &[(
            wish(Target::Latest),
            "refused: 000000010000000000000009 to 00000001000000000000000A is missing",
        )],
    );
}

#[test]
fn a_standalone_backup_needs_no_archive() {
    let mut alone = archive(vec![backup(2, 1, "0/2000028", "0/3000100")], &[], &[]);
    cases(
        &alone,
        &[(
            wish(Target::Latest),
            "refused: can't be restored: WAL segment 000000010000000000000002",
        )],
    );
    alone.backups[0].standalone = true;
    cases(
        &alone,
        &[
            (wish(Target::Latest), "02h on 1 by 1:2-3"),
            (wish(Target::Immediate), "02h on 1 by 1:2-3"),
            (
                wish(Target::Lsn(lsn("0/4000100"))),
                "refused: isn't in the repository yet",
            ),
        ],
    );
    let error = choose(&alone, &wish(Target::Lsn(lsn("0/4000100")))).unwrap_err();
    assert!(error.hint_text().is_some(), "{error:?}");
}

/// What damaged WAL means, by the windows: another timeline's is no loss to this one.
#[test]
fn consequences_are_told_by_timeline() {
    let segment = |timeline, number| Missing {
        timeline: tli(timeline),
        first: number,
        last: number,
    };
    let told = |archive: &Archive, damaged: &[Missing]| {
        let told = archive.consequences(&archive.backups[0], damaged);
        let id = archive.backups[0].id.to_string();
        let told: Vec<String> = told
            .iter()
            .map(|line| line.replacen(&id, "it", 1))
            .collect();
        told.join("; ")
    };
    let before = |number, timeline| {
        let name = Segment::nth(tli(if number < 5 { 1 } else { timeline }), number, size());
        format!(
            "it can be restored to any moment before {name} on timeline {timeline}, and to none after it"
        )
    };
    let one = |stop, standalone| Backup {
        standalone,
        ..backup(2, 1, "0/2000028", stop)
    };
    let fork = [(2, "1\t0/5000148")];
    let two = archive(
        vec![one("0/3000100", false)],
        &[(1, 2, 5), (2, 5, 8)],
        &fork,
    );
    let none = "it can't be restored at all: it needs 000000010000000000000003";
    assert_eq!(told(&two, &[]), "");
    assert_eq!(told(&two, &[segment(1, 3)]), none);
    assert_eq!(
        told(&two, &[segment(1, 4)]),
        before(4, 1).replace("timeline 1", "timelines 1, 2")
    );
    assert_eq!(told(&two, &[segment(1, 5)]), before(5, 1));
    assert_eq!(told(&two, &[segment(2, 8)]), before(8, 2));
    assert_eq!(told(&two, &[segment(2, 6), segment(1, 9)]), before(6, 2));
    let all_of_two: Vec<Missing> = (5..=8).map(|number| segment(2, number)).collect();
    let gone = "it can't be restored to any moment on timeline 2: its first WAL is damaged";
    assert_eq!(told(&two, &all_of_two), gone);

    // A segment far ahead on the timeline that was left.
    let stray = [(1, 2, 5), (2, 5, 8), (1, 99, 99)];
    let stray = archive(vec![one("0/3000100", false)], &stray, &fork);
    assert_eq!(told(&stray, &[]), before(6, 1));
    let alone = archive(vec![one("0/3000100", true)], &[(1, 2, 6)], &[]);
    assert_eq!(told(&alone, &[segment(1, 3)]), "");
    assert_eq!(told(&alone, &[segment(1, 4)]), before(4, 1));
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

//! What a way ends with: whole segments, a `.partial`, pieces, or the WAL of the old folder.

use super::*;

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
    // Those without a beginning are told of, unless the segment came from elsewhere.
    let mut stray = with(plain(), &[(1, 9, 8192)]);
    let told = |archive: &Archive| choose(archive, &latest()).unwrap().warnings.join("\n");
    assert!(
        told(&stray).contains("there are pieces of 000000010000000000000009 that can't be used")
    );
    stray.rescued = [Segment::nth(tli(1), 9, size())].into();
    assert_eq!(told(&stray), "");
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
    // What it has behind a hole is told to who wants all.
    let told = |target| choose(&archive, &wish(target)).unwrap().warnings;
    let warnings = told(Target::Latest).join("\n");
    let (has, lacks) = (segment(12).to_string(), segment(11).to_string());
    assert!(
        warnings.contains(&has) && warnings.contains(&format!("lacks {lacks} before it")),
        "{warnings}"
    );
    assert_eq!(told(Target::Lsn(lsn("0/9000100"))), [""; 0]);
    // And what is of a timeline that nobody told the repository of.
    let mut promoted = plain();
    promoted.rescued = [Segment::nth(tli(2), 9, size())].into();
    let told = |wish: &Wish| choose(&promoted, wish).unwrap().warnings.join("\n");
    let later = "of a later timeline than 1";
    assert!(
        told(&wish(Target::Latest)).contains(later),
        "{}",
        told(&wish(Target::Latest))
    );
    let on_one = Wish {
        timeline: TimelineWish::Number(tli(1)),
        ..wish(Target::Latest)
    };
    assert!(!told(&on_one).contains(later));
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
fn a_timeline_that_was_received_alone_is_the_newest() {
    let backups = vec![backup(2, 1, "0/2000028", "0/3000100")];
    let history = [(2, "1\t0/5000100\tno recovery target specified\n")];
    let segment = |timeline, number| Segment::nth(tli(timeline), number, size());
    let latest = || wish(Target::Latest);
    let mut archive = archive(backups, &[(1, 2, 4)], &history);
    archive.rescued = [segment(2, 5), segment(2, 6)].into();
    cases(&archive, &[(latest(), "02h on 2 by 1:2-4 2:5-6 rescued 2")]);
    // The end of the one before it, too, unless the repository has what follows it: to restore-wal that is a hole.
    archive.wal = wal(&[(1, 2, 3)]);
    let without = "refused: begins at 0/5000100 and none of its WAL";
    archive.rescued = [segment(1, 4), segment(2, 5)].into();
    cases(&archive, &[(latest(), "02h on 2 by 1:2-4 2:5-5 rescued 2")]);
    archive.wal = wal(&[(1, 2, 3), (2, 5, 5)]);
    cases(
        &archive,
        &[(
            latest(),
            "refused: 000000010000000000000004 is missing, and later WAL is there",
        )],
    );
    // Without its beginning it has not begun.
    archive.wal = wal(&[(1, 2, 6)]);
    archive.rescued = [segment(2, 6)].into();
    cases(&archive, &[(latest(), without)]);
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

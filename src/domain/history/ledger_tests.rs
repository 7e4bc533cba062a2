//! Records, segment by segment, and what the ledger keeps of them.

use super::{
    chart::Chart,
    digest::Digest,
    ledger::{Books, Filter, Found, FoundKind, Ledger},
    work::{Relations, Rows},
};
use crate::{
    postgres::{
        lsn::Lsn,
        wal_event::{Dropped, Ended, Happened, Row, WalEvent},
        wal_summary::Locator,
    },
    util::clock::Time,
};
use chrono::TimeDelta;

/// A record: where it begins, of whom it is, and what it says.
type Record = (u64, u32, Happened);

fn time(text: &str) -> Time {
    format!("2026-11-21T{text}Z").parse().unwrap()
}

fn filter() -> Filter {
    Filter {
        since: time("02:00:00"),
        until: time("03:00:00"),
        min_rows: 3,
        xid: None,
        table: None,
        all: false,
        quiet: TimeDelta::minutes(10),
    }
}

fn books(filter: Filter, segments: &[&[Record]]) -> Books {
    let chart = Chart::new(filter.since, filter.until);
    let mut ledger = Ledger::new(filter, chart);
    for segment in segments {
        let mut digest = Digest::default();
        for (lsn, xid, happened) in *segment {
            digest.note(WalEvent {
                lsn: Lsn(*lsn),
                xid: *xid,
                happened: happened.clone(),
            });
        }
        ledger.add(digest);
    }
    ledger.close()
}

/// Where each transaction is stopped before, which it is, and its rows.
fn transactions(found: &[Found]) -> Vec<(u64, u32, Rows)> {
    let each = found.iter().filter_map(|found| match &found.kind {
        FoundKind::Transaction(one) => Some((found.lsn.0, one.end.xid, one.end.work.sum())),
        _ => None,
    });
    each.collect()
}

fn deleted(deleted: u64) -> Rows {
    Rows {
        deleted,
        updated: 0,
    }
}

fn file(number: u32) -> Locator {
    Locator {
        tablespace: 1663,
        database: 5,
        number,
    }
}

fn delete(number: u32) -> Happened {
    Happened::Deleted(Row {
        relation: file(number),
        block: 0,
        offset: 1,
    })
}

fn made(number: u32) -> Happened {
    Happened::Created {
        file: file(number),
        unlogged: false,
    }
}

/// The transaction's own number is that of the record.
fn ended(xid: u32, at: &str, more: Ended) -> Happened {
    Happened::Ended(Box::new(Ended {
        committed: true,
        xid,
        time: Some(time(at)),
        ..more
    }))
}

fn commit(xid: u32, at: &str) -> Happened {
    ended(xid, at, Ended::default())
}

fn aborted(xid: u32, at: &str) -> Happened {
    Happened::Ended(Box::new(Ended {
        committed: false,
        xid,
        time: Some(time(at)),
        ..Ended::default()
    }))
}

/// With this subtransaction.
fn with_part(xid: u32, at: &str, part: u32) -> Happened {
    let parts = vec![part];
    ended(
        xid,
        at,
        Ended {
            parts,
            ..Ended::default()
        },
    )
}

fn removing(xid: u32, at: &str, numbers: &[u32]) -> Happened {
    let removed = numbers.iter().map(|number| file(*number)).collect();
    ended(
        xid,
        at,
        Ended {
            removed,
            ..Ended::default()
        },
    )
}

#[test]
fn a_transaction_is_put_together_over_segments() {
    let kept = books(
        filter(),
        &[
            &[(1, 7, delete(16_400)), (2, 8, delete(16_400))],
            &[
                (3, 9, delete(16_400)),
                (4, 8, aborted(8, "02:30:00")),
                (5, 10, delete(16_400)),
                (6, 10, commit(10, "02:30:00.5")),
            ],
            &[(7, 7, delete(16_400)), (8, 7, with_part(7, "02:31:00", 9))],
        ],
    );
    assert_eq!(transactions(&kept.found), [(8, 7, deleted(3))]);
    let sum = kept.chart.sum;
    assert_eq!((sum.commits, sum.aborts, sum.rows), (2, 1, deleted(4)));
    assert_eq!(kept.last, Some(time("02:31:00")));
}

#[test]
fn a_database_was_whole_before_its_row_was_marked() {
    let row = |offset: u16| Row {
        relation: Locator {
            tablespace: 1664,
            database: 0,
            number: 1262,
        },
        block: 0,
        offset,
    };
    let dropped = vec![Dropped::Database(16_396)];
    let commit = ended(
        742,
        "02:30:00.5",
        Ended {
            dropped,
            ..Ended::default()
        },
    );
    for (marks, expected) in [
        // Another database's row is none of it, nor what a vacuum did long before.
        (
            vec![(1, row(4)), (0x200_0000, row(4)), (0x200_0010, row(3))],
            0x200_0000,
        ),
        (vec![(1, row(4)), (0x200_0010, row(3))], 0x200_0020),
    ] {
        let first: Vec<Record> = marks
            .into_iter()
            .map(|(lsn, row)| (lsn, 0, Happened::InPlace(row)))
            .collect();
        let second = [
            (0x200_0020, 742, Happened::Deleted(row(4))),
            (0x200_0040, 742, commit.clone()),
        ];
        let kept = books(filter(), &[&first, &second]);
        assert_eq!(transactions(&kept.found), [(expected, 742, deleted(0))]);
    }
}

#[test]
fn what_a_crash_ended_is_forgotten() {
    let checkpoint = Happened::Checkpoint {
        oldest_running: Some(9),
    };
    let kept = books(
        filter(),
        &[
            &[
                (1, 8, delete(16_400)),
                (2, 8, delete(16_400)),
                (3, 9, delete(16_400)),
            ],
            &[(4, 0, checkpoint)],
            // The number comes round again.
            &[(5, 8, delete(16_400)), (6, 8, commit(8, "02:30:00.5"))],
            &[
                (7, 9, delete(16_400)),
                (8, 9, delete(16_400)),
                (9, 9, commit(9, "02:30:00.5")),
            ],
        ],
    );
    assert_eq!(transactions(&kept.found), [(9, 9, deleted(3))]);
}

#[test]
fn a_table_is_followed_into_its_new_file() {
    let wanted = Filter {
        table: Some(Relations {
            files: [(5, 16_400)].into(),
            oids: [].into(),
        }),
        ..filter()
    };
    let kept = books(
        wanted,
        &[
            &[(1, 7, delete(16_500)), (2, 7, commit(7, "02:30:00.5"))],
            &[
                (3, 8, made(16_500)),
                (4, 8, removing(8, "02:30:00.5", &[16_400])),
                (5, 9, delete(16_500)),
                (6, 9, commit(9, "02:30:00.5")),
            ],
        ],
    );
    let expected = [(4, 8, deleted(0)), (6, 9, deleted(1))];
    assert_eq!(transactions(&kept.found), expected);
}

/// What a transaction lost that truncated files 100001 and 100002, after these records of others, and a hole in the WAL
/// behind so many of them.
fn truncated(before: &[Record], hole: Option<usize>) -> Vec<u32> {
    let mut ledger = Ledger::new(filter(), Chart::new(filter().since, filter().until));
    let truncate = [
        (90, 50, made(200_001)),
        (91, 50, removing(50, "02:30:00", &[100_001, 100_002])),
    ];
    for (number, (lsn, xid, happened)) in before.iter().chain(&truncate).enumerate() {
        if hole == Some(number) {
            ledger.unread(Lsn(*lsn), "hole".to_owned(), "gone".to_owned());
        }
        let mut digest = Digest::default();
        digest.note(WalEvent {
            lsn: Lsn(*lsn),
            xid: *xid,
            happened: happened.clone(),
        });
        ledger.add(digest);
    }
    let found = ledger.close().found;
    let lost = found.iter().filter_map(|found| match &found.kind {
        FoundKind::Transaction(one) if one.end.xid == 50 => Some(&one.end),
        _ => None,
    });
    let lost = lost.flat_map(|end| end.removed.iter().filter(|file| !end.empty.contains(file)));
    lost.map(|file| file.number).collect()
}

#[test]
fn who_truncates_what_holds_no_row_yet_loses_nothing() {
    let first_page = |number| Happened::FirstPage(file(number));
    // A table, and an index, whose first page is never empty; then the others.
    let make = [
        (1, 7, made(100_001)),
        (2, 7, made(100_002)),
        (3, 7, first_page(100_002)),
    ];
    let with = |more: &[Record]| [&make[..], more].concat();
    let end = |happened| vec![(4, 7, happened)];
    let whole = with(&end(commit(7, "02:00:01")));
    assert_eq!(truncated(&whole, None), [0; 0]);
    for (what, before, hole, lost) in [
        ("made before", vec![], None, &[100_001, 100_002][..]),
        ("a hole", whole.clone(), Some(4), &[100_001, 100_002]),
        ("a hole before", whole.clone(), Some(0), &[]),
        (
            "another file's rows take its place",
            with(&end(removing(7, "02:00:01", &[16_400]))),
            None,
            &[100_002],
        ),
        (
            "a new database",
            [with(&[(4, 7, made(1259))]), end(commit(7, "02:00:01"))].concat(),
            None,
            &[100_002],
        ),
        (
            "rows that came",
            [whole.clone(), vec![(5, 8, Happened::Wrote(file(100_001)))]].concat(),
            None,
            &[100_001],
        ),
        (
            "rows that came and went",
            [whole.clone(), vec![(5, 8, delete(100_001))]].concat(),
            None,
            &[100_001],
        ),
        (
            "a page that came later",
            [whole.clone(), vec![(5, 8, first_page(100_002))]].concat(),
            None,
            &[100_002],
        ),
        (
            "unlogged",
            [
                vec![(
                    1,
                    7,
                    Happened::Created {
                        file: file(100_001),
                        unlogged: true,
                    },
                )],
                end(commit(7, "02:00:01")),
            ]
            .concat(),
            None,
            &[100_001, 100_002],
        ),
    ] {
        assert_eq!(truncated(&before, hole), lost, "{what}");
    }
}

#[test]
fn transactions_are_kept_by_number_and_by_time() {
    let ends = [
        (1, 7, commit(7, "01:59:59.9")),
        (2, 8, with_part(8, "02:00:00", 9)),
        (3, 10, commit(10, "03:00:00")),
        (4, 11, commit(11, "03:00:00.1")),
    ];
    let of = |xid, all| Filter {
        xid,
        all,
        ..filter()
    };
    for (filter, expected) in [
        (of(None, false), &[][..]),
        (of(None, true), &[8, 10]),
        (of(Some(9), false), &[8]),
        (of(Some(7), false), &[]),
    ] {
        let kept = books(filter, &[&ends]);
        let xids: Vec<u32> = transactions(&kept.found).iter().map(|one| one.1).collect();
        assert_eq!(xids, expected);
    }
}

#[test]
fn pauses_and_clocks_that_were_set_back_are_told() {
    let kept = books(
        filter(),
        &[&[
            (1, 7, commit(7, "02:00:00")),
            (2, 8, commit(8, "02:10:00")),
            (3, 9, commit(9, "02:09:59")),
            (4, 0, Happened::RestorePoint("here".to_owned())),
            (5, 10, commit(10, "02:05:00")),
            (6, 11, commit(11, "02:06:00")),
        ]],
    );
    let told: Vec<String> = kept
        .found
        .iter()
        .map(|found| format!("{} {:?}", found.lsn.0, found.kind))
        .collect();
    assert_eq!(
        told,
        [
            "2 Quiet { since: 2026-11-21T02:00:00Z }",
            "4 RestorePoint(\"here\")",
            "5 ClockSetBack { from: 2026-11-21T02:10:00Z }",
        ]
    );
}

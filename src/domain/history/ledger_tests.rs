//! Lines of pg_waldump, segment by segment, and what the ledger keeps of them.

use super::{
    chart::Chart,
    digest::Digest,
    ledger::{Books, Filter, Found, FoundKind, Ledger, Relations},
    work::Rows,
};
use crate::{postgres::wal_line::WalLine, util::clock::Time};
use chrono::TimeDelta;

/// A record: where it begins, of whom it is, and its kind and description.
type Record<'a> = (u64, u32, &'a str, &'a str);

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

fn books(filter: Filter, segments: &[&[Record<'_>]]) -> Books {
    let chart = Chart::new(filter.since, filter.until);
    let mut ledger = Ledger::new(filter, chart);
    for segment in segments {
        let mut digest = Digest::default();
        for (lsn, xid, rmgr, desc) in *segment {
            let line = format!("rmgr: {rmgr} tx: {xid}, lsn: 0/{lsn:08X}, prev 0/0, desc: {desc}");
            digest.note(&WalLine::parse(line.as_bytes()).unwrap());
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

const DELETE: &str = "DELETE off 1 flags 0x00, blkref #0: rel 1663/5/16400 blk 0";
const COMMIT: &str = "COMMIT 2026-11-21 02:30:00.5 UTC";

#[test]
fn a_transaction_is_put_together_over_segments() {
    let kept = books(
        filter(),
        &[
            &[(1, 7, "Heap", DELETE), (2, 8, "Heap", DELETE)],
            &[
                (3, 9, "Heap", DELETE),
                (4, 8, "Transaction", "ABORT 2026-11-21 02:30:00 UTC"),
                (5, 10, "Heap", DELETE),
                (6, 10, "Transaction", COMMIT),
            ],
            &[
                (7, 7, "Heap", DELETE),
                (
                    8,
                    7,
                    "Transaction",
                    "COMMIT 2026-11-21 02:31:00 UTC; subxacts: 9",
                ),
            ],
        ],
    );
    assert_eq!(transactions(&kept.found), [(8, 7, deleted(3))]);
    let sum = kept.chart.sum;
    assert_eq!((sum.commits, sum.aborts, sum.rows), (2, 1, deleted(4)));
    assert_eq!(kept.last, Some(time("02:31:00")));
}

#[test]
fn a_database_was_whole_before_its_row_was_marked() {
    let row = |offset: u32| format!("off {offset}, blkref #0: rel 1664/0/1262 blk 0");
    let commit = format!("{COMMIT}; dropped stats: 1/16396/0");
    let delete = format!("DELETE {}", row(4));
    for (marks, expected) in [
        // Another database's row is none of it, nor what a vacuum did long before.
        (
            vec![(1, row(4)), (0x200_0000, row(4)), (0x200_0010, row(3))],
            0x200_0000,
        ),
        (vec![(1, row(4)), (0x200_0010, row(3))], 0x200_0020),
    ] {
        let marks: Vec<(u64, String)> = marks
            .into_iter()
            .map(|(lsn, row)| (lsn, format!("INPLACE {row}")))
            .collect();
        let first: Vec<Record<'_>> = marks
            .iter()
            .map(|(lsn, mark)| (*lsn, 0, "Heap", mark.as_str()))
            .collect();
        let second = [
            (0x200_0020, 742, "Heap", delete.as_str()),
            (0x200_0040, 742, "Transaction", commit.as_str()),
        ];
        let kept = books(filter(), &[&first, &second]);
        assert_eq!(transactions(&kept.found), [(expected, 742, deleted(0))]);
    }
}

#[test]
fn what_a_crash_ended_is_forgotten() {
    let checkpoint = "CHECKPOINT_ONLINE redo 0/1; oldest running xid 9; online";
    let kept = books(
        filter(),
        &[
            &[
                (1, 8, "Heap", DELETE),
                (2, 8, "Heap", DELETE),
                (3, 9, "Heap", DELETE),
            ],
            &[(4, 0, "XLOG", checkpoint)],
            // The number comes round again.
            &[(5, 8, "Heap", DELETE), (6, 8, "Transaction", COMMIT)],
            &[
                (7, 9, "Heap", DELETE),
                (8, 9, "Heap", DELETE),
                (9, 9, "Transaction", COMMIT),
            ],
        ],
    );
    assert_eq!(transactions(&kept.found), [(9, 9, deleted(3))]);
}

#[test]
fn a_table_is_followed_into_its_new_file() {
    let other = "DELETE off 1, blkref #0: rel 1663/5/16500 blk 0";
    let wanted = Filter {
        table: Some(Relations {
            files: [(5, 16_400)].into(),
            oids: [].into(),
        }),
        ..filter()
    };
    let rewritten = format!("{COMMIT}; rels: base/5/16400");
    let kept = books(
        wanted,
        &[
            &[(1, 7, "Heap", other), (2, 7, "Transaction", COMMIT)],
            &[
                (3, 8, "Storage", "CREATE base/5/16500"),
                (4, 8, "Transaction", rewritten.as_str()),
                (5, 9, "Heap", other),
                (6, 9, "Transaction", COMMIT),
            ],
        ],
    );
    let expected = [(4, 8, deleted(0)), (6, 9, deleted(1))];
    assert_eq!(transactions(&kept.found), expected);
}

#[test]
fn transactions_are_kept_by_number_and_by_time() {
    let ends = [
        (1, 7, "Transaction", "COMMIT 2026-11-21 01:59:59.9 UTC"),
        (
            2,
            8,
            "Transaction",
            "COMMIT 2026-11-21 02:00:00 UTC; subxacts: 9",
        ),
        (3, 10, "Transaction", "COMMIT 2026-11-21 03:00:00 UTC"),
        (4, 11, "Transaction", "COMMIT 2026-11-21 03:00:00.1 UTC"),
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
            (1, 7, "Transaction", "COMMIT 2026-11-21 02:00:00 UTC"),
            (2, 8, "Transaction", "COMMIT 2026-11-21 02:10:00 UTC"),
            (3, 9, "Transaction", "COMMIT 2026-11-21 02:09:59 UTC"),
            (4, 0, "XLOG", "RESTORE_POINT here"),
            (5, 10, "Transaction", "COMMIT 2026-11-21 02:05:00 UTC"),
            (6, 11, "Transaction", "COMMIT 2026-11-21 02:06:00 UTC"),
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

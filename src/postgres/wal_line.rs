//! A line of pg_waldump, taken apart: which transaction did what to which relation.
//!
//! A line is laid out as XLogDumpDisplayRecord in `src/bin/pg_waldump/pg_waldump.c` does it. What stands
//! behind `desc:` is written by the files of `src/backend/access/rmgrdesc`: much alike from PostgreSQL 15 to
//! 18, but for the way in which heap records name their numbers.

use chrono::NaiveDateTime;

use super::{
    lsn::{Lsn, TimelineId},
    relation_file::{Fork, RelationPath},
    wal_summary::Locator,
};
use crate::util::clock::Time;

/// OIDs of `src/include/catalog/pg_tablespace.dat`.
const DEFAULT_TABLESPACE: u32 = 1663;
const GLOBAL_TABLESPACE: u32 = 1664;

/// The beginning of a record.
#[derive(Clone, Copy, Debug)]
pub struct WalLine<'a> {
    pub lsn: Lsn,
    /// 0: of no transaction.
    pub xid: u32,
    rmgr: &'a [u8],
    /// Such as `COMMIT`.
    op: &'a [u8],
    rest: &'a [u8],
}

/// What a record says, as far as it matters to who looks for a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened<'a> {
    Ended(Ended<'a>),
    /// A row of a relation went.
    Deleted(Row),
    Updated(Row),
    /// A row was overwritten for all transactions at once.
    InPlace(Row),
    /// A relation got a file.
    Created(Locator),
    /// A relation, by its OID, was locked against all others.
    Locked {
        database: u32,
        relation: u32,
    },
    RestorePoint(&'a [u8]),
    Checkpoint {
        /// Every transaction before this one had ended; None where it isn't told.
        oldest_running: Option<u32>,
    },
    /// A server left recovery, on a timeline of its own.
    Promoted {
        timeline: TimelineId,
        before: TimelineId,
        time: Option<Time>,
    },
    Other,
}

/// A row of a relation, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub relation: Locator,
    pub block: u32,
    /// Among the rows of its block; 0 where that isn't told.
    pub offset: u32,
}

/// A commit or an abort: recovery stops at either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended<'a> {
    pub committed: bool,
    pub xid: u32,
    pub time: Option<Time>,
    rest: &'a [u8],
}

/// What statistics were dropped of, which is dropped itself (PgStat_Kind in
/// `src/include/utils/pgstat_kind.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    Database(u32),
    /// By OID.
    Relation {
        database: u32,
        relation: u32,
    },
}

impl<'a> WalLine<'a> {
    /// None of a line that shows no record.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let line = line.trim_ascii_end().strip_prefix(b"rmgr: ")?;
        let (rmgr, line) = split(line, b" ")?;
        let (_, line) = split(line, b"tx: ")?;
        let (xid, line) = split(line, b", lsn: ")?;
        let (lsn, line) = split(line, b", ")?;
        let (_, desc) = split(line, b"desc: ")?;
        let (op, rest) = split(desc, b" ").unwrap_or((desc, b""));
        Some(Self {
            lsn: str::from_utf8(lsn).ok()?.parse().ok()?,
            xid: number(xid.trim_ascii_start())?,
            rmgr,
            op,
            rest,
        })
    }

    /// What can't be understood is [`Happened::Other`].
    pub fn happened(&self) -> Happened<'a> {
        self.read().unwrap_or(Happened::Other)
    }

    fn read(&self) -> Option<Happened<'a>> {
        Some(match (self.rmgr, self.op) {
            (b"Heap", b"DELETE") => Happened::Deleted(self.row()?),
            (b"Heap", b"UPDATE" | b"HOT_UPDATE" | b"UPDATE+INIT" | b"HOT_UPDATE+INIT") => {
                Happened::Updated(self.row()?)
            }
            (b"Heap", b"INPLACE") => Happened::InPlace(self.row()?),
            (b"Transaction", op) => Happened::Ended(self.ended(op)?),
            (b"Storage", b"CREATE") => Happened::Created(locator(words(self.rest).next()?)?),
            (b"Standby", b"LOCK") => {
                let mut words = words(self.rest).skip_while(|word| *word != b"db").skip(1);
                let database = number(words.next()?)?;
                let relation = number(words.nth(1)?)?;
                Happened::Locked { database, relation }
            }
            (b"XLOG", b"RESTORE_POINT") => Happened::RestorePoint(self.rest),
            (b"XLOG", b"CHECKPOINT_ONLINE" | b"CHECKPOINT_SHUTDOWN") => {
                // That with which a recovery ends that nobody asked to promote (PerformRecoveryXLogAction in
                // `src/backend/access/transam/xlog.c`) leaves a timeline.
                self.promoted().unwrap_or(Happened::Checkpoint {
                    oldest_running: value(self.rest, b"oldest running xid ").filter(|xid| *xid > 0),
                })
            }
            (b"XLOG", b"END_OF_RECOVERY") => self.promoted()?,
            _ => return None,
        })
    }

    fn promoted(&self) -> Option<Happened<'a>> {
        let timeline = TimelineId::new(value(self.rest, b"tli ")?)?;
        let before = TimelineId::new(value(self.rest, b"prev tli ")?)?;
        let time = split(self.rest, b"time ").and_then(|(_, time)| read_time(time));
        (timeline != before).then_some(Happened::Promoted {
            timeline,
            before,
            time,
        })
    }

    fn ended(&self, op: &[u8]) -> Option<Ended<'a>> {
        let committed = op.starts_with(b"COMMIT");
        let (xid, rest) = match op {
            b"COMMIT" | b"ABORT" => (self.xid, self.rest),
            // The record belongs to no transaction, and names the one that it ends.
            b"COMMIT_PREPARED" | b"ABORT_PREPARED" => {
                let (xid, rest) = split(self.rest, b": ")?;
                (number(xid)?, rest)
            }
            _ => return None,
        };
        Some(Ended {
            committed,
            xid,
            time: read_time(rest),
            rest,
        })
    }

    /// Where the first block reference leads: for an update, to the new row's page.
    fn row(&self) -> Option<Row> {
        let (numbers, reference) = split(self.rest, b"blkref #0: rel ")?;
        let (relation, reference) = split(reference, b" ")?;
        let mut parts = relation.split(|byte| *byte == b'/').map(number);
        Some(Row {
            relation: Locator {
                tablespace: parts.next()??,
                database: parts.next()??,
                number: parts.next()??,
            },
            block: value(reference, b"blk ")?,
            // `off 7` up to 15, `off: 7` later.
            offset: value(numbers, b"off ")
                .or_else(|| value(numbers, b"off: "))
                .unwrap_or(0),
        })
    }
}

impl<'a> Ended<'a> {
    /// Subtransactions that ended with it.
    pub fn parts(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.list(b"; subxacts:").filter_map(number)
    }

    /// Files of relations that were removed.
    pub fn removed(&self) -> impl Iterator<Item = Locator> + use<'a> {
        self.list(b"; rels:").filter_map(locator)
    }

    pub fn dropped(&self) -> impl Iterator<Item = Dropped> + use<'a> {
        self.list(b"; dropped stats:").filter_map(|word| {
            let mut parts = word.split(|byte| *byte == b'/').map(number);
            match (parts.next()??, parts.next()??, parts.next()?) {
                (1, database, _) => Some(Dropped::Database(database)),
                (2, database, relation) => Some(Dropped::Relation {
                    database,
                    relation: relation?,
                }),
                _ => None,
            }
        })
    }

    fn list(&self, title: &[u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let list = split(self.rest, title).map_or(&b""[..], |(_, list)| list);
        words(split(list, b";").map_or(list, |(list, _)| list))
    }
}

/// What stands before and behind the first `mark`.
fn split<'a>(text: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let first = *mark.first()?;
    let mut at = 0;
    loop {
        at += text.get(at..)?.iter().position(|byte| *byte == first)?;
        if text[at..].starts_with(mark) {
            return Some((&text[..at], &text[at + mark.len()..]));
        }
        at += 1;
    }
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let words = text.split(|byte| *byte == b' ');
    words.filter(|word| !word.is_empty())
}

fn number(digits: &[u8]) -> Option<u32> {
    str::from_utf8(digits).ok()?.parse().ok()
}

/// The number behind `name`.
fn value(text: &[u8], name: &[u8]) -> Option<u32> {
    let (_, rest) = split(text, name)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
    number(&rest[..digits.count()])
}

/// `base/5/16384`: the file that holds the rows.
fn locator(path: &[u8]) -> Option<Locator> {
    let path = RelationPath::parse(path)?;
    // Of an unlogged relation that is made WAL tells the initial fork alone.
    matches!(path.file.fork, Fork::Main | Fork::Init).then_some(Locator {
        tablespace: path.tablespace.unwrap_or(match path.database {
            Some(_) => DEFAULT_TABLESPACE,
            None => GLOBAL_TABLESPACE,
        }),
        database: path.database.unwrap_or(0),
        number: path.file.number,
    })
}

/// `2026-11-21 02:00:00.123456 UTC`, and whatever follows.
fn read_time(text: &[u8]) -> Option<Time> {
    let (time, _) = split(text, b" UTC")?;
    NaiveDateTime::parse_from_str(str::from_utf8(time).ok()?, "%Y-%m-%d %H:%M:%S%.f")
        .ok()
        .map(|time| time.and_utc())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn line(rmgr: &str, xid: u32, desc: &str) -> String {
        format!(
            "rmgr: {rmgr:<11} len (rec/tot):     34/    34, tx: {xid:>10}, lsn: 0/01516A48, prev 0/01516A10, desc: {desc}\n"
        )
    }

    fn relation(number: u32) -> Locator {
        Locator {
            tablespace: 1663,
            database: 5,
            number,
        }
    }

    #[test]
    fn records_as_each_major_shows_them() {
        let row = |relation, block, offset| Row {
            relation,
            block,
            offset,
        };
        let databases = Locator {
            tablespace: 1664,
            database: 0,
            number: 1262,
        };
        let timeline = |number| TimelineId::new(number).unwrap();
        for (rmgr, desc, expected) in [
            (
                "Heap",
                "DELETE off 98 flags 0x00 KEYS_UPDATED , blkref #0: rel 1663/5/16397 blk 7 FPW",
                Happened::Deleted(row(relation(16_397), 7, 98)),
            ),
            (
                "Heap",
                "DELETE xmax: 757, off: 98, infobits: [KEYS_UPDATED], flags: 0x00, blkref #0: rel 1663/5/16397 blk 7",
                Happened::Deleted(row(relation(16_397), 7, 98)),
            ),
            (
                "Heap",
                "HOT_UPDATE old_xmax: 759, old_off: 49, old_infobits: [], flags: 0x20, new_xmax: 0, new_off: 99, blkref #0: rel 1663/5/16399 blk 2",
                Happened::Updated(row(relation(16_399), 2, 49)),
            ),
            (
                "Heap",
                "UPDATE+INIT off 49 xmax 731 flags 0x20 ; new off 1 xmax 0, blkref #0: rel 1663/5/7 blk 2, blkref #1: rel 1663/5/7 blk 1",
                Happened::Updated(row(relation(7), 2, 49)),
            ),
            (
                "Heap",
                "INPLACE off 4, blkref #0: rel 1664/0/1262 blk 0 FPW",
                Happened::InPlace(row(databases, 0, 4)),
            ),
            (
                "Heap",
                "INPLACE off: 4; inval msgs: catcache 21 relcache 1, blkref #0: rel 1664/0/1262 blk 0",
                Happened::InPlace(row(databases, 0, 4)),
            ),
            (
                "Heap",
                "INSERT off 1 flags 0x00, blkref #0: rel 1663/5/7 blk 0",
                Happened::Other,
            ),
            ("Heap", "DELETE off 1", Happened::Other),
            (
                "Heap2",
                "DELETE off 1, blkref #0: rel 1663/5/7 blk 0",
                Happened::Other,
            ),
            (
                "Storage",
                "CREATE base/5/16397",
                Happened::Created(relation(16_397)),
            ),
            (
                "Storage",
                "CREATE base/5/16397_init",
                Happened::Created(relation(16_397)),
            ),
            ("Storage", "CREATE base/5/16397_vm", Happened::Other),
            (
                "Standby",
                "LOCK xid 727 db 5 rel 16384 ",
                Happened::Locked {
                    database: 5,
                    relation: 16_384,
                },
            ),
            ("XLOG", "RESTORE_POINT a b", Happened::RestorePoint(b"a b")),
            (
                "XLOG",
                "CHECKPOINT_ONLINE redo 0/1; tli 1; prev tli 1; oldest xid 716 in DB 1; oldest running xid 743; online",
                Happened::Checkpoint {
                    oldest_running: Some(743),
                },
            ),
            (
                "XLOG",
                "CHECKPOINT_SHUTDOWN redo 0/1; tli 1; oldest running xid 0; shutdown",
                Happened::Checkpoint {
                    oldest_running: None,
                },
            ),
            (
                "XLOG",
                "END_OF_RECOVERY tli 3; prev tli 2; time 2026-11-21 02:00:00.000000 UTC",
                Happened::Promoted {
                    timeline: timeline(3),
                    before: timeline(2),
                    time: Some("2026-11-21T02:00:00Z".parse().unwrap()),
                },
            ),
            (
                "XLOG",
                "CHECKPOINT_SHUTDOWN redo 0/1; tli 3; prev tli 2; fpw true; oldest running xid 0; shutdown",
                Happened::Promoted {
                    timeline: timeline(3),
                    before: timeline(2),
                    time: None,
                },
            ),
            ("XLOG", "END_OF_RECOVERY tli 0; prev tli 2", Happened::Other),
            ("", "", Happened::Other),
        ] {
            let line = line(rmgr, 731, desc);
            let parsed = WalLine::parse(line.as_bytes());
            let happened = parsed.map_or(Happened::Other, |line| line.happened());
            assert_eq!(happened, expected, "{line}");
        }
    }

    #[test]
    fn what_ended_tells_what_went_with_it() {
        let text = line(
            "Transaction",
            736,
            "COMMIT 2026-11-21 02:00:00.5 UTC; rels: base/5/16397 pg_tblspc/16385/PG_15_202209061/5/8 global/9; \
             subxacts: 737 738; dropped stats: 2/5/16388 1/16396/0 3/5/1 2/5/x; inval msgs: catcache 55 relcache 7",
        );
        let line = WalLine::parse(text.as_bytes()).unwrap();
        let Happened::Ended(ended) = line.happened() else {
            panic!("{line:?}");
        };
        assert_eq!((ended.committed, ended.xid), (true, 736));
        assert_eq!(ended.time, Some("2026-11-21T02:00:00.5Z".parse().unwrap()));
        assert_eq!(ended.parts().collect::<Vec<_>>(), [737, 738]);
        let removed: Vec<_> = ended
            .removed()
            .map(|file| (file.tablespace, file.database, file.number))
            .collect();
        assert_eq!(removed, [(1663, 5, 16_397), (16_385, 5, 8), (1664, 0, 9)]);
        let dropped: Vec<_> = ended.dropped().collect();
        let table = Dropped::Relation {
            database: 5,
            relation: 16_388,
        };
        assert_eq!(dropped, [table, Dropped::Database(16_396)]);
    }

    #[test]
    fn a_prepared_transaction_ends_by_its_own_number() {
        for (op, committed) in [("COMMIT_PREPARED", true), ("ABORT_PREPARED", false)] {
            let text = line(
                "Transaction",
                0,
                &format!("{op} 740: 2026-11-21 02:00:00 UTC"),
            );
            let line = WalLine::parse(text.as_bytes()).unwrap();
            let Happened::Ended(ended) = line.happened() else {
                panic!("{line:?}");
            };
            assert_eq!((ended.committed, ended.xid), (committed, 740));
            assert_eq!(ended.parts().count() + ended.removed().count(), 0);
        }
    }
}

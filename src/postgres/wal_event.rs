//! What a WAL record says, taken from its bytes, as far as it matters to who looks for a moment.
//!
//! A record's parts: `src/include/access/xlogrecord.h` and DecodeXLogRecord in `src/backend/access/transam/xlogreader.c`.
//! Records that matter are laid out alike from PostgreSQL 15 to 18, but for the statistics that a commit drops.

use chrono::DateTime;

use super::{
    lsn::{Lsn, TimelineId},
    version::Major,
    wal_record::HEADER,
    wal_stream::EPOCH,
    wal_summary::Locator,
};
use crate::util::clock::Time;

/// Resource managers, by their place in `src/include/access/rmgrlist.h`.
const XLOG: u8 = 0;
const TRANSACTION: u8 = 1;
const STORAGE: u8 = 2;
const STANDBY: u8 = 8;
const HEAP: u8 = 10;

/// Ids of headers of a record's parts that are no blocks.
const TOP_XID: u8 = 252;
const ORIGIN: u8 = 253;
const LONG_DATA: u8 = 254;
const SHORT_DATA: u8 = 255;

/// In fork_flags: BKPBLOCK_FORK_MASK, BKPBLOCK_HAS_IMAGE, BKPBLOCK_SAME_REL.
const FORK: u8 = 0x0F;
const HAS_IMAGE: u8 = 0x10;
const SAME_RELATION: u8 = 0x80;
/// In bimg_info: BKPIMAGE_HAS_HOLE, and the three ways to compress.
const HAS_HOLE: u8 = 0x01;
const COMPRESSED: u8 = 0x1C;

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    Ended(Box<Ended>),
    /// A transaction was prepared under this name: until it is ended by that, it holds its locks.
    Prepared(String),
    /// A row of a relation went.
    Deleted(Row),
    Updated(Row),
    /// A row was overwritten for all transactions at once.
    InPlace(Row),
    /// Something else was written into a relation's file.
    Wrote(Locator),
    /// The first page of a relation's file was written whole, whatever is on it, and no other.
    FirstPage(Locator),
    /// A relation got a file.
    Created {
        file: Locator,
        /// Of an unlogged relation, whose rows WAL doesn't tell.
        unlogged: bool,
    },
    /// A relation, by its OID, was locked against all others.
    Locked {
        database: u32,
        relation: u32,
    },
    RestorePoint(String),
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
    /// Among the rows of its block.
    pub offset: u16,
}

/// A commit or an abort: recovery stops at either.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    pub committed: bool,
    /// It had been prepared before.
    pub prepared: bool,
    pub xid: u32,
    pub time: Option<Time>,
    /// Subtransactions that ended with it.
    pub parts: Vec<u32>,
    /// Files of relations that were removed.
    pub removed: Vec<Locator>,
    pub dropped: Vec<Dropped>,
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

/// A whole record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalEvent {
    pub lsn: Lsn,
    /// 0: of no transaction.
    pub xid: u32,
    pub happened: Happened,
}

impl WalEvent {
    /// `bytes`: all of the record at `lsn`. What can't be understood is [`Happened::Other`].
    pub fn read(lsn: Lsn, bytes: &[u8], major: Major) -> Self {
        let read = Record::split(bytes);
        Self {
            lsn,
            xid: Bytes(bytes.get(4..).unwrap_or_default()).u32().unwrap_or(0),
            happened: read
                .and_then(|record| record.happened(major))
                .unwrap_or(Happened::Other),
        }
    }
}

/// Bytes that are read from their beginning.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn time(&mut self) -> Option<Option<Time>> {
        let micros = self.array().map(i64::from_le_bytes)?;
        let since = micros.checked_add(EPOCH * 1_000_000);
        Some(since.and_then(DateTime::from_timestamp_micros))
    }

    /// RelFileLocator.
    fn locator(&mut self) -> Option<Locator> {
        Some(Locator {
            tablespace: self.u32()?,
            database: self.u32()?,
            number: self.u32()?,
        })
    }

    /// How many there are, then these.
    fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.u32()?;
        // Each has four bytes at least.
        let mut list = Vec::with_capacity((count as usize).min(self.0.len() / 4));
        for _ in 0..count {
            list.push(one(self)?);
        }
        Some(list)
    }
}

/// The block that a record is about: of several the first of a main fork.
#[derive(Clone, Copy)]
struct Block {
    relation: Locator,
    number: u32,
}

struct Record<'a> {
    xid: u32,
    manager: u8,
    info: u8,
    block: Option<Block>,
    /// How many it names.
    blocks: usize,
    data: Bytes<'a>,
}

impl<'a> Record<'a> {
    fn split(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = Bytes(bytes);
        let mut header = Bytes(rest.take(HEADER)?);
        header.take(4)?;
        let xid = header.u32()?;
        header.take(8)?;
        let (info, manager) = (header.u8()?, header.u8()?);
        let (mut block, mut blocks) = (None, 0);
        let mut relation = None;
        // Of the blocks, behind all headers.
        let mut behind = 0;
        let mut length = 0;
        while rest.0.len() > behind {
            match rest.u8()? {
                SHORT_DATA => {
                    length = rest.u8()?.into();
                    break;
                }
                LONG_DATA => {
                    length = rest.u32()? as usize;
                    break;
                }
                ORIGIN => {
                    rest.take(2)?;
                }
                TOP_XID => {
                    rest.take(4)?;
                }
                _ => {
                    blocks += 1;
                    let flags = rest.u8()?;
                    behind += usize::from(rest.u16()?);
                    if flags & HAS_IMAGE != 0 {
                        behind += usize::from(rest.u16()?);
                        rest.take(2)?;
                        let image = rest.u8()?;
                        if image & HAS_HOLE != 0 && image & COMPRESSED != 0 {
                            rest.take(2)?;
                        }
                    }
                    if flags & SAME_RELATION == 0 {
                        relation = Some(rest.locator()?);
                    }
                    let (relation, number) = (relation?, rest.u32()?);
                    if flags & FORK == 0 {
                        block.get_or_insert(Block { relation, number });
                    }
                }
            }
        }
        // Behind the data of the blocks.
        let data = bytes.get(bytes.len().checked_sub(length)?..)?;
        Some(Self {
            xid,
            manager,
            info,
            block,
            blocks,
            data: Bytes(data),
        })
    }

    fn happened(mut self, major: Major) -> Option<Happened> {
        // The lower half is of whoever wrote the record, not of its kind.
        let kind = self.info & 0xF0;
        Some(match (self.manager, kind) {
            // XLOG_XACT_PREPARE.
            (TRANSACTION, _) if kind & 0x70 == 0x10 => Happened::Prepared(self.prepared()?),
            (TRANSACTION, _) => Happened::Ended(Box::new(self.ended(major)?)),
            // XLOG_HEAP_OPMASK; the highest bit says that the page is new.
            (HEAP, _) => match kind & 0x70 {
                0x10 => Happened::Deleted(self.row(4)?),
                0x20 | 0x40 => Happened::Updated(self.row(4)?),
                0x70 => Happened::InPlace(self.row(0)?),
                _ => Happened::Wrote(self.block?.relation),
            },
            // XLOG_SMGR_CREATE: the file, then which fork: the main or, of an unlogged relation, the initial one.
            (STORAGE, 0x10) => {
                let file = self.data.locator()?;
                match self.data.u32()? {
                    fork @ (0 | 3) => Happened::Created {
                        file,
                        unlogged: fork == 3,
                    },
                    _ => return None,
                }
            }
            // XLOG_STANDBY_LOCK: how many, and each with its transaction.
            (STANDBY, 0x00) => {
                self.data.take(8)?;
                Happened::Locked {
                    database: self.data.u32()?,
                    relation: self.data.u32()?,
                }
            }
            (XLOG, 0x70) => {
                self.data.take(8)?;
                let name = self.data.0.split(|byte| *byte == 0).next()?;
                Happened::RestorePoint(String::from_utf8_lossy(name).into_owned())
            }
            // CHECKPOINT_SHUTDOWN and CHECKPOINT_ONLINE. The former, with which a recovery ends that nobody asked to
            // promote (PerformRecoveryXLogAction in `src/backend/access/transam/xlog.c`), leaves a timeline.
            (XLOG, 0x00 | 0x10) => {
                self.data.take(8)?;
                self.promoted(None).unwrap_or(Happened::Checkpoint {
                    // oldestActiveXid, which ends it.
                    oldest_running: Bytes(self.data.0.get(64..).unwrap_or_default())
                        .u32()
                        .filter(|xid| *xid > 0),
                })
            }
            // END_OF_RECOVERY.
            (XLOG, 0x90) => {
                let time = self.data.time()?;
                self.promoted(time)?
            }
            // FPI_FOR_HINT and FPI.
            (XLOG, 0xA0 | 0xB0) if self.blocks == 1 && self.block?.number == 0 => {
                Happened::FirstPage(self.block?.relation)
            }
            _ => Happened::Wrote(self.block?.relation),
        })
    }

    /// The new timeline and that before; takes them from the data.
    fn promoted(&mut self, time: Option<Time>) -> Option<Happened> {
        let timeline = TimelineId::new(self.data.u32()?);
        let before = TimelineId::new(self.data.u32()?);
        let (timeline, before) = timeline.zip(before)?;
        (timeline != before).then_some(Happened::Promoted {
            timeline,
            before,
            time,
        })
    }

    /// The row whose offset lies `at` so many bytes in the data. Of an update: the new row's page.
    fn row(&mut self, at: usize) -> Option<Row> {
        let Block { relation, number } = self.block?;
        self.data.take(at)?;
        Some(Row {
            relation,
            block: number,
            offset: self.data.u16()?,
        })
    }

    /// The name behind xl_xact_prepare of `src/include/access/xact.h`, which tells its length with the zero that ends it.
    fn prepared(&mut self) -> Option<String> {
        self.data.take(54)?;
        let length = self.data.u16()?;
        self.data.take(16)?;
        let name = self.data.take(length.checked_sub(1)?.into())?;
        Some(String::from_utf8_lossy(name).into_owned())
    }

    /// ParseCommitRecord and ParseAbortRecord in `src/backend/access/rmgrdesc/xactdesc.c`.
    fn ended(&mut self, major: Major) -> Option<Ended> {
        // XLOG_XACT_OPMASK: commit, abort, commit prepared, abort prepared.
        let (committed, prepared) = match self.info & 0x70 {
            0x00 => (true, false),
            0x20 => (false, false),
            0x30 => (true, true),
            0x40 => (false, true),
            _ => return None,
        };
        let data = &mut self.data;
        let mut ended = Ended {
            committed,
            prepared,
            xid: self.xid,
            time: data.time()?,
            ..Ended::default()
        };
        // XLOG_XACT_HAS_INFO, and what it tells: XACT_XINFO_HAS_... of `src/include/access/xact.h`.
        let info = match self.info & 0x80 {
            0 => 0,
            _ => data.u32()?,
        };
        let has = |bit: u32| info & (1 << bit) != 0;
        if has(0) {
            data.take(8)?;
        }
        if has(1) {
            ended.parts = data.list(Bytes::u32)?;
        }
        if has(2) {
            ended.removed = data.list(Bytes::locator)?;
        }
        if has(8) {
            let dropped = data.list(|data| dropped(data, major))?;
            ended.dropped = dropped.into_iter().flatten().collect();
        }
        if has(3) {
            // SharedInvalidationMessage.
            data.list(|data| data.take(16))?;
        }
        if prepared {
            // The record belongs to no transaction, and names the one that it ends.
            ended.xid = data.u32().filter(|_| has(4))?;
        }
        Some(ended)
    }
}

/// xl_xact_stats_item: from 18 on with eight bytes of the object's number.
fn dropped(data: &mut Bytes<'_>, major: Major) -> Option<Option<Dropped>> {
    let (kind, database, relation) = (data.u32()?, data.u32()?, data.u32()?);
    if major >= Major::V18 {
        data.take(4)?;
    }
    Some(match kind {
        1 => Some(Dropped::Database(database)),
        2 => Some(Dropped::Relation { database, relation }),
        _ => None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LSN: Lsn = Lsn(0x0151_6A48);

    /// A record of transaction 7.
    fn record(manager: u8, info: u8, blocks: &[u8], data: &[u8], behind: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes[4] = 7;
        (bytes[16], bytes[17]) = (info, manager);
        bytes.extend_from_slice(blocks);
        if !data.is_empty() {
            bytes.extend([SHORT_DATA, data.len() as u8]);
        }
        bytes.extend_from_slice(behind);
        bytes.extend_from_slice(data);
        let length = bytes.len() as u32;
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        bytes
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn happened(bytes: &[u8], major: Major) -> Happened {
        let event = WalEvent::read(LSN, bytes, major);
        assert_eq!((event.lsn, event.xid), (LSN, 7));
        event.happened
    }

    #[test]
    fn a_block_is_found_behind_those_of_other_forks_and_before_images() {
        let relation = Locator {
            tablespace: 1663,
            database: 5,
            number: 16_397,
        };
        // Of the visibility map, then with an image whose hole was compressed away; their bytes come behind the headers.
        let mut blocks = vec![0, 2, 0, 0];
        blocks.extend(words(&[1663, 5, 16_397, 0]));
        blocks.extend([1, SAME_RELATION | HAS_IMAGE, 3, 0]);
        blocks.extend([4, 0, 0, 0, HAS_HOLE | 0x04, 9, 9]);
        blocks.extend(words(&[7]));
        let data = [1, 0, 0, 0, 98, 0, 0, 0];
        let whole = record(HEAP, 0x10, &blocks, &data, &[0xFF; 7]);
        let row = Row {
            relation,
            block: 7,
            offset: 98,
        };
        assert_eq!(happened(&whole, Major::V15), Happened::Deleted(row));
        for cut in 8..whole.len() {
            // What is cut may say less, but nothing else.
            let cut = happened(&whole[..cut], Major::V15);
            assert!(matches!(cut, Happened::Other | Happened::Deleted(_)));
        }
        // Whole pages have no data behind them.
        let first = record(XLOG, 0xB0, &blocks, &[], &[0xFF; 7]);
        assert_eq!(happened(&first, Major::V15), Happened::Wrote(relation));
        let mut blocks = vec![0, HAS_IMAGE, 0, 0, 3, 0, 0, 0, HAS_HOLE];
        blocks.extend(words(&[1663, 5, 16_397, 0]));
        let first = record(XLOG, 0xB0, &blocks, &[], &[0xFF; 3]);
        assert_eq!(happened(&first, Major::V15), Happened::FirstPage(relation));
    }

    #[test]
    fn a_commit_tells_what_went_as_each_major_writes_it() {
        let removed = Locator {
            tablespace: 1664,
            database: 0,
            number: 9,
        };
        for (major, more) in [(Major::V15, &[][..]), (Major::V18, &[0])] {
            // The time, what there is, the database, a part, a file, two dropped statistics, an invalidation, the own number.
            let mut all = vec![500_000, 0, 0b1_0001_1111, 5, 1663, 1, 737, 1, 1664, 0, 9, 2];
            all.extend([&[2, 5, 16_388][..], more, &[1, 16_396, 0], more].concat());
            all.extend([1, 0, 0, 0, 0, 740]);
            let expected = |xid, committed| {
                Happened::Ended(Box::new(Ended {
                    committed,
                    prepared: xid != 7,
                    xid,
                    time: Some("2000-01-01T00:00:00.5Z".parse().unwrap()),
                    parts: vec![737],
                    removed: vec![removed],
                    dropped: vec![
                        Dropped::Relation {
                            database: 5,
                            relation: 16_388,
                        },
                        Dropped::Database(16_396),
                    ],
                }))
            };
            for (info, xid, committed) in [(0x80, 7, true), (0xB0, 740, true), (0xC0, 740, false)] {
                let bytes = record(TRANSACTION, info, &[], &words(&all), &[]);
                assert_eq!(
                    happened(&bytes, major),
                    expected(xid, committed),
                    "{major:?}"
                );
            }
        }
    }
}

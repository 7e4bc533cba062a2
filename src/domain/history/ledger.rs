//! Puts the segments' digests together, in order, and keeps what is asked for: memory grows with transactions
//! that are open and with what is kept, up to a limit, not with the WAL. Pure.

use std::collections::{BTreeSet, HashMap, VecDeque};

use chrono::TimeDelta;

use super::{
    chart::Chart,
    digest::{Digest, End, Mark, MarkKind},
    fresh::Fresh,
    heirs::Heirs,
    prepared::{Prepared, Waiting},
    work::{Relations, Work},
};
use crate::{
    postgres::{
        lsn::{Lsn, TimelineId},
        wal_event::Row,
        wal_summary::Locator,
    },
    util::clock::Time,
};

/// Of transactions, and of all else, no more are kept.
const MOST: usize = 10_000;

/// Rows of pg_database that were overwritten lately.
const OVERWRITTEN: usize = 64;

/// DROP DATABASE marks the row, waits for the disk, and deletes it (dropdb in `src/backend/commands/dbcommands.c`):
/// not more WAL than this lies between. Servers before 15.4 mark nothing.
const WITHIN: u64 = 16 << 20;

/// A server's clock that was set back, not just transactions that passed each other.
const SET_BACK: TimeDelta = TimeDelta::seconds(2);

/// Which transactions are kept.
#[derive(Clone, Debug)]
pub struct Filter {
    pub since: Time,
    pub until: Time,
    /// Those that deleted or updated so many rows, of whichever relations: partitions are many. Those that dropped something are kept always.
    pub min_rows: u64,
    /// This one alone, or that with this subtransaction.
    pub xid: Option<u32>,
    /// Those that touched one of these relations, however little, and what was dropped.
    pub table: Option<Relations>,
    /// All of them.
    pub all: bool,
    /// A time without a commit as long as this is told.
    pub quiet: TimeDelta,
}

/// Something that happened.
#[derive(Debug)]
pub struct Found {
    /// The record before which the state was still as it was before.
    pub lsn: Lsn,
    /// When it happened; of what has no time of its own, when the transaction before it ended.
    pub time: Option<Time>,
    pub kind: FoundKind,
    /// Prepared transactions that are open there.
    pub prepared: Vec<Prepared>,
}

#[derive(Debug)]
pub enum FoundKind {
    Transaction(Box<Ended>),
    RestorePoint(String),
    Checkpoint,
    Promoted {
        timeline: TimelineId,
        before: TimelineId,
    },
    /// Since then nothing had been committed.
    Quiet {
        since: Time,
    },
    /// The server's clock had shown a later time already.
    ClockSetBack {
        from: Time,
    },
    /// What happened there is not known.
    Unread {
        segment: String,
        why: String,
    },
}

#[derive(Debug)]
pub struct Ended {
    pub end: End,
    /// Whether it is among those that a table was asked for.
    pub touches_table: bool,
}

#[derive(Debug)]
pub struct Ledger {
    filter: Filter,
    open: HashMap<u32, Work>,
    fresh: Fresh,
    heirs: Heirs,
    waiting: Waiting,
    overwritten: VecDeque<(Lsn, Row)>,
    /// When the last transaction ended, and the latest of all.
    last: Option<Time>,
    latest: Option<Time>,
    found: Vec<Found>,
    /// For how many transactions there is room, and for how many other things.
    room: [usize; 2],
    chart: Chart,
    left_out: u64,
}

/// What a ledger holds in the end.
#[derive(Debug)]
pub struct Books {
    pub found: Vec<Found>,
    pub heirs: Heirs,
    pub chart: Chart,
    /// How much was not kept, for want of room.
    pub left_out: u64,
    /// When the last transaction ended.
    pub last: Option<Time>,
}

impl Ledger {
    pub fn new(filter: Filter, chart: Chart) -> Self {
        Self {
            filter,
            open: HashMap::new(),
            fresh: Fresh::default(),
            heirs: Heirs::default(),
            waiting: Waiting::default(),
            overwritten: VecDeque::new(),
            last: None,
            latest: None,
            found: Vec::new(),
            room: [MOST, MOST],
            chart,
            left_out: 0,
        }
    }

    /// In the order of the WAL.
    pub fn close(mut self) -> Books {
        self.found.sort_by_key(|found| found.lsn);
        for found in &mut self.found {
            self.waiting.complete(found.lsn, &mut found.prepared);
        }
        Books {
            found: self.found,
            heirs: self.heirs,
            chart: self.chart,
            left_out: self.left_out,
            last: self.last,
        }
    }

    /// What the next segment holds.
    pub fn add(&mut self, digest: Digest) {
        for mark in digest.marks {
            self.mark(mark);
        }
        for (xid, work) in digest.open {
            self.open.entry(xid).or_default().take_in(work);
        }
    }

    /// The next segment, or what comes before it, could not be read.
    pub fn unread(&mut self, lsn: Lsn, segment: String, why: String) {
        self.fresh.forget();
        self.waiting.forget(lsn);
        self.keep(lsn, self.last, FoundKind::Unread { segment, why });
    }

    fn mark(&mut self, mark: Mark) {
        let lsn = mark.lsn;
        let kind = match mark.kind {
            MarkKind::End(end) => {
                let (prepared, xid) = (end.prepared, end.xid);
                self.end(lsn, *end);
                // Right before it, it was still open.
                if prepared {
                    self.waiting.ended(lsn, xid);
                }
                return;
            }
            MarkKind::Prepared { xid, name } => return self.waiting.prepared(lsn, xid, name),
            MarkKind::DatabaseOverwritten(row) => {
                self.overwritten.push_back((lsn, row));
                if self.overwritten.len() > OVERWRITTEN {
                    self.overwritten.pop_front();
                }
                return;
            }
            MarkKind::Made(file) => return self.fresh.made(file),
            MarkKind::FirstPage(file) => return self.fresh.first_page(file),
            MarkKind::Written(file) => return self.fresh.written(file),
            MarkKind::RestorePoint(name) => FoundKind::RestorePoint(name),
            MarkKind::Checkpoint { oldest_running } => {
                // Those that a crash ended left no record of it.
                if let Some(oldest) = oldest_running {
                    self.open.retain(|xid, _| !precedes(*xid, oldest));
                }
                FoundKind::Checkpoint
            }
            MarkKind::Promoted {
                timeline,
                before,
                time,
            } => {
                self.last = time.or(self.last);
                FoundKind::Promoted { timeline, before }
            }
        };
        if self.is_within(self.last) && self.filter.xid.is_none() {
            self.keep(lsn, self.last, kind);
        }
    }

    fn end(&mut self, lsn: Lsn, mut end: End) {
        let mut work = self.open.remove(&end.xid).unwrap_or_default();
        for part in &end.parts {
            if let Some(part) = self.open.remove(part) {
                work.take_in(part);
            }
        }
        work.take_in(std::mem::take(&mut end.work));
        end.work = work;
        end.empty = self.fresh.ended(&end);
        self.heirs.note(&end);
        self.clock(lsn, &end);
        if !self.is_within(end.time) {
            return;
        }
        // What it made itself is nobody's loss.
        let made: BTreeSet<&Locator> = end.work.created.iter().collect();
        let lost = end.committed;
        end.removed.retain(|file| lost && !made.contains(file));
        let rows = end.work.sum();
        self.chart.add(end.time, end.committed, rows);
        let touches_table = self.touches_table(&end);
        if !self.is_wanted(&end, touches_table) {
            return;
        }
        let before = if end.dropped_databases.is_empty() {
            lsn
        } else {
            self.before_drop(&end.work).unwrap_or(lsn)
        };
        let ended = Ended { end, touches_table };
        self.keep(
            before,
            ended.end.time,
            FoundKind::Transaction(Box::new(ended)),
        );
    }

    /// What the times of transactions tell.
    fn clock(&mut self, lsn: Lsn, end: &End) {
        let Some(time) = end.time else { return };
        let told = self.filter.xid.is_none();
        let before = self
            .latest
            .replace(self.latest.map_or(time, |latest| latest.max(time)));
        if let Some(before) = before {
            let gone = time - before;
            let kind = if gone >= self.filter.quiet {
                Some(FoundKind::Quiet { since: before })
            } else if gone < -SET_BACK {
                // From here on the clock counts anew.
                self.latest = Some(time);
                Some(FoundKind::ClockSetBack { from: before })
            } else {
                None
            };
            let time = Some(time);
            let within = self.is_within(time) || self.is_within(Some(before));
            if let Some(kind) = kind.filter(|_| within && told) {
                self.keep(lsn, time, kind);
            }
        }
        self.last = Some(time);
    }

    fn is_within(&self, time: Option<Time>) -> bool {
        time.is_none_or(|time| self.filter.since <= time && time <= self.filter.until)
    }

    fn is_wanted(&self, end: &End, touches_table: bool) -> bool {
        if let Some(xid) = self.filter.xid {
            return end.xid == xid || end.parts.contains(&xid);
        }
        // A table that is dropped goes with its definition, were it empty.
        let loses = |file: &Locator| !end.empty.contains(file) || !end.dropped.is_empty();
        let drops =
            end.committed && (end.removed.iter().any(loses) || !end.dropped_databases.is_empty());
        let large = || end.work.sum().most() >= self.filter.min_rows;
        drops
            || touches_table
            || self.filter.all
            || self.filter.table.is_none() && end.committed && large()
    }

    /// A table that is rewritten goes on in a new file.
    fn touches_table(&mut self, end: &End) -> bool {
        let Some(table) = &mut self.filter.table else {
            return false;
        };
        let is_its = |file: &Locator| table.files.contains(&(file.database, file.number));
        let changes = end.work.rows().any(|(file, _)| is_its(&file));
        let replaces = end.removed.iter().any(is_its)
            || !end.removed.is_empty()
                && end.work.locked.iter().any(|oid| table.oids.contains(oid));
        let mut gone = end
            .dropped
            .iter()
            .copied()
            .chain(end.work.columns_changed());
        let drops = gone.any(|oid| table.oids.contains(&oid));
        if replaces && end.committed {
            let created = end.work.created.iter();
            let created = created.map(|file| (file.database, file.number));
            table.files.extend(created);
        }
        changes || replaces || drops
    }

    /// Where the database was still whole: its row is marked as invalid before the transaction has done anything
    /// else, and for good, whether that commits or not; and its folders are gone before the commit.
    fn before_drop(&self, work: &Work) -> Option<Lsn> {
        let (deleted_at, row) = work.database_row?;
        let near = |lsn: Lsn| lsn < deleted_at && deleted_at.0 - lsn.0 <= WITHIN;
        let mut marked = self.overwritten.iter().rev();
        let marked = marked.find(|(lsn, other)| near(*lsn) && *other == row);
        Some(marked.map_or(deleted_at, |(lsn, _)| *lsn))
    }

    fn keep(&mut self, lsn: Lsn, time: Option<Time>, kind: FoundKind) {
        let room = match kind {
            FoundKind::Transaction(_) => &mut self.room[0],
            _ => &mut self.room[1],
        };
        if *room > 0 {
            *room -= 1;
            self.found.push(Found {
                lsn,
                time,
                kind,
                prepared: self.waiting.before(lsn),
            });
        } else {
            self.left_out += 1;
        }
    }
}

/// TransactionIdPrecedes of `src/backend/access/transam/transam.c`: transaction numbers go round.
fn precedes(one: u32, other: u32) -> bool {
    (one.wrapping_sub(other) as i32) < 0
}

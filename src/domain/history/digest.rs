//! What one segment of WAL holds: where transactions ended, with what their records in this segment tell, and
//! what of others is left open. Pure.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::work::{DATABASES, Oid, Work, is_of_users};
use crate::{
    postgres::{
        lsn::{Lsn, TimelineId},
        wal_event::{Dropped, Ended, Happened, Row, WalEvent},
        wal_summary::Locator,
    },
    util::clock::Time,
};

/// Of the files and relations that one transaction dropped no more are told by name.
const MOST: usize = 10_000;

/// In the order of the WAL.
#[derive(Debug, Default)]
pub struct Digest {
    pub marks: Vec<Mark>,
    /// What transactions did that had not ended at the segment's end.
    pub open: HashMap<u32, Work>,
    /// Files of which is told already that something was written into them.
    written: HashSet<Locator>,
    last_written: Option<Locator>,
}

#[derive(Debug)]
pub struct Mark {
    pub lsn: Lsn,
    pub kind: MarkKind,
}

#[derive(Debug)]
pub enum MarkKind {
    End(Box<End>),
    Prepared {
        xid: u32,
        name: String,
    },
    RestorePoint(String),
    Checkpoint {
        oldest_running: Option<u32>,
    },
    Promoted {
        timeline: TimelineId,
        before: TimelineId,
        time: Option<Time>,
    },
    /// A row of pg_database was overwritten.
    DatabaseOverwritten(Row),
    /// A relation got a file, in which there is nothing.
    Made(Locator),
    /// Its first page was written, whole.
    FirstPage(Locator),
    /// It was written into, for the first time since it was made or the segment began.
    Written(Locator),
}

/// A transaction that ended.
#[derive(Debug)]
pub struct End {
    pub xid: u32,
    pub committed: bool,
    /// It had been prepared before.
    pub prepared: bool,
    pub time: Option<Time>,
    /// Its subtransactions.
    pub parts: Vec<u32>,
    /// Files that went with it.
    pub removed: Vec<Locator>,
    /// Those of them that held no row for sure.
    pub empty: BTreeSet<Locator>,
    /// Relations, and databases, that it dropped.
    pub dropped: Vec<Oid>,
    pub dropped_databases: Vec<u32>,
    /// What it and its subtransactions did.
    pub work: Work,
}

impl Digest {
    /// Records come in the order of the WAL.
    pub fn note(&mut self, event: WalEvent) {
        let WalEvent { lsn, xid, happened } = event;
        self.note_file(lsn, &happened);
        let kind = match happened {
            Happened::Other | Happened::Wrote(_) | Happened::FirstPage(_) => return,
            Happened::Ended(ended) => MarkKind::End(Box::new(self.end(*ended))),
            Happened::Prepared(name) => MarkKind::Prepared { xid, name },
            Happened::RestorePoint(name) => MarkKind::RestorePoint(name),
            Happened::Checkpoint { oldest_running } => MarkKind::Checkpoint { oldest_running },
            Happened::Promoted {
                timeline,
                before,
                time,
            } => MarkKind::Promoted {
                timeline,
                before,
                time,
            },
            Happened::InPlace(row) if row.relation == DATABASES => {
                MarkKind::DatabaseOverwritten(row)
            }
            Happened::InPlace(_) => return,
            Happened::Deleted(_)
            | Happened::Updated(_)
            | Happened::Created { .. }
            | Happened::Locked { .. } => {
                // A new relation's file may come before the transaction has a number.
                if xid > 0 {
                    self.open.entry(xid).or_default().note(lsn, &happened);
                }
                return;
            }
        };
        self.marks.push(Mark { lsn, kind });
    }

    /// What a record says of whether there is anything in a file.
    fn note_file(&mut self, lsn: Lsn, happened: &Happened) {
        let file = match *happened {
            Happened::Wrote(file) => file,
            Happened::Deleted(row) | Happened::Updated(row) | Happened::InPlace(row) => {
                row.relation
            }
            Happened::FirstPage(file) if is_of_users(file) => {
                let kind = MarkKind::FirstPage(file);
                return self.marks.push(Mark { lsn, kind });
            }
            Happened::Created { file, unlogged } => {
                self.written.remove(&file);
                self.last_written = None;
                if !unlogged {
                    let kind = MarkKind::Made(file);
                    self.marks.push(Mark { lsn, kind });
                }
                return;
            }
            _ => return,
        };
        // One record and the next mostly are of the same relation.
        if self.last_written.replace(file) == Some(file) || !is_of_users(file) {
            return;
        }
        if self.written.insert(file) {
            let kind = MarkKind::Written(file);
            self.marks.push(Mark { lsn, kind });
        }
    }

    fn end(&mut self, ended: Ended) -> End {
        let mut work = self.open.remove(&ended.xid).unwrap_or_default();
        for part in &ended.parts {
            if let Some(part) = self.open.remove(part) {
                work.take_in(part);
            }
        }
        let (mut dropped, mut dropped_databases) = (Vec::new(), Vec::new());
        for one in ended.dropped.into_iter().take(MOST) {
            match one {
                Dropped::Database(database) => dropped_databases.push(database),
                Dropped::Relation { database, relation } => {
                    dropped.push(Oid { database, relation })
                }
            }
        }
        let mut removed = ended.removed;
        removed.truncate(MOST);
        End {
            xid: ended.xid,
            committed: ended.committed,
            prepared: ended.prepared,
            time: ended.time,
            parts: ended.parts,
            removed,
            empty: BTreeSet::new(),
            dropped,
            dropped_databases,
            work,
        }
    }
}

//! What one segment of WAL holds: where transactions ended, with what their records in this segment tell, and
//! what of others is left open. Pure.

use std::collections::HashMap;

use super::work::{DATABASES, Oid, Work};
use crate::{
    postgres::{
        lsn::{Lsn, TimelineId},
        wal_line::{Dropped, Ended, Happened, Row, WalLine},
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
}

#[derive(Debug)]
pub struct Mark {
    pub lsn: Lsn,
    pub kind: MarkKind,
}

#[derive(Debug)]
pub enum MarkKind {
    End(Box<End>),
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
}

/// A transaction that ended.
#[derive(Debug)]
pub struct End {
    pub xid: u32,
    pub committed: bool,
    pub time: Option<Time>,
    /// Its subtransactions.
    pub parts: Vec<u32>,
    /// Files that went with it.
    pub removed: Vec<Locator>,
    /// Relations, and databases, that it dropped.
    pub dropped: Vec<Oid>,
    pub dropped_databases: Vec<u32>,
    /// What it and its subtransactions did.
    pub work: Work,
}

impl Digest {
    /// Lines come in the order of the WAL.
    pub fn note(&mut self, line: &WalLine<'_>) {
        let happened = line.happened();
        let kind = match happened {
            Happened::Other => return,
            Happened::Ended(ended) => MarkKind::End(Box::new(self.end(ended))),
            Happened::RestorePoint(name) => {
                MarkKind::RestorePoint(String::from_utf8_lossy(name).into_owned())
            }
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
            | Happened::Created(_)
            | Happened::Locked { .. } => {
                // A new relation's file may come before the transaction has a number.
                if line.xid > 0 {
                    self.open.entry(line.xid).or_default().note(line, &happened);
                }
                return;
            }
        };
        let lsn = line.lsn;
        self.marks.push(Mark { lsn, kind });
    }

    fn end(&mut self, ended: Ended<'_>) -> End {
        let parts: Vec<u32> = ended.parts().collect();
        let mut work = self.open.remove(&ended.xid).unwrap_or_default();
        for part in &parts {
            if let Some(part) = self.open.remove(part) {
                work.take_in(part);
            }
        }
        let (mut dropped, mut dropped_databases) = (Vec::new(), Vec::new());
        for one in ended.dropped().take(MOST) {
            match one {
                Dropped::Database(database) => dropped_databases.push(database),
                Dropped::Relation { database, relation } => {
                    dropped.push(Oid { database, relation })
                }
            }
        }
        End {
            xid: ended.xid,
            committed: ended.committed,
            time: ended.time,
            parts,
            removed: ended.removed().take(MOST).collect(),
            dropped,
            dropped_databases,
            work,
        }
    }
}

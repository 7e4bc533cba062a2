//! Transactions that were prepared and not ended at a place of the WAL: who restores to there has them open, with their
//! locks. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::postgres::lsn::Lsn;

/// No more are told of one place: pg_prepared_xacts shows them all.
const TOLD: usize = 10;

/// Of more than these nothing is known: it bounds memory.
const MOST: usize = 10_000;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Prepared {
    pub xid: u32,
    /// Under which name; None: that was before the WAL that was read.
    pub name: Option<String>,
}

#[derive(Debug, Default)]
pub struct Waiting {
    /// By number: where it was prepared, and under which name.
    open: BTreeMap<u32, (Lsn, String)>,
    /// Whose end alone was read.
    unseen: Vec<Unseen>,
    /// Behind it nothing is missing of what was read.
    gap: Option<Lsn>,
}

/// One that was prepared before the WAL that was read, or where it has a gap.
#[derive(Debug)]
struct Unseen {
    xid: u32,
    gap: Option<Lsn>,
    ended: Lsn,
}

impl Waiting {
    pub fn prepared(&mut self, lsn: Lsn, xid: u32, name: String) {
        if self.open.len() < MOST {
            self.open.insert(xid, (lsn, name));
        }
    }

    pub fn ended(&mut self, lsn: Lsn, xid: u32) {
        if self.open.remove(&xid).is_none() && self.unseen.len() < MOST {
            let (gap, ended) = (self.gap, lsn);
            self.unseen.push(Unseen { xid, gap, ended });
        }
    }

    /// WAL is missing before this place: any of them may have ended there.
    pub fn forget(&mut self, lsn: Lsn) {
        self.open.clear();
        self.gap = Some(lsn);
    }

    /// Those that are known to be open right before a record near the end of what was read so far.
    pub fn before(&self, lsn: Lsn) -> Vec<Prepared> {
        let open = self.open.iter().filter(|(_, (at, _))| *at < lsn);
        let open = open.map(|(xid, (_, name))| Prepared {
            xid: *xid,
            name: Some(name.clone()),
        });
        open.take(TOLD).collect()
    }

    /// Adds those that are known only now to have been open there, too.
    pub fn complete(&self, lsn: Lsn, known: &mut Vec<Prepared>) {
        let was_open = |one: &&Unseen| lsn <= one.ended && one.gap.is_none_or(|gap| gap <= lsn);
        let unseen = self.unseen.iter().filter(was_open);
        let room = TOLD.saturating_sub(known.len());
        known.extend(unseen.take(room).map(|one| Prepared {
            xid: one.xid,
            name: None,
        }));
    }
}

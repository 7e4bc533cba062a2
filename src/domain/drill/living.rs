//! The living server beside the restored one: what it has from before the moment that was restored must be there too.
//!
//! Each row of the catalogs says by which transaction it was written. Where the restored server knows that transaction as
//! committed, the object must be in it; one of a later transaction, or of one that was still open then, need not.
//! Objects are known by their OIDs, which a physical copy keeps, whatever they are called by now.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    error::{Error, Kind, Result},
    postgres::{
        connection::Session,
        conninfo::ConnInfo,
        lsn::{SystemId, TimelineId},
        server_facts::ServerFacts,
    },
    repo::verified::VerifiedCheck,
    util::{cancel::Cancel, units},
};

pub const NAME: &str = "living_server";

/// To connect, and for an answer: a server in trouble must not keep a drill waiting.
const PATIENCE: Duration = Duration::from_secs(30);

/// FirstNormalTransactionId in `src/include/access/transam.h`: rows of lower ones were there at all times.
const FIRST_NORMAL: u64 = 3;

const DATABASES: &str = "SELECT oid, xmin::text, datname FROM pg_catalog.pg_database \
     WHERE datallowconn AND datconnlimit <> -2 ORDER BY 1";

/// What is in a database: catalog and OID, the transaction, and what people call it.
const OBJECTS: &str = "
    SELECT 'n' || oid, xmin::text, 'schema ' || nspname FROM pg_catalog.pg_namespace
    WHERE left(nspname, 3) <> 'pg_' AND nspname <> 'information_schema'
    UNION ALL SELECT 'e' || oid, xmin::text, 'extension ' || extname FROM pg_catalog.pg_extension
    UNION ALL SELECT 'c' || c.oid, c.xmin::text, CASE c.relkind WHEN 'r' THEN 'table ' WHEN 'p' THEN 'table '
      WHEN 'i' THEN 'index ' WHEN 'I' THEN 'index ' WHEN 'S' THEN 'sequence ' WHEN 'v' THEN 'view '
      WHEN 'm' THEN 'materialized view ' ELSE 'relation ' END || n.nspname || '.' || c.relname
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE left(n.nspname, 3) <> 'pg_' AND n.nspname <> 'information_schema' AND c.relpersistence <> 't'";

/// The restored server.
pub struct Restored<'a> {
    pub info: &'a ConnInfo,
    pub system: SystemId,
    pub timeline: TimelineId,
    /// The first transaction that it knows nothing of.
    pub next: u64,
}

/// The next transaction of a server, which is asked before others of ours make some.
pub fn next_transaction(info: &ConnInfo, cancel: &Cancel) -> Result<u64> {
    let sql = "SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text";
    Session::connect(info, cancel)?
        .query_one(sql, &[])?
        .parse(0)
}

/// Skipped, with the reason, where there is nothing to compare with.
pub fn judge(
    living: Option<&ConnInfo>,
    restored: &Restored<'_>,
    cancel: &Cancel,
) -> Result<VerifiedCheck> {
    let Some(living) = living else {
        return Ok(VerifiedCheck::skipped(
            NAME,
            "no living server is set on this host",
        ));
    };
    let mut living = living.clone();
    living.connect_timeout = living.connect_timeout.min(PATIENCE);
    living.retries = 0;
    let session = match connect(&living, restored, cancel) {
        Err(error) if error.kind() == Kind::Interrupted => return Err(error),
        Err(error) => return Ok(VerifiedCheck::skipped(NAME, error.in_one_line())),
        Ok(session) => session,
    };
    let comparison = Comparison {
        living: &living,
        restored,
        cancel,
    };
    comparison.all(&session)
}

fn connect(living: &ConnInfo, restored: &Restored<'_>, cancel: &Cancel) -> Result<Session> {
    let session = Session::connect(living, cancel)?;
    let facts = ServerFacts::gather(&session)?;
    if facts.system_id != restored.system {
        return Err(Error::failed(format!(
            "the living server is another one: its system identifier is {}",
            facts.system_id
        )));
    }
    // On another timeline the numbers of transactions are of other transactions.
    let sql = "SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()";
    let timeline: u32 = session.query_one(sql, &[])?.parse(0)?;
    match TimelineId::new(timeline) == Some(restored.timeline) {
        true => Ok(session),
        false => Err(Error::failed(format!(
            "the living server is on timeline {timeline}, and timeline {} was restored",
            restored.timeline
        ))),
    }
}

struct Comparison<'a> {
    living: &'a ConnInfo,
    restored: &'a Restored<'a>,
    cancel: &'a Cancel,
}

/// A row of a catalog.
struct Object {
    key: String,
    transaction: u32,
    name: String,
}

impl Comparison<'_> {
    fn all(&self, living: &Session) -> Result<VerifiedCheck> {
        let restored = Session::connect(self.restored.info, self.cancel)?;
        let there = objects(&restored, DATABASES)?;
        let (mut wrong, mut aside, mut same) = (Vec::new(), Vec::new(), 0);
        for database in objects(living, DATABASES)? {
            let Some(twin) = there.iter().find(|one| one.key == database.key) else {
                if self.must_be_there(&restored, &database)? {
                    wrong.push(format!("database {} is not there", database.name));
                }
                continue;
            };
            match self.inside(&database.name, &twin.name) {
                Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                Err(error) => aside.push(format!(
                    "{} was not compared: {}",
                    database.name,
                    error.in_one_line()
                )),
                Ok((missing, count)) => {
                    same += count;
                    wrong.extend(missing);
                }
            }
        }
        let fine = format!(
            "{} of the living server that were there at that moment are there",
            units::count(same, "object")
        );
        let mut check = VerifiedCheck::of(NAME, wrong, fine);
        check.details.extend(aside);
        Ok(check)
    }

    /// What is missing, and how much is not.
    fn inside(&self, living: &str, restored: &str) -> Result<(Vec<String>, u64)> {
        let living_session =
            Session::connect(&self.living.clone().with_database(living), self.cancel)?;
        let info = self.restored.info.clone().with_database(restored);
        let session = Session::connect(&info, self.cancel)?;
        let there: BTreeSet<String> = objects(&session, OBJECTS)?
            .into_iter()
            .map(|one| one.key)
            .collect();
        let (mut missing, mut same) = (Vec::new(), 0);
        for object in objects(&living_session, OBJECTS)? {
            if there.contains(&object.key) {
                same += 1;
            } else if self.must_be_there(&session, &object)? {
                missing.push(format!("{living}: {} is not there", object.name));
            }
        }
        Ok((missing, same))
    }

    fn must_be_there(&self, restored: &Session, object: &Object) -> Result<bool> {
        let Some(transaction) = full(object.transaction, self.restored.next) else {
            return Ok(false);
        };
        if transaction < FIRST_NORMAL {
            return Ok(true);
        }
        // None: so old that nobody remembers, and what is that old was committed.
        let sql = "SELECT pg_catalog.pg_xact_status($1::text::xid8)";
        let status = restored
            .query_one(sql, &[&transaction.to_string()])?
            .optional(0)?;
        Ok(status.is_none_or(|status| status == "committed"))
    }
}

fn objects(session: &Session, sql: &str) -> Result<Vec<Object>> {
    let rows = session.query_rows(sql, &[])?;
    let object = |row: &crate::postgres::row::Row| {
        Ok(Object {
            key: row.text(0)?,
            transaction: row.parse(1)?,
            name: row.text(2)?,
        })
    };
    rows.iter().map(object).collect()
}

/// The whole number of a transaction of which a row has the lower half, and which came before `next`; None: it came later.
/// Half of all numbers lie in the past (`TransactionIdPrecedes` in `src/backend/access/transam/transam.c`).
fn full(half: u32, next: u64) -> Option<u64> {
    let own = u64::from(half);
    if own < FIRST_NORMAL {
        return Some(own);
    }
    let age = (next as u32).wrapping_sub(half);
    match age {
        1..=0x7fff_ffff => Some(next.saturating_sub(u64::from(age))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_round_again() {
        let round = 1_u64 << 32;
        for (half, next, expected) in [
            (100, 200, Some(100)),
            (200, 200, None),
            (300, 200, None),
            (2, round + 200, Some(2)),
            (u32::MAX, round + 200, Some(round - 1)),
            (100, round + 200, Some(round + 100)),
            (100, round - 5, None),
        ] {
            assert_eq!(full(half, next), expected, "{half} before {next}");
        }
    }
}

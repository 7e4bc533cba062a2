//! Indexes and foreign keys: as many as were dumped, and each in force.

use super::compare::{Expected, counted};
use crate::{
    error::Result,
    postgres::connection::Session,
    repo::{dump::DumpContents, verified::VerifiedCheck},
};

const INVALID: &str = "SELECT n.nspname, c.relname FROM pg_catalog.pg_index i \
     JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE NOT (i.indisvalid AND i.indisready AND i.indislive) ORDER BY 1, 2";

/// One that is not enforced (from PostgreSQL 18 on) is never validated.
const UNVALIDATED: &str = "SELECT n.nspname, c.relname, con.conname FROM pg_catalog.pg_constraint con \
     JOIN pg_catalog.pg_class c ON c.oid = con.conrelid \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE con.contype = 'f' AND con.conparentid = 0 AND NOT con.convalidated \
     AND coalesce(pg_catalog.to_jsonb(con)->>'conenforced', 'true') = 'true' ORDER BY 1, 2, 3";

pub fn indexes(
    session: &Session,
    expected: Expected<'_>,
    found: &DumpContents,
) -> Result<VerifiedCheck> {
    let mut wrong = Vec::new();
    session.for_each_row(INVALID, &[], |row| {
        wrong.push(format!("{}.{} is not valid", row.text(0)?, row.text(1)?));
        Ok(())
    })?;
    let count = |contents: &DumpContents| contents.counts.indexes;
    Ok(counted("indexes", "indexes", expected, found, count, wrong))
}

pub fn foreign_keys(
    session: &Session,
    expected: Expected<'_>,
    found: &DumpContents,
) -> Result<VerifiedCheck> {
    let mut wrong = Vec::new();
    session.for_each_row(UNVALIDATED, &[], |row| {
        let (schema, table, name) = (row.text(0)?, row.text(1)?, row.text(2)?);
        wrong.push(format!("{name} of {schema}.{table} is NOT VALID"));
        Ok(())
    })?;
    let count = |contents: &DumpContents| contents.counts.foreign_keys;
    Ok(counted(
        "foreign_keys",
        "foreign keys",
        expected,
        found,
        count,
        wrong,
    ))
}

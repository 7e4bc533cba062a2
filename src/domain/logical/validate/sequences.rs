//! Sequences that would next give a value that their column already has: the next insert would fail.

use crate::{
    error::Result,
    postgres::{connection::Session, sql::identifier},
    repo::verified::VerifiedCheck,
    util::process::NO_LIMIT,
};

/// Sequences that fill a column of whole numbers and don't begin again: that belong to it (serial, identity), or give its
/// default and nothing else.
const FILLING: &str = "SELECT sn.nspname, s.relname, n.nspname, c.relname, a.attname, q.seqincrement > 0 \
     FROM pg_catalog.pg_sequence q \
     JOIN pg_catalog.pg_class s ON s.oid = q.seqrelid \
     JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace \
     CROSS JOIN LATERAL (SELECT d.refobjid AS relid, d.refobjsubid AS number FROM pg_catalog.pg_depend d \
       WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = s.oid \
       AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0 \
       UNION SELECT f.adrelid, f.adnum::int4 FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_attrdef f ON f.oid = d.objid \
       WHERE d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.refobjid = s.oid \
       AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass \
       AND pg_catalog.pg_get_expr(f.adbin, f.adrelid) LIKE 'nextval(%::regclass)') filled \
     JOIN pg_catalog.pg_class c ON c.oid = filled.relid AND c.relkind IN ('r', 'p') \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = filled.number \
     WHERE NOT q.seqcycle AND a.atttypid IN ('pg_catalog.int2'::pg_catalog.regtype, \
       'pg_catalog.int4'::pg_catalog.regtype, 'pg_catalog.int8'::pg_catalog.regtype) ORDER BY 1, 2";

pub fn behind(session: &Session) -> Result<VerifiedCheck> {
    let mut wrong = Vec::new();
    let rows = session.query_rows(FILLING, &[])?;
    for row in &rows {
        let sequence = format!(
            "{}.{}",
            identifier(&row.text(0)?),
            identifier(&row.text(1)?)
        );
        let table = format!(
            "{}.{}",
            identifier(&row.text(2)?),
            identifier(&row.text(3)?)
        );
        let column = identifier(&row.text(4)?);
        let (far, beyond) = match row.parse(5)? {
            true => ("max", ">"),
            false => ("min", "<"),
        };
        // The last value was given away, or, of a new sequence, is the first to be.
        let sql = format!(
            "SELECT t.far, s.last_value FROM (SELECT {far}({column})::int8 AS far FROM {table}) t, {sequence} s \
             WHERE t.far {beyond} s.last_value OR (t.far = s.last_value AND NOT s.is_called)"
        );
        let found = session.with_limit(NO_LIMIT, |session| session.query_rows(&sql, &[]))?;
        if let Some(found) = found.first() {
            wrong.push(format!(
                "{sequence} is at {}, {column} of {table} at {}",
                found.text(1)?,
                found.text(0)?
            ));
        }
    }
    let fine = format!("{} sequences are not behind their columns", rows.len());
    Ok(VerifiedCheck::of("sequences", wrong, fine))
}

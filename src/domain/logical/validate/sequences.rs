//! Sequences that would give a value that their column already has: an insert would fail.

use crate::{
    error::Result,
    postgres::{connection::Session, sql::identifier},
    repo::verified::VerifiedCheck,
    util::process::NO_LIMIT,
};

/// Sequences that fill a column of whole numbers and don't begin again: that belong to it (serial, identity), or give its
/// default and nothing else.
const FILLING: &str = "SELECT sn.nspname, s.relname, n.nspname, c.relname, a.attname, q.seqincrement, q.seqmin, q.seqmax \
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
        let step: i64 = row.parse(5)?;
        let (far, beyond, last) = match step > 0 {
            true => ("max", ">", format!("<= '{}'", row.text(7)?)),
            false => ("min", "<", format!(">= '{}'", row.text(6)?)),
        };
        // Of several servers each gives every n-th value: those of the others are not in its way. An int8 has no room for
        // all differences.
        let own = match step.unsigned_abs() {
            1 => String::new(),
            step => format!(" AND (c.{column}::numeric - s.last_value) % {step} = 0"),
        };
        // The last value was given away, or, of a new sequence, is the first to be. An index on the column finds what is
        // beyond.
        let sql = format!(
            "SELECT t.far, s.last_value FROM {sequence} s CROSS JOIN LATERAL (SELECT {far}(c.{column})::int8 AS far \
             FROM {table} c WHERE c.{column} {beyond}= s.last_value AND c.{column} {last}::int8{own} \
             AND (c.{column} <> s.last_value OR NOT s.is_called)) t WHERE t.far IS NOT NULL"
        );
        let found = session.with_limit(NO_LIMIT, |session| session.query_rows(&sql, &[]))?;
        if let Some(found) = found.first() {
            let step = match step {
                1 => String::new(),
                step => format!(" and goes on by {step}"),
            };
            wrong.push(format!(
                "{sequence} is at {}{step}, {column} of {table} at {}",
                found.text(1)?,
                found.text(0)?
            ));
        }
    }
    let fine = format!("{} sequences are not behind their columns", rows.len());
    Ok(VerifiedCheck::of("sequences", wrong, fine))
}

//! Tables that were not asked for, which those that are wanted belong to as partitions or by inheritance. They are parted
//! from them: else living queries of the parent would find the old rows, too, or change them. What puts them there again
//! is told.

use super::foreign_keys::set;
use crate::{
    error::Result,
    postgres::{connection::Session, row::Row, sql::identifier},
};

/// Each wanted table with a parent that is not.
const BETWEEN: &str = "SELECT pn.nspname, p.relname, n.nspname, c.relname, \
     CASE WHEN c.relispartition THEN pg_catalog.pg_get_expr(c.relpartbound, c.oid) ELSE '' END \
     FROM pg_catalog.pg_inherits i \
     JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     JOIN pg_catalog.pg_class p ON p.oid = i.inhparent JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace \
     WHERE i.inhrelid = ANY ($1::text::oid[]) AND NOT i.inhparent = ANY ($1::text::oid[]) \
     ORDER BY 3, 4, i.inhseqno";

/// What partitions have of their parents' foreign keys goes and comes with those: by itself, when they are put there again.
const KEYS: &str = "WITH RECURSIVE above(oid) AS (\
     SELECT inhparent FROM pg_catalog.pg_inherits WHERE inhrelid = ANY ($1::text::oid[]) \
     UNION SELECT i.inhparent FROM pg_catalog.pg_inherits i JOIN above ON i.inhrelid = above.oid) \
     SELECT n.nspname, c.relname, k.conname FROM pg_catalog.pg_constraint k \
     JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE k.contype = 'f' AND k.conparentid = 0 AND EXISTS (SELECT FROM above \
     JOIN pg_catalog.pg_class a USING (oid) WHERE a.relkind = 'p' AND a.oid IN (k.conrelid, k.confrelid) \
     AND NOT a.oid = ANY ($1::text::oid[]))";

/// Parts them in the restored server, once their own foreign keys are told; `schema`: where the tables will be, if elsewhere.
/// The statements that put them there again.
pub fn part(session: &Session, tables: &[u32], schema: Option<&str>) -> Result<Vec<String>> {
    let wanted = set(tables);
    let rows = session.query_rows(BETWEEN, &[&wanted])?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    for key in session.query_rows(KEYS, &[&wanted])? {
        let (table, name) = (named(&key, 0)?, identifier(&key.text(2)?));
        session.execute(&format!("ALTER TABLE {table} DROP CONSTRAINT {name}"), &[])?;
    }
    let mut again = Vec::new();
    for row in rows {
        let (parent, child) = (named(&row, 0)?, named(&row, 2)?);
        let put = match schema {
            Some(schema) => format!("{}.{}", identifier(schema), identifier(&row.text(3)?)),
            None => child.clone(),
        };
        let bound = row.text(4)?;
        let (apart, together) = match bound.is_empty() {
            true => (
                format!("ALTER TABLE {child} NO INHERIT {parent}"),
                format!("ALTER TABLE {put} INHERIT {parent};"),
            ),
            false => (
                format!("ALTER TABLE {parent} DETACH PARTITION {child}"),
                format!("ALTER TABLE {parent} ATTACH PARTITION {put} {bound};"),
            ),
        };
        session.execute(&apart, &[])?;
        again.push(together);
    }
    Ok(again)
}

/// A relation whose schema is at `place`, and its name behind that.
fn named(row: &Row, place: usize) -> Result<String> {
    let (schema, name) = (row.text(place)?, row.text(place + 1)?);
    Ok(format!("{}.{}", identifier(&schema), identifier(&name)))
}

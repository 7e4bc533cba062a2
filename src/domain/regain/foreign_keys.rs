//! Foreign keys between the tables that are wanted and others. They are left out: rows of another moment may break them,
//! and a copy that refers to living tables would be in the way of changes there. What makes them again is told.

use serde::Serialize;

use crate::{
    error::Result,
    postgres::{connection::Session, sql::identifier},
};

/// Statements that make them.
#[derive(Debug, Default, Serialize)]
pub struct ForeignKeys {
    /// Of the tables that were wanted, to others.
    pub to_others: Vec<String>,
    /// Of others to them: gone where the tables were dropped with CASCADE.
    pub from_others: Vec<String>,
}

/// Those of a partition that come from its table go with that.
const BETWEEN: &str = "SELECT n.nspname, c.relname, k.conname, pg_catalog.pg_get_constraintdef(k.oid), \
     k.conrelid = ANY ($1::text::oid[]) \
     FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE k.contype = 'f' AND k.conparentid = 0 \
     AND (k.conrelid = ANY ($1::text::oid[])) <> (k.confrelid = ANY ($1::text::oid[])) ORDER BY 1, 2, 3";

/// Drops those to others, in the restored server; `schema`: where the tables will be, if elsewhere.
pub fn part(session: &Session, tables: &[u32], schema: Option<&str>) -> Result<ForeignKeys> {
    let mut keys = ForeignKeys::default();
    for row in session.query_rows(BETWEEN, &[&set(tables)])? {
        let (own, table, name) = (row.text(0)?, identifier(&row.text(1)?), row.text(2)?);
        let statement = |schema: &str| -> Result<String> {
            let (schema, name) = (identifier(schema), identifier(&name));
            let definition = row.text(3)?;
            Ok(format!(
                "ALTER TABLE {schema}.{table} ADD CONSTRAINT {name} {definition};"
            ))
        };
        match row.parse(4)? {
            true => {
                keys.to_others.push(statement(schema.unwrap_or(&own))?);
                let (own, name) = (identifier(&own), identifier(&name));
                session.execute(
                    &format!("ALTER TABLE {own}.{table} DROP CONSTRAINT {name}"),
                    &[],
                )?;
            }
            // They refer to where the table was.
            false if schema.is_none() => keys.from_others.push(statement(&own)?),
            false => {}
        }
    }
    Ok(keys)
}

/// A set of OIDs, as a parameter.
pub fn set(oids: &[u32]) -> String {
    let oids: Vec<String> = oids.iter().map(u32::to_string).collect();
    format!("{{{}}}", oids.join(","))
}

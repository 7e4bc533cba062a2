//! Subscriptions in databases that were restored. They come disabled, with the slot of the source: whoever drops one
//! drops that slot at the publisher, and the source loses its place in what is replicated.

use tracing::warn;

use crate::{
    error::Result,
    postgres::{connection::Session, sql::identifier},
};

const OF_DATABASE: &str = "SELECT s.subname, s.subslotname FROM pg_catalog.pg_subscription s \
     JOIN pg_catalog.pg_database d ON d.oid = s.subdbid WHERE d.datname = $1 ORDER BY 1";

/// Takes them out of a database of ours, which can't be dropped while it has any; their slots stay.
pub fn take_out(session: &Session, database: &str) -> Result<()> {
    let rows = session.query_rows(OF_DATABASE, &[database])?;
    if rows.is_empty() {
        return Ok(());
    }
    let inside = session.of_database(database)?;
    for row in rows {
        let name = identifier(&row.text(0)?);
        for sql in [
            format!("ALTER SUBSCRIPTION {name} DISABLE"),
            format!("ALTER SUBSCRIPTION {name} SET (slot_name = NONE)"),
            format!("DROP SUBSCRIPTION {name}"),
        ] {
            inside.execute(&sql, &[])?;
        }
    }
    Ok(())
}

/// Tells of those that a new database has with the source's slot.
pub fn tell(session: &Session, database: &str) -> Result<()> {
    for row in session.query_rows(OF_DATABASE, &[database])? {
        let Some(slot) = row.optional(1)? else {
            continue;
        };
        let name = row.text(0)?;
        warn!(
            "database {database:?} has subscription {name:?}, disabled, with the slot {slot:?} of the source: before you \
             enable or drop it, run ALTER SUBSCRIPTION {} SET (slot_name = NONE) there, or the source loses that slot",
            identifier(&name)
        );
    }
    Ok(())
}

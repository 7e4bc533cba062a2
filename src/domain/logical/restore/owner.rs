//! Whose a database becomes that a restore makes: its owner's in the source, where that role is there. It is that from the
//! beginning, unless who restores had no rights in it then.

use tracing::warn;

use super::material::{About, Material};
use crate::{
    error::{Kind, Result},
    postgres::{archive_toc::ArchiveToc, connection::Session, sql::identifier},
};

/// Whose the database was that was dumped; None: nobody tells.
pub fn in_source<'a>(material: &'a Material, about: &'a About) -> Option<&'a str> {
    let described = || material.description.as_ref()?.owner.as_deref();
    about.toc().and_then(ArchiveToc::owner).or_else(described)
}

/// Whether a database can be `owner`'s from the beginning: who makes it may give it away, and keeps his rights in it. Then
/// its tables can be that role's, too, which else has no right to make any in it.
pub fn comes_first(session: &Session, owner: &str) -> Result<bool> {
    // Before, each member could.
    let may_give = match session.server_version_num()? {
        160_000.. => " AND pg_catalog.pg_has_role(oid, 'SET')",
        _ => "",
    };
    let sql = format!(
        "SELECT pg_catalog.pg_has_role(oid, 'USAGE'){may_give} FROM pg_catalog.pg_roles WHERE rolname = $1"
    );
    let rows = session.query_rows(&sql, &[owner])?;
    // A role that isn't there gets nothing.
    rows.first().map_or(Ok(false), |row| row.parse(0))
}

/// Gives database `name` to `owner`, when all is in it. That this can't be keeps nobody from his rows: a warning says so.
pub fn give(session: &Session, name: &str, owner: &str) -> Result<()> {
    let sql = format!(
        "ALTER DATABASE {} OWNER TO {}",
        identifier(name),
        identifier(owner)
    );
    match session.execute(&sql, &[]) {
        Err(error) if error.kind() != Kind::Interrupted => {
            warn!(
                "database {name:?} is not given to {owner}, whose it was in the source: {}; when role and rights are there \
                 (--globals restores roles), run {sql}",
                error.in_one_line()
            );
            Ok(())
        }
        given => given.map(drop),
    }
}

/// Whose database `name` is.
pub fn of(session: &Session, name: &str) -> Result<String> {
    let sql =
        "SELECT pg_catalog.pg_get_userbyid(datdba) FROM pg_catalog.pg_database WHERE datname = $1";
    session.query_one(sql, &[name])?.text(0)
}

//! Whose a database becomes that a restore makes: its owner's in the source, where that role is there. It is given away
//! when all is in it, since who restores may need to own it meanwhile.

use tracing::warn;

use super::material::{About, Material};
use crate::{
    error::{Kind, Result},
    postgres::{archive_toc::ArchiveToc, connection::Session, sql::identifier},
};

/// Whose the database was that was dumped; None: nobody tells.
pub fn in_source<'a>(material: &'a Material<'_>, about: &'a About) -> Option<&'a str> {
    let described = || material.description.as_ref()?.owner.as_deref();
    about.toc().and_then(ArchiveToc::owner).or_else(described)
}

/// Gives database `name` to `owner`. That this can't be keeps nobody from his rows: a warning says so, which calls the
/// database `called`.
pub fn give(session: &Session, name: &str, owner: &str, called: &str) -> Result<()> {
    let (name, quoted) = (identifier(name), identifier(owner));
    let sql = format!("ALTER DATABASE {name} OWNER TO {quoted}");
    match session.execute(&sql, &[]) {
        Err(error) if error.kind() != Kind::Interrupted => {
            warn!(
                "database {called:?} is not given to {owner}, whose it was in the source: {}; when role and rights are \
                 there (--globals restores roles), run ALTER DATABASE {} OWNER TO {quoted}",
                error.in_one_line(),
                identifier(called)
            );
            Ok(())
        }
        given => given.map(drop),
    }
}

/// Whether who gives something to `owner` has no rights in it any more: a member of that role who doesn't inherit them.
pub fn lets_go(session: &Session, owner: &str) -> Result<bool> {
    let sql = "SELECT NOT pg_catalog.pg_has_role(oid, 'USAGE') FROM pg_catalog.pg_roles WHERE rolname = $1";
    let rows = session.query_rows(sql, &[owner])?;
    // A role that isn't there gets nothing.
    rows.first().map_or(Ok(false), |row| row.parse(0))
}

/// Whose database `name` is.
pub fn of(session: &Session, name: &str) -> Result<String> {
    let sql =
        "SELECT pg_catalog.pg_get_userbyid(datdba) FROM pg_catalog.pg_database WHERE datname = $1";
    session.query_one(sql, &[name])?.text(0)
}

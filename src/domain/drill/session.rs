//! How we get in: the restored server trusts whoever reaches its socket, but nobody knows which roles it has.

use crate::{
    domain::logical::restore::fresh::is_passing,
    error::{Error, Kind, Result},
    postgres::{
        connection::Session,
        conninfo::ConnInfo,
        sql::{identifier, literal},
    },
    util::cancel::Cancel,
};

/// As a superuser, whose name any role can ask for.
pub fn superuser(info: &ConnInfo, users: &[String], cancel: &Cancel) -> Result<ConnInfo> {
    const SUPERUSERS: &str = "SELECT rolname FROM pg_catalog.pg_roles \
         WHERE rolsuper AND rolcanlogin ORDER BY oid LIMIT 1";
    let mut refusal = None;
    for user in users {
        let mut info = info.clone();
        info.user.clone_from(user);
        let found =
            Session::connect(&info, cancel).and_then(|session| session.query_rows(SUPERUSERS, &[]));
        match found {
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            Err(error) => refusal = refusal.or(Some(error)),
            Ok(rows) => {
                let Some(row) = rows.first() else {
                    return Err(Error::failed(
                        "the restored cluster has no superuser that may log in",
                    ));
                };
                info.user = row.text(0)?;
                return Ok(info);
            }
        }
    }
    let tried = users.join(", ");
    let error = Error::failed(format!(
        "the restored server lets none of these in: {tried}"
    ))
    .hint("set user in [cluster.NAME] to a role that it has.");
    Err(match refusal {
        Some(refusal) => error.because(refusal.in_one_line()),
        None => error,
    })
}

/// The databases that can be connected to, but for those that pgstow itself was loading at that moment: half of what
/// is to be in them is no fault, nor is it that they are gone the next time.
pub fn databases(info: &ConnInfo, cancel: &Cancel) -> Result<Vec<String>> {
    const DATABASES: &str = "SELECT datname FROM pg_catalog.pg_database \
         WHERE datallowconn AND datconnlimit <> -2 ORDER BY 1";
    let session = Session::connect(info, cancel)?;
    let rows = session.query_rows(DATABASES, &[])?;
    let names: Result<Vec<String>> = rows.iter().map(|row| row.text(0)).collect();
    Ok(names?
        .into_iter()
        .filter(|name| !is_passing(name))
        .collect())
}

/// Clears the way for ourselves and for programs, into all databases or the one that is named: what roles and databases
/// set, databases that let nobody in, and transactions that were prepared and not ended, whose locks nobody would ever
/// take back. Gives the names of those.
pub fn clear_way(info: &ConnInfo, only: Option<&str>, cancel: &Cancel) -> Result<Vec<String>> {
    let session = Session::connect(info, cancel)?;
    forget_settings(&session)?;
    open(&session)?;
    roll_back_prepared(&session, info, only, cancel)
}

/// They would lead our own sessions, and the programs', to other roles, limits and libraries.
fn forget_settings(session: &Session) -> Result<()> {
    for statement in [
        // Such settings are in force in this session, too.
        "SET SESSION AUTHORIZATION DEFAULT",
        "SET ROLE NONE",
        "SET default_transaction_read_only = off",
        "SET allow_system_table_mods = on",
        "DELETE FROM pg_catalog.pg_db_role_setting",
    ] {
        session.execute(statement, &[])?;
    }
    Ok(())
}

/// So that they are looked into like the others. Not template0, from which new ones are made, nor what a DROP DATABASE
/// has begun with.
fn open(session: &Session) -> Result<()> {
    const CLOSED: &str = "SELECT datname FROM pg_catalog.pg_database \
         WHERE NOT datallowconn AND datconnlimit <> -2 AND datname <> 'template0'";
    for row in session.query_rows(CLOSED, &[])? {
        let name = identifier(&row.text(0)?);
        session.execute(
            &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"),
            &[],
        )?;
    }
    Ok(())
}

fn roll_back_prepared(
    session: &Session,
    info: &ConnInfo,
    only: Option<&str>,
    cancel: &Cancel,
) -> Result<Vec<String>> {
    const PREPARED: &str =
        "SELECT gid, database FROM pg_catalog.pg_prepared_xacts ORDER BY database, gid";
    let mut names = Vec::new();
    for row in session.query_rows(PREPARED, &[])? {
        let (name, database) = (row.text(0)?, row.text(1)?);
        // Others may hold nothing that could be connected to.
        if only.is_some_and(|only| only != database) {
            continue;
        }
        // In its own database alone.
        let own = Session::connect(&info.clone().with_database(&database), cancel)?;
        own.execute(&format!("ROLLBACK PREPARED {}", literal(&name)), &[])?;
        names.push(name);
    }
    Ok(names)
}

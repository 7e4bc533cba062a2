//! How we get in: the restored server trusts whoever reaches its socket, but nobody knows which roles it has.

use crate::{
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

/// The databases that can be connected to.
pub fn databases(info: &ConnInfo, cancel: &Cancel) -> Result<Vec<String>> {
    const DATABASES: &str = "SELECT datname FROM pg_catalog.pg_database \
         WHERE datallowconn AND datconnlimit <> -2 ORDER BY 1";
    let session = Session::connect(info, cancel)?;
    let rows = session.query_rows(DATABASES, &[])?;
    rows.iter().map(|row| row.text(0)).collect()
}

/// Lets us look into the databases, or into the one that is named: those that let nobody in are opened, and what was
/// prepared and waits there for its COMMIT is rolled back, whose locks would keep us waiting for ever.
pub fn open(info: &ConnInfo, only: Option<&str>, cancel: &Cancel) -> Result<()> {
    // Not template0, from which new ones are made, nor what a DROP DATABASE has begun with.
    const CLOSED: &str = "SELECT datname FROM pg_catalog.pg_database \
         WHERE NOT datallowconn AND datconnlimit <> -2 AND datname <> 'template0'";
    const PREPARED: &str = "SELECT database, gid FROM pg_catalog.pg_prepared_xacts ORDER BY 1";
    let session = Session::connect(info, cancel)?;
    let is_wanted = |name: &str| only.is_none_or(|only| only == name);
    for row in session.query_rows(CLOSED, &[])? {
        let name = row.text(0)?;
        if is_wanted(&name) {
            let name = identifier(&name);
            session.execute(
                &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"),
                &[],
            )?;
        }
    }
    for row in session.query_rows(PREPARED, &[])? {
        let (database, id) = (row.text(0)?, row.text(1)?);
        if is_wanted(&database) {
            let its = Session::connect(&info.clone().with_database(&database), cancel)?;
            its.execute(&format!("ROLLBACK PREPARED {}", literal(&id)), &[])?;
        }
    }
    Ok(())
}

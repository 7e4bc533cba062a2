//! Databases that pgstow makes, and drops again unless they are wanted: also after errors and signals. What
//! a killed process left is known by its name or its comment, which say whose it is; the next run drops it.

use tracing::{info, warn};

use super::{creation::Creation, subscriptions};
use crate::{
    error::{Error, Kind, Result},
    postgres::{
        connection::Session,
        conninfo::ConnInfo,
        sql::{identifier, literal},
    },
    util::{
        cancel::Cancel,
        hash::Sha256,
        host::{self, ProcessId},
        process::NO_LIMIT,
    },
};

/// Begins the names of all of them.
const BEGIN: &str = "pgstow_";

/// Begins the comment on one with a name of its own.
const COMMENT: &str = "pgstow drops this database when it is done: ";

/// A database of ours, gone when it is dropped, but for one that is kept.
pub struct Fresh {
    /// A database of the same server to connect to.
    beside: ConnInfo,
    name: String,
    kept: bool,
}

impl Fresh {
    /// Makes an empty database `name`, which must not exist.
    pub fn make(beside: &ConnInfo, name: &str, how: &Creation, cancel: &Cancel) -> Result<Self> {
        let session = Session::connect(beside, cancel)?;
        create(&session, name, how)?;
        let mut beside = beside.clone();
        if may_silence(&session)? {
            beside.options.push_str(" -c event_triggers=off");
        }
        Ok(Self {
            beside,
            name: name.to_owned(),
            kept: false,
        })
    }

    /// Makes an empty one under a name that says whose it is.
    pub fn temporary(
        beside: &ConnInfo,
        purpose: &str,
        how: &Creation,
        cancel: &Cancel,
    ) -> Result<Self> {
        let session = Session::connect(beside, cancel)?;
        sweep(&session)?;
        let name = Owner::own().name(purpose);
        drop(session);
        Self::make(beside, &name, how, cancel)
    }

    /// Makes a temporary one under a name that somebody else chose.
    pub fn called(beside: &ConnInfo, name: &str, how: &Creation, cancel: &Cancel) -> Result<Self> {
        let session = Session::connect(beside, cancel)?;
        if let Some(comment) = comment_on(&session, name)? {
            let owner = comment.strip_prefix(COMMENT).and_then(Owner::read);
            if owner.is_none_or(|owner| !owner.is_gone()) {
                return Err(Error::new(
                    Kind::AlreadyExists,
                    format!("database {name:?} exists, and is none that pgstow left behind"),
                )
                .hint("choose another name for the temporary database (verify.database), or drop this one."));
            }
            info!("dropping database {name:?}, which an interrupted run left");
            drop_database(&session, name)?;
        }
        // Under a name of ours until its comment says whose it is.
        let mut fresh = Self::temporary(beside, "verify", how, cancel)?;
        let comment = literal(&format!("{COMMENT}{}", Owner::own().text()));
        let (own, wanted) = (identifier(&fresh.name), identifier(name));
        session.execute(&format!("COMMENT ON DATABASE {own} IS {comment}"), &[])?;
        session.execute(&format!("ALTER DATABASE {own} RENAME TO {wanted}"), &[])?;
        name.clone_into(&mut fresh.name);
        Ok(fresh)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// How to connect to it.
    pub fn info(&self) -> ConnInfo {
        self.beside.clone().with_database(&self.name)
    }

    /// It stays.
    pub fn keep(&mut self) {
        self.kept = true;
    }

    /// Drops it now; an error if it is still there.
    pub fn remove(mut self) -> Result<()> {
        self.kept = true;
        // Also behind a stop that was asked for.
        let session = Session::connect(&self.beside, &Cancel::default())?;
        drop_database(&session, &self.name)
    }
}

/// Whether this role may leave out event triggers that come with a dump: one for logins (17 and newer) may refuse ours.
fn may_silence(session: &Session) -> Result<bool> {
    let sql = "SELECT pg_catalog.has_parameter_privilege(name, 'SET') FROM pg_catalog.pg_settings \
               WHERE name = 'event_triggers'";
    let rows = session.query_rows(sql, &[])?;
    rows.first().map_or(Ok(false), |row| row.parse(0))
}

/// Whether a database is here for a while alone, by its name.
pub fn is_passing(name: &str) -> bool {
    Owner::of_name(name).is_some()
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let session = Session::connect(&self.beside, &Cancel::default());
        if let Err(error) = session.and_then(|session| drop_database(&session, &self.name)) {
            warn!(
                "database {:?} is left behind: {}; drop it by hand",
                self.name,
                error.in_one_line()
            );
        }
    }
}

fn create(session: &Session, name: &str, how: &Creation) -> Result<()> {
    let sql = format!(
        "CREATE DATABASE {} TEMPLATE template0{}",
        identifier(name),
        how.options()
    );
    // The one who copies the template waits for nobody, but may have a slow disk.
    let created = session.with_limit(NO_LIMIT, |session| session.execute(&sql, &[]));
    created.map(drop).map_err(
        |error| match error.in_one_line().contains("read-only transaction") {
            true => error.hint(why_read_only(session)),
            false => error,
        },
    )
}

/// What to do where a session may not write.
fn why_read_only(session: &Session) -> &'static str {
    let asked = session.query_one("SELECT pg_catalog.pg_is_in_recovery()", &[]);
    match asked.and_then(|row| row.parse(0)) {
        Ok(true) => "this server is a standby: name its primary.",
        _ => {
            "default_transaction_read_only is on: turn it off for this role (ALTER ROLE ... SET default_transaction_read_only \
             = off), or take another one."
        }
    }
}

/// With whoever is still in it: it is ours.
fn drop_database(session: &Session, name: &str) -> Result<()> {
    subscriptions::take_out(session, name)?;
    let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(name));
    session
        .with_limit(NO_LIMIT, |session| session.execute(&sql, &[]))
        .map(drop)
}

/// The comment on a database, empty where it has none; None: there is no such database.
fn comment_on(session: &Session, name: &str) -> Result<Option<String>> {
    let sql = "SELECT coalesce(pg_catalog.shobj_description(oid, 'pg_database'), '') \
               FROM pg_catalog.pg_database WHERE datname = $1";
    let rows = session.query_rows(sql, &[name])?;
    rows.first().map(|row| row.text(0)).transpose()
}

/// Drops what processes of this host that are gone have left, whatever it was for.
pub fn sweep(session: &Session) -> Result<()> {
    for name in left_behind(session)? {
        info!("dropping database {name:?}, which an interrupted run left");
        match drop_database(session, &name) {
            Err(error) if error.kind() != Kind::Interrupted => {
                let why = error.in_one_line();
                warn!("database {name:?}, which an interrupted run left, is still there: {why}");
            }
            dropped => dropped?,
        }
    }
    Ok(())
}

/// The databases that processes of this host left which are gone.
pub fn left_behind(session: &Session) -> Result<Vec<String>> {
    let sql = "SELECT datname, comment FROM pg_catalog.pg_database, \
               coalesce(pg_catalog.shobj_description(oid, 'pg_database'), '') comment \
               WHERE pg_catalog.starts_with(datname::text, $1) OR pg_catalog.starts_with(comment, $2) ORDER BY 1";
    let mut left = Vec::new();
    for row in session.query_rows(sql, &[BEGIN, COMMENT])? {
        let (name, comment) = (row.text(0)?, row.text(1)?);
        let by_comment = || comment.strip_prefix(COMMENT).and_then(Owner::read);
        let owner = Owner::of_name(&name).or_else(by_comment);
        if owner.is_some_and(|owner| owner.is_gone()) {
            left.push(name);
        }
    }
    Ok(left)
}

/// The process that made one.
#[derive(Debug, PartialEq, Eq)]
struct Owner {
    /// Of the names of host and boot, as much as fits a database's name.
    host: String,
    boot: String,
    process: u32,
    start: u64,
}

impl Owner {
    fn own() -> Self {
        let own = ProcessId::own();
        Self {
            host: short(&own.host),
            boot: short(&own.boot_id),
            process: own.process,
            start: own.process_start,
        }
    }

    fn text(&self) -> String {
        let Self {
            host,
            boot,
            process,
            start,
        } = self;
        format!("{host}_{boot}_{process}_{start}")
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('_');
        let owner = Self {
            host: parts.next()?.to_owned(),
            boot: parts.next()?.to_owned(),
            process: parts.next()?.parse().ok()?,
            start: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(owner)
    }

    fn name(&self, purpose: &str) -> String {
        format!("{BEGIN}{purpose}_{}", self.text())
    }

    /// Behind what the database was for.
    fn of_name(name: &str) -> Option<Self> {
        let (_, owner) = name.strip_prefix(BEGIN)?.split_once('_')?;
        Self::read(owner)
    }

    /// Surely: of another host nothing is known.
    fn is_gone(&self) -> bool {
        let here = self.host == short(&host::name());
        let boot_id = host::boot_id();
        let lives =
            self.boot == short(&boot_id) && host::process_start(self.process) == Some(self.start);
        here && !lives
    }
}

fn short(text: &str) -> String {
    Sha256::of(text.as_bytes()).to_string()[..8].to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_say_whose_they_are() {
        let own = Owner::own();
        let name = own.name("verify");
        assert!(name.len() <= 63, "{name}");
        assert_eq!(Owner::of_name(&name), Some(Owner::own()));
        assert!(is_passing(&name) && !is_passing("pgstow_verify"));
        assert!(!own.is_gone());
        let dead = Owner {
            start: own.start + 1,
            ..Owner::own()
        };
        assert!(dead.is_gone());
        let before_a_restart = Owner {
            boot: "x".to_owned(),
            ..Owner::own()
        };
        assert!(before_a_restart.is_gone());
        let of_another_host = Owner {
            host: "x".to_owned(),
            ..dead
        };
        assert!(!of_another_host.is_gone());
        for other in [
            "pgstow_verify",
            "pgstow_verify_a_b_c_d",
            "pgstow_verify_a_b_1_2_3",
            "verify_a_b_1_2",
        ] {
            assert_eq!(Owner::of_name(other), None, "{other}");
        }
    }
}

//! The databases of the server that a dump is restored into: which are there, which may be dropped.

use tracing::warn;

use super::{creation::Creation, fresh::Fresh};
use crate::{
    domain::logical::databases::matches,
    error::{Error, Kind, Result},
    postgres::{connection::Session, conninfo::ConnInfo, sql::identifier},
    util::{cancel::Cancel, process::NO_LIMIT},
};

/// Bytes of a database's name (NAMEDATALEN in `src/include/pg_config_manual.h`, less one).
const LONGEST_NAME: usize = 63;

pub struct Target<'a> {
    pub session: &'a Session,
    /// To connect by; its database is another than the one that is restored.
    pub beside: &'a ConnInfo,
    /// Names and patterns of databases that are never dropped.
    pub production: &'a [String],
    pub cancel: &'a Cancel,
}

impl Target<'_> {
    pub fn exists(&self, name: &str) -> Result<bool> {
        let sql = "SELECT 1 FROM pg_catalog.pg_database WHERE datname = $1";
        Ok(!self.session.query_rows(sql, &[name])?.is_empty())
    }

    /// Refuses to replace a database that somebody needs.
    pub fn check_may_go(&self, name: &str) -> Result<()> {
        if self.production.iter().any(|pattern| matches(pattern, name)) {
            return Err(Error::failed(format!(
                "database {name:?} is production (dump.production), which is never dropped"
            ))
            .hint("restore into another database (--to-database), and rename it by hand when all is well."));
        }
        if ["postgres", "template0", "template1"].contains(&name) {
            let what = format!("database {name:?} is PostgreSQL's own, which is never dropped");
            return Err(Error::failed(what).hint("restore into another database (--to-database)."));
        }
        let sql = "SELECT count(*) FROM pg_catalog.pg_stat_activity \
                   WHERE datname = $1 AND pid <> pg_backend_pid()";
        let sessions: u64 = self.session.query_one(sql, &[name])?.parse(0)?;
        match sessions {
            0 => Ok(()),
            _ => Err(in_use(name, &format!("{sessions} sessions are in it"))),
        }
    }

    /// An empty database to restore into, which takes the place of `name` later on.
    pub fn make_beside(&self, name: &str, mut how: Creation) -> Result<Fresh> {
        let sql = "SELECT pg_catalog.quote_ident(r.rolname) FROM pg_catalog.pg_database d \
                   JOIN pg_catalog.pg_roles r ON r.oid = d.datdba WHERE d.datname = $1";
        how.owner = Some(self.session.query_one(sql, &[name])?.text(0)?);
        Fresh::temporary(self.beside, "replace", &how, self.cancel)
    }

    /// Puts `fresh` in the place of database `name`, which is dropped then. In an order in which at each
    /// step one of the two is whole: until the second has the name, the first is only renamed.
    pub fn replace(&self, name: &str, mut fresh: Fresh) -> Result<()> {
        self.check_may_go(name)?;
        let aside = aside(name);
        self.rename(name, &aside)
            .map_err(|error| in_use(name, &error.in_one_line()))?;
        if let Err(error) = self.rename(fresh.name(), name) {
            let back = self.rename(&aside, name);
            return Err(match back {
                Ok(()) => error,
                Err(back) => {
                    fresh.keep();
                    Error::failed(format!(
                        "database {name:?} is now called {aside:?}, and what was restored {:?}: {}",
                        fresh.name(),
                        back.in_one_line()
                    ))
                    .hint(
                        "rename one of them to the old name by hand: ALTER DATABASE ... RENAME TO.",
                    )
                }
            });
        }
        fresh.keep();
        let sql = format!("DROP DATABASE {}", identifier(&aside));
        let dropped = self
            .session
            .with_limit(NO_LIMIT, |session| session.execute(&sql, &[]));
        if let Err(error) = dropped {
            warn!(
                "the database that was replaced is left as {aside:?}: {}",
                error.in_one_line()
            );
        }
        Ok(())
    }

    /// Gives `fresh` its name, by which it stays.
    pub fn call(&self, name: &str, mut fresh: Fresh) -> Result<()> {
        self.rename(fresh.name(), name)?;
        fresh.keep();
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let sql = format!(
            "ALTER DATABASE {} RENAME TO {}",
            identifier(from),
            identifier(to)
        );
        self.session.execute(&sql, &[]).map(drop)
    }
}

/// The server would cut it off in silence.
pub fn check_name(name: &str) -> Result<()> {
    match name.len() {
        1..=LONGEST_NAME => Ok(()),
        length => Err(Error::usage(format!(
            "{name:?} is no name of a database: it has {length} bytes"
        ))
        .hint(format!("names have 1 to {LONGEST_NAME} bytes."))),
    }
}

fn in_use(name: &str, why: &str) -> Error {
    Error::new(
        Kind::Failed,
        format!("database {name:?} is in use, and is not dropped: {why}"),
    )
    .hint("end its sessions first: applications, poolers, psql.")
}

/// Where a database that is replaced waits to be dropped.
fn aside(name: &str) -> String {
    const END: &str = "_before_restore";
    let mut end = name.len().min(LONGEST_NAME - END.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{END}", &name[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_aside_fit() {
        assert_eq!(aside("shop"), "shop_before_restore");
        assert!(aside(&"ä".repeat(31)).len() <= LONGEST_NAME);
    }
}

//! The databases of the server that a dump is restored into: which are there, which may be dropped.

use tracing::warn;

use super::{
    aside::{LONGEST_NAME, after, before},
    creation::Creation,
    fresh::Fresh,
};
use crate::{
    domain::logical::databases::matches,
    error::{Error, Kind, Result},
    postgres::{connection::Session, conninfo::ConnInfo, sql::identifier},
    util::{cancel::Cancel, process::NO_LIMIT},
};

/// What keeps PostgreSQL from dropping a database, or would be lost with it (`dropdb` in
/// `src/backend/commands/dbcommands.c`): a question, what its answer means, and what to do. Autovacuum gives way.
const IN_THE_WAY: [(&str, &str, &str); 5] = [
    (
        "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE datname = $1 \
         AND pid <> pg_catalog.pg_backend_pid() AND backend_type <> 'autovacuum worker' HAVING count(*) > 0",
        "it is in use, {} sessions are in it",
        "end its sessions first: applications, poolers, psql.",
    ),
    (
        "SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = $1 ORDER BY prepared",
        "it has the prepared transaction {}",
        "end that first: COMMIT PREPARED or ROLLBACK PREPARED, in that database.",
    ),
    (
        "SELECT datname FROM pg_catalog.pg_database WHERE datname = $1 AND datistemplate",
        "it is a template",
        "make it none first: ALTER DATABASE ... IS_TEMPLATE false.",
    ),
    (
        "SELECT s.subname FROM pg_catalog.pg_subscription s \
         JOIN pg_catalog.pg_database d ON d.oid = s.subdbid WHERE d.datname = $1 ORDER BY 1",
        "it has the subscription {}, which would go on to receive",
        "drop the subscription first, or restore into another database (--to-database).",
    ),
    (
        "SELECT slot_name FROM pg_catalog.pg_replication_slots WHERE database = $1 ORDER BY 1",
        "the replication slot {} would go with it, and who reads from it would lose changes",
        "drop the slot first, or restore into another database (--to-database).",
    ),
];

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
        let aside = before(name);
        if self.exists(&aside)? {
            return Err(Error::new(
                Kind::AlreadyExists,
                format!("there is a database {aside:?}, as the one that is replaced is called for a while"),
            )
            .hint(
                "it may be what an earlier restore replaced and could not drop: look at it, then drop it or rename it.",
            ));
        }
        for (question, what, hint) in IN_THE_WAY {
            let found = self.session.query_rows(question, &[name])?;
            if let Some(row) = found.first() {
                let what = what.replace("{}", &row.text(0)?);
                return Err(
                    Error::failed(format!("database {name:?} can't be dropped: {what}")).hint(hint),
                );
            }
        }
        Ok(())
    }

    /// An empty database to restore into, which takes the place of `name` later on.
    pub fn make_beside(&self, name: &str, mut how: Creation) -> Result<Fresh> {
        // To name the one that a new database gets anyway needs a right in it.
        let sql = "SELECT pg_catalog.quote_ident(r.rolname), pg_catalog.quote_ident(s.spcname) \
                   FROM pg_catalog.pg_database d JOIN pg_catalog.pg_roles r ON r.oid = d.datdba \
                   JOIN pg_catalog.pg_database t ON t.datname = 'template0' \
                   LEFT JOIN pg_catalog.pg_tablespace s ON s.oid = d.dattablespace AND s.oid <> t.dattablespace \
                   WHERE d.datname = $1";
        let old = self.session.query_one(sql, &[name])?;
        (how.owner, how.tablespace) = (Some(old.text(0)?), old.optional(1)?);
        Fresh::temporary(self.beside, "replace", &how, self.cancel)
    }

    /// Puts `fresh` in the place of database `name`, which is dropped then: both are renamed at once, so that at
    /// each moment one of them has the name. What is left over, if it can't be dropped.
    pub fn replace(&self, name: &str, mut fresh: Fresh) -> Result<Option<String>> {
        let aside = before(name);
        let renamed = self.check_may_go(name).and_then(|()| {
            self.session.execute("BEGIN", &[])?;
            self.rename(name, &aside)?;
            self.rename(fresh.name(), name)
        });
        if let Err(error) = renamed {
            // Nothing was begun, or the server does it itself where even that fails.
            let _ = self.session.execute("ROLLBACK", &[]);
            // Who has to ask for the database first need not restore once more.
            return Err(self.leave_beside(name, fresh, &error.in_one_line()));
        }
        if let Err(error) = self.session.execute("COMMIT", &[]) {
            fresh.keep();
            let what = format!(
                "nobody knows whether {name:?} was replaced: if so the old one is {aside:?} now, else the restored one is {:?}",
                fresh.name()
            );
            return Err(error.context(what).hint("look at the server's databases."));
        }
        fresh.keep();
        let sql = format!("DROP DATABASE {}", identifier(&aside));
        let dropped = self
            .session
            .with_limit(NO_LIMIT, |session| session.execute(&sql, &[]));
        let Err(error) = dropped else {
            return Ok(None);
        };
        warn!(
            "the database that was replaced is left as {aside:?}: {}",
            error.in_one_line()
        );
        Ok(Some(aside))
    }

    /// What was restored stays, under a name that nobody sweeps away; the error that says so.
    pub fn leave_beside(&self, name: &str, fresh: Fresh, why: &str) -> Error {
        let (beside, hint) = self.keep_beside(name, fresh);
        Error::failed(why)
            .context(format!(
                "database {name:?} is as it was; what was restored is beside it, as {beside:?}"
            ))
            .hint(hint)
    }

    /// The name that it has, and what to do with it.
    pub fn keep_beside(&self, name: &str, mut fresh: Fresh) -> (String, &'static str) {
        let mut names = after(name).into_iter();
        let free = names.find(|beside| matches!(self.exists(beside), Ok(false)));
        // Who sits in it keeps it from being renamed, too.
        let free = free.filter(|beside| self.rename(fresh.name(), beside).is_ok());
        let hint = match free {
            Some(_) => {
                "when nothing is in the way any more, rename the old one, and the restored one to its name (ALTER DATABASE \
                 ... RENAME TO); or drop the restored one."
            }
            None => "rename it, or the next run drops it, which takes it for remains.",
        };
        let beside = free.unwrap_or_else(|| fresh.name().to_owned());
        fresh.keep();
        (beside, hint)
    }

    /// Gives `fresh` its name, by which it stays. Where somebody was faster with a database of that name, such as another
    /// restore, both stay: what took hours is not thrown away.
    pub fn call(&self, name: &str, mut fresh: Fresh) -> Result<()> {
        let renamed = self.rename(fresh.name(), name);
        if renamed.is_err() && self.exists(name)? {
            let why = format!("somebody else made database {name:?} meanwhile");
            return Err(self.leave_beside(name, fresh, &why));
        }
        renamed?;
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

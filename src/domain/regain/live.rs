//! The living server, before anything is done: whether what is wanted can go there without touching what is there.

use super::{
    around::Surroundings,
    request::{Request, To},
};
use crate::{
    domain::logical::restore::{run::beside, target::Target},
    error::{Error, Kind, Result},
    postgres::{connection::Session, conninfo::ConnInfo, version::Major},
};

#[derive(Debug)]
pub struct Live {
    /// To connect by; its database is another than the one that it goes to.
    pub beside: ConnInfo,
    pub database: String,
    pub exists: bool,
    pub major: Major,
}

impl Live {
    /// None: it goes into a file.
    pub fn look(around: &Surroundings<'_>, request: &Request) -> Result<Option<Self>> {
        let (To::Database(name), Some(info)) = (&request.to, around.info) else {
            return Ok(None);
        };
        let mut beside = beside(info, name);
        // After an accident people set this on, so that applications write no more; whoever calls us wants it written.
        beside
            .options
            .push_str(" -c default_transaction_read_only=off");
        let session = Session::connect(&beside, around.cancel).map_err(|error| {
            error.hint(
                "start the server that it is to go to, or have it written to a file (--to-file).",
            )
        })?;
        let standby: bool = session
            .query_one("SELECT pg_catalog.pg_is_in_recovery()", &[])?
            .parse(0)?;
        if standby {
            return Err(
                Error::failed(format!("{} is a standby", beside.server())).hint(
                    "restore into its primary (PGSTOW_CLUSTER_HOST), or into a file (--to-file).",
                ),
            );
        }
        let target = Target {
            session: &session,
            beside: &beside,
            production: &[],
            cancel: around.cancel,
        };
        let live = Self {
            database: name.clone(),
            exists: target.exists(name)?,
            major: Major::from_server_version_num(session.server_version_num()?)?,
            beside,
        };
        match live.exists {
            true => live.check_free(around, request)?,
            false => may(
                &session,
                "SELECT rolsuper OR rolcreatedb FROM pg_catalog.pg_roles WHERE rolname = current_user",
                &[],
                "make a database",
            )?,
        }
        Ok(Some(live))
    }

    /// How to connect to the database that it goes to.
    pub fn info(&self) -> ConnInfo {
        self.beside.clone().with_database(&self.database)
    }

    /// For who wanted to make it.
    pub fn is_there(&self) -> Error {
        let what = format!("database {:?} exists", self.database);
        Error::new(Kind::AlreadyExists, what)
            .hint("name one that is not there yet: nothing that lives is written over.")
    }

    /// Living data is never written over.
    fn check_free(&self, around: &Surroundings<'_>, request: &Request) -> Result<()> {
        let taken =
            |what: String, hint: &str| Err(Error::new(Kind::AlreadyExists, what).hint(hint));
        let name = &self.database;
        if request.what.is_whole() {
            return Err(self.is_there());
        }
        let session = Session::connect(&self.info(), around.cancel)?;
        if let Some(schema) = &request.schema {
            let sql = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1";
            if !session.query_rows(sql, &[schema])?.is_empty() {
                return taken(
                    format!("database {name:?} has a schema {schema:?}"),
                    "name a schema that is not there yet: nothing that lives is written over.",
                );
            }
            let sql = "SELECT pg_catalog.has_database_privilege($1, 'CREATE')";
            return may(&session, sql, &[name], "make a schema");
        }
        for table in request.what.tables() {
            let sql = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1";
            if session.query_rows(sql, &[&table.schema])?.is_empty() {
                return Err(Error::new(
                    Kind::NotFound,
                    format!("database {name:?} has no schema {:?}", table.schema),
                )
                .hint("make it first (CREATE SCHEMA), or put what it held into a new one (--to-schema NAME) or a new database (--to-database NAME)."));
            }
            let sql = "SELECT pg_catalog.has_schema_privilege(oid, 'CREATE') \
                       FROM pg_catalog.pg_namespace WHERE nspname = $1";
            may(&session, sql, &[&table.schema], "make a table")?;
            let sql = "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n \
                       ON n.oid = c.relnamespace WHERE n.nspname = $1 AND (c.relname = $2 OR $2 = '*') ORDER BY 1";
            let there = session.query_rows(sql, &[&table.schema, &table.name])?;
            if let Some(there) = there.first() {
                return taken(
                    format!(
                        "{}.{} is there in database {name:?}",
                        table.schema,
                        there.text(0)?
                    ),
                    "put the old one beside it, into a new schema (--to-schema NAME) or a new database (--to-database NAME): \
                     nothing that lives is written over.",
                );
            }
        }
        Ok(())
    }
}

/// Fails where the role may surely not do what is needed; without an answer the load will tell.
fn may(session: &Session, sql: &str, params: &[&str], what: &str) -> Result<()> {
    let rows = session.query_rows(sql, params)?;
    match rows.first().map(|row| row.parse::<bool>(0)).transpose()? {
        Some(false) => Err(Error::failed(format!("the role may not {what} there")).hint(
            "run this command as a superuser, such as by PGSTOW_CLUSTER_USER=postgres, or have it written to a file (--to-file).",
        )),
        _ => Ok(()),
    }
}

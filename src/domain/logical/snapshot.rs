//! A snapshot of a database that pg_dump and our own session see: what is counted is what is dumped.

use crate::{
    error::Result,
    postgres::{connection::Session, conninfo::ConnInfo, server_facts},
    repo::dump::{DumpLocale, Snapshot},
    util::cancel::Cancel,
};

/// Held until it is dropped.
pub struct Held {
    session: Session,
    /// For `pg_dump --snapshot`.
    pub id: String,
    pub snapshot: Snapshot,
}

const EXPORT: &str = "SELECT pg_export_snapshot(), CASE WHEN pg_is_in_recovery() \
     THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END";

/// The columns for what is not of libc are not the same in all versions.
const LOCALE: &str = "SELECT pg_encoding_to_char(encoding), \
     CASE datlocprovider WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END, datcollate, datctype, \
     coalesce(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale'), to_jsonb(d)->>'daticurules' \
     FROM pg_database d WHERE datname = current_database()";

impl Held {
    pub fn take(info: &ConnInfo, cancel: &Cancel) -> Result<Self> {
        let session = Session::connect(info, cancel)?;
        session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY", &[])?;
        for setting in [
            // A policy must not make rows look fewer, as pg_dump has it.
            "row_security = off",
            // Should we go away in the middle of a count, the server is not to go on with it.
            "client_connection_check_interval = '10s'",
            // The processors are pg_dump's, and to compile a count takes longer than most counts do.
            "max_parallel_workers_per_gather = 0",
            "jit = off",
        ] {
            session.execute(&format!("SET LOCAL {setting}"), &[])?;
        }
        let row = session.query_one(EXPORT, &[])?;
        let snapshot = Snapshot {
            lsn: row.parse(1)?,
            time: server_facts::now(&session)?,
        };
        Ok(Self {
            id: row.text(0)?,
            snapshot,
            session,
        })
    }

    /// Asks something in the snapshot. An error would end the transaction, and the snapshot with it, before
    /// pg_dump has taken it over.
    pub fn ask<T>(&self, ask: impl FnOnce(&Session) -> Result<T>) -> Result<T> {
        self.session.execute("SAVEPOINT asked", &[])?;
        ask(&self.session).inspect_err(|_| {
            // Where this fails too, pg_dump says why.
            let _ = self.session.execute("ROLLBACK TO SAVEPOINT asked", &[]);
        })
    }

    /// Whose the database is.
    pub fn owner(&self) -> Result<String> {
        let owner =
            "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()";
        self.ask(|session| session.query_one(owner, &[])?.text(0))
    }

    pub fn locale(&self) -> Result<DumpLocale> {
        let row = self.ask(|session| session.query_one(LOCALE, &[]))?;
        Ok(DumpLocale {
            encoding: row.text(0)?,
            provider: row.text(1)?,
            collate: row.text(2)?,
            ctype: row.text(3)?,
            locale: row.optional(4)?,
            icu_rules: row.optional(5)?,
        })
    }

    /// Takes a look at each file of the database.
    pub fn database_bytes(&self) -> Result<u64> {
        let size = "SELECT pg_database_size(current_database())";
        self.ask(|session| session.query_one(size, &[])?.parse(0))
    }
}

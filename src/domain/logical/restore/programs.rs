//! Which pg_restore and psql: one that reads the dump, and whose SQL the server understands.

use crate::{
    error::{Error, Result},
    postgres::{client_programs::ClientPrograms, programs::Search, version::Major},
};

/// From this version on pg_restore sets `transaction_timeout`, which older servers don't know
/// (`_doSetFixedOutputState` in `src/bin/pg_dump/pg_backup_archiver.c`).
const SETS_MORE: Major = Major::V17;

/// Those for an archive that `maker` wrote, into a server of `server`.
pub fn for_server(search: &Search, server: Major, maker: Option<Major>) -> Result<ClientPrograms> {
    let programs = match maker {
        Some(maker) if maker > server => ClientPrograms::reading(search, maker)?,
        _ => ClientPrograms::find(search, server)?,
    };
    if programs.major() >= SETS_MORE && server < SETS_MORE {
        let need = match maker {
            Some(maker) if maker >= SETS_MORE => format!(
                "the dump was made by pg_dump {maker}: restore it into PostgreSQL {SETS_MORE} or newer, or dump it \
                 again with pg_dump {server}."
            ),
            _ => format!("install the package postgresql-client-{server}."),
        };
        return Err(Error::failed(format!(
            "pg_restore {} can't restore into PostgreSQL {server}, which does not know all that it sets",
            programs.version()
        ))
        .hint(need));
    }
    Ok(programs)
}

/// Those that turn an archive of `maker` into SQL, for whatever server.
pub fn for_script(search: &Search, maker: Option<Major>) -> Result<ClientPrograms> {
    match maker {
        Some(maker) => ClientPrograms::reading(search, maker),
        None => ClientPrograms::find(search, Major::V15),
    }
}

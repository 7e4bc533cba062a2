//! What a database has that is to be replaced: for plain dumps, which don't tell what theirs had, and where that is to be
//! restored without owners and rights.

use crate::{
    error::Result,
    postgres::{archive_toc::ArchiveToc, client_programs::ClientPrograms, conninfo::ConnInfo},
    util::{
        cancel::Cancel,
        process::{self, NO_LIMIT},
    },
};

/// As pg_dump tells it of the database at `info`, in an archive with little else.
pub fn properties(
    programs: &ClientPrograms,
    info: &ConnInfo,
    cancel: &Cancel,
) -> Result<ArchiveToc> {
    let mut command = programs.command("pg_dump", info)?;
    command.args([
        "--format=custom",
        "--compress=0",
        "--schema-only",
        "--exclude-schema=*",
    ]);
    let archive = process::run(&mut command, NO_LIMIT, cancel)?;
    ArchiveToc::read(archive.as_slice())
}

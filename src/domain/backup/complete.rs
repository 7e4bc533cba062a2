//! Whether all that the server knows of is in a backup. A base backup leaves out, with no more than
//! a warning, what is no plain folder: a database behind a link, a tablespace whose disk is not
//! mounted. Its manifest lists what is there, so that nobody would miss the rest.

use std::collections::BTreeSet;

use super::contents::Contents;
use crate::{
    error::{Error, Result},
    postgres::{connection::Session, server_facts},
};

/// pg_default, whose databases lie in `base`.
const DEFAULT_TABLESPACE: u32 = 1663;

/// Folders without which no server starts.
const FOLDERS: [&str; 7] = [
    "base",
    "global",
    "pg_logical",
    "pg_multixact",
    "pg_tblspc",
    "pg_twophase",
    "pg_xact",
];

/// What must be in a backup; what comes or goes while it is taken need not.
#[derive(Debug)]
pub struct Expected {
    /// OIDs of tablespace and database.
    databases: BTreeSet<(u32, u32)>,
    tablespaces: BTreeSet<u32>,
}

impl Expected {
    /// Asks the server for what there is now.
    pub fn gather(session: &Session) -> Result<Self> {
        // -2 marks one whose DROP DATABASE was interrupted: its files may be gone.
        let sql = "SELECT dattablespace, oid FROM pg_database WHERE datconnlimit <> -2";
        let rows = session.query_rows(sql, &[])?;
        let databases = rows.iter().map(|row| Ok((row.parse(0)?, row.parse(1)?)));
        let tablespaces = server_facts::tablespaces(session)?;
        Ok(Self {
            databases: databases.collect::<Result<_>>()?,
            tablespaces: tablespaces.into_iter().map(|(oid, _)| oid).collect(),
        })
    }

    /// An error for what was there before and after, and is not in `contents`.
    pub fn check(&self, after: &Self, contents: &Contents) -> Result<()> {
        let has = |folder: &str| contents.folders.contains(folder.as_bytes());
        let database = |(tablespace, oid): &&(u32, u32)| match *tablespace {
            DEFAULT_TABLESPACE => !has(&format!("base/{oid}")),
            space => !has(&format!("pg_tblspc/{space}/{oid}")),
        };
        let mut lacking: Vec<String> = FOLDERS
            .into_iter()
            .filter(|folder| !has(folder))
            .map(|folder| format!("folder {folder}"))
            .collect();
        let spaces = self.tablespaces.intersection(&after.tablespaces);
        lacking.extend(
            spaces
                .filter(|oid| !has(&format!("pg_tblspc/{oid}")))
                .map(|oid| format!("tablespace {oid}")),
        );
        let databases = self.databases.intersection(&after.databases);
        lacking.extend(
            databases
                .filter(database)
                .map(|(_, oid)| format!("database {oid}")),
        );
        if lacking.is_empty() {
            return Ok(());
        }
        Err(Error::failed(format!(
            "not all of the server's files could be copied: there is no {}",
            lacking.join(", no ")
        ))
        .hint(
            "see whether a disk is not mounted, or a link has taken the place of a folder in the data directory, which no base backup follows: \
             make a tablespace of it. The numbers are OIDs, as in pg_tablespace and pg_database.",
        ))
    }
}

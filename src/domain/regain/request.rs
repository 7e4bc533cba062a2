//! What is to be brought back, of which moment, and where to. Pure.

use std::{collections::BTreeSet, path::PathBuf};

use super::name::TableName;
use crate::{
    domain::{drill::ground::Ground, logical::restore::target::check_name, restore::target::Wish},
    error::{Error, Result},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Of one database.
    Tables(Vec<TableName>),
    Database(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// A database of the living server, made if it is not there.
    Database(String),
    /// SQL.
    File(PathBuf),
}

#[derive(Clone, Debug)]
pub struct Request {
    pub wish: Wish,
    pub what: What,
    pub to: To,
    /// Into this new schema, whichever they were in.
    pub schema: Option<String>,
    /// With owners and rights as they were.
    pub owners: bool,
    pub ground: Ground,
}

impl What {
    pub fn database(&self) -> &str {
        match self {
            What::Database(name) => name,
            What::Tables(tables) => tables.first().map_or("", |table| &table.database),
        }
    }

    pub fn is_whole(&self) -> bool {
        matches!(self, What::Database(_))
    }

    pub fn tables(&self) -> &[TableName] {
        match self {
            What::Database(_) => &[],
            What::Tables(tables) => tables,
        }
    }
}

impl Request {
    pub fn check(&self) -> Result<()> {
        let database = self.what.database();
        let other = |table: &&TableName| table.database != database;
        if let Some(other) = self.what.tables().iter().find(other) {
            return Err(Error::usage(format!(
                "tables of two databases: {database} and {}",
                other.database
            ))
            .hint("bring back those of each database by a run of its own."));
        }
        if let Some(schema) = &self.schema {
            if schema.starts_with("pg_") {
                return Err(
                    Error::usage(format!("no schema may be called {schema:?}")).hint(
                        "choose a name that does not begin with pg_: these are PostgreSQL's own.",
                    ),
                );
            }
            let mut names = BTreeSet::new();
            let mut tables = self.what.tables().iter();
            if let Some(twice) = tables.find(|table| !names.insert(&table.name)) {
                return Err(Error::usage(format!(
                    "two tables named {:?} can't be in one schema",
                    twice.name
                ))
                .hint("bring them back one after the other, each into a schema of its own."));
            }
        }
        if let To::Database(name) = &self.to {
            check_name(name)?;
        }
        if let To::File(path) = &self.to
            && path.symlink_metadata().is_ok()
        {
            return Err(Error::usage(format!("{} exists", path.display()))
                .hint("name a file that is not there yet."));
        }
        Ok(())
    }
}

//! The live server's names. It need not be there: what only it knows is then told by number.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    names::{Name, Names, TableName, Unnamed},
    work::{Oid, Relations},
};
use crate::{
    error::{Error, Result},
    postgres::{connection::Session, conninfo::ConnInfo, lsn::SystemId, server_facts::ServerFacts},
    util::cancel::Cancel,
};

/// How long it may take to connect, and to answer: a server in trouble must not keep anybody waiting.
const PATIENCE: Duration = Duration::from_secs(5);

/// More databases than these are not connected to.
const MOST: usize = 50;

const RELATIONS: &str = "
    SELECT c.oid, pg_catalog.pg_relation_filenode(c.oid), n.nspname, c.relname, c.relkind, rn.nspname, r.relname,
        c.relpersistence = 'u'
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_class r ON r.oid = pg_catalog.pg_partition_root(c.oid)
    LEFT JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
    WHERE c.relkind IN ('r', 'm', 'i', 'S', 't')";

/// A server that is the one whose WAL is looked into.
pub struct Live<'a> {
    info: ConnInfo,
    databases: BTreeMap<u32, String>,
    cancel: &'a Cancel,
}

impl<'a> Live<'a> {
    pub fn connect(info: Result<ConnInfo>, system: SystemId, cancel: &'a Cancel) -> Result<Self> {
        let mut info = info?;
        info.connect_timeout = info.connect_timeout.min(PATIENCE);
        let session = Session::connect(&info, cancel)?;
        session.with_limit(PATIENCE, |session| {
            let found = ServerFacts::gather(session)?.system_id;
            if found != system {
                return Err(Error::failed(format!(
                    "the server is another one: its system identifier is {found}, that of the WAL {system}"
                )));
            }
            let rows = session.query_rows(
                "SELECT oid, datname FROM pg_catalog.pg_database WHERE datallowconn",
                &[],
            )?;
            let databases = rows.iter().map(|row| Ok((row.parse(0)?, row.text(1)?)));
            Ok(Self {
                databases: databases.collect::<Result<_>>()?,
                info: info.clone(),
                cancel,
            })
        })
    }

    /// What of `unnamed` is not named yet.
    pub fn name(&self, unnamed: &Unnamed, names: &mut Names) -> Result<()> {
        for (oid, name) in &self.databases {
            names.databases.entry(*oid).or_insert_with(|| name.clone());
        }
        let files = unnamed
            .files
            .iter()
            .filter(|file| !names.files.contains_key(*file));
        let oids = unnamed
            .oids
            .iter()
            .filter(|oid| !names.oids.contains_key(*oid));
        let wanted: BTreeSet<u32> = files
            .map(|(database, _)| *database)
            .chain(oids.map(|oid| oid.database))
            .collect();
        for database in wanted.into_iter().take(MOST) {
            self.each(database, |oid, file, name, _| {
                let oid = Oid {
                    database,
                    relation: oid,
                };
                if file.is_some() && names.before.get(&oid) == file.as_ref() {
                    names.kept.insert(oid);
                }
                if unnamed.oids.contains(&oid) {
                    names.oids.entry(oid).or_insert_with(|| name.clone());
                }
                if let Some(file) = file.filter(|file| unnamed.files.contains(&(database, *file))) {
                    names.files.entry((database, file)).or_insert(name);
                }
            })?;
        }
        names.told_by.push("the live server".to_owned());
        Ok(())
    }

    /// All files and OIDs of tables of that name, and of partitions of one.
    pub fn find_table(&self, wanted: &TableName, found: &mut Relations) -> Result<()> {
        for (database, its_name) in self.databases.iter().take(MOST) {
            self.each(*database, |relation, file, name, root| {
                let fits = |schema: &str, table: &str| wanted.fits(its_name, schema, table);
                let is_part = root.is_some_and(|(schema, table)| fits(&schema, &table));
                if is_part || fits(&name.schema, &name.name) {
                    found.files.extend(file.map(|file| (*database, file)));
                    found.oids.insert(Oid {
                        database: *database,
                        relation,
                    });
                }
            })?;
        }
        Ok(())
    }

    /// With schema and name of the partitioned table that it is a partition of, if it is.
    fn each(
        &self,
        database: u32,
        mut take: impl FnMut(u32, Option<u32>, Name, Option<(String, String)>),
    ) -> Result<()> {
        // What all share is in every one; a dropped one is in none.
        let Some(name) = self.databases.get(&database) else {
            return Ok(());
        };
        let session = Session::connect(&self.info.clone().with_database(name), self.cancel)?;
        session.with_limit(PATIENCE, |session| {
            session.for_each_row(RELATIONS, &[], |row| {
                let oid = row.parse(0)?;
                let file = row.optional(1)?.and_then(|file| file.parse().ok());
                let name = Name {
                    schema: row.text(2)?,
                    name: row.text(3)?,
                    kind: row.text(4)?,
                    oid: Some(oid),
                    unlogged: row.parse(7)?,
                };
                take(oid, file, name, row.optional(5)?.zip(row.optional(6)?));
                Ok(())
            })
        })
    }
}

//! What is wanted, found in the restored server: there it is moved and parted from the rest, since nobody else has it.

use std::path::Path;

use super::{
    foreign_keys::{self, ForeignKeys, set},
    name::TableName,
    parents,
    request::{Request, What},
};
use crate::{
    domain::drill::{place::LARGER, session},
    error::{Error, Kind, Result},
    postgres::{connection::Session, conninfo::ConnInfo, row::Row, sql::identifier},
    util::{cancel::Cancel, fs::free_bytes, nearest::nearest, process::NO_LIMIT, units},
};

/// Names that a hint has room for.
const NEAR: usize = 5;

/// How many of a database's tables are looked through for near names.
const LOOKED_AT: &str = "100000";

#[derive(Debug)]
pub struct Taken {
    /// And views and sequences; with partitions, and tables that inherit from them.
    pub tables: Vec<Table>,
    /// As they lie on the disk.
    pub bytes: u64,
    pub foreign_keys: ForeignKeys,
    /// Of which no backup has rows.
    pub unlogged: Vec<String>,
    /// Statements that put them again where they belong to others.
    pub parents: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Table {
    /// Where it is dumped from.
    pub schema: String,
    pub name: String,
    oid: u32,
    /// A view whose rows are stored.
    materialized: bool,
}

impl Table {
    fn full(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}

/// How to connect to the database; an error if it was not there.
pub fn of_database(info: &ConnInfo, name: &str, cancel: &Cancel) -> Result<ConnInfo> {
    let there = session::databases(info, cancel)?;
    match there.iter().any(|one| one == name) {
        true => Ok(info.clone().with_database(name)),
        false => Err(Error::new(
            Kind::NotFound,
            format!("there was no database {name:?} at that moment"),
        )
        .hint(format!(
            "there were {}; names are taken as they are, capitals and all.",
            there.join(", ")
        ))),
    }
}

impl Taken {
    pub fn take(info: &ConnInfo, request: &Request, cancel: &Cancel) -> Result<Self> {
        let session = Session::connect(info, cancel)?;
        session.with_limit(NO_LIMIT, |session| match &request.what {
            What::Database(_) => Ok(Self {
                tables: Vec::new(),
                bytes: session
                    .query_one(
                        "SELECT pg_catalog.pg_database_size(pg_catalog.current_database())",
                        &[],
                    )?
                    .parse(0)?,
                foreign_keys: ForeignKeys::default(),
                parents: Vec::new(),
                unlogged: unlogged(session, UNLOGGED, &[])?,
            }),
            What::Tables(names) => Self::of_tables(session, names, request.schema.as_deref()),
        })
    }

    fn of_tables(session: &Session, names: &[TableName], schema: Option<&str>) -> Result<Self> {
        let mut tables = Vec::new();
        for name in names {
            tables.extend(found(session, name)?);
        }
        tables.sort();
        tables.dedup();
        let oids: Vec<u32> = tables.iter().map(|table| table.oid).collect();
        let sizes = "SELECT coalesce(sum(pg_catalog.pg_table_size(t)), 0)::int8 \
                     FROM pg_catalog.unnest($1::text::oid[]) t";
        let bytes = session.query_one(sizes, &[&set(&oids)])?.parse(0)?;
        // Event triggers of somebody's must not look at what we do.
        session.execute("SET session_replication_role = replica", &[])?;
        let of_these = format!("{UNLOGGED} AND c.oid = ANY ($1::text::oid[])");
        let empty = unlogged(session, &of_these, &[&set(&oids)])?;
        let foreign_keys = foreign_keys::part(session, &oids, schema)?;
        let parents = parents::part(session, &oids, schema)?;
        if let Some(schema) = schema {
            move_to(session, &mut tables, schema)?;
        }
        Ok(Self {
            tables,
            bytes,
            foreign_keys,
            parents,
            unlogged: empty,
        })
    }

    /// The archive is compressed, but rows as text may be larger than in their tables.
    pub fn check_room(&self, folder: &Path) -> Result<()> {
        let free = free_bytes(folder)?;
        match free >= self.bytes {
            true => Ok(()),
            false => Err(Error::failed(format!(
                "what is wanted needs up to {} in {}, beside what was restored there, and {} are free",
                units::bytes(self.bytes),
                folder.display(),
                units::bytes(free)
            ))
            .hint(LARGER)),
        }
    }

    pub fn names(&self) -> Vec<String> {
        self.tables.iter().map(Table::full).collect()
    }

    /// What whoever wants it must know of it.
    pub fn warnings(&self) -> Vec<String> {
        let filled = self.tables.iter().filter(|table| table.materialized);
        let filled: Vec<String> = filled.map(Table::full).collect();
        let warnings = [
            (
                "empty, or as it was made, since no backup has what unlogged tables and sequences held",
                &self.unlogged,
            ),
            (
                "filled anew, from the tables where it is now, not with the rows that it had",
                &filled,
            ),
        ];
        let warnings = warnings.into_iter().filter(|(_, names)| !names.is_empty());
        warnings
            .map(|(what, names)| format!("{what}: {}", names.join(", ")))
            .collect()
    }
}

const UNLOGGED: &str = "SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'S') AND c.relpersistence = 'u'";

fn unlogged(session: &Session, sql: &str, params: &[&str]) -> Result<Vec<String>> {
    let rows = session.query_rows(sql, params)?;
    rows.iter().map(|row| row.text(0)).collect()
}

/// What is named, and what belongs to a table as a partition or by inheritance.
fn found(session: &Session, name: &TableName) -> Result<Vec<Table>> {
    const NAMED: &str = "SELECT c.oid, c.relkind, \
         (SELECT d.refobjid::pg_catalog.regclass::text FROM pg_catalog.pg_depend d \
         WHERE c.relkind = 'S' AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0 AND d.objid = c.oid \
         AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
         AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass) \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND (c.relname = $2 OR $2 = '*' AND c.relkind IN ('r', 'p', 'v', 'm', 'S') \
         AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.deptype = 'e' AND e.objid = c.oid \
         AND e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass))";
    const WITH_PARTS: &str = "WITH RECURSIVE t(oid) AS (SELECT pg_catalog.unnest($1::text::oid[]) \
         UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN t ON i.inhparent = t.oid) \
         SELECT n.nspname, c.relname, c.oid, c.relkind FROM t JOIN pg_catalog.pg_class c ON c.oid = t.oid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace";
    let mut named = Vec::new();
    for row in session.query_rows(NAMED, &[&name.schema, &name.name])? {
        let owner = row.optional(2)?;
        match (row.text(1)?.as_str(), owner) {
            // It comes with that.
            ("S", Some(_)) if name.is_all() => {}
            ("S", Some(owner)) => {
                return Err(
                    Error::usage(format!("{name} belongs to a column of table {owner}"))
                        .hint("it comes with that table: name this one."),
                );
            }
            ("r" | "p" | "v" | "m" | "S", _) => named.push(row.parse(0)?),
            _ => {
                return Err(Error::usage(format!(
                    "{name} is no table, view, materialized view or sequence"
                ))
                .hint("what else there is comes with the whole database: --database."));
            }
        }
    }
    if named.is_empty() {
        return Err(absent(session, name)?);
    }
    let rows = session.query_rows(WITH_PARTS, &[&set(&named)])?;
    rows.iter().map(table).collect()
}

fn table(row: &Row) -> Result<Table> {
    Ok(Table {
        schema: row.text(0)?,
        name: row.text(1)?,
        oid: row.parse(2)?,
        materialized: row.text(3)? == "m",
    })
}

/// The names that may have been meant: those of other schemas first.
fn absent(session: &Session, name: &TableName) -> Result<Error> {
    if name.is_all() {
        let what = format!(
            "there was no schema {:?} with tables at that moment",
            name.schema
        );
        return Ok(
            Error::new(Kind::NotFound, what).hint("names are taken as they are, capitals and all.")
        );
    }
    let sql = "SELECT n.nspname, c.relname, c.oid, c.relkind FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S') \
         AND left(n.nspname, 3) <> 'pg_' AND n.nspname <> 'information_schema' \
         ORDER BY lower(c.relname) = lower($1) DESC, 1, 2 LIMIT $2::text::int8";
    let rows = session.query_rows(sql, &[&name.name, LOOKED_AT])?;
    let all = rows.iter().map(table).collect::<Result<Vec<_>>>()?;
    let full = |table: &Table| format!("{}.{}.{}", name.database, table.schema, table.name);
    let same = |table: &&Table| table.name.to_lowercase() == name.name.to_lowercase();
    let mut near: Vec<String> = all.iter().filter(same).take(NEAR).map(full).collect();
    if near.is_empty() {
        let names = all.iter().map(|table| table.name.as_str());
        let nearest = nearest(&name.name, names).map(str::to_owned);
        let alike = all
            .iter()
            .filter(|table| nearest.as_deref() == Some(&table.name));
        near.extend(alike.take(NEAR).map(full));
    }
    let error = Error::new(
        Kind::NotFound,
        format!("there was no table {name} at that moment"),
    );
    Ok(match near.is_empty() {
        true => error.hint(
            "perhaps it was made later or dropped before: `pgstow find-target --since TIME --table NAME` tells when it was gone.",
        ),
        false => error.hint(format!("there was {}.", near.join(", "))),
    })
}

/// With indexes, constraints and sequences that are their own.
fn move_to(session: &Session, tables: &mut [Table], schema: &str) -> Result<()> {
    let quoted = identifier(schema);
    let made = session.execute(&format!("CREATE SCHEMA {quoted}"), &[]);
    made.map_err(|error| {
        error
            .context(format!("the tables can't be put into schema {schema:?}"))
            .hint("choose a name that no schema of that database had (--to-schema).")
    })?;
    for table in tables {
        let (old, name) = (identifier(&table.schema), identifier(&table.name));
        session.execute(
            &format!("ALTER TABLE {old}.{name} SET SCHEMA {quoted}"),
            &[],
        )?;
        schema.clone_into(&mut table.schema);
    }
    Ok(())
}

//! What is in a database, told so that a dump and what was restored from it can be compared: its tables
//! and their rows, and how many indexes, constraints, foreign keys, enum types and extensions.
//!
//! What belongs to an extension is left out, since that makes it again. So are constraints that follow
//! from one of a partitioned table: which there are differs between versions of PostgreSQL.

use super::{
    migrations,
    toc::{self, Toc},
};
use crate::{
    error::{Kind, Result},
    postgres::{connection::Session, row::Row, sql::identifier},
    repo::dump::{DumpContents, DumpTable, ObjectCounts, RowCounts},
    util::process::NO_LIMIT,
};

/// Behind `FROM pg_class c JOIN pg_namespace n`: what users made.
const OF_USERS: &str = "left(n.nspname, 3) <> 'pg_' AND n.nspname <> 'information_schema' \
     AND c.relpersistence <> 't' AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d \
     WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')";

const ENUMS: &str = "SELECT t.oid FROM pg_catalog.pg_type t WHERE t.typtype = 'e' \
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d \
     WHERE d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.objid = t.oid AND d.deptype = 'e')";

/// That is part of every new database, and of no dump.
const EXTENSIONS: &str =
    "SELECT oid, extname FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql' ORDER BY 2";

/// Looks, in the session's present transaction. Of `toc` only what is in it; without one all. And what
/// could not be counted, with the reason.
///
/// # Errors
/// The catalogs can't be read, or the session was told to stop.
pub fn look(
    session: &Session,
    toc: Option<&Toc>,
    row_counts: RowCounts,
) -> Result<(DumpContents, Vec<String>)> {
    let has = |catalog, oid| toc.is_none_or(|toc| toc.has(catalog, oid));
    let mut counts = ObjectCounts::default();
    let indexes = format!(
        "SELECT i.indexrelid, coalesce(con.oid, 0) FROM pg_catalog.pg_index i \
         JOIN pg_catalog.pg_class c ON c.oid = i.indrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         LEFT JOIN pg_catalog.pg_constraint con ON con.conindid = i.indexrelid \
           AND con.conrelid = i.indrelid AND con.contype IN ('p', 'u', 'x') WHERE {OF_USERS}"
    );
    session.for_each_row(&indexes, &[], |row| {
        let found = has(toc::CLASS, row.parse(0)?) || has(toc::CONSTRAINT, row.parse(1)?);
        counts.indexes += u64::from(found);
        Ok(())
    })?;
    let constraints = format!(
        "SELECT con.oid, con.contype, con.conrelid FROM pg_catalog.pg_constraint con \
         JOIN pg_catalog.pg_class c ON c.oid = con.conrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE con.contype IN ('c', 'p', 'u', 'x', 'f') AND con.conparentid = 0 AND {OF_USERS}"
    );
    session.for_each_row(&constraints, &[], |row| {
        let kind = row.text(1)?;
        // Most checks are made with their table.
        let with_table = kind == "c" && has(toc::CLASS, row.parse(2)?);
        let found = with_table || has(toc::CONSTRAINT, row.parse(0)?);
        match kind.as_str() {
            "f" => counts.foreign_keys += u64::from(found),
            _ => counts.constraints += u64::from(found),
        }
        Ok(())
    })?;
    session.for_each_row(ENUMS, &[], |row| {
        counts.enum_types += u64::from(has(toc::TYPE, row.parse(0)?));
        Ok(())
    })?;
    let mut extensions = Vec::new();
    session.for_each_row(EXTENSIONS, &[], |row| {
        if has(toc::EXTENSION, row.parse(0)?) {
            extensions.push(row.text(1)?);
        }
        Ok(())
    })?;
    counts.extensions = extensions.len() as u64;
    let mut found = tables(session, toc)?;
    counts.tables = found.len() as u64;
    let migrations = migrations::look(session, &|schema, table| {
        let mut found = found.iter();
        found.any(|known| known.filled && known.table.schema == schema && known.table.name == table)
    })?;
    let uncounted = match row_counts {
        RowCounts::Exact => count_rows(session, &mut found)?,
        RowCounts::Estimated => {
            for found in &mut found {
                found.table.rows = found.estimate.filter(|_| found.has_own_rows());
            }
            Vec::new()
        }
        RowCounts::None => Vec::new(),
    };
    let contents = DumpContents {
        row_counts,
        tables: found.into_iter().map(|found| found.table).collect(),
        counts,
        extensions,
        migrations,
    };
    Ok((contents, uncounted))
}

/// Tables that are counted by one statement: a database may have very many of a few rows each.
const AT_ONCE: usize = 50;

/// A table that is made or filled.
struct Found {
    oid: u32,
    table: DumpTable,
    filled: bool,
    /// None: never analyzed.
    estimate: Option<u64>,
}

impl Found {
    fn has_own_rows(&self) -> bool {
        self.filled && self.table.kind == "r"
    }

    /// Of one that is inherited from only its own rows are dumped with it. A table that was truncated or
    /// rewritten since the snapshot looks empty in it: its file tells.
    fn count(&self) -> String {
        let (oid, DumpTable { schema, name, .. }) = (self.oid, &self.table);
        format!(
            "SELECT {oid}::pg_catalog.oid, count(*), \
             (SELECT c.relfilenode = pg_catalog.pg_relation_filenode(c.oid) \
             FROM pg_catalog.pg_class c WHERE c.oid = {oid}::pg_catalog.oid) FROM ONLY {}.{}",
            identifier(schema),
            identifier(name)
        )
    }
}

fn tables(session: &Session, toc: Option<&Toc>) -> Result<Vec<Found>> {
    let sql = format!(
        "SELECT c.oid, n.nspname, c.relname, c.relkind, c.reltuples::int8, \
         c.relpersistence = 'u' AND pg_catalog.pg_is_in_recovery() \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'f') AND {OF_USERS} ORDER BY 2, 3"
    );
    let mut tables = Vec::new();
    session.for_each_row(&sql, &[], |row: &Row| {
        let oid = row.parse(0)?;
        // A standby has no rows of unlogged tables, and pg_dump leaves them out there (`main` in
        // `src/bin/pg_dump/pg_dump.c`).
        let is_out_of_reach: bool = row.parse(5)?;
        let filled = toc.map_or(!is_out_of_reach, |toc| toc.has_rows_of(oid));
        if filled || toc.is_none_or(|toc| toc.has(toc::CLASS, oid)) {
            tables.push(Found {
                oid,
                filled,
                estimate: row.parse::<i64>(4)?.try_into().ok(),
                table: DumpTable {
                    schema: row.text(1)?,
                    name: row.text(2)?,
                    kind: row.text(3)?,
                    rows: None,
                },
            });
        }
        Ok(())
    })?;
    Ok(tables)
}

/// How long a count waits for a lock: of several tables at once, and of each of those where that took too long.
const PATIENCE: [&str; 2] = ["20s", "2s"];

/// Counts every row; of which tables it could not, and why.
fn count_rows(session: &Session, tables: &mut [Found]) -> Result<Vec<String>> {
    let mut own: Vec<&mut Found> = tables.iter_mut().filter(|one| one.has_own_rows()).collect();
    let mut uncounted = Vec::new();
    for found in own.chunks_mut(AT_ONCE) {
        if count(session, found, PATIENCE[0])?.is_none() {
            continue;
        }
        // What one of them is in the way of is no reason to leave out the others.
        for one in found {
            if let Some(why) = count(session, std::slice::from_mut(one), PATIENCE[1])? {
                uncounted.push(why);
            }
        }
    }
    Ok(uncounted)
}

/// Counts the rows of some tables; why it could not, if so. The transaction goes on either way.
fn count(session: &Session, found: &mut [&mut Found], patience: &str) -> Result<Option<String>> {
    session.execute("SAVEPOINT counted", &[])?;
    // Who waits to change a table waits for pg_dump, and would have us wait until it is done.
    session.execute(&format!("SET LOCAL lock_timeout = '{patience}'"), &[])?;
    let sql: Vec<String> = found.iter().map(|found| found.count()).collect();
    let sql = sql.join(" UNION ALL ");
    let counted = session.with_limit(NO_LIMIT, |session| session.query_rows(&sql, &[]));
    let rows = match counted {
        Err(error) if error.kind() == Kind::Interrupted => return Err(error),
        counted => counted,
    };
    // The locks go with it, of which there is one for each table and each index: held until the end of the dump, those of
    // thousands of tables would leave none to others.
    session.execute("ROLLBACK TO SAVEPOINT counted", &[])?;
    session.execute("RELEASE SAVEPOINT counted", &[])?;
    let rows = match rows {
        Err(error) => return Ok(Some(uncounted(&found[0].table, &error.last_cause()))),
        Ok(rows) => rows,
    };
    for row in rows {
        let oid: u32 = row.parse(0)?;
        let Some(found) = found.iter_mut().find(|found| found.oid == oid) else {
            continue;
        };
        if row.optional(2)?.as_deref() != Some("true") {
            let why = "it was truncated or rewritten meanwhile";
            return Ok(Some(uncounted(&found.table, why)));
        }
        found.table.rows = Some(row.parse(1)?);
    }
    Ok(None)
}

fn uncounted(table: &DumpTable, why: &str) -> String {
    format!(
        "the row count of {}.{}: {why}",
        identifier(&table.schema),
        identifier(&table.name)
    )
}

//! `relations.json.zst`: the names behind the file names, for people who look for a lost table.

use std::io::Write;

use serde::Serialize;

use crate::{
    error::{Error, Result},
    postgres::{connection::Session, conninfo::ConnInfo, row::Row},
    repo::{document::FORMAT, object_writer::ObjectWriter, relations::Relation},
    util::cancel::Cancel,
};

/// All that has a file of its own; names by pg_relation_filenode, since pg_class has no file
/// name for the relations that are mapped.
const RELATIONS: &str = "
    SELECT pg_relation_filenode(c.oid), c.reltablespace, n.nspname, c.relname, c.relkind, c.oid, c.relpersistence = 'u'
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE pg_relation_filenode(c.oid) IS NOT NULL";

/// Writes the relations of all databases that accept connections, one a line; the databases
/// that could not be read, each with the reason.
pub fn write(
    info: &ConnInfo,
    session: &Session,
    out: &mut ObjectWriter<'_>,
    cancel: &Cancel,
) -> Result<Vec<String>> {
    let databases = session.query_rows(
        "SELECT oid, datname FROM pg_database WHERE datallowconn ORDER BY oid",
        &[],
    )?;
    let mut left_out = Vec::new();
    put(out, format_args!("{{\"format\":{FORMAT},\"databases\":["))?;
    for (number, row) in databases.iter().enumerate() {
        let (oid, name): (u32, String) = (row.parse(0)?, row.text(1)?);
        let separator = if number == 0 { "" } else { "," };
        put(
            out,
            format_args!(
                "{separator}\n{{\"oid\":{oid},\"name\":{},\"relations\":[",
                json(&name)?
            ),
        )?;
        // Dropped meanwhile, or closed to this role: its tables are then known by number only.
        match Session::connect(&info.clone().with_database(&name), cancel) {
            Ok(session) => write_database(&session, out)?,
            Err(error) => left_out.push(format!("{name}: {}", error.in_one_line())),
        }
        put(out, format_args!("]}}"))?;
    }
    put(out, format_args!("\n]}}\n"))?;
    Ok(left_out)
}

fn write_database(session: &Session, out: &mut ObjectWriter<'_>) -> Result<()> {
    let mut separator = "\n";
    session.for_each_row(RELATIONS, &[], |row| {
        put(out, format_args!("{separator}{}", json(&relation(row)?)?))?;
        separator = ",\n";
        Ok(())
    })
}

fn relation(row: &Row) -> Result<Relation> {
    Ok(Relation {
        oid: Some(row.parse(5)?),
        relfilenode: row.parse(0)?,
        tablespace: row.parse(1)?,
        schema: row.text(2)?,
        name: row.text(3)?,
        kind: row.text(4)?,
        unlogged: row.parse(6)?,
    })
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::failed("can't write JSON").because(error))
}

fn put(out: &mut ObjectWriter<'_>, text: std::fmt::Arguments<'_>) -> Result<()> {
    out.write_fmt(text)
        .map_err(|error| Error::failed("can't store the list of relations").because(error))
}

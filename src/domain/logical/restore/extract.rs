//! Single tables of a plain dump, which has no table of contents: all of it goes into a temporary database,
//! and what is picked comes out of that as an archive.

use super::{
    creation::Creation,
    fresh::Fresh,
    load::{How, Loader},
    material::{Checked, Material},
    pick::Picked,
    ready::Ready,
};
use crate::{
    domain::logical::remains::OF_RESTORE,
    error::Result,
    postgres::{connection::Session, sql::identifier},
    util::{
        process::{self, NO_LIMIT},
        scratch::Scratch,
    },
};

const TABLES: &str = "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S') AND left(n.nspname, 3) <> 'pg_' \
     AND n.nspname <> 'information_schema'";

/// What depends on a partitioned table, however deep: its partitions.
const PARTITIONS: &str = "SELECT DISTINCT n.nspname, c.relname FROM pg_catalog.pg_class p \
     JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace, \
     LATERAL pg_catalog.pg_partition_tree(p.oid) t JOIN pg_catalog.pg_class c ON c.oid = t.relid \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE p.relkind = 'p' AND pn.nspname = $1 AND p.relname = $2";

/// `loader` says on which server the temporary database is made.
pub fn extract(
    loader: &Loader<'_>,
    material: &Material,
    checked: &Checked,
    picked: &Picked,
) -> Result<Ready<'static>> {
    let creation = Creation::of(&checked.about);
    let all = Fresh::temporary(loader.info, "pick", &creation, loader.cancel)?;
    let info = all.info();
    let inside = Loader {
        programs: loader.programs,
        info: &info,
        cancel: loader.cancel,
    };
    inside.script(material.plain()?, &How::all(false))?;
    let options = options(&Session::connect(&info, loader.cancel)?, picked)?;
    let scratch = Scratch::make(OF_RESTORE, false)?;
    let path = scratch.path().join("picked");
    let mut command = loader.programs.command("pg_dump", &info)?;
    command
        // The names in its options are in that encoding.
        .args(["--format=custom", "--compress=1", "--encoding=UTF8"])
        .args(options)
        .arg("--file")
        .arg(&path);
    let end = process::run_to_any_end(&mut command, &mut std::io::sink(), NO_LIMIT, loader.cancel)?;
    end.success()?;
    all.remove()?;
    Ok(Ready::of_own(path, scratch))
}

/// What pg_dump is told: exact names, each in quotes.
fn options(session: &Session, picked: &Picked) -> Result<Vec<String>> {
    let mut options = Vec::new();
    let mut add_table = |schema: &str, name: &str| {
        options.push(format!(
            "--table={}.{}",
            identifier(schema),
            identifier(name)
        ));
    };
    let rows = session.query_rows(TABLES, &[])?;
    let tables = rows.iter().map(|row| Ok((row.text(0)?, row.text(1)?)));
    for (schema, name) in picked.of_tables(&tables.collect::<Result<Vec<_>>>()?)? {
        add_table(&schema, &name);
        for row in session.query_rows(PARTITIONS, &[&schema, &name])? {
            add_table(&row.text(0)?, &row.text(1)?);
        }
    }
    let rows = session.query_rows("SELECT nspname FROM pg_catalog.pg_namespace", &[])?;
    let schemas = rows.iter().map(|row| row.text(0));
    let schemas = picked.of_schemas(&schemas.collect::<Result<Vec<_>>>()?)?;
    options.extend(
        schemas
            .iter()
            .map(|schema| format!("--schema={}", identifier(schema))),
    );
    Ok(options)
}

//! Which step of its schema's history a database is at, as the common tools note it in a table.

use std::collections::BTreeMap;

use crate::{
    error::Result,
    postgres::{connection::Session, sql::identifier},
    repo::dump::Migration,
};

/// How a tool notes its steps.
struct Tool {
    name: &'static str,
    table: &'static str,
    /// That its table has, and those of others of that name have not.
    columns: &'static [&'static str],
    /// The newest step and whether it is dirty (NULL: not noted), of the table `{t}`.
    sql: &'static str,
}

const TOOLS: [Tool; 6] = [
    // golang-migrate: one row.
    Tool {
        name: "migrate",
        table: "schema_migrations",
        columns: &["version", "dirty"],
        sql: "SELECT version::text, dirty FROM {t} LIMIT 1",
    },
    // Rails, and others that keep a row for each step: versions are times, whose text sorts.
    Tool {
        name: "rails",
        table: "schema_migrations",
        columns: &["version"],
        sql: "SELECT max(version::text), NULL::bool FROM {t}",
    },
    Tool {
        name: "flyway",
        table: "flyway_schema_history",
        columns: &["installed_rank", "version", "success"],
        sql: "SELECT (SELECT version::text FROM {t} WHERE success AND version IS NOT NULL \
              ORDER BY installed_rank DESC LIMIT 1), EXISTS (SELECT FROM {t} WHERE NOT success)",
    },
    Tool {
        name: "liquibase",
        table: "databasechangelog",
        columns: &["id", "orderexecuted"],
        sql: "SELECT (SELECT id::text FROM {t} ORDER BY orderexecuted DESC LIMIT 1), NULL::bool",
    },
    // Several rows: branches.
    Tool {
        name: "alembic",
        table: "alembic_version",
        columns: &["version_num"],
        sql: "SELECT string_agg(version_num, ',' ORDER BY version_num), NULL::bool FROM {t}",
    },
    Tool {
        name: "django",
        table: "django_migrations",
        columns: &["id", "app", "name"],
        sql: "SELECT (SELECT app || '.' || name FROM {t} ORDER BY id DESC LIMIT 1), NULL::bool",
    },
];

const TABLES: &str = "SELECT n.nspname, c.relname, a.attname FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
     WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND c.relname IN \
     ('schema_migrations', 'flyway_schema_history', 'databasechangelog', 'alembic_version', 'django_migrations') \
     ORDER BY 1, 2";

/// Of the tables that `counts` takes, by schema and name.
pub fn look(session: &Session, counts: &dyn Fn(&str, &str) -> bool) -> Result<Vec<Migration>> {
    let mut tables: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    session.for_each_row(TABLES, &[], |row| {
        let table = (row.text(0)?, row.text(1)?);
        tables.entry(table).or_default().push(row.text(2)?);
        Ok(())
    })?;
    let mut found = Vec::new();
    for ((schema, table), columns) in tables {
        let has = |column: &&str| columns.iter().any(|own| own == column);
        let mut tools = TOOLS.iter().filter(|tool| tool.table == table);
        let Some(tool) = tools.find(|tool| tool.columns.iter().all(has)) else {
            continue;
        };
        if !counts(&schema, &table) {
            continue;
        }
        let qualified = format!("{}.{}", identifier(&schema), identifier(&table));
        let rows = session.query_rows(&tool.sql.replace("{t}", &qualified), &[])?;
        let (version, dirty) = match rows.first() {
            Some(row) => (
                row.optional(0)?,
                row.optional(1)?.map(|dirty| dirty == "true"),
            ),
            None => (None, None),
        };
        found.push(Migration {
            tool: tool.name.to_owned(),
            schema,
            table,
            version,
            dirty,
        });
    }
    Ok(found)
}

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
    /// Another table in the same schema, and what of it, as `{t}`, tells that a step is not done.
    lock: Option<(&'static str, &'static str)>,
}

const TOOLS: [Tool; 7] = [
    // golang-migrate: one row.
    Tool {
        name: "migrate",
        table: "schema_migrations",
        columns: &["version", "dirty"],
        sql: "SELECT version::text, dirty FROM {t} LIMIT 1",
        lock: None,
    },
    // Rails, and others that keep a row for each step: versions are times, whose text sorts.
    Tool {
        name: "rails",
        table: "schema_migrations",
        columns: &["version"],
        sql: "SELECT max(version::text), NULL::bool FROM {t}",
        lock: None,
    },
    Tool {
        name: "flyway",
        table: "flyway_schema_history",
        columns: &["installed_rank", "version", "success"],
        sql: "SELECT (SELECT version::text FROM {t} WHERE success AND version IS NOT NULL \
              ORDER BY installed_rank DESC LIMIT 1), EXISTS (SELECT FROM {t} WHERE NOT success)",
        lock: None,
    },
    Tool {
        name: "liquibase",
        table: "databasechangelog",
        columns: &["id", "orderexecuted", "exectype"],
        sql: "SELECT (SELECT id::text FROM {t} WHERE exectype IS DISTINCT FROM 'FAILED' \
              ORDER BY orderexecuted DESC LIMIT 1), EXISTS (SELECT FROM {t} WHERE exectype = 'FAILED')",
        lock: Some((
            "databasechangeloglock",
            "SELECT EXISTS (SELECT FROM {t} WHERE locked)",
        )),
    },
    // Of long ago.
    Tool {
        name: "liquibase",
        table: "databasechangelog",
        columns: &["id", "orderexecuted"],
        sql: "SELECT (SELECT id::text FROM {t} ORDER BY orderexecuted DESC LIMIT 1), NULL::bool",
        lock: None,
    },
    // Several rows: branches.
    Tool {
        name: "alembic",
        table: "alembic_version",
        columns: &["version_num"],
        sql: "SELECT string_agg(version_num, ',' ORDER BY version_num), NULL::bool FROM {t}",
        lock: None,
    },
    Tool {
        name: "django",
        table: "django_migrations",
        columns: &["id", "app", "name"],
        sql: "SELECT (SELECT app || '.' || name FROM {t} ORDER BY id DESC LIMIT 1), NULL::bool",
        lock: None,
    },
];

const TABLES: &str = "SELECT n.nspname, c.relname, a.attname FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
     WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND c.relname IN \
     ('schema_migrations', 'flyway_schema_history', 'databasechangelog', 'databasechangeloglock', 'alembic_version', \
     'django_migrations') \
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
    for ((schema, table), columns) in &tables {
        let has = |column: &&str| columns.iter().any(|own| own == column);
        let mut tools = TOOLS.iter().filter(|tool| tool.table == *table);
        let Some(tool) = tools.find(|tool| tool.columns.iter().all(has)) else {
            continue;
        };
        if !counts(schema, table) {
            continue;
        }
        let of = |sql: &str, table: &str| {
            let qualified = format!("{}.{}", identifier(schema), identifier(table));
            session.query_rows(&sql.replace("{t}", &qualified), &[])
        };
        let rows = of(tool.sql, table)?;
        let (version, mut dirty) = match rows.first() {
            Some(row) => (
                row.optional(0)?,
                row.optional(1)?.map(|dirty| dirty == "true"),
            ),
            None => (None, None),
        };
        if let Some((lock, sql)) = tool.lock
            && tables.contains_key(&(schema.clone(), lock.to_owned()))
            && counts(schema, lock)
        {
            let held: bool = of(sql, lock)?
                .first()
                .map_or(Ok(false), |row| row.parse(0))?;
            dirty = Some(held || dirty == Some(true));
        }
        found.push(Migration {
            tool: tool.name.to_owned(),
            schema: schema.clone(),
            table: table.clone(),
            version,
            dirty,
        });
    }
    Ok(found)
}

//! What was restored beside what the description of the dump says. Pure.

use std::collections::BTreeMap;

use crate::repo::{
    dump::{DumpContents, DumpTable, Migration, RowCounts},
    verified::VerifiedCheck,
};

/// What the description says, or why nothing.
pub type Expected<'a> = Result<&'a DumpContents, &'static str>;

/// Whether the schema is at the step that was noted, and none failed half-way.
pub fn migrations(expected: Expected<'_>, found: &DumpContents) -> Vec<VerifiedCheck> {
    const VERSION: &str = "migration_version";
    let version = match expected {
        Err(why) => VerifiedCheck::skipped(VERSION, why),
        Ok(expected) if expected.migrations.is_empty() => VerifiedCheck::skipped(
            VERSION,
            "no tool for migrations notes its steps in the database",
        ),
        Ok(expected) => {
            let wrong = expected
                .migrations
                .iter()
                .filter_map(|one| differs(one, found));
            let versions: Vec<String> = expected.migrations.iter().map(shown).collect();
            VerifiedCheck::of(VERSION, wrong.collect(), versions.join(", "))
        }
    };
    vec![version, clean(found)]
}

fn clean(found: &DumpContents) -> VerifiedCheck {
    const CLEAN: &str = "migration_clean";
    let noted: Vec<&Migration> = found
        .migrations
        .iter()
        .filter(|one| one.dirty.is_some())
        .collect();
    let dirty = noted.iter().filter(|one| one.dirty == Some(true));
    let dirty = dirty.map(|one| {
        let Migration {
            tool,
            schema,
            table,
            ..
        } = one;
        format!("{tool} notes in {schema}.{table} that a step failed or is not done")
    });
    match noted.is_empty() {
        true => VerifiedCheck::skipped(CLEAN, "no tool for migrations notes whether steps failed"),
        false => VerifiedCheck::of(CLEAN, dirty.collect(), "no step failed".to_owned()),
    }
}

fn shown(migration: &Migration) -> String {
    let version = migration.version.as_deref().unwrap_or("no step");
    format!("{} at {version}", migration.tool)
}

fn differs(expected: &Migration, found: &DumpContents) -> Option<String> {
    let same = |one: &&Migration| one.schema == expected.schema && one.table == expected.table;
    let Migration { schema, table, .. } = expected;
    match found.migrations.iter().find(same) {
        None => Some(format!(
            "{schema}.{table}: {} expected, nothing found",
            shown(expected)
        )),
        Some(one) if one.version != expected.version => Some(format!(
            "{schema}.{table}: {} expected, {} found",
            shown(expected),
            shown(one)
        )),
        Some(_) => None,
    }
}

/// Whether all tables are there.
pub fn tables(expected: Expected<'_>, found: &DumpContents) -> Option<VerifiedCheck> {
    const NAME: &str = "tables";
    Some(match expected {
        Err(why) => VerifiedCheck::skipped(NAME, why),
        Ok(expected) => {
            let found = by_name(found);
            let missing = expected
                .tables
                .iter()
                .filter(|one| !found.contains_key(&key(one)));
            let missing = missing.map(|one| format!("{}.{} is missing", one.schema, one.name));
            let count = expected.tables.len();
            VerifiedCheck::of(NAME, missing.collect(), format!("all {count} are there"))
        }
    })
}

fn key(table: &DumpTable) -> (&str, &str) {
    (&table.schema, &table.name)
}

fn by_name(contents: &DumpContents) -> BTreeMap<(&str, &str), &DumpTable> {
    contents
        .tables
        .iter()
        .map(|table| (key(table), table))
        .collect()
}

/// Whether each table has as many rows as when it was dumped.
pub fn rows(expected: Expected<'_>, found: &DumpContents) -> VerifiedCheck {
    const NAME: &str = "row_counts";
    let expected = match expected {
        Err(why) => return VerifiedCheck::skipped(NAME, why),
        Ok(expected) if expected.row_counts != RowCounts::Exact => {
            return VerifiedCheck::skipped(NAME, "rows were not counted when the dump was made");
        }
        Ok(expected) => expected,
    };
    let found = by_name(found);
    let mut wrong = Vec::new();
    let (mut counted, mut sum, mut uncounted) = (0, 0, 0);
    for table in &expected.tables {
        let Some(rows) = table.rows else {
            uncounted += u64::from(table.kind == "r");
            continue;
        };
        counted += 1;
        sum += rows;
        let there = found.get(&key(table)).and_then(|table| table.rows);
        if there != Some(rows) {
            let there = there.map_or("none".to_owned(), |there| there.to_string());
            let DumpTable { schema, name, .. } = table;
            wrong.push(format!("{schema}.{name}: {rows} expected, {there} found"));
        }
    }
    let not_known = match uncounted {
        0 => String::new(),
        _ => format!("; {uncounted} tables have no count"),
    };
    VerifiedCheck::of(
        NAME,
        wrong,
        format!("{sum} rows in {counted} tables{not_known}"),
    )
}

pub fn enums(expected: Expected<'_>, found: &DumpContents) -> VerifiedCheck {
    let count = |contents: &DumpContents| contents.counts.enum_types;
    counted(
        "enum_types",
        "enum types",
        expected,
        found,
        count,
        Vec::new(),
    )
}

pub fn extensions(expected: Expected<'_>, found: &DumpContents) -> VerifiedCheck {
    const NAME: &str = "extensions";
    match expected {
        Err(why) => VerifiedCheck::skipped(NAME, why),
        Ok(expected) => {
            let missing = expected.extensions.iter();
            let missing = missing.filter(|name| !found.extensions.contains(name));
            let missing = missing.map(|name| format!("{name} is missing"));
            let count = expected.extensions.len();
            VerifiedCheck::of(NAME, missing.collect(), format!("all {count} are there"))
        }
    }
}

/// That as many are there as were dumped, and that nothing is `wrong` with them.
pub fn counted(
    name: &'static str,
    what: &str,
    expected: Expected<'_>,
    found: &DumpContents,
    count: impl Fn(&DumpContents) -> u64,
    mut wrong: Vec<String>,
) -> VerifiedCheck {
    let there = count(found);
    if let Ok(expected) = expected
        && count(expected) != there
    {
        let expected = count(expected);
        wrong.insert(0, format!("{expected} {what} expected, {there} found"));
    }
    VerifiedCheck::of(name, wrong, format!("{there} {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::{dump::ObjectCounts, verified::CheckState};

    fn table(name: &str, rows: Option<u64>) -> DumpTable {
        DumpTable {
            schema: "public".to_owned(),
            name: name.to_owned(),
            kind: "r".to_owned(),
            rows,
        }
    }

    fn contents() -> DumpContents {
        DumpContents {
            row_counts: RowCounts::Exact,
            tables: vec![table("a", Some(3)), table("b", None)],
            counts: ObjectCounts {
                enum_types: 2,
                ..ObjectCounts::default()
            },
            extensions: vec!["hstore".to_owned()],
            migrations: vec![Migration {
                tool: "migrate".to_owned(),
                schema: "public".to_owned(),
                table: "schema_migrations".to_owned(),
                version: Some("7".to_owned()),
                dirty: Some(false),
            }],
        }
    }

    fn judged(expected: Expected<'_>, found: &DumpContents) -> Vec<(String, CheckState)> {
        let mut checks = migrations(expected, found);
        checks.extend(tables(expected, found));
        checks.push(enums(expected, found));
        checks.push(rows(expected, found));
        checks.push(extensions(expected, found));
        let state = |check: VerifiedCheck| (check.name, check.result);
        checks.into_iter().map(state).collect()
    }

    #[test]
    fn each_difference_fails_its_own_check_alone() {
        let expected = contents();
        assert!(
            judged(Ok(&expected), &contents())
                .iter()
                .all(|(_, state)| *state == CheckState::Passed)
        );
        type Change = fn(&mut DumpContents);
        let changes: [(&str, Change); 7] = [
            ("migration_version", |c| c.migrations[0].version = None),
            ("migration_clean", |c| c.migrations[0].dirty = Some(true)),
            ("tables", |c| drop(c.tables.pop())),
            ("enum_types", |c| c.counts.enum_types = 1),
            ("row_counts", |c| c.tables[0].rows = Some(2)),
            ("row_counts", |c| c.tables[0].rows = None),
            ("extensions", |c| c.extensions.clear()),
        ];
        for (name, change) in changes {
            let mut found = contents();
            change(&mut found);
            let failed: Vec<String> = judged(Ok(&expected), &found)
                .into_iter()
                .filter(|(_, state)| *state == CheckState::Failed)
                .map(|(name, _)| name)
                .collect();
            assert_eq!(failed, [name]);
        }
    }

    #[test]
    fn without_a_description_nothing_is_compared() {
        let judged = judged(Err("unknown"), &contents());
        assert!(judged.iter().all(|(_, state)| *state != CheckState::Failed));
        let mut estimated = contents();
        estimated.row_counts = RowCounts::Estimated;
        let check = rows(Ok(&estimated), &contents());
        assert_eq!(check.result, CheckState::Skipped);
    }
}

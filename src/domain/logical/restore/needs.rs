//! Which entries of a whole database's archive single tables, views and sequences need to stand alone: their own, and the types, functions,
//! schemas and extensions that these use. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::pick::close;
use crate::{
    error::{Error, Kind, Result},
    postgres::archive_toc::{ArchiveToc, TocEntry},
};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Ids of what comes before the rows, and behind them; in the archive's order.
    pub before: Vec<u32>,
    pub behind: Vec<u32>,
    /// (schema, name) of sequences, whose values are rows.
    pub sequences: BTreeSet<(String, String)>,
    /// `schema.table` of others that are needed, and come without rows; of materialized views, too.
    pub empty: Vec<String>,
}

/// Of tables given as (schema, name).
pub fn of_tables(toc: &ArchiveToc, tables: &BTreeSet<(&str, &str)>) -> Result<Needs> {
    let key = |entry: &TocEntry| (entry.schema.clone().unwrap_or_default(), entry.name.clone());
    let is_wanted = |entry: &TocEntry| {
        let schema = entry.schema.as_deref().unwrap_or_default();
        entry.is_relation() && tables.contains(&(schema, entry.name.as_str()))
    };
    let comes_empty = |entry: &TocEntry| {
        let has_rows = entry.is_table() || entry.is_materialized();
        let (schema, name) = key(entry);
        (has_rows && !is_wanted(entry)).then(|| format!("{schema}.{name}"))
    };
    let wanted = toc.entries.iter().filter(|entry| is_wanted(entry));
    let mut chosen: BTreeSet<u32> = wanted.map(|entry| entry.id).collect();
    if chosen.len() < tables.len() {
        return Err(Error::new(
            Kind::NotFound,
            "pg_dump does not tell all of the tables that are wanted, perhaps since an extension owns them",
        )
        .hint("bring back the whole database (--database)."));
    }
    for view in toc
        .entries
        .iter()
        .filter(|entry| entry.is_materialized() && is_wanted(entry))
    {
        let mut read = BTreeSet::from([view.id]);
        add_needed(toc, &mut read);
        let read = toc.entries.iter().filter(|entry| read.contains(&entry.id));
        let empty: Vec<String> = read.filter_map(comes_empty).collect();
        if !empty.is_empty() {
            return Err(Error::failed(format!(
                "materialized view {} would be filled from tables that come without rows: {}",
                view.name,
                empty.join(", ")
            ))
            .hint("name these, too, or bring back the whole database (--database)."));
        }
    }
    close(toc, &mut chosen);
    // What goes with these is not wanted, or all of a schema would be.
    add_needed(toc, &mut chosen);
    let mut needs = Needs::default();
    let mut behind = false;
    for entry in &toc.entries {
        behind |= entry.late;
        if !chosen.contains(&entry.id) {
            continue;
        }
        match behind {
            true => needs.behind.push(entry.id),
            false => needs.before.push(entry.id),
        }
        if entry.what == "SEQUENCE" {
            needs.sequences.insert(key(entry));
        }
        needs.empty.extend(comes_empty(entry));
    }
    Ok(needs)
}

fn add_needed(toc: &ArchiveToc, chosen: &mut BTreeSet<u32>) {
    let known: BTreeMap<u32, &TocEntry> =
        toc.entries.iter().map(|entry| (entry.id, entry)).collect();
    let mut open: Vec<u32> = chosen.iter().copied().collect();
    while let Some(id) = open.pop() {
        let needs = known.get(&id).map(|entry| entry.needs.iter());
        for need in needs.into_iter().flatten() {
            if known.contains_key(need) && chosen.insert(*need) {
                open.push(*need);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn entry(id: u32, what: &str, schema: &str, name: &str, needs: &[u32]) -> TocEntry {
        TocEntry {
            id,
            what: what.to_owned(),
            schema: (!schema.is_empty()).then(|| schema.to_owned()),
            name: name.to_owned(),
            late: ["CONSTRAINT", "INDEX", "TRIGGER"].contains(&what),
            needs: needs.into(),
            ..TocEntry::default()
        }
    }

    #[test]
    fn tables_bring_what_they_need_and_nothing_else() {
        let toc = ArchiveToc {
            database: None,
            server_version: None,
            client_version: None,
            entries: vec![
                entry(1, "SCHEMA", "", "shop", &[]),
                entry(2, "SCHEMA", "", "other", &[]),
                entry(3, "EXTENSION", "", "citext", &[2]),
                entry(4, "TYPE", "shop", "state", &[1]),
                entry(5, "FUNCTION", "shop", "touch()", &[1]),
                entry(6, "FUNCTION", "shop", "unused()", &[1]),
                entry(7, "SEQUENCE", "shop", "numbers", &[1]),
                entry(8, "TABLE", "shop", "parent", &[1]),
                entry(9, "TABLE", "shop", "orders", &[1, 3, 4, 8]),
                entry(10, "TABLE", "shop", "items", &[1]),
                entry(11, "DEFAULT", "shop", "orders id", &[7, 9]),
                entry(16, "VIEW", "shop", "late", &[9]),
                entry(17, "MATERIALIZED VIEW", "shop", "sums", &[10, 16]),
                entry(18, "VIEW", "shop", "top", &[17]),
                entry(12, "CONSTRAINT", "shop", "orders orders_pkey", &[9]),
                entry(13, "INDEX", "shop", "items_n", &[10]),
                entry(14, "TRIGGER", "shop", "orders touched", &[9, 5]),
                entry(
                    15,
                    "COMMENT",
                    "shop",
                    "CONSTRAINT orders_pkey ON orders",
                    &[12],
                ),
                entry(19, "MATERIALIZED VIEW DATA", "shop", "sums", &[17]),
            ],
        };
        let needs = of_tables(&toc, &BTreeSet::from([("shop", "orders")])).unwrap();
        assert_eq!(needs.before, [1, 2, 3, 4, 5, 7, 8, 9, 11]);
        assert_eq!(needs.behind, [12, 14, 15]);
        let sequence = ("shop".to_owned(), "numbers".to_owned());
        assert_eq!(needs.sequences, BTreeSet::from([sequence]));
        assert_eq!(needs.empty, ["shop.parent"]);
        assert!(of_tables(&toc, &BTreeSet::from([("shop", "gone")])).is_err());

        let of = |names: &[&'static str]| {
            let names = names.iter().map(|name| ("shop", *name));
            of_tables(&toc, &names.collect())
        };
        let view = of(&["late"]).unwrap();
        assert!(view.before.contains(&16) && !view.behind.contains(&12));
        assert_eq!(view.empty, ["shop.parent", "shop.orders"]);
        assert!(of(&["numbers"]).unwrap().sequences.len() == 1);
        // What is filled from rows needs them.
        let error = of(&["sums", "items"]).unwrap_err();
        assert!(
            error.message().ends_with(": shop.parent, shop.orders"),
            "{error}"
        );
        let all = of(&["sums", "items", "orders", "parent"]).unwrap();
        assert!(all.behind.contains(&19) && all.empty.is_empty());
        let top = of(&["top"]).unwrap();
        assert_eq!(
            top.empty,
            ["shop.parent", "shop.orders", "shop.items", "shop.sums"]
        );
        assert!(!top.behind.contains(&19));
    }
}

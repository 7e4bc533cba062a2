//! Which entries of an archive make single tables and schemas. pg_restore's own choice of a table would
//! leave out its indexes, constraints, triggers and rights. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    domain::logical::databases::matches,
    error::{Error, Kind, Result},
    postgres::archive_toc::{ArchiveToc, TocEntry},
};

/// What of a dump is restored. Patterns with `*` and `?`; none at all: everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picked {
    /// `table` or `schema.table`.
    pub tables: Vec<String>,
    pub schemas: Vec<String>,
}

/// What can be picked as a table, and what its rows are called where nothing else is in the dump.
const TABLES: [&str; 8] = [
    "TABLE",
    "FOREIGN TABLE",
    "VIEW",
    "MATERIALIZED VIEW",
    "SEQUENCE",
    "TABLE DATA",
    "MATERIALIZED VIEW DATA",
    "SEQUENCE SET",
];

/// What goes with something that it needs.
const FOLLOWERS: [&str; 12] = [
    "TABLE DATA",
    "MATERIALIZED VIEW DATA",
    "STATISTICS DATA",
    "SEQUENCE",
    "SEQUENCE SET",
    "SEQUENCE OWNED BY",
    "INDEX",
    "STATISTICS",
    "ROW SECURITY",
    "COMMENT",
    "ACL",
    "SECURITY LABEL",
];

/// What goes with the one table in whose name it is: it may need others.
const PARTS: [&str; 7] = [
    "DEFAULT",
    "CONSTRAINT",
    "CHECK CONSTRAINT",
    "FK CONSTRAINT",
    "TRIGGER",
    "RULE",
    "POLICY",
];

/// What goes with the two that it ties together.
const TIES: [&str; 2] = ["TABLE ATTACH", "INDEX ATTACH"];

impl Picked {
    pub fn is_everything(&self) -> bool {
        self.tables.is_empty() && self.schemas.is_empty()
    }

    /// Those of `tables` (schema, name) that are picked; an error if one that is named isn't there.
    pub fn of_tables(&self, tables: &[(String, String)]) -> Result<BTreeSet<(String, String)>> {
        let mut picked = BTreeSet::new();
        for pattern in &self.tables {
            let one = std::slice::from_ref(pattern);
            let found = tables
                .iter()
                .filter(|(schema, name)| takes(one, schema, name));
            let mut found = found.cloned().peekable();
            if found.peek().is_none() {
                return Err(absent("table", pattern));
            }
            picked.extend(found);
        }
        Ok(picked)
    }

    /// Those of `schemas` that are picked; an error if one that is named isn't there.
    pub fn of_schemas(&self, schemas: &[String]) -> Result<BTreeSet<String>> {
        let mut picked = BTreeSet::new();
        for pattern in &self.schemas {
            let found = schemas.iter().filter(|schema| matches(pattern, schema));
            let mut found = found.cloned().peekable();
            if found.peek().is_none() {
                return Err(absent("schema", pattern));
            }
            picked.extend(found);
        }
        Ok(picked)
    }

    /// The ids of what is picked, in the order of `toc`; None: everything.
    pub fn entries(&self, toc: &ArchiveToc) -> Result<Option<Vec<u32>>> {
        if self.is_everything() {
            return Ok(None);
        }
        let mut chosen = BTreeSet::new();
        for pattern in &self.tables {
            let pattern = std::slice::from_ref(pattern);
            let found = toc.entries.iter().filter(|entry| {
                let schema = entry.schema.as_deref().unwrap_or_default();
                TABLES.contains(&entry.what.as_str()) && takes(pattern, schema, &entry.name)
            });
            let before = chosen.len();
            chosen.extend(found.map(|entry| entry.id));
            if chosen.len() == before {
                return Err(absent("table", &pattern[0]));
            }
        }
        for pattern in &self.schemas {
            let found = toc.entries.iter().filter(|entry| match &entry.schema {
                Some(schema) => matches(pattern, schema),
                None => entry.what == "SCHEMA" && matches(pattern, &entry.name),
            });
            let before = chosen.len();
            chosen.extend(found.map(|entry| entry.id));
            if chosen.len() == before {
                return Err(absent("schema", pattern));
            }
        }
        close(toc, &mut chosen);
        let ids = toc.entries.iter().map(|entry| entry.id);
        Ok(Some(ids.filter(|id| chosen.contains(id)).collect()))
    }
}

fn takes(patterns: &[String], schema: &str, name: &str) -> bool {
    patterns
        .iter()
        .any(|pattern| matches(pattern, name) || matches(pattern, &format!("{schema}.{name}")))
}

fn absent(what: &str, pattern: &str) -> Error {
    Error::new(Kind::NotFound, format!("the dump has no {what} {pattern:?}"))
        .hint("names are taken as they are, capitals and all; `restore-dump --to-file -` shows what a dump holds.")
}

/// Adds what goes with what is chosen, until nothing more does.
pub(super) fn close(toc: &ArchiveToc, chosen: &mut BTreeSet<u32>) {
    let known: Known = toc.entries.iter().map(|entry| (entry.id, entry)).collect();
    loop {
        let before = chosen.len();
        for entry in &toc.entries {
            if !chosen.contains(&entry.id) && follows(&known, entry, chosen) {
                chosen.insert(entry.id);
            }
            // A partition goes with its table.
            if entry.what == "TABLE ATTACH" && attaches_to(&known, entry, chosen) {
                chosen.extend(
                    entry
                        .needs
                        .iter()
                        .filter(|id| known.get(id).is_some_and(|one| one.is_table())),
                );
            }
        }
        if chosen.len() == before {
            return;
        }
    }
}

type Known<'a> = BTreeMap<u32, &'a TocEntry>;

fn follows(known: &Known<'_>, entry: &TocEntry, chosen: &BTreeSet<u32>) -> bool {
    let what = entry.what.as_str();
    let mut needs = entry.needs.iter().filter(|id| chosen.contains(id));
    if FOLLOWERS.contains(&what) {
        return needs.next().is_some();
    }
    if TIES.contains(&what) {
        return entry.needs.iter().all(|id| chosen.contains(id));
    }
    let mut needs = needs.filter_map(|id| known.get(id));
    PARTS.contains(&what)
        && needs.any(|owner| {
            let rest = entry.name.strip_prefix(&owner.name);
            owner.schema == entry.schema && rest.is_some_and(|rest| rest.starts_with(' '))
        })
}

/// Whether the table that is not the attached one is chosen: the entry has the name of that.
fn attaches_to(known: &Known<'_>, tie: &TocEntry, chosen: &BTreeSet<u32>) -> bool {
    let needs = tie.needs.iter().filter(|id| chosen.contains(id));
    let mut tables = needs.filter_map(|id| known.get(id));
    tables.any(|table| table.name != tie.name || table.schema != tie.schema)
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
            needs: needs.into(),
            ..TocEntry::default()
        }
    }

    fn toc() -> ArchiveToc {
        ArchiveToc {
            database: None,
            server_version: None,
            client_version: None,
            entries: vec![
                entry(1, "SCHEMA", "", "shop", &[]),
                entry(2, "ACL", "", "SCHEMA shop", &[1]),
                entry(3, "TABLE", "public", "orders", &[]),
                entry(4, "TABLE", "public", "orders 2", &[]),
                entry(5, "SEQUENCE", "public", "orders_id_seq", &[3]),
                entry(6, "DEFAULT", "public", "orders id", &[5, 3]),
                entry(7, "TABLE", "shop", "items", &[1]),
                entry(8, "VIEW", "public", "v", &[3]),
                entry(9, "TABLE DATA", "public", "orders", &[3]),
                entry(10, "TABLE DATA", "shop", "items", &[7]),
                entry(11, "SEQUENCE SET", "public", "orders_id_seq", &[5]),
                entry(12, "CONSTRAINT", "public", "orders orders_pkey", &[3]),
                entry(13, "FK CONSTRAINT", "shop", "items items_fkey", &[12, 3, 7]),
                entry(14, "TABLE", "public", "parted", &[]),
                entry(15, "TABLE", "public", "part1", &[]),
                entry(16, "TABLE ATTACH", "public", "part1", &[14, 15]),
                entry(17, "TABLE DATA", "public", "part1", &[15]),
                entry(18, "INDEX", "public", "v1", &[3]),
                entry(19, "COMMENT", "public", "INDEX v1", &[18]),
                entry(20, "RULE", "shop", "items r", &[7, 3]),
            ],
        }
    }

    fn picked(tables: &[&str], schemas: &[&str]) -> Result<Vec<u32>> {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let picked = Picked {
            tables: texts(tables),
            schemas: texts(schemas),
        };
        picked.entries(&toc()).map(Option::unwrap)
    }

    #[test]
    fn a_table_comes_with_all_that_is_its_own() {
        let orders = [3, 5, 6, 9, 11, 12, 18, 19];
        assert_eq!(picked(&["orders"], &[]).unwrap(), orders);
        assert_eq!(picked(&["public.orders"], &[]).unwrap(), orders);
        assert_eq!(picked(&["items"], &[]).unwrap(), [7, 10, 13, 20]);
        assert_eq!(picked(&["parted"], &[]).unwrap(), [14, 15, 16, 17]);
        assert_eq!(picked(&["part1"], &[]).unwrap(), [15, 17]);
        assert_eq!(picked(&[], &["shop"]).unwrap(), [1, 2, 7, 10, 13, 20]);
        assert_eq!(picked(&["v"], &[]).unwrap(), [8]);
        for (tables, schemas) in [
            (&["x"][..], &[][..]),
            (&["shop.orders"], &[]),
            (&[], &["x"]),
        ] {
            assert_eq!(picked(tables, schemas).unwrap_err().kind(), Kind::NotFound);
        }
    }
}

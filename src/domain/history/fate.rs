//! What became of relations whose files went with a commit: the WAL tells it of files, not of relations. Pure.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{names::Name, work::Oid};
use crate::postgres::wal_summary::Locator;

/// What became of a relation's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    Dropped,
    Truncated,
    /// One of the others: the WAL doesn't tell which.
    Gone,
    /// Its rows were put into another file: ALTER TABLE, VACUUM FULL, CLUSTER, REINDEX.
    Rewritten,
    /// Its file stayed; some of its columns were dropped or changed.
    ColumnsChanged,
}

impl Fate {
    /// Whether its rows went, or may have.
    pub fn loses_rows(self) -> bool {
        matches!(self, Self::Dropped | Self::Truncated | Self::Gone)
    }
}

/// The relation whose first file it would be: that has its number (heap_create in `src/backend/catalog/heap.c`).
pub fn first_of(file: Locator) -> Oid {
    Oid {
        database: file.database,
        relation: file.number,
    }
}

/// What a commit tells of the relations whose files went with it.
pub struct Fates {
    /// Relations that the transaction made.
    made: BTreeSet<Oid>,
    /// Relations that were dropped, but for those that the transaction made to rewrite others.
    dropped: BTreeSet<Oid>,
    /// It made some of these.
    rewrites: bool,
    /// It gave relations new files, in the tablespace where the old ones were.
    in_place: bool,
    /// How many files went.
    removed: usize,
    /// At most one table got a new file.
    pub alone: bool,
}

impl Fates {
    pub fn of(removed: &[Locator], dropped: &[Oid], created: &[Locator]) -> Self {
        let made: BTreeSet<Oid> = created.iter().copied().map(first_of).collect();
        let place = |file: &Locator| (file.tablespace, file.database);
        let places: BTreeSet<(u32, u32)> = removed.iter().map(place).collect();
        let own = |oid: &&Oid| made.contains(*oid);
        Self {
            dropped: dropped.iter().filter(|oid| !own(oid)).copied().collect(),
            rewrites: dropped.iter().any(|oid| own(&oid)),
            in_place: created.iter().any(|file| places.contains(&place(file))),
            removed: removed.len(),
            alone: false,
            made,
        }
    }

    pub fn has_made(&self, relation: &Oid) -> bool {
        self.made.contains(relation)
    }

    pub fn is_dropped(&self, file: Locator, name: Option<&Name>) -> bool {
        let relation = name.and_then(|name| name.oid).unwrap_or(file.number);
        self.dropped.contains(&Oid {
            database: file.database,
            relation,
        })
    }

    pub fn of_file(&self, file: Locator, name: Option<&Name>) -> Fate {
        let oid = name.and_then(|name| name.oid);
        match oid {
            _ if self.is_dropped(file, name) => Fate::Dropped,
            Some(_) => self.replaced(),
            None if self.dropped.is_empty() => self.replaced(),
            None if self.dropped.len() >= self.removed && !self.rewrites => Fate::Dropped,
            None => Fate::Gone,
        }
    }

    /// Whether relations got new files.
    pub fn replaces(&self) -> bool {
        self.rewrites || self.in_place
    }

    /// What became of a relation that was not dropped. Of several, some may have been truncated and others rewritten.
    pub fn replaced(&self) -> Fate {
        match (self.rewrites, self.in_place) {
            (true, _) if self.alone => Fate::Rewritten,
            (true, _) => Fate::Gone,
            (false, true) => Fate::Truncated,
            // ALTER TABLE SET TABLESPACE.
            (false, false) => Fate::Rewritten,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(tablespace: u32, number: u32) -> Locator {
        Locator {
            tablespace,
            database: 5,
            number,
        }
    }

    fn oid(relation: u32) -> Oid {
        Oid {
            database: 5,
            relation,
        }
    }

    fn name(oid: Option<u32>) -> Name {
        Name {
            schema: "public".to_owned(),
            name: "t".to_owned(),
            kind: "r".to_owned(),
            oid,
            unlogged: false,
        }
    }

    /// Of the first of the files that went, with numbers of files that went, OIDs that were dropped, and files that were made.
    fn fate(
        removed: &[u32],
        dropped: &[u32],
        created: &[Locator],
        named: Option<Option<u32>>,
    ) -> Fate {
        let removed: Vec<Locator> = removed.iter().map(|number| file(1663, *number)).collect();
        let dropped: Vec<Oid> = dropped.iter().map(|relation| oid(*relation)).collect();
        let mut fates = Fates::of(&removed, &dropped, created);
        fates.alone = removed.len() == 1;
        fates.of_file(removed[0], named.map(name).as_ref())
    }

    #[test]
    fn commits_as_servers_write_them() {
        let new = |number| file(1663, number);
        for (what, found, expected) in [
            (
                "DROP TABLE",
                fate(&[100, 101], &[101, 100], &[], None),
                Fate::Dropped,
            ),
            (
                "of one that was rewritten before",
                fate(&[200], &[100], &[], None),
                Fate::Dropped,
            ),
            (
                "TRUNCATE",
                fate(&[100], &[], &[new(200)], None),
                Fate::Truncated,
            ),
            (
                "ALTER TABLE",
                fate(&[100], &[200], &[new(200)], Some(Some(100))),
                Fate::Rewritten,
            ),
            (
                "the same without names",
                fate(&[100], &[200], &[new(200)], None),
                Fate::Rewritten,
            ),
            (
                "SET TABLESPACE",
                fate(&[100], &[], &[file(9, 200)], None),
                Fate::Rewritten,
            ),
            (
                "DROP of one and TRUNCATE of another",
                fate(&[100, 101], &[101], &[new(200)], Some(Some(100))),
                Fate::Truncated,
            ),
            (
                "the other one",
                fate(&[101, 100], &[101], &[new(200)], Some(Some(101))),
                Fate::Dropped,
            ),
            (
                "TRUNCATE of one and ALTER TABLE of another",
                fate(&[100, 101], &[200], &[new(200), new(201)], Some(Some(100))),
                Fate::Gone,
            ),
        ] {
            assert_eq!(found, expected, "{what}");
        }
    }
}

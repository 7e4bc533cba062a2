//! What a transaction did, as far as its records tell: collected record by record, segment by segment. Pure.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::postgres::{
    lsn::Lsn,
    wal_event::{Happened, Row},
    wal_summary::Locator,
};

/// Beyond this many relations of one transaction, rows are counted without the relation's name, and files
/// and locks not at all: it bounds memory.
const MOST: usize = 10_000;

/// The relfilenode of pg_database, until somebody rewrites it (`src/include/catalog/pg_database.h`).
pub const DATABASES: Locator = Locator {
    tablespace: 1664,
    database: 0,
    number: 1262,
};

/// The relfilenode of a database's pg_attribute, until somebody rewrites it (`src/include/catalog/pg_attribute.h`).
const COLUMNS: u32 = 1249;

/// FirstNormalObjectId of `src/include/access/transam.h`: files with lower numbers are the system's own.
pub const FIRST_OF_USERS: u32 = 16_384;

/// The relfilenode of pg_largeobject, which holds what users stored.
const LARGE_OBJECTS: u32 = 2613;

/// Whether users' rows may be in a file, as far as its number tells.
pub fn is_of_users(file: Locator) -> bool {
    file.number >= FIRST_OF_USERS || file.number == LARGE_OBJECTS
}

/// Rows of one relation that went or changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rows {
    pub deleted: u64,
    pub updated: u64,
}

impl Rows {
    pub fn add(&mut self, other: Self) {
        self.deleted += other.deleted;
        self.updated += other.updated;
    }

    pub fn most(self) -> u64 {
        self.deleted.max(self.updated)
    }
}

/// An OID of a relation, and that of its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Oid {
    pub database: u32,
    pub relation: u32,
}

/// A table, by all files and OIDs that it is known by.
#[derive(Clone, Debug, Default)]
pub struct Relations {
    /// Database and relfilenode.
    pub files: BTreeSet<(u32, u32)>,
    pub oids: BTreeSet<Oid>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Ordered by relation.
    rows: Vec<(Locator, Rows)>,
    /// Of relations that there was no room for.
    pub others: Rows,
    /// Files that relations got.
    pub created: Vec<Locator>,
    /// Relations that were locked against all others.
    pub locked: Vec<Oid>,
    /// The row of pg_database that was deleted, and where.
    pub database_row: Option<(Lsn, Row)>,
}

impl Work {
    /// What a record says, if it is of a transaction's work.
    pub fn note(&mut self, lsn: Lsn, happened: &Happened) {
        match *happened {
            Happened::Deleted(row) => {
                if row.relation == DATABASES {
                    self.database_row.get_or_insert((lsn, row));
                }
                self.count(
                    row.relation,
                    Rows {
                        deleted: 1,
                        updated: 0,
                    },
                );
            }
            Happened::Updated(row) => self.count(
                row.relation,
                Rows {
                    deleted: 0,
                    updated: 1,
                },
            ),
            Happened::Created { file, .. } => push(&mut self.created, file),
            Happened::Locked { database, relation } => {
                push(&mut self.locked, Oid { database, relation })
            }
            _ => {}
        }
    }

    pub fn rows(&self) -> impl Iterator<Item = (Locator, Rows)> + '_ {
        self.rows.iter().copied()
    }

    /// All rows of users' relations.
    pub fn sum(&self) -> Rows {
        let mut sum = self.others;
        let of_users = self.rows().filter(|(file, _)| is_of_users(*file));
        of_users.for_each(|(_, rows)| sum.add(rows));
        sum
    }

    /// Relations that were locked while rows of pg_attribute were updated: some of their columns were dropped or changed.
    pub fn columns_changed(&self) -> impl Iterator<Item = Oid> + '_ {
        let changes = |database: u32| {
            let of_columns = self.rows.iter().filter(|(_, rows)| rows.updated > 0);
            let mut files = of_columns.map(|(file, _)| (file.database, file.number));
            files.any(|file| file == (database, COLUMNS))
        };
        let locked = self.locked.iter().copied();
        locked.filter(move |oid| changes(oid.database))
    }

    fn count(&mut self, relation: Locator, rows: Rows) {
        // A row and the next one mostly are of the same relation.
        match self.rows.binary_search_by(|(one, _)| one.cmp(&relation)) {
            Ok(at) => self.rows[at].1.add(rows),
            Err(at) if self.rows.len() < MOST => self.rows.insert(at, (relation, rows)),
            Err(_) => self.others.add(rows),
        }
    }

    /// Takes in what came later, or what a part of the transaction did.
    pub fn take_in(&mut self, other: Self) {
        if self.rows.is_empty() {
            self.rows = other.rows;
        } else {
            for (relation, rows) in other.rows {
                self.count(relation, rows);
            }
        }
        self.others.add(other.others);
        let room = |there: usize| MOST.saturating_sub(there);
        let left = room(self.created.len());
        self.created.extend(other.created.into_iter().take(left));
        let left = room(self.locked.len());
        self.locked.extend(other.locked.into_iter().take(left));
        self.database_row = self.database_row.or(other.database_row);
    }
}

fn push<T: PartialEq>(list: &mut Vec<T>, one: T) {
    // The same is told again at once, or not at all.
    if list.last() != Some(&one) && list.len() < MOST {
        list.push(one);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(number: u32) -> Locator {
        Locator {
            tablespace: 1663,
            database: 5,
            number,
        }
    }

    fn deleted(count: u64) -> Rows {
        Rows {
            deleted: count,
            updated: 0,
        }
    }

    #[test]
    fn parts_are_put_together() {
        let (mut first, mut second) = (Work::default(), Work::default());
        first.count(relation(90_000), deleted(2));
        first.count(relation(70_000), deleted(1));
        second.count(relation(80_000), deleted(4));
        second.count(relation(90_000), deleted(3));
        // One of the system's own.
        second.count(relation(1259), deleted(7));
        first.take_in(second);
        let rows: Vec<_> = first.rows().collect();
        let expected = [(1259, 7), (70_000, 1), (80_000, 4), (90_000, 5)];
        assert_eq!(
            rows,
            expected.map(|(one, rows)| (relation(one), deleted(rows)))
        );
        assert_eq!(first.sum(), deleted(10));
    }

    #[test]
    fn relations_beyond_the_limit_are_counted_together() {
        let mut work = Work::default();
        for number in 0..MOST as u32 + 3 {
            work.count(relation(FIRST_OF_USERS + number), deleted(1));
        }
        work.count(relation(FIRST_OF_USERS), deleted(1));
        assert_eq!(work.rows().count(), MOST);
        assert_eq!(work.others, deleted(3));
        assert_eq!(work.sum(), deleted(MOST as u64 + 4));
    }
}

//! Which file took the place of which: a relation that was rewritten or truncated twice had files in between that neither a
//! backup nor the live server knows. Pure.
//!
//! A commit tells the files that go the other way round than they were given up (smgrGetPendingDeletes in
//! `src/backend/catalog/storage.c`); files that are made are told one by one. Where it can't be told for sure which is
//! whose, nothing is.

use std::collections::{BTreeMap, BTreeSet};

use super::{digest::End, fate::first_of, names::Name, work::Oid};
use crate::postgres::wal_summary::Locator;

/// Of more files than these nothing is noted: it bounds memory.
const MOST: usize = 100_000;

/// Who replaces more files at once is not looked at: lists of files end somewhere.
const AT_ONCE: usize = 1_000;

/// Database and relfilenode.
type File = (u32, u32);

/// In the order of the WAL.
#[derive(Debug, Default)]
pub struct Heirs {
    each: Vec<Replaced>,
    files: usize,
}

/// What a transaction replaced.
#[derive(Debug)]
struct Replaced {
    /// What was given up first comes first.
    removed: Vec<File>,
    /// What was made first comes first.
    created: Vec<File>,
    /// Those of them that were made for a passing table, which is dropped at once: what rewrites a table fills it, and
    /// takes its files (make_new_heap and finish_heap_swap in `src/backend/commands/cluster.c`).
    passing: Vec<File>,
    /// What else was dropped.
    dropped: BTreeSet<Oid>,
}

impl Heirs {
    pub fn note(&mut self, end: &End) {
        let (removed, created) = (&end.removed, &end.work.created);
        let files = removed.len() + created.len();
        let is_one = removed.is_empty() || created.is_empty() || files > AT_ONCE;
        // Files of subtransactions come in another order.
        if !end.committed || is_one || !end.parts.is_empty() || self.files + files > MOST {
            return;
        }
        let mut dropped: BTreeSet<Oid> = end.dropped.iter().copied().collect();
        let passing = created.iter().copied();
        let passing: Vec<Locator> = passing
            .filter(|file| dropped.remove(&first_of(*file)))
            .collect();
        let is_plain = dropped.is_empty() && removed.len() == created.len();
        let went_again = created.iter().any(|file| removed.contains(file));
        if went_again || passing.is_empty() && !is_plain {
            return;
        }
        self.files += files;
        self.each.push(Replaced {
            removed: removed.iter().rev().map(file_of).collect(),
            created: created.iter().map(file_of).collect(),
            passing: passing.iter().map(file_of).collect(),
            dropped,
        });
    }

    /// Adds those whose names tell the names of these.
    pub fn ask(&self, wanted: &mut BTreeSet<File>) {
        for one in self.each.iter().rev() {
            if one.created.iter().any(|file| wanted.contains(file)) {
                wanted.extend(&one.removed);
            }
        }
        for one in &self.each {
            if one.removed.iter().any(|file| wanted.contains(file)) {
                wanted.extend(&one.created);
            }
        }
    }

    /// Names files by those before and behind them.
    pub fn name(&self, names: &mut BTreeMap<File, Name>) {
        for one in &self.each {
            for (old, new) in one.pairs(names) {
                one.inherit(names, old, new);
            }
        }
        for one in self.each.iter().rev() {
            for (old, new) in one.pairs(names) {
                one.inherit(names, new, old);
            }
        }
    }
}

fn file_of(file: &Locator) -> File {
    (file.database, file.number)
}

impl Replaced {
    fn inherit(&self, names: &mut BTreeMap<File, Name>, from: File, to: File) {
        if let Some(mut name) = names.get(&from).cloned() {
            // SET LOGGED and SET UNLOGGED rewrite a table.
            name.unlogged &= self.passing.is_empty();
            names.entry(to).or_insert(name);
        }
    }

    /// A file that went, and the one in its place.
    fn pairs(&self, names: &BTreeMap<File, Name>) -> Vec<(File, File)> {
        match self.passing.is_empty() {
            true => self.in_place(names),
            false => self.rewritten(names).unwrap_or_default(),
        }
    }

    /// TRUNCATE, REINDEX, SET TABLESPACE: one by one.
    fn in_place(&self, names: &BTreeMap<File, Name>) -> Vec<(File, File)> {
        let pairs = self.removed.iter().copied();
        let pairs: Vec<(File, File)> = pairs.zip(self.created.iter().copied()).collect();
        let fits = |(old, new): &(File, File)| match (names.get(old), names.get(new)) {
            (Some(old), Some(new)) => old.kind == new.kind && old.oid == new.oid,
            _ => true,
        };
        match pairs.iter().all(fits) {
            true => pairs,
            false => Vec::new(),
        }
    }

    /// Of a single table, and if it is known what else went: the passing table comes first, then what holds its large
    /// values, with its index; each of the other indexes was made anew in its turn.
    fn rewritten(&self, names: &BTreeMap<File, Name>) -> Option<Vec<(File, File)>> {
        let mut removed = Vec::new();
        for file in &self.removed {
            let name = names.get(file)?;
            let relation = name.oid.map(|relation| Oid {
                database: file.0,
                relation,
            });
            if relation.is_none_or(|oid| !self.dropped.contains(&oid)) {
                removed.push((*file, name));
            }
        }
        let is_toast = |name: &Name| name.schema == "pg_toast";
        let of = |which: &dyn Fn(&Name) -> bool| -> Vec<File> {
            let found = removed.iter().filter(|(_, name)| which(name));
            found.map(|(file, _)| *file).collect()
        };
        let [table] = of(&Name::holds_rows)[..] else {
            return None;
        };
        let mut old = vec![table];
        if self.passing.len() == 3 {
            old.extend(of(&|name| is_toast(name) && name.kind == "t"));
            old.extend(of(&|name| is_toast(name) && name.kind == "i"));
        }
        let mut pairs: Vec<(File, File)> = match old.len() == self.passing.len() {
            true => old.into_iter().zip(self.passing.iter().copied()).collect(),
            false => vec![(table, self.passing[0])],
        };
        let indexes = of(&|name| !is_toast(name) && name.kind == "i");
        let built = self.created.iter().copied();
        let built: Vec<File> = built.filter(|file| !self.passing.contains(file)).collect();
        if indexes.len() == built.len() && self.dropped.is_empty() {
            pairs.extend(indexes.into_iter().zip(built));
        }
        Some(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::history::work::Work;

    const DATABASE: u32 = 5;

    fn name(oid: u32) -> Name {
        let (schema, kind) = match oid % 10 {
            1 => ("pg_toast", "t"),
            2 => ("pg_toast", "i"),
            3 => ("public", "i"),
            _ => ("public", "r"),
        };
        Name {
            schema: schema.to_owned(),
            name: format!("n{oid}"),
            kind: kind.to_owned(),
            oid: Some(oid),
            unlogged: false,
        }
    }

    /// A commit that tells these files as removed, in its order, with what was made and dropped.
    fn end(removed: &[u32], created: &[u32], dropped: &[u32]) -> End {
        let files = |numbers: &[u32]| -> Vec<Locator> {
            let each = numbers.iter().map(|number| Locator {
                tablespace: 1663,
                database: DATABASE,
                number: *number,
            });
            each.collect()
        };
        let dropped = dropped.iter().map(|relation| Oid {
            database: DATABASE,
            relation: *relation,
        });
        let mut work = Work::default();
        work.created = files(created);
        End {
            xid: 7,
            committed: true,
            prepared: false,
            time: None,
            parts: Vec::new(),
            removed: files(removed),
            empty: BTreeSet::new(),
            dropped: dropped.collect(),
            dropped_databases: Vec::new(),
            work,
        }
    }

    /// As what relation each of these files is known, where the relations named by their numbers are known by files of the same
    /// number, and `more` by others.
    fn named(ends: &[End], known: &[(u32, u32)], wanted: &[u32]) -> Vec<Option<u32>> {
        let mut heirs = Heirs::default();
        ends.iter().for_each(|end| heirs.note(end));
        let mut asked: BTreeSet<File> = wanted.iter().map(|file| (DATABASE, *file)).collect();
        heirs.ask(&mut asked);
        let known = known
            .iter()
            .map(|(file, oid)| ((DATABASE, *file), name(*oid)));
        // What is not asked for is not told.
        let mut names: BTreeMap<File, Name> =
            known.filter(|(file, _)| asked.contains(file)).collect();
        heirs.name(&mut names);
        let found = wanted.iter().map(|file| names.get(&(DATABASE, *file)));
        found.map(|name| name.and_then(|name| name.oid)).collect()
    }

    /// A table 100 with large values and two indexes, which is rewritten and then truncated.
    fn story() -> [End; 2] {
        [
            end(
                &[100, 101, 102, 113, 103],
                &[200, 201, 202, 210, 211],
                &[200, 201, 202],
            ),
            end(&[202, 211, 210, 201, 200], &[300, 301, 310, 311, 302], &[]),
        ]
    }

    #[test]
    fn files_in_between_are_named_by_what_was_before() {
        let known = [(100, 100), (101, 101), (102, 102), (103, 103), (113, 113)];
        let between = [200, 201, 202, 210, 211, 300, 302];
        let names = [100, 101, 102, 103, 113, 100, 102].map(Some);
        assert_eq!(named(&story(), &known, &between), names);
        // Another table may hide among what nobody knows.
        assert_eq!(named(&story(), &known[..4], &[200]), [None]);
    }

    #[test]
    fn files_in_between_are_named_by_what_came_behind() {
        let known = [(300, 100), (311, 113)];
        assert_eq!(
            named(&story(), &known, &[200, 211, 201]),
            [Some(100), Some(113), None]
        );
    }

    #[test]
    fn what_is_not_sure_is_not_told() {
        let known = [(100, 100), (110, 110), (101, 101), (113, 113)];
        for (what, end) in [
            (
                "two are rewritten",
                end(&[110, 100], &[200, 210], &[200, 210]),
            ),
            ("one is made, too", end(&[100], &[200, 210], &[])),
            ("one is dropped, too", end(&[100, 110], &[200, 201], &[110])),
            ("it went again", end(&[200, 100], &[200, 300], &[])),
            (
                "an index in a table's place",
                end(&[101, 100], &[113, 200], &[]),
            ),
        ] {
            assert_eq!(named(&[end], &known, &[200]), [None], "{what}");
        }
        // Which one was dropped is known.
        let one = end(&[110, 100], &[200], &[200, 110]);
        assert_eq!(named(&[one], &known, &[200]), [Some(100)]);
        // In a transaction that was rolled back nothing took another's place.
        let undone = End {
            committed: false,
            ..end(&[100], &[200], &[])
        };
        assert_eq!(named(&[undone], &known, &[200]), [None]);
    }
}

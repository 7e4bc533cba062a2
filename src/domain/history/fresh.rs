//! Files of relations that were made in the WAL that is read, and into which no row came since: who truncates one loses
//! nothing. pg_restore with several workers does it with each table that it just made, and so does `pgbench -i`. Pure.

use std::collections::{BTreeSet, HashMap};

use super::{
    digest::End,
    work::{FIRST_OF_USERS, is_of_users},
};
use crate::postgres::wal_summary::Locator;

/// Of more files than these it is not known: it bounds memory.
const MOST: usize = 100_000;

#[derive(Debug, Default)]
pub struct Fresh(HashMap<Locator, State>);

#[derive(Clone, Copy, Debug)]
enum State {
    /// Nothing was written into it.
    Empty,
    /// Its first page alone, by the transaction that made it, which has not ended: rows, or that of an empty index.
    FirstPage,
    /// That of an empty index, and nothing since.
    Index,
}

impl Fresh {
    pub fn made(&mut self, file: Locator) {
        if is_of_users(file) && self.0.len() < MOST {
            self.0.insert(file, State::Empty);
        }
    }

    pub fn first_page(&mut self, file: Locator) {
        match self.0.get_mut(&file) {
            Some(state @ State::Empty) => *state = State::FirstPage,
            Some(State::FirstPage) | None => {}
            Some(State::Index) => self.written(file),
        }
    }

    pub fn written(&mut self, file: Locator) {
        self.0.remove(&file);
    }

    /// WAL is missing: whatever may have been written.
    pub fn forget(&mut self) {
        self.0.clear();
    }

    /// Which of the files that a transaction removed held no row.
    ///
    /// As a whole page rows come only into a file that takes the place of another, which goes with the same commit
    /// (CLUSTER, VACUUM FULL, SET TABLESPACE), or into a new database with all of the system's tables (CREATE DATABASE).
    pub fn ended(&mut self, end: &End) -> BTreeSet<Locator> {
        let copies = |file: &Locator| file.number < FIRST_OF_USERS;
        let has_rows = !end.removed.is_empty() || end.work.created.iter().any(copies);
        for file in &end.work.created {
            if let Some(state @ State::FirstPage) = self.0.get_mut(file) {
                match has_rows {
                    true => self.written(*file),
                    false => *state = State::Index,
                }
            }
        }
        let gone = end.removed.iter().filter_map(|file| {
            let state = self.0.remove(file)?;
            let is_empty = !matches!(state, State::FirstPage);
            (is_empty && end.committed).then_some(*file)
        });
        gone.collect()
    }
}

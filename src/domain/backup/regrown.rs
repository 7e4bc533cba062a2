//! Files that were cut off and have grown again, in an incremental backup that a server sends.
//!
//! Pages that a file gets without WAL, as COPY adds some at once, are in no summary. Where the file was
//! longer before, the server (18.6 too) has what is combined take them from the parent: rows that had
//! been deleted, and cut off with their pages, are there again. GetFileBackupMethod in
//! `src/backend/backup/basebackup_incremental.c` raises the truncation length to the limit block, where
//! its comment says that it must not exceed it. Such a backup must not count.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use crate::{
    error::{Error, Result},
    postgres::{
        connection::Session,
        incremental::Header,
        lsn::Lsn,
        relation_file::RelationPath,
        wal_summary::{Locator, fork_number},
    },
    repo::file_index::FilePath,
};

/// More relations than are likely to be cut off between two backups; bounds memory.
const MOST: usize = 100_000;

/// The shortest length that each fork had between two positions, where it was cut off and not emptied.
const LIMITS: &str = "
    SELECT c.reltablespace, c.reldatabase, c.relfilenode, c.relforknumber, min(c.relblocknumber)
    FROM pg_available_wal_summaries() s,
        pg_wal_summary_contents(s.tli, s.start_lsn, s.end_lsn) c
    WHERE c.is_limit_block AND s.end_lsn > $1::text::pg_lsn AND s.start_lsn < $2::text::pg_lsn
    GROUP BY 1, 2, 3, 4
    HAVING min(c.relblocknumber) > 0";

#[derive(Debug)]
pub struct Regrown {
    limits: BTreeMap<(Locator, u32), u32>,
    /// Blocks of a file of a relation; the next file continues.
    in_segment: u32,
    found: Mutex<Option<FilePath>>,
}

impl Regrown {
    /// Asks the server what was cut off.
    pub fn gather(session: &Session, from: Lsn, to: Lsn) -> Result<Self> {
        let segment = "SELECT setting FROM pg_settings WHERE name = 'segment_size'";
        let in_segment = session.query_one(segment, &[])?.parse(0)?;
        let mut limits = BTreeMap::new();
        for row in session.query_rows(LIMITS, &[&from.to_string(), &to.to_string()])? {
            let locator = Locator {
                tablespace: row.parse(0)?,
                database: row.parse(1)?,
                number: row.parse(2)?,
            };
            limits.insert((locator, row.parse(3)?), row.parse(4)?);
            if limits.len() > MOST {
                return Err(Error::failed(
                    "more relations were cut off than are kept in memory",
                ));
            }
        }
        Ok(Self::new(limits, in_segment))
    }

    fn new(limits: BTreeMap<(Locator, u32), u32>, in_segment: u32) -> Self {
        let found = Mutex::default();
        Self {
            limits,
            in_segment,
            found,
        }
    }

    /// An error for a file that would have blocks of its parent where it has none of its own; `path` is
    /// the file's own.
    pub fn check(&self, path: FilePath, header: &Header) -> Result<()> {
        if !self.brings_back(&path, header) {
            return Ok(());
        }
        let error = Error::failed(format!("{path} was cut off and has grown again"));
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        *found = Some(path);
        Err(error)
    }

    fn brings_back(&self, path: &FilePath, header: &Header) -> bool {
        let Some(relation) = RelationPath::parse(&path.0) else {
            return false;
        };
        let fork = fork_number(relation.file.fork);
        let Some(limit) = self.limits.get(&(Locator::of(&relation), fork)) else {
            return false;
        };
        let before = u64::from(relation.file.segment) * u64::from(self.in_segment);
        let limit = u64::from(*limit).saturating_sub(before);
        let sent = header.blocks.iter();
        let sent = sent.filter(|block| (limit..header.length.into()).contains(&u64::from(**block)));
        (sent.count() as u64) < u64::from(header.length).saturating_sub(limit)
    }

    /// The file that there was an error for.
    pub fn found(&self) -> Option<FilePath> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_behind_the_limit_must_be_sent() {
        let locator = Locator {
            tablespace: 1663,
            database: 5,
            number: 7,
        };
        let regrown = Regrown::new(BTreeMap::from([((locator, 0), 104)]), 100);
        let is_right = |path: &str, length, blocks: &[u32]| {
            let blocks = blocks.to_vec();
            let path = FilePath(path.as_bytes().into());
            let right = regrown
                .check(path.clone(), &Header { length, blocks })
                .is_ok();
            assert_eq!(regrown.found(), (!right).then_some(path));
            right
        };
        assert!(is_right("base/5/7", 100, &[]));
        assert!(is_right("base/5/7.1", 4, &[]));
        assert!(is_right("base/5/7.1", 7, &[2, 4, 5, 6]));
        assert!(!is_right("base/5/7.1", 7, &[2, 4, 6]));
        assert!(!is_right("base/5/7.1", 5, &[]));
        assert!(is_right("base/5/7_vm", 9, &[]));
        assert!(is_right("base/6/7.1", 9, &[]));
        assert!(is_right("base/5/8.1", 9, &[]));
    }
}

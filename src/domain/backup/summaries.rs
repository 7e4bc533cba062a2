//! The blocks that changed since the parent, as the server's summaries of its WAL tell them: so
//! that a changed file needn't be read to find them.
//!
//! They are read from `pg_wal/summaries` itself, which is there where the data directory is: by SQL
//! it would be a row for each block.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::ErrorKind,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::changes::Known;
use crate::{
    error::{Error, IoContext, Result},
    postgres::{
        lsn::Lsn,
        relation_file::{Fork, RelationPath},
        wal_summary::{self, Change, Locator, Stretch, SummaryName, fork_number},
    },
    util::cancel::Cancel,
};

/// How long the server may take to summarize its WAL up to the backup's start. The server's own
/// incremental backup waits as long without seeing progress (WaitForWalSummarization).
const WAIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// Blocks that are noted together.
const GROUP: u32 = 512;

/// Groups and limits at most, each of about 100 bytes. As many blocks of 8 kB are 1 TB: where more
/// than that has changed, finding them by reading costs little beside storing them.
const MOST: usize = 1 << 18;

/// How a server's files lie in blocks.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    /// Bytes.
    pub block: u32,
    /// Blocks of a file of a relation; the next file continues.
    pub in_segment: u32,
}

/// What changed of the main forks.
#[derive(Debug)]
pub struct Summaries {
    geometry: Geometry,
    /// A bit for each block, by the relation and the number of the group.
    groups: BTreeMap<(Locator, u32), [u64; GROUP as usize / 64]>,
    /// The shortest length that each relation had meanwhile.
    limits: BTreeMap<Locator, u32>,
}

impl Summaries {
    fn new(geometry: Geometry) -> Self {
        Self {
            geometry,
            groups: BTreeMap::new(),
            limits: BTreeMap::new(),
        }
    }

    /// Gathers what changed in `stretches`, oldest first; or why that can't be known.
    ///
    /// Waits for a server that is still at work on it, as long as `is_on` says that it is.
    pub fn gather(
        data_dir: &Path,
        stretches: &[Stretch],
        geometry: Geometry,
        is_on: impl Fn() -> Result<bool>,
        cancel: &Cancel,
    ) -> Result<Result<Self, String>> {
        let folder = data_dir.join(wal_summary::FOLDER);
        let files = match wait(&folder, stretches, is_on, cancel)? {
            Ok(files) => files,
            Err(why) => return Ok(Err(why)),
        };
        let mut found = Self::new(geometry);
        for name in files {
            cancel.check()?;
            let path = folder.join(name.to_string());
            let file = File::open(&path).at("open", &path);
            let read =
                file.and_then(|file| wal_summary::read(file, &mut |l, f, c| found.note(l, f, c)));
            if let Err(error) = read {
                return Ok(Err(format!("{name}: {}", error.in_one_line())));
            }
        }
        Ok(Ok(found))
    }

    fn note(&mut self, locator: Locator, fork: u32, change: Change) -> Result<()> {
        if fork != fork_number(Fork::Main) {
            return Ok(());
        }
        match change {
            Change::Limit(u32::MAX) if locator.number != 0 => return Ok(()),
            Change::Limit(limit) => {
                let known = self.limits.entry(locator).or_insert(limit);
                *known = limit.min(*known);
            }
            Change::Block(block) => {
                let group = self.groups.entry((locator, block / GROUP)).or_default();
                group[(block % GROUP / 64) as usize] |= 1 << (block % 64);
            }
        }
        if self.groups.len() + self.limits.len() > MOST {
            return Err(Error::failed("more has changed than is kept in memory"));
        }
        Ok(())
    }

    /// Of a file of `length` blocks that is still the parent's, those that the parent may not have;
    /// None: all of it.
    pub fn blocks(&self, relation: &RelationPath, known: &Known, length: u32) -> Option<Vec<u32>> {
        let locator = Locator::of(relation);
        if self.limits.contains_key(&locator.whole_database()) {
            return None;
        }
        let first = u64::from(relation.file.segment) * u64::from(self.geometry.in_segment);
        // What is behind the shortest length was written anew.
        let shortest = match self.limits.get(&locator) {
            None => u64::from(length),
            Some(limit) => u64::from(*limit)
                .checked_sub(first)
                .filter(|left| *left > 0)?,
        };
        let stored = known.facts.size / u64::from(self.geometry.block);
        let kept = shortest.min(stored).min(length.into()) as u32;
        let mut blocks: Vec<u32> = (kept..length).collect();
        for (from, to) in &known.notes.doubtful {
            blocks.extend((*from..=*to).take_while(|block| *block < kept));
        }
        let end = first + u64::from(kept);
        let group = |block: u64| (locator, (block / u64::from(GROUP)) as u32);
        for ((_, number), bits) in self.groups.range(group(first)..=group(end)) {
            let changed = (0..GROUP).filter(|at| bits[(at / 64) as usize] >> (at % 64) & 1 == 1);
            let changed = changed.map(|at| u64::from(*number) * u64::from(GROUP) + u64::from(at));
            let here = changed.filter(|block| (first..end).contains(block));
            blocks.extend(here.map(|block| (block - first) as u32));
        }
        blocks.sort_unstable();
        blocks.dedup();
        Some(blocks)
    }
}

/// The summaries of all of `stretches`, once they are there.
fn wait(
    folder: &Path,
    stretches: &[Stretch],
    is_on: impl Fn() -> Result<bool>,
    cancel: &Cancel,
) -> Result<Result<Vec<SummaryName>, String>> {
    let limit = Instant::now() + WAIT;
    loop {
        cancel.check()?;
        // Asked first: what a server that is stopped meanwhile leaves is looked at once more.
        let on = is_on()?;
        let mut files = list(folder)?;
        files.retain(|file| stretches.iter().any(|stretch| file.overlaps(stretch)));
        let gap = |stretch: &Stretch| stretch.gap(&files).map(|lsn| (stretch.timeline, lsn));
        let Some((timeline, lsn)) = stretches.iter().find_map(gap) else {
            return Ok(Ok(files));
        };
        let why = if !on {
            "summarize_wal is off"
        } else if is_passed(&files, lsn) {
            "they go on behind it"
        } else if Instant::now() > limit {
            "the server did not summarize it in time"
        } else {
            thread::sleep(PAUSE);
            continue;
        };
        return Ok(Err(format!(
            "no summary of the WAL at {lsn} on timeline {timeline}: {why}"
        )));
    }
}

/// Whether the server has gone on behind a position that it has not summarized.
fn is_passed(files: &[SummaryName], gap: Lsn) -> bool {
    files.iter().any(|file| file.start > gap)
}

fn list(folder: &Path) -> Result<Vec<SummaryName>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.at("list", folder)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.at("list", folder)?.file_name();
        names.extend(SummaryName::parse(name.as_encoded_bytes()));
    }
    Ok(names)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::repo::file_index::{Facts, PageNotes};

    const GEOMETRY: Geometry = Geometry {
        block: 8192,
        in_segment: 1000,
    };

    fn locator(number: u32) -> Locator {
        Locator {
            tablespace: 1663,
            database: 5,
            number,
        }
    }

    fn known(blocks: u64, doubtful: &[(u32, u32)]) -> Known {
        let facts = Facts {
            device: 1,
            inode: 2,
            born: Some(3),
            size: 8192 * blocks,
            modified: 4,
            changed: 5,
        };
        let notes = PageNotes {
            doubtful: doubtful.to_vec(),
            visible: Vec::new(),
        };
        Known { facts, notes }
    }

    fn summaries(changes: &[(u32, Change)]) -> Summaries {
        let mut summaries = Summaries::new(GEOMETRY);
        for (number, change) in changes {
            summaries.note(locator(*number), 0, *change).unwrap();
            // Of other forks nothing is noted.
            summaries
                .note(locator(*number), 2, Change::Limit(0))
                .unwrap();
        }
        summaries
    }

    #[test]
    fn what_changed_and_what_the_parent_lacks() {
        let changes = [3, 600, 999, 1000, 1511, 1512, 2047].map(|block| (7, Change::Block(block)));
        let summaries = summaries(&changes);
        let blocks = |path: &str, stored, doubtful: &[(u32, u32)], length| {
            let relation = RelationPath::parse(path.as_bytes()).unwrap();
            summaries.blocks(&relation, &known(stored, doubtful), length)
        };
        assert_eq!(blocks("base/5/7", 1000, &[], 1000), Some(vec![3, 600, 999]));
        assert_eq!(blocks("base/5/7.1", 600, &[], 600), Some(vec![0, 511, 512]));
        // Cut off since: what is not there is not asked for.
        assert_eq!(blocks("base/5/7", 1000, &[(700, 800)], 600), Some(vec![3]));
        // Longer than the parent's, in which some blocks were in doubt.
        assert_eq!(
            blocks("base/5/7", 4, &[(0, 0), (2, 9)], 7),
            Some(vec![0, 2, 3, 4, 5, 6])
        );
        assert_eq!(blocks("base/5/8", 9, &[], 9), Some(vec![]));
        assert_eq!(blocks("base/6/7", 9, &[], 9), Some(vec![]));
        assert_eq!(blocks("global/7", 9, &[], 9), Some(vec![]));
    }

    #[test]
    fn what_was_cut_off_is_stored_anew() {
        let relation = |path: &str| RelationPath::parse(path.as_bytes()).unwrap();
        let cut = summaries(&[
            (7, Change::Limit(u32::MAX)),
            (7, Change::Limit(1500)),
            (7, Change::Limit(1498)),
            (7, Change::Block(1001)),
        ]);
        let blocks = |path: &str| cut.blocks(&relation(path), &known(1000, &[]), 501);
        assert_eq!(blocks("base/5/7"), Some(vec![]));
        assert_eq!(blocks("base/5/7.1"), Some(vec![1, 498, 499, 500]));
        assert_eq!(blocks("base/5/7.2"), None);
        let made = summaries(&[(7, Change::Limit(0))]);
        assert_eq!(made.blocks(&relation("base/5/7"), &known(9, &[]), 9), None);
        let at_the_edge = summaries(&[(7, Change::Limit(1000))]);
        let blocks = |path: &str| at_the_edge.blocks(&relation(path), &known(9, &[]), 9);
        assert_eq!(
            (blocks("base/5/7"), blocks("base/5/7.1")),
            (Some(vec![]), None)
        );
        let database = summaries(&[(0, Change::Limit(0))]);
        let blocks = |path: &str| database.blocks(&relation(path), &known(9, &[]), 9);
        assert_eq!(
            (blocks("base/5/7"), blocks("base/6/7")),
            (None, Some(vec![]))
        );
    }

    #[test]
    fn memory_is_bounded() {
        let mut summaries = Summaries::new(GEOMETRY);
        let mut noted = 0..=MOST as u32;
        let failed = noted.find(|number| {
            let change = Change::Block(number % 7 * GROUP);
            summaries.note(locator(*number), 0, change).is_err()
        });
        assert_eq!(failed, Some(MOST as u32));
    }

    #[test]
    fn nobody_waits_for_what_will_not_come() {
        let folder = tempfile::tempdir().unwrap();
        let summaries = folder.path().join(wal_summary::FOLDER);
        let stretch = |from, to| Stretch {
            timeline: crate::postgres::lsn::TimelineId::FIRST,
            from: Lsn(from),
            to: Lsn(to),
        };
        let why = |on| {
            let cancel = Cancel::default();
            let wait = Summaries::gather(
                folder.path(),
                &[stretch(10, 90)],
                GEOMETRY,
                || Ok(on),
                &cancel,
            );
            wait.unwrap().err().unwrap()
        };
        assert!(why(false).ends_with("at 0/A on timeline 1: summarize_wal is off"));
        fs::create_dir_all(&summaries).unwrap();
        let file = |from, to| {
            let name = SummaryName {
                timeline: crate::postgres::lsn::TimelineId::FIRST,
                start: Lsn(from),
                end: Lsn(to),
            };
            fs::write(summaries.join(name.to_string()), b"").unwrap();
        };
        file(10, 20);
        file(24, 30);
        assert!(why(true).ends_with("at 0/14 on timeline 1: they go on behind it"));
        file(20, 24);
        file(30, 99);
        assert!(why(true).contains("ends early"));
    }
}

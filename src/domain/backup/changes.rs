//! What of a file an incremental backup stores: nothing, some of its blocks, or all of it.
//!
//! A page's LSN alone is not enough to tell that the parent has it: a file may have been half
//! written when the parent copied it, by a WAL record before the parent's start (CREATE DATABASE
//! by copies of files; the bulk of an index), and without checksums a vacuum marks a page as visible
//! to all and leaves its LSN. docs/decisions/0006-incremental-backups.md goes
//! through the cases.

use chrono::TimeDelta;

use crate::{
    postgres::{
        lsn::Lsn,
        page,
        relation_file::{Fork, RelationPath},
    },
    repo::file_index::{Facts, PageNotes},
    util::clock::Time,
};

/// Clocks of file systems are coarse, and a server's is not the kernel's.
const SAFELY: TimeDelta = TimeDelta::seconds(2);

/// A page as it was read.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// Counted in its file.
    pub number: u32,
    pub bytes: &'a [u8],
    /// Zeros, a wrong checksum or an implausible header: its LSN says nothing.
    pub doubtful: bool,
}

impl Page<'_> {
    /// Adds the page, which lies behind those before, to the notes of its file.
    pub fn note(&self, notes: &mut PageNotes) {
        if self.doubtful {
            add(&mut notes.doubtful, self.number);
        }
        if page::is_all_visible(self.bytes) {
            add(&mut notes.visible, self.number);
        }
    }
}

/// What the parent knows of a file, whole or put together from its own parents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub facts: Facts,
    pub notes: PageNotes,
}

/// The backup that an incremental one builds on.
#[derive(Clone, Copy, Debug)]
pub struct Since {
    pub start: Lsn,
    pub start_time: Time,
    pub block_size: u32,
}

/// How much of a file is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    Whole,
    /// The parent has all of it; what it noted of the pages still holds.
    Nothing(PageNotes),
    /// What has changed: [`Blocks`] chooses it by reading, and the server's summaries may tell it.
    Blocks(Known),
}

impl Since {
    /// Judges a file by what the file system says of it now, and what it said to the parent.
    pub fn extent(&self, relation: &RelationPath, now: &Facts, known: Option<Known>) -> Extent {
        let whole_blocks = now.size > 0 && now.size.is_multiple_of(self.block_size.into());
        let Some(known) = known.filter(|_| whole_blocks) else {
            return Extent::Whole;
        };
        let safely_before = |time: i64| {
            let limit = (self.start_time - SAFELY).timestamp_nanos_opt();
            limit.is_some_and(|limit| time < limit)
        };
        // Every write leaves a new time of change, and none can be before the parent's start any
        // more.
        if *now == known.facts && safely_before(now.modified) && safely_before(now.changed) {
            return Extent::Nothing(known.notes);
        }
        let same_file = known.facts.is_same_file(now) && now.born.is_some_and(safely_before);
        match relation.file.fork {
            Fork::Main if same_file => Extent::Blocks(known),
            _ => Extent::Whole,
        }
    }
}

/// Chooses the blocks of a file that the parent may not have.
#[derive(Debug)]
pub struct Blocks {
    since: Lsn,
    known_blocks: u32,
    known: PageNotes,
    pub chosen: Vec<u32>,
    pub notes: PageNotes,
}

impl Blocks {
    pub fn new(since: &Since, known: Known) -> Self {
        Self {
            since: since.start,
            known_blocks: (known.facts.size / u64::from(since.block_size)) as u32,
            known: known.notes,
            chosen: Vec::new(),
            notes: PageNotes::default(),
        }
    }

    /// Judges the next block.
    pub fn look_at(&mut self, page: &Page<'_>) {
        page.note(&mut self.notes);
        let was_doubtful = contains(&self.known.doubtful, page.number);
        let was_visible = contains(&self.known.visible, page.number);
        let marked = page::is_all_visible(page.bytes) != was_visible;
        let changed = page::lsn(page.bytes).is_none_or(|lsn| lsn >= self.since);
        let beyond = page.number >= self.known_blocks;
        if page.doubtful || was_doubtful || marked || changed || beyond {
            self.chosen.push(page.number);
        }
    }
}

fn contains(ranges: &[(u32, u32)], number: u32) -> bool {
    let behind = ranges.partition_point(|(first, _)| *first <= number);
    behind > 0 && ranges[behind - 1].1 >= number
}

/// Adds a block behind all others.
fn add(ranges: &mut Vec<(u32, u32)>, number: u32) {
    match ranges.last_mut() {
        Some((_, last)) if *last + 1 == number => *last = number,
        _ => ranges.push((number, number)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::util::clock;

    const BLOCK: u64 = 8192;

    fn main_fork() -> RelationPath {
        RelationPath::parse(b"base/5/1259").unwrap()
    }

    /// A parent that started now, and a file that was written an hour before.
    fn case() -> (Since, Facts) {
        let start_time = clock::now();
        let since = Since {
            start: Lsn(1000),
            start_time,
            block_size: BLOCK as u32,
        };
        let before = (start_time - TimeDelta::hours(1))
            .timestamp_nanos_opt()
            .unwrap();
        let facts = Facts {
            device: 1,
            inode: 2,
            born: Some(before),
            size: 4 * BLOCK,
            modified: before,
            changed: before,
        };
        (since, facts)
    }

    fn notes() -> PageNotes {
        PageNotes {
            doubtful: vec![(2, 2)],
            visible: vec![(0, 1)],
        }
    }

    fn known(facts: Facts) -> Option<Known> {
        let notes = notes();
        Some(Known { facts, notes })
    }

    #[test]
    fn only_what_is_surely_the_same_is_not_read() {
        let (since, facts) = case();
        let relation = main_fork();
        let extent = |now: &Facts, before: Facts| since.extent(&relation, now, known(before));
        assert_eq!(extent(&facts, facts), Extent::Nothing(notes()));
        assert_eq!(since.extent(&relation, &facts, None), Extent::Whole);
        let later = since.start_time.timestamp_nanos_opt().unwrap() + 1;
        let just_before = later - 1_000_000_000;
        let changes: [&dyn Fn(&mut Facts); 5] = [
            &|facts| facts.size += BLOCK,
            &|facts| facts.modified += 1,
            &|facts| facts.changed += 1,
            &|facts| facts.modified = later,
            &|facts| facts.size -= BLOCK,
        ];
        for change in changes {
            let mut now = facts;
            change(&mut now);
            assert!(matches!(extent(&now, facts), Extent::Blocks(_)), "{now:?}");
        }
        // As the parent saw it, but it may have been written since in the same tick.
        for changed in [just_before, later] {
            let both = Facts { changed, ..facts };
            assert!(matches!(extent(&both, both), Extent::Blocks(_)));
        }
        let others: [&dyn Fn(&mut Facts); 6] = [
            &|facts| facts.inode += 1,
            &|facts| facts.device += 1,
            &|facts| facts.born = facts.born.map(|born| born + 1),
            &|facts| (facts.born, facts.changed) = (None, later),
            &|facts| facts.size += 1,
            &|facts| facts.size = 0,
        ];
        for change in others {
            let mut now = facts;
            change(&mut now);
            assert_eq!(extent(&now, facts), Extent::Whole, "{now:?}");
        }
        let young = Facts {
            born: Some(just_before),
            changed: later,
            ..facts
        };
        assert_eq!(extent(&young, young), Extent::Whole);
    }

    #[test]
    fn other_forks_are_stored_whole_or_not_at_all() {
        let (since, facts) = case();
        let changed = Facts {
            changed: facts.changed + 1,
            ..facts
        };
        for fork in ["fsm", "vm", "init"] {
            let path = format!("base/5/1259_{fork}");
            let relation = RelationPath::parse(path.as_bytes()).unwrap();
            let extent = |now: &Facts| since.extent(&relation, now, known(facts));
            assert_eq!(extent(&facts), Extent::Nothing(notes()));
            assert_eq!(extent(&changed), Extent::Whole);
        }
    }

    #[test]
    fn blocks_are_chosen_by_lsn_doubt_and_mark() {
        let (since, facts) = case();
        let facts = Facts {
            size: 6 * BLOCK,
            ..facts
        };
        let notes = PageNotes {
            doubtful: vec![(1, 1)],
            visible: vec![(3, 4)],
        };
        let mut blocks = Blocks::new(&since, Known { facts, notes });
        // LSN, doubtful now, marked as visible to all now.
        let pages = [
            (999, false, false),
            (999, false, false),
            (1000, false, false),
            (999, false, true),
            (999, false, false),
            (999, false, true),
            (5, true, false),
            (999, false, false),
        ];
        for (number, (lsn, doubtful, visible)) in (0..).zip(pages) {
            let mut bytes = [0; 64];
            bytes[4..8].copy_from_slice(&u32::to_le_bytes(lsn));
            bytes[10] = if visible { 4 } else { 1 };
            blocks.look_at(&Page {
                number,
                bytes: &bytes,
                doubtful,
            });
        }
        // 1 was doubtful, 2 is new enough, 4 lost its mark, 5 got one, 6 is doubtful, 7 is behind the
        // parent's end.
        assert_eq!(blocks.chosen, [1, 2, 4, 5, 6, 7]);
        assert_eq!(blocks.notes.doubtful, [(6, 6)]);
        assert_eq!(blocks.notes.visible, [(3, 3), (5, 5)]);
    }
}

//! What `verify --wal` said of WAL, in the `verified/<time>.json` of its run: listings show what is missing, but not
//! what is there and damaged.

use serde::{Deserialize, Serialize};

use super::missing::Missing;
use super::wal_index::WalIndex;
use crate::postgres::{
    lsn::SystemId,
    wal_name::{Segment, SegmentSize},
};

/// What a run said of the WAL of one system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedWal {
    pub system_id: SystemId,
    /// Segments that are stored, and can't be replayed.
    pub damaged: Vec<WalRange>,
    /// Segments that were not there between others.
    pub missing: Vec<WalRange>,
    /// Of some only the hashes of what is stored were checked: they could not be decrypted.
    #[serde(default)]
    pub sealed: bool,
}

/// Segments of one timeline, the first and the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WalRange {
    pub first: Segment,
    pub last: Segment,
}

impl WalRange {
    pub fn numbers(self, size: SegmentSize) -> Missing {
        Missing {
            timeline: self.first.timeline,
            first: self.first.number(size),
            last: self.last.number(size),
        }
    }

    fn holds(self, other: Self) -> bool {
        let (timeline, of) = (self.first.timeline, other.first.timeline);
        timeline == of && self.first <= other.first && other.last <= self.last
    }

    /// In order; those that follow one another become one.
    pub fn joined(ranges: impl IntoIterator<Item = Missing>, size: SegmentSize) -> Vec<Self> {
        let named = Missing::joined(ranges).into_iter().map(|range| Self {
            first: Segment::nth(range.timeline, range.first, size),
            last: Segment::nth(range.timeline, range.last, size),
        });
        named.collect()
    }
}

/// The newest word on the WAL of one system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WalWord {
    pub damaged: Vec<WalRange>,
    pub missing: Vec<WalRange>,
    /// Some run could look into all there was: older ones say nothing more.
    is_whole: bool,
}

impl WalWord {
    /// What is damaged and still there: the rest is missing.
    pub fn still_there(&self, wal: &WalIndex) -> Vec<Missing> {
        let damaged = self.damaged.iter().map(|range| range.numbers(wal.size()));
        let is_gone = |one: &Missing| wal.missing(one.timeline, &one.numbers()) == [*one];
        damaged.filter(|one| !is_gone(one)).collect()
    }

    /// Adds the word of an older run; false if it says nothing any more.
    pub fn add(&mut self, older: VerifiedWal) -> bool {
        if self.is_whole {
            return false;
        }
        let is_news = !self.holds(&older);
        for (known, told) in [
            (&mut self.damaged, older.damaged),
            (&mut self.missing, older.missing),
        ] {
            known.extend(told);
            known.sort_unstable();
            known.dedup();
        }
        self.is_whole = !older.sealed;
        is_news || self.is_whole
    }

    fn holds(&self, word: &VerifiedWal) -> bool {
        let all = |told: &[WalRange], known: &[WalRange]| {
            let mut told = told.iter();
            told.all(|one| known.iter().any(|known| known.holds(*one)))
        };
        all(&word.damaged, &self.damaged) && all(&word.missing, &self.missing)
    }

    /// Whether it was said of all these that they are damaged or missing.
    pub fn tells_of(&self, range: Missing, size: SegmentSize) -> bool {
        let wanted = WalRange::joined([range], size);
        let mut told = self.damaged.iter().chain(&self.missing);
        wanted.iter().all(|one| told.any(|told| told.holds(*one)))
    }

    /// Whether `word` changes nothing of it.
    pub fn is_said_by(&self, word: &VerifiedWal) -> bool {
        let is_same = || self.damaged == word.damaged && self.missing == word.missing;
        match word.sealed {
            true => self.holds(word),
            false => is_same(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::postgres::lsn::TimelineId;

    fn size() -> SegmentSize {
        SegmentSize::new(16 << 20).unwrap()
    }

    fn missing(first: u64, last: u64) -> Missing {
        Missing {
            timeline: TimelineId::FIRST,
            first,
            last,
        }
    }

    fn word(damaged: &[u64], sealed: bool) -> VerifiedWal {
        let damaged = damaged.iter().map(|number| missing(*number, *number));
        VerifiedWal {
            system_id: SystemId(7),
            damaged: WalRange::joined(damaged, size()),
            missing: Vec::new(),
            sealed,
        }
    }

    #[test]
    fn neighbours_become_one_range() {
        let ranges = [missing(9, 9), missing(3, 3), missing(4, 5), missing(3, 3)];
        let joined = WalRange::joined(ranges, size());
        let numbers: Vec<Missing> = joined.iter().map(|one| one.numbers(size())).collect();
        assert_eq!(numbers, [missing(3, 5), missing(9, 9)]);
    }

    /// Words of runs, newest first: who can't decrypt takes nothing back.
    #[test]
    fn a_run_that_saw_all_ends_what_was_said_before() {
        let tells = |runs: &[VerifiedWal], number| {
            let mut told = WalWord::default();
            for run in runs {
                told.add(run.clone());
            }
            told.tells_of(missing(number, number), size())
        };
        assert!(tells(&[word(&[3], false)], 3));
        assert!(!tells(&[word(&[3], false)], 4));
        assert!(!tells(&[word(&[], false), word(&[3], false)], 3));
        let sealed = [word(&[5], true), word(&[3], false), word(&[1], false)];
        assert_eq!([5, 3, 1].map(|n| tells(&sealed, n)), [true, true, false]);
        let mut told = WalWord::default();
        assert!(told.add(word(&[3, 4], true)) && told.add(word(&[], false)));
        assert!(!told.add(word(&[9], false)));
        assert!(told.is_said_by(&word(&[3, 4], false)) && !told.is_said_by(&word(&[3], false)));
        assert!(!told.tells_of(missing(4, 5), size()));
        // A sealed one that says nothing new needs not be kept.
        assert!(told.is_said_by(&word(&[3], true)) && !told.is_said_by(&word(&[9], true)));
        let mut told = WalWord::default();
        let news = [(3, true), (3, false), (9, true), (9, false)];
        let news = news.map(|(number, expected)| told.add(word(&[number], true)) == expected);
        assert_eq!(news, [true; 4]);
    }
}

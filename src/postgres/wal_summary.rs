//! WAL summaries: which blocks the WAL of a range changed. A server of 17 or newer with
//! `summarize_wal` keeps them in files of `pg_wal/summaries`.
//!
//! Written by WriteBlockRefTable in `src/common/blkreftable.c`: a magic; for each fork of a relation
//! its locator, its limit block and its blocks in chunks of 65536, each an array of offsets or a
//! bitmap; an entry of zeros; the CRC-32C of all bytes before. Little-endian servers only.

use std::{
    fmt,
    io::{BufReader, Read},
    ops::Range,
};

use super::{
    lsn::{Lsn, TimelineId},
    relation_file::{Fork, RelationPath},
};
use crate::error::{Error, Result};

/// Where they lie in a data directory.
pub const FOLDER: &str = "pg_wal/summaries";

/// BLOCKREFTABLE_MAGIC in `src/include/common/blkreftable.h`.
const MAGIC: u32 = 0x652B_137B;

/// BLOCKS_PER_CHUNK, as a power of two.
const CHUNK_BITS: u32 = 16;

/// MAX_ENTRIES_PER_CHUNK: a chunk of so many words is a bitmap.
const BITMAP_WORDS: u16 = 4096;

/// ForkNumber in `src/include/common/relpath.h`.
pub fn fork_number(fork: Fork) -> u32 {
    match fork {
        Fork::Main => 0,
        Fork::FreeSpace => 1,
        Fork::Visibility => 2,
        Fork::Init => 3,
    }
}

/// DEFAULTTABLESPACE_OID and GLOBALTABLESPACE_OID (`src/include/catalog/pg_tablespace.dat`).
const DEFAULT_TABLESPACE: u32 = 1663;
const GLOBAL_TABLESPACE: u32 = 1664;

/// Whether a server's summaries name every block that its WAL changes. Before the minor releases of
/// August 2026 they lacked visibility maps whose bits were cleared (release notes of 18.6).
pub fn are_right(version: u32) -> bool {
    match version / 10_000 {
        17 => version >= 170_011,
        18 => version >= 180_006,
        major => major > 18,
    }
}

/// What a summary's name tells: `%08X%08X%08X%08X%08X.summary`
/// (`src/backend/backup/walsummary.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SummaryName {
    pub timeline: TimelineId,
    pub start: Lsn,
    /// The byte behind the last one.
    pub end: Lsn,
}

impl SummaryName {
    /// None for another file.
    pub fn parse(name: &[u8]) -> Option<Self> {
        let digits = name.strip_suffix(b".summary")?;
        let plain = |byte: &u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(byte);
        if digits.len() != 40 || !digits.iter().all(plain) {
            return None;
        }
        let number = |range: Range<usize>| {
            let digits = str::from_utf8(&digits[range]).ok()?;
            u64::from_str_radix(digits, 16).ok()
        };
        Some(Self {
            timeline: TimelineId::new(number(0..8)? as u32)?,
            start: Lsn(number(8..24)?),
            end: Lsn(number(24..40)?),
        })
    }

    pub fn overlaps(&self, stretch: &Stretch) -> bool {
        self.timeline == stretch.timeline && self.start < stretch.to && self.end > stretch.from
    }
}

impl fmt::Display for SummaryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            timeline,
            start,
            end,
        } = self;
        write!(
            f,
            "{:08X}{:016X}{:016X}.summary",
            timeline.get(),
            start.0,
            end.0
        )
    }
}

/// WAL of one timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub timeline: TimelineId,
    pub from: Lsn,
    /// The byte behind the last one.
    pub to: Lsn,
}

impl Stretch {
    /// The first position of this stretch that none of the summaries has, if there is one.
    pub fn gap(&self, summaries: &[SummaryName]) -> Option<Lsn> {
        let mut mine: Vec<&SummaryName> = summaries
            .iter()
            .filter(|summary| summary.overlaps(self))
            .collect();
        mine.sort();
        let mut reached = self.from;
        for summary in mine {
            if summary.start > reached {
                break;
            }
            reached = reached.max(summary.end);
        }
        (reached < self.to).then_some(reached)
    }
}

/// What a relation is called in the WAL (RelFileLocator).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locator {
    pub tablespace: u32,
    /// 0 for what all databases share.
    pub database: u32,
    /// The relfilenode; 0 stands for the whole database in this tablespace, which was made or
    /// dropped.
    pub number: u32,
}

impl Locator {
    pub fn of(relation: &RelationPath) -> Self {
        let tablespace = match (relation.tablespace, relation.database) {
            (Some(tablespace), _) => tablespace,
            (None, Some(_)) => DEFAULT_TABLESPACE,
            (None, None) => GLOBAL_TABLESPACE,
        };
        Self {
            tablespace,
            database: relation.database.unwrap_or(0),
            number: relation.file.number,
        }
    }

    /// What stands for all of its database in its tablespace.
    pub fn whole_database(self) -> Self {
        Self { number: 0, ..self }
    }
}

/// What a summary tells of a fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was made, dropped (0) or cut off (to so many blocks): comes before its blocks.
    Limit(u32),
    Block(u32),
}

/// Reads a summary, and gives each change of a fork to `each`, whose error ends the reading. The
/// checksum stands at the end: act on what was given only after this returned.
///
/// A limit comes for every fork that has an entry: `u32::MAX` is none.
pub fn read(
    file: impl Read,
    each: &mut dyn FnMut(Locator, u32, Change) -> Result<()>,
) -> Result<()> {
    let mut file = Summed {
        inner: BufReader::with_capacity(64 << 10, file),
        crc: 0,
    };
    if file.number()? != MAGIC {
        return Err(Error::damaged("not a WAL summary: another magic"));
    }
    loop {
        let entry: [u32; 6] = {
            let mut entry = [0; 6];
            for number in &mut entry {
                *number = file.number()?;
            }
            entry
        };
        if entry == [0; 6] {
            break;
        }
        let [tablespace, database, number, fork, limit, chunks] = entry;
        let locator = Locator {
            tablespace,
            database,
            number,
        };
        if chunks > 1 << (u32::BITS - CHUNK_BITS) {
            return Err(Error::damaged("a WAL summary tells too many chunks"));
        }
        each(locator, fork, Change::Limit(limit))?;
        let sizes = file.words(chunks as usize)?;
        for (chunk, size) in (0..).zip(sizes) {
            let words = file.words(size.into())?;
            let mut block =
                |offset: u32| each(locator, fork, Change::Block(chunk << CHUNK_BITS | offset));
            if size < BITMAP_WORDS {
                for offset in words {
                    block(offset.into())?;
                }
            } else if size == BITMAP_WORDS {
                for (at, word) in (0..).zip(words) {
                    for bit in (0..16).filter(|bit| word >> bit & 1 == 1) {
                        block(at * 16 + bit)?;
                    }
                }
            } else {
                return Err(Error::damaged("a WAL summary tells too large a chunk"));
            }
        }
    }
    let crc = file.crc;
    if file.number()? != crc {
        return Err(Error::damaged("a WAL summary has a wrong checksum"));
    }
    Ok(())
}

/// Sums what is read.
struct Summed<R> {
    inner: R,
    crc: u32,
}

impl<R: Read> Summed<R> {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.inner
            .read_exact(bytes)
            .map_err(|error| Error::damaged("a WAL summary ends early").because(error))?;
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        Ok(())
    }

    fn number(&mut self) -> Result<u32> {
        let mut bytes = [0; 4];
        self.fill(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn words(&mut self, count: usize) -> Result<Vec<u16>> {
        let mut bytes = vec![0; 2 * count];
        self.fill(&mut bytes)?;
        let (words, _) = bytes.as_chunks();
        Ok(words.iter().map(|word| u16::from_le_bytes(*word)).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn name(timeline: u32, start: u64, end: u64) -> SummaryName {
        SummaryName {
            timeline: TimelineId::new(timeline).unwrap(),
            start: Lsn(start),
            end: Lsn(end),
        }
    }

    #[test]
    fn names_come_back() {
        let text = "0000000100000002010B309800000002014E8838.summary";
        let named = name(1, 0x2_010B_3098, 0x2_014E_8838);
        assert_eq!(SummaryName::parse(text.as_bytes()), Some(named));
        assert_eq!(named.to_string(), text);
        for bad in [
            "",
            "temp.summary",
            &text[1..],
            &text.to_lowercase(),
            &text.replacen('1', "0", 1),
            &text.replace(".summary", ""),
        ] {
            assert_eq!(SummaryName::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn gaps_are_found() {
        let stretch = Stretch {
            timeline: TimelineId::FIRST,
            from: Lsn(10),
            to: Lsn(30),
        };
        let gap = |files: &[(u32, u64, u64)]| {
            let files = files
                .iter()
                .map(|(timeline, start, end)| name(*timeline, *start, *end));
            stretch.gap(&files.collect::<Vec<_>>()).map(|lsn| lsn.0)
        };
        assert_eq!(gap(&[(1, 10, 30)]), None);
        assert_eq!(gap(&[(1, 20, 40), (1, 5, 20)]), None);
        // One that another one has in it hides nothing.
        assert_eq!(
            gap(&[(1, 5, 29), (1, 7, 8), (1, 12, 15), (1, 29, 30)]),
            None
        );
        assert_eq!(gap(&[]), Some(10));
        assert_eq!(gap(&[(2, 10, 30)]), Some(10));
        assert_eq!(gap(&[(1, 11, 30)]), Some(10));
        assert_eq!(gap(&[(1, 5, 20), (1, 21, 30)]), Some(20));
        assert_eq!(gap(&[(1, 5, 29)]), Some(29));
    }

    #[test]
    fn relations_are_named_as_in_the_wal() {
        let of = |path: &str| {
            let Locator {
                tablespace,
                database,
                number,
            } = Locator::of(&RelationPath::parse(path.as_bytes()).unwrap());
            (tablespace, database, number)
        };
        assert_eq!(of("base/5/1259.1"), (1663, 5, 1259));
        assert_eq!(of("global/1262"), (1664, 0, 1262));
        assert_eq!(of("pg_tblspc/16385/PG_18_202506291/5/7"), (16_385, 5, 7));
    }

    /// Two blocks in an array behind an empty chunk, then all even blocks of a bitmap.
    fn sample() -> Vec<u8> {
        let mut bytes = MAGIC.to_le_bytes().to_vec();
        let mut entry = |numbers: [u32; 6], words: &[u16]| {
            bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
            bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        };
        entry([1663, 5, 0, 0, 0, 0], &[]);
        entry([1663, 5, 7, 0, u32::MAX, 2], &[0, 2, 9, 3]);
        let bitmap = [&[4096][..], &[0x5555; 4096]].concat();
        entry([1664, 0, 8, 2, 3, 1], &bitmap);
        entry([0; 6], &[]);
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    #[test]
    fn changes_are_read() {
        let mut found = Vec::new();
        read(&sample()[..], &mut |locator, fork, change| {
            found.push((locator.number, fork, change));
            Ok(())
        })
        .unwrap();
        let first = [
            (0, 0, Change::Limit(0)),
            (7, 0, Change::Limit(u32::MAX)),
            (7, 0, Change::Block(65_536 + 9)),
            (7, 0, Change::Block(65_536 + 3)),
            (8, 2, Change::Limit(3)),
            (8, 2, Change::Block(0)),
            (8, 2, Change::Block(2)),
        ];
        assert_eq!(found[..7], first);
        assert_eq!(found.len(), 5 + 32_768);
        assert_eq!(found.last(), Some(&(8, 2, Change::Block(65_534))));
    }

    #[test]
    fn damage_is_an_error() {
        let bytes = sample();
        let mut ignore = |_: Locator, _: u32, _: Change| Ok(());
        for cut in (0..200).chain(bytes.len() - 200..bytes.len()) {
            assert!(read(&bytes[..cut], &mut ignore).is_err(), "{cut}");
        }
        for at in (0..200).chain(bytes.len() - 200..bytes.len()) {
            let mut changed = bytes.clone();
            changed[at] ^= 0x80;
            assert!(read(&changed[..], &mut ignore).is_err(), "{at}");
        }
    }

    #[test]
    fn minor_releases_that_are_right() {
        for (version, right) in [
            (160_015, false),
            (170_010, false),
            (170_011, true),
            (180_005, false),
            (180_006, true),
            (190_000, true),
        ] {
            assert_eq!(are_right(version), right, "{version}");
        }
    }
}

//! Names of files in pg_wal and in a WAL archive, and the arithmetic of segments.
//!
//! Formats: `src/include/access/xlog_internal.h` (XLogFileName, TLHistoryFileName,
//! BackupHistoryFileName) and the archiver's rule in `src/include/postmaster/pgarch.h`.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use serde::{Deserialize, Serialize};

use super::lsn::{Lsn, TimelineId};
use crate::error::{Error, Result};

/// Bytes in a WAL segment: a power of two from 1 MiB to 1 GiB (`--wal-segsize` of initdb).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct SegmentSize(u32);

impl SegmentSize {
    pub fn new(bytes: u32) -> Option<Self> {
        (bytes.is_power_of_two() && (1 << 20..=1 << 30).contains(&bytes)).then_some(Self(bytes))
    }

    pub fn bytes(self) -> u64 {
        self.0.into()
    }

    /// How many segments share the first 16 characters of their names.
    pub fn segments_per_log(self) -> u64 {
        (1 << 32) / self.bytes()
    }
}

impl TryFrom<u32> for SegmentSize {
    type Error = String;

    fn try_from(bytes: u32) -> Result<Self, String> {
        Self::new(bytes).ok_or_else(|| format!("not a WAL segment size: {bytes}"))
    }
}

impl From<SegmentSize> for u32 {
    fn from(size: SegmentSize) -> u32 {
        size.0
    }
}

/// The name of a WAL segment: timeline, and the two halves of its number. Orders as the
/// name does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Segment {
    pub timeline: TimelineId,
    /// Bits 32.. of the LSN.
    pub log: u32,
    /// Which segment of that log.
    pub part: u32,
}

impl Segment {
    /// The `number`-th segment of the WAL, counted from LSN 0.
    pub fn nth(timeline: TimelineId, number: u64, size: SegmentSize) -> Self {
        let per_log = size.segments_per_log();
        // An LSN has 64 bits, so the quotient fits 32.
        Self {
            timeline,
            log: (number / per_log) as u32,
            part: (number % per_log) as u32,
        }
    }

    /// The segment that holds the byte at `lsn`.
    pub fn holding(timeline: TimelineId, lsn: Lsn, size: SegmentSize) -> Self {
        Self::nth(timeline, lsn.0 / size.bytes(), size)
    }

    pub fn number(self, size: SegmentSize) -> u64 {
        u64::from(self.log) * size.segments_per_log() + u64::from(self.part)
    }

    /// LSN of the segment's first byte.
    pub fn start(self, size: SegmentSize) -> Lsn {
        Lsn(self.number(size) * size.bytes())
    }

    /// LSN of the byte behind the segment.
    pub fn end(self, size: SegmentSize) -> Lsn {
        Lsn((self.number(size) + 1).saturating_mul(size.bytes()))
    }

    /// False for a name such as `...000001FF` in a cluster of 16 MiB segments.
    pub fn fits(self, size: SegmentSize) -> bool {
        u64::from(self.part) < size.segments_per_log()
    }

    /// The folder of the repository that holds this segment: the name's first 16 characters.
    pub fn folder(self) -> String {
        format!("{:08X}{:08X}", self.timeline.get(), self.log)
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:08X}{:08X}{:08X}",
            self.timeline.get(),
            self.log,
            self.part
        )
    }
}

impl FromStr for Segment {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.parse()? {
            WalName::Segment(segment) => Ok(segment),
            _ => Err(not_a_name(text)),
        }
    }
}

impl TryFrom<String> for Segment {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Segment> for String {
    fn from(segment: Segment) -> String {
        segment.to_string()
    }
}

/// The segments that hold the bytes from `start` up to, not including, `end`.
///
/// PostgreSQL's stop LSN of a backup is such an end: when it lies on a border, the segment
/// that begins there isn't needed.
pub fn segment_numbers(start: Lsn, end: Lsn, size: SegmentSize) -> RangeInclusive<u64> {
    let last = Lsn(end.0.saturating_sub(1)).max(start);
    start.0 / size.bytes()..=last.0 / size.bytes()
}

/// Any file that PostgreSQL archives (rule: `src/backend/postmaster/pgarch.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WalName {
    Segment(Segment),
    /// The last segment of a timeline that was left by a promotion.
    Partial(Segment),
    /// `SEGMENT.OFFSET.backup`: what pg_backup_stop notes for people.
    BackupHistory(Segment, u32),
    /// `TTTTTTTT.history`: where this timeline comes from.
    History(TimelineId),
}

impl WalName {
    pub fn timeline(self) -> TimelineId {
        match self {
            WalName::Segment(segment)
            | WalName::Partial(segment)
            | WalName::BackupHistory(segment, _) => segment.timeline,
            WalName::History(timeline) => timeline,
        }
    }

    /// The segment whose bytes such a file has; None for the two kinds of text files.
    pub fn segment(self) -> Option<Segment> {
        match self {
            WalName::Segment(segment) | WalName::Partial(segment) => Some(segment),
            WalName::BackupHistory(..) | WalName::History(_) => None,
        }
    }
}

impl fmt::Display for WalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WalName::Segment(segment) => segment.fmt(f),
            WalName::Partial(segment) => write!(f, "{segment}.partial"),
            WalName::BackupHistory(segment, offset) => write!(f, "{segment}.{offset:08X}.backup"),
            WalName::History(timeline) => write!(f, "{:08X}.history", timeline.get()),
        }
    }
}

impl FromStr for WalName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text).ok_or_else(|| not_a_name(text))
    }
}

fn not_a_name(text: &str) -> Error {
    Error::usage(format!("not the name of a WAL file: {text:?}")).hint(
        "PostgreSQL archives segments (24 hexadecimal digits), .partial, .backup and .history files.",
    )
}

fn parse(text: &str) -> Option<WalName> {
    if let Some(timeline) = text.strip_suffix(".history") {
        return TimelineId::new(hex(timeline)?).map(WalName::History);
    }
    let segment = Segment {
        timeline: TimelineId::new(hex(text.get(..8)?)?)?,
        log: hex(text.get(8..16)?)?,
        part: hex(text.get(16..24)?)?,
    };
    match text.get(24..)? {
        "" => Some(WalName::Segment(segment)),
        ".partial" => Some(WalName::Partial(segment)),
        rest => {
            let offset = rest.strip_prefix('.')?.strip_suffix(".backup")?;
            Some(WalName::BackupHistory(segment, hex(offset)?))
        }
    }
}

/// Eight upper-case hexadecimal digits, the only form that PostgreSQL writes.
fn hex(text: &str) -> Option<u32> {
    let plain = text.len() == 8 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
    plain.then(|| u32::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB16: SegmentSize = SegmentSize(16 << 20);

    #[test]
    fn names_read_as_they_are_written() {
        for name in [
            "000000010000000A000000FE",
            "000000010000000A000000FE.partial",
            "000000010000000A000000FE.00000028.backup",
            "00000002.history",
        ] {
            assert_eq!(
                name.parse::<WalName>()
                    .map(|n| n.to_string())
                    .ok()
                    .as_deref(),
                Some(name)
            );
        }
        for bad in [
            "",
            "x",
            "00000000.history",
            "0000000g.history",
            "000000010000000a000000FE",
            "000000010000000A000000FE.backup",
            "000000010000000A000000FE.00000028.backup.x",
            "000000010000000A000000FE.28.backup",
            "000000000000000A000000FE",
            "../000000010000000A000000FE",
            "000000010000000A000000FÉ",
        ] {
            assert!(bad.parse::<WalName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn segments_and_positions_agree() {
        let name = Segment::holding(TimelineId::FIRST, Lsn(0xA_FE00_0028), MIB16);
        assert_eq!(name.to_string(), "000000010000000A000000FE");
        assert_eq!(name.start(MIB16), Lsn(0xA_FE00_0000));
        assert_eq!(name.end(MIB16), Lsn(0xA_FF00_0000));
        let big = SegmentSize(1 << 30);
        assert_eq!(
            Segment::nth(TimelineId::FIRST, 7, big).to_string(),
            "000000010000000100000003"
        );
        assert!(!Segment { part: 4, ..name }.fits(big));
    }

    #[test]
    fn a_range_that_ends_on_a_border_leaves_the_next_segment_out() {
        let size = MIB16.bytes();
        assert_eq!(segment_numbers(Lsn(size), Lsn(2 * size), MIB16), 1..=1);
        assert_eq!(
            segment_numbers(Lsn(size + 40), Lsn(2 * size + 1), MIB16),
            1..=2
        );
        assert_eq!(segment_numbers(Lsn(size), Lsn(size), MIB16), 1..=1);
    }
}

//! The header at the start of a WAL segment, and whether segment and name belong together.
//!
//! Layout: XLogLongPageHeaderData in `src/include/access/xlog_internal.h`, the same in all
//! supported versions. Little-endian servers only: those of another byte order are told so.

use std::{fs::File, io::Read, path::Path};

use super::{
    lsn::{Lsn, SystemId, TimelineId},
    version::Major,
    wal_name::{Segment, SegmentSize},
};
use crate::error::{Error, IoContext, Kind, Result};

/// Bytes of a long page header: what must be read from a segment to know whose it is.
pub const LENGTH: usize = 40;

/// XLP_LONG_HEADER in xlp_info: set on the first page of each segment, and only there.
const LONG_HEADER: u16 = 0x0002;
/// XLP_ALL_FLAGS: first page is a continued record, long header, removable backup blocks, first
/// record after a lost continuation.
const ALL_FLAGS: u16 = 0x000F;

/// What the first page of a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalHeader {
    pub major: Major,
    /// The timeline whose server wrote the first page; not above the one in the name.
    pub timeline: TimelineId,
    /// LSN of the segment's first byte.
    pub address: Lsn,
    pub system: SystemId,
    pub segment_size: SegmentSize,
    /// XLOG_BLCKSZ: bytes in a page of WAL.
    pub page_size: u32,
}

impl WalHeader {
    /// Reads the header from the first [`LENGTH`] bytes of a segment, or more of it.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let Some(bytes) = bytes.first_chunk::<LENGTH>() else {
            return Err(Error::damaged(format!(
                "too short for a WAL segment: {} bytes",
                bytes.len()
            )));
        };
        let magic = u16::from_le_bytes(array(bytes, 0));
        let major = Major::from_wal_magic(magic).ok_or_else(|| unknown_magic(magic))?;
        let info = u16::from_le_bytes(array(bytes, 2));
        if info & LONG_HEADER == 0 || info & !ALL_FLAGS != 0 {
            return Err(Error::damaged(format!(
                "not the first page of a WAL segment: flags {info:#06x} in its header"
            )));
        }
        let timeline = TimelineId::new(u32::from_le_bytes(array(bytes, 4)))
            .ok_or_else(|| Error::damaged("timeline 0 in the header of the WAL segment"))?;
        let segment_size = u32::from_le_bytes(array(bytes, 32));
        let page_size = u32::from_le_bytes(array(bytes, 36));
        if !page_size.is_power_of_two() || !(1 << 10..=1 << 16).contains(&page_size) {
            return Err(Error::damaged(format!(
                "not a size of WAL pages: {page_size} in the header of the WAL segment"
            )));
        }
        Ok(Self {
            major,
            timeline,
            address: Lsn(u64::from_le_bytes(array(bytes, 8))),
            system: SystemId(u64::from_le_bytes(array(bytes, 24))),
            segment_size: SegmentSize::try_from(segment_size).map_err(Error::damaged)?,
            page_size,
        })
    }

    /// Reads the header of the segment in `file`; `path` names it in errors.
    pub fn read(file: &mut File, path: &Path) -> Result<Self> {
        let mut bytes = Vec::with_capacity(LENGTH);
        file.take(LENGTH as u64)
            .read_to_end(&mut bytes)
            .at("read", path)?;
        Self::parse(&bytes).map_err(|error| error.context(format!("can't use {}", path.display())))
    }

    /// Whether a file of `length` bytes that begins with this header is the segment `name`.
    ///
    /// The header may name a lower timeline than the file: the first segment after a promotion
    /// begins with pages of the old timeline. A higher one can't be.
    pub fn check(&self, name: Segment, length: u64) -> Result<()> {
        if length != self.segment_size.bytes() {
            return Err(Error::damaged(format!(
                "WAL segment {name} has {length} bytes, its header says {}",
                self.segment_size.bytes()
            ))
            .hint("a cut-off segment is never archived: look for a full disk in pg_wal."));
        }
        if !name.fits(self.segment_size) {
            return Err(Error::damaged(format!(
                "no segment of {} bytes has the name {name}",
                self.segment_size.bytes()
            )));
        }
        let expected = name.start(self.segment_size);
        if self.address != expected {
            return Err(Error::damaged(format!(
                "WAL segment {name} must begin at {expected}, its header says {}",
                self.address
            ))
            .hint("this is another segment under the wrong name, or a recycled one that was never written."));
        }
        if self.timeline > name.timeline {
            return Err(Error::damaged(format!(
                "WAL segment {name} is of timeline {}, its header says {}, a later one",
                name.timeline, self.timeline
            )));
        }
        Ok(())
    }
}

fn unknown_magic(magic: u16) -> Error {
    if Major::from_wal_magic(magic.swap_bytes()).is_some() {
        return Error::new(
            Kind::Foreign,
            "a WAL segment of a big-endian server, which pgstow can't read",
        );
    }
    match magic {
        0 => Error::damaged("not a WAL segment: it begins with zeros"),
        0xD000..=0xD1FF => Error::new(
            Kind::Foreign,
            format!("a WAL segment of an unsupported PostgreSQL (page magic {magic:04X})"),
        )
        .hint("pgstow supports PostgreSQL 15 to 18."),
        _ => Error::damaged(format!("not a WAL segment: it begins with {magic:04X}")),
    }
}

/// `N` bytes at `at`, which every caller has as a constant inside the header.
fn array<const N: usize>(bytes: &[u8; LENGTH], at: usize) -> [u8; N] {
    let mut taken = [0; N];
    taken.copy_from_slice(&bytes[at..at + N]);
    taken
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::util::hash::from_hex;

    /// First bytes of 000000010000000000000003, as servers of 15 to 18 wrote them.
    const REAL: [(Major, u64, &str); 4] = [
        (
            Major::V15,
            7_710_466_183_223_509_428,
            "10d10600010000000000000300000000000000000000 0000b401b34f2414016b0000000100200000",
        ),
        (
            Major::V16,
            7_710_466_186_856_407_527,
            "13d10600010000000000000300000000000000000000 0000e7a13c282514016b0000000100200000",
        ),
        (
            Major::V17,
            7_710_466_191_037_678_106,
            "16d10600010000000000000300000000000000000000 00001ac275212614016b0000000100200000",
        ),
        (
            Major::V18,
            7_710_466_195_015_307_849,
            "18d10600010000000000000300000000000000000000 000049928b0e2714016b0000000100200000",
        ),
    ];

    fn bytes(hex: &str) -> Vec<u8> {
        from_hex(&hex.replace(' ', "")).unwrap()
    }

    fn segment(name: &str) -> Segment {
        name.parse().unwrap()
    }

    #[test]
    fn headers_of_real_segments() {
        for (major, system, hex) in REAL {
            let header = WalHeader::parse(&bytes(hex)).unwrap();
            let expected = WalHeader {
                major,
                timeline: TimelineId::FIRST,
                address: Lsn(0x300_0000),
                system: SystemId(system),
                segment_size: SegmentSize::new(16 << 20).unwrap(),
                page_size: 8192,
            };
            assert_eq!(header, expected);
            header
                .check(segment("000000010000000000000003"), 16 << 20)
                .unwrap();
        }
    }

    #[test]
    fn name_and_header_must_agree() {
        let old = WalHeader::parse(&bytes(REAL[0].2)).unwrap();
        let new = WalHeader {
            timeline: TimelineId::new(3).unwrap(),
            ..old
        };
        for (header, name, length, wrong) in [
            (old, "000000010000000000000003", 16 << 20, ""),
            // The first segment after a promotion.
            (old, "000000020000000000000003", 16 << 20, ""),
            (new, "000000030000000000000003", 16 << 20, ""),
            (new, "000000020000000000000003", 16 << 20, "a later one"),
            (
                old,
                "000000010000000000000004",
                16 << 20,
                "must begin at 0/4000000",
            ),
            (
                old,
                "000000010000000100000003",
                16 << 20,
                "must begin at 1/3000000",
            ),
            (old, "000000010000000000000103", 16 << 20, "no segment of"),
            (old, "000000010000000000000003", 0, "has 0 bytes"),
            (
                old,
                "000000010000000000000003",
                (16 << 20) - 1,
                "its header says 16777216",
            ),
        ] {
            match header.check(segment(name), length) {
                Ok(()) => assert_eq!(wrong, "", "{name}"),
                Err(error) => assert!(
                    !wrong.is_empty() && error.message().contains(wrong),
                    "{name}: {error}"
                ),
            }
        }
    }

    #[test]
    fn what_is_no_segment_is_refused() {
        let real = bytes(REAL[3].2);
        let with = |at: usize, byte: u8| {
            let mut bytes = real.clone();
            bytes[at] = byte;
            WalHeader::parse(&bytes).unwrap_err().to_string()
        };
        assert!(with(2, 0x01).contains("first page"));
        assert!(with(3, 0x10).contains("flags 0x1006"));
        assert!(with(4, 0).contains("timeline 0"));
        assert!(with(34, 1).contains("segment size"));
        assert!(with(37, 1).contains("WAL pages"));
        assert!(with(0, 0x0D).contains("unsupported"));
        let mut swapped = real.clone();
        swapped.swap(0, 1);
        assert!(
            WalHeader::parse(&swapped)
                .unwrap_err()
                .message()
                .contains("big-endian")
        );
        assert!(
            WalHeader::parse(&[0; LENGTH])
                .unwrap_err()
                .message()
                .contains("zeros")
        );
        for length in 0..LENGTH {
            let error = WalHeader::parse(&real[..length]).unwrap_err();
            assert_eq!(error.kind(), Kind::Damaged);
        }
    }
}

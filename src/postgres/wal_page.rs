//! The header of a WAL page: XLogPageHeaderData in `src/include/access/xlog_internal.h`.

use super::{lsn::Lsn, wal_header};

/// SizeOfXLogShortPHD.
const SHORT: usize = 24;
/// SizeOfXLogLongPHD.
pub const LONG: usize = wal_header::LENGTH;

pub const FIRST_IS_CONTRECORD: u16 = 0x0001;
pub const LONG_HEADER: u16 = 0x0002;
pub const FIRST_IS_OVERWRITE_CONTRECORD: u16 = 0x0008;
const ALL_FLAGS: u16 = 0x000F;

#[derive(Clone, Copy, Debug)]
pub struct PageHeader {
    pub magic: u16,
    pub info: u16,
    pub timeline: u32,
    pub address: Lsn,
    /// Bytes left of the record that the page before began or went on with.
    pub left: u32,
}

impl PageHeader {
    /// The header of a page that is the `first` of its segment or not, and what is behind it.
    /// None if it is cut off.
    pub fn split(page: &[u8], first: bool) -> Option<(Self, &[u8])> {
        let header: &[u8; SHORT] = page.first_chunk()?;
        let content = page.get(if first { LONG } else { SHORT }..)?;
        let word = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let long = |at: usize| u32::from(word(at)) | (u32::from(word(at + 2)) << 16);
        let header = Self {
            magic: word(0),
            info: word(2),
            timeline: long(4),
            address: Lsn(u64::from(long(8)) | (u64::from(long(12)) << 32)),
            left: long(16),
        };
        Some((header, content))
    }

    /// Whether its flags are those of a page that is the `first` of its segment or not.
    pub fn flags_fit(&self, first: bool) -> bool {
        self.info & !ALL_FLAGS == 0 && (self.info & LONG_HEADER != 0) == first
    }

    /// Whether it begins with more of a record.
    pub fn goes_on(&self) -> bool {
        self.info & FIRST_IS_CONTRECORD != 0
    }

    /// Whether it begins with a record in place of one that never ended: see
    /// XLOG_OVERWRITE_CONTRECORD.
    pub fn overwrites(&self) -> bool {
        self.info & FIRST_IS_OVERWRITE_CONTRECORD != 0
    }
}

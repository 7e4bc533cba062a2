//! One WAL record, whose bytes come in pieces: it is held against its CRC, and only its first bytes are kept.
//!
//! Layout: XLogRecord in `src/include/access/xlogrecord.h`; the CRC: ValidXLogRecord in
//! `src/backend/access/transam/xlogreader.c`.

use super::lsn::Lsn;

/// SizeOfXLogRecord: what comes before a record's data.
pub const HEADER: usize = 24;
/// Where in it xl_crc lies, which ends it.
const CRC: usize = 20;
/// RM_XLOG_ID in `src/include/access/rmgrlist.h`.
const XLOG: u8 = 0;
/// XLOG_SWITCH in `src/include/catalog/pg_control.h`.
const SWITCH: u8 = 0x40;
/// XLOG_PARAMETER_CHANGE there.
const PARAMETER_CHANGE: u8 = 0x60;
/// XLR_RMGR_INFO_MASK.
const INFO_MASK: u8 = 0xF0;
/// XLR_BLOCK_ID_DATA_SHORT, before data of less than 256 bytes; its length is the byte behind it.
const SHORT_DATA: u8 = 255;
/// Where wal_level lies in a record of changed parameters: `xl_parameter_change` in
/// `src/include/access/xlog_internal.h`, behind the header and the two bytes before the data.
const WAL_LEVEL: usize = HEADER + 2 + 20;
/// Bytes of a record that are kept.
const KEPT: usize = WAL_LEVEL + 4;

/// A record that may not have ended yet.
#[derive(Clone, Debug)]
pub struct Record {
    pub start: Lsn,
    /// Bytes that are still to come.
    pub left: u32,
    first: [u8; KEPT],
    /// How many bytes of `first` are there.
    have: usize,
    /// Of the data, which comes first in the CRC.
    crc: u32,
}

impl Record {
    /// `length` is what its first bytes say; the bytes are yet to come.
    pub fn new(start: Lsn, length: u32) -> Result<Self, String> {
        if (length as usize) < HEADER {
            return Err(match length {
                0 => format!("WAL ends at {start}"),
                _ => format!("the record at {start} has {length} bytes, less than its header"),
            });
        }
        Ok(Self {
            start,
            left: length,
            first: [0; KEPT],
            have: 0,
            crc: 0,
        })
    }

    /// Takes what belongs to it from `bytes`; the rest of them.
    pub fn take<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let (own, rest) = bytes.split_at(bytes.len().min(self.left as usize));
        self.left -= own.len() as u32;
        let data = own.get(HEADER.saturating_sub(self.have)..);
        self.crc = crc32c::crc32c_append(self.crc, data.unwrap_or_default());
        let kept = own.len().min(KEPT - self.have);
        self.first[self.have..][..kept].copy_from_slice(&own[..kept]);
        self.have += kept;
        rest
    }

    /// Whether the whole record has its CRC.
    pub fn check(&self) -> Result<(), String> {
        let (covered, crc) = self.first[..HEADER].split_at(CRC);
        if crc == crc32c::crc32c_append(self.crc, covered).to_le_bytes() {
            return Ok(());
        }
        Err(format!(
            "the record at {} has changed: its CRC-32C differs",
            self.start
        ))
    }

    /// xl_prev: where the record before it begins.
    pub fn previous(&self) -> Lsn {
        let mut previous = [0; 8];
        previous.copy_from_slice(&self.first[8..16]);
        Lsn(u64::from_le_bytes(previous))
    }

    /// Whether it ends its segment, whatever comes behind it there.
    pub fn is_switch(&self) -> bool {
        self.is_of_xlog(SWITCH)
    }

    /// Whether it says that what follows is WAL of `wal_level = minimal`, at which recovery from an archive ends
    /// (CheckRequiredParameterValues in `src/backend/access/transam/xlogrecovery.c`).
    pub fn begins_minimal_wal(&self) -> bool {
        self.is_of_xlog(PARAMETER_CHANGE)
            && self.have == KEPT
            && self.first[HEADER] == SHORT_DATA
            && self.first[WAL_LEVEL..] == [0; 4]
    }

    fn is_of_xlog(&self, info: u8) -> bool {
        self.first[17] == XLOG && self.first[16] & INFO_MASK == info
    }

    /// Takes what the next segment has of it.
    pub fn go_on(&mut self, rest: &Rest) -> Result<(), String> {
        if rest.announced != self.left {
            return Err(format!(
                "the record at {} has {} bytes left, but the next segment goes on with {}",
                self.start, self.left, rest.announced
            ));
        }
        // The first bytes may be of those that are kept.
        self.take(&rest.first);
        self.crc = crc32c::crc32c_combine(self.crc, rest.crc, rest.length as usize);
        self.left -= rest.length;
        match self.left {
            0 => self.check(),
            _ => Ok(()),
        }
    }
}

/// What a segment begins with of a record of the segment before it.
#[derive(Clone, Debug)]
pub struct Rest {
    /// As the page says: bytes that are left of the record, here and in segments behind.
    announced: u32,
    /// The first bytes, of which the record may keep some.
    first: Vec<u8>,
    /// Of the bytes behind these.
    crc: u32,
    length: u32,
}

impl Rest {
    pub fn new(announced: u32) -> Self {
        Self {
            announced,
            first: Vec::with_capacity(KEPT),
            crc: 0,
            length: 0,
        }
    }

    /// Bytes that are still to come.
    pub fn left(&self) -> u32 {
        self.announced - self.first.len() as u32 - self.length
    }

    /// Takes what belongs to it from `bytes`; the rest of them.
    pub fn take<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let (own, rest) = bytes.split_at(bytes.len().min(self.left() as usize));
        let (first, behind) = own.split_at(own.len().min(KEPT - self.first.len()));
        self.first.extend_from_slice(first);
        self.crc = crc32c::crc32c_append(self.crc, behind);
        self.length += behind.len() as u32;
        rest
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A record of `length` bytes that has its CRC.
    fn bytes(length: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..length).map(|at| at as u8).collect();
        bytes[..4].copy_from_slice(&(length as u32).to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[HEADER..]), &bytes[..CRC]);
        bytes[CRC..HEADER].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    #[test]
    fn a_record_in_pieces_and_over_segments_has_its_crc() {
        let whole = bytes(200);
        for first in (8..200).step_by(8) {
            for second in (first..=200).step_by(24) {
                for flipped in [None, Some(9), Some(first - 1), Some(199)] {
                    let mut whole = whole.clone();
                    if let Some(at) = flipped {
                        whole[at] ^= 4;
                    }
                    let mut record = Record::new(Lsn(64), 200).unwrap();
                    assert!(record.take(&whole[..first]).is_empty());
                    let mut result = Ok(());
                    for piece in [&whole[first..second], &whole[second..]] {
                        let mut rest = Rest::new(record.left);
                        assert!(rest.take(piece).is_empty());
                        if record.left > 0 {
                            result = record.go_on(&rest);
                        }
                    }
                    assert_eq!(record.left, 0);
                    assert_eq!(result.is_ok(), flipped.is_none(), "{first} {second}");
                }
            }
        }
        let mut record = Record::new(Lsn(64), 200).unwrap();
        record.take(&whole[..100]);
        let error = record.go_on(&Rest::new(99)).unwrap_err();
        assert!(error.contains("100 bytes left"), "{error}");
    }

    #[test]
    fn the_beginning_of_minimal_wal_is_seen_however_it_is_cut() {
        // XLogReportParameters of 17, after `wal_level = minimal`.
        let mut whole = bytes(54);
        whole[16..18].copy_from_slice(&[PARAMETER_CHANGE, XLOG]);
        whole[24..26].copy_from_slice(&[SHORT_DATA, 28]);
        let says = |level: u8, cut: usize| {
            let mut whole = whole.clone();
            whole[WAL_LEVEL..KEPT].copy_from_slice(&[level, 0, 0, 0]);
            let crc = crc32c::crc32c_append(crc32c::crc32c(&whole[HEADER..]), &whole[..CRC]);
            whole[CRC..HEADER].copy_from_slice(&crc.to_le_bytes());
            let mut record = Record::new(Lsn(64), 54).unwrap();
            record.take(&whole[..cut]);
            let mut rest = Rest::new(record.left);
            rest.take(&whole[cut..]);
            if record.left > 0 {
                record.go_on(&rest).unwrap();
            }
            record.check().unwrap();
            record.begins_minimal_wal()
        };
        for cut in (8..=54).step_by(2) {
            assert!(says(0, cut) && !says(1, cut), "{cut}");
        }
    }

    #[test]
    fn what_is_no_length_is_refused() {
        for length in 0..HEADER as u32 {
            assert!(Record::new(Lsn(64), length).is_err());
        }
        assert!(Record::new(Lsn(64), HEADER as u32).is_ok());
    }
}

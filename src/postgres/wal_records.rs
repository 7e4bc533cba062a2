//! Follows the records through a WAL segment that comes in pieces: the header of each page,
//! the length and CRC of each record. Keeps one page.
//!
//! What must be right: XLogReaderValidatePageHeader, ValidXLogRecordHeader and
//! XLogDecodeNextRecord in `src/backend/access/transam/xlogreader.c`.

use std::{io, mem};

use super::{
    lsn::{Lsn, TimelineId},
    wal_header::WalHeader,
    wal_page::{LONG, PageHeader},
    wal_record::{Record, Rest},
};

/// Records begin at multiples of this: MAXALIGN.
const ALIGN: usize = 8;

/// What a segment is made of.
#[derive(Debug, Default)]
pub struct Followed {
    /// Where it stops being WAL.
    pub broken: Option<Broken>,
    /// What it begins with of a record of the segment before.
    pub rest: Option<Rest>,
    /// It begins where a record of the segment before was given up: after a crash in the midst
    /// of it.
    pub overwrites: bool,
    /// A record that goes on in the next segment.
    pub open: Option<Record>,
    /// Where it says that WAL of `wal_level = minimal` begins.
    pub minimal: Option<Lsn>,
    /// What it has of `rest` and of `open`, for who wants whole records.
    pub rest_bytes: Vec<u8>,
    pub open_bytes: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The first byte of a page or record that is none.
    pub at: Lsn,
    pub problem: String,
    /// WAL goes on behind it: this is damage, not the end of what was written.
    pub goes_on: bool,
}

/// Where, and what.
type Problem = (Lsn, String);

/// Takes each whole record, and where it begins.
pub type Take<'a> = dyn FnMut(Lsn, &[u8]) + 'a;

/// A segment on its way.
pub struct WalRecords<'a> {
    /// Of the name; no page is of a later one.
    timeline: TimelineId,
    /// Once it is there; of all pages, `magic` is the same.
    header: Option<WalHeader>,
    magic: Option<u16>,
    /// What is there of the present page.
    page: Vec<u8>,
    address: Lsn,
    /// Of the page before.
    newest: u32,
    /// Where the last whole record begins.
    previous: Option<Lsn>,
    at: At,
    /// Who wants whole records, and what is there of the one that began on a page before.
    take: Option<&'a mut Take<'a>>,
    begun: Vec<u8>,
    followed: Followed,
}

#[derive(Debug)]
enum At {
    /// Where a record ends or begins.
    Border,
    Rest(Rest),
    Record(Record),
    /// What follows has no meaning: the rest of a segment behind a switch.
    Over,
    /// Looking whether WAL goes on.
    Broken,
}

impl<'a> WalRecords<'a> {
    pub fn new(timeline: TimelineId) -> Self {
        Self {
            take: None,
            begun: Vec::new(),
            timeline,
            header: None,
            magic: None,
            page: Vec::new(),
            address: Lsn::INVALID,
            newest: 0,
            previous: None,
            at: At::Border,
            followed: Followed::default(),
        }
    }

    /// Gives each record that begins and ends in the segment to `take`.
    pub fn giving(timeline: TimelineId, take: &'a mut Take<'a>) -> Self {
        Self {
            take: Some(take),
            ..Self::new(timeline)
        }
    }

    /// The next bytes of the segment.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !matches!(self.at, At::Over) {
            let wanted = match &self.header {
                None => LONG,
                Some(header) => header.page_size as usize,
            };
            let missing = wanted.saturating_sub(self.page.len());
            let (now, later) = bytes.split_at(bytes.len().min(missing));
            self.page.extend_from_slice(now);
            bytes = later;
            if self.page.len() < wanted {
                return;
            }
            if self.header.is_none() {
                self.begin();
                continue;
            }
            let page = mem::take(&mut self.page);
            self.take_page(&page);
            self.address = Lsn(self.address.0.saturating_add(page.len() as u64));
            self.page = page;
            self.page.clear();
        }
    }

    /// What was found, once all bytes of the segment were given.
    pub fn finish(mut self) -> Followed {
        match self.at {
            At::Rest(rest) => self.followed.rest = Some(rest),
            At::Record(record) => {
                self.followed.open = Some(record);
                self.followed.open_bytes = self.begun;
            }
            At::Border | At::Over | At::Broken => {}
        }
        self.followed
    }

    fn begin(&mut self) {
        match WalHeader::parse(&self.page) {
            Ok(header) => {
                self.address = header.address;
                self.header = Some(header);
            }
            Err(error) => {
                self.break_off((Lsn::INVALID, error.in_one_line()));
                self.at = At::Over;
            }
        }
    }

    fn break_off(&mut self, (at, problem): Problem) {
        self.followed.broken = Some(Broken {
            at,
            problem,
            goes_on: false,
        });
        self.at = At::Broken;
    }

    fn take_page(&mut self, page: &[u8]) {
        let result = self.page_header(page).and_then(|(header, content)| {
            if let (At::Broken, Some(broken)) = (&self.at, &mut self.followed.broken) {
                broken.goes_on = true;
                self.at = At::Over;
                return Ok(());
            }
            self.first_on_page(header)?;
            self.records(page, content)
        });
        match result {
            Err(problem) if !matches!(self.at, At::Broken) => self.break_off(problem),
            _ => {}
        }
    }

    /// The header of the present page, and what is behind it.
    fn page_header<'p>(&mut self, page: &'p [u8]) -> Result<(PageHeader, &'p [u8]), Problem> {
        let address = self.address;
        let wrong = |what: String| (address, format!("the page at {address} {what}"));
        let first = self.is_first();
        let Some((header, content)) = PageHeader::split(page, first) else {
            return Err(wrong("is cut off".to_owned()));
        };
        if *self.magic.get_or_insert(header.magic) != header.magic {
            return Err(wrong(format!("begins with {:04X}", header.magic)));
        }
        if header.address != address {
            return Err(wrong(format!(
                "says that it is the one at {}",
                header.address
            )));
        }
        if !header.flags_fit(first) {
            return Err(wrong(format!("has flags {:#06x}", header.info)));
        }
        if header.timeline < self.newest || header.timeline > self.timeline.get() {
            return Err(wrong(format!("is of timeline {}", header.timeline)));
        }
        self.newest = header.timeline;
        Ok((header, content))
    }

    fn is_first(&self) -> bool {
        self.header
            .is_some_and(|header| header.address == self.address)
    }

    /// Whether the page goes on with the record that is open.
    fn first_on_page(&mut self, header: PageHeader) -> Result<(), Problem> {
        let first = self.is_first();
        let (left, goes_on) = (header.left, header.goes_on());
        if header.overwrites() {
            self.at = At::Border;
            self.followed.overwrites |= first;
        } else if first && goes_on && left > 0 {
            self.at = At::Rest(Rest::new(left));
            return Ok(());
        }
        let open = match &self.at {
            At::Record(record) => record.left,
            At::Rest(rest) => rest.left(),
            At::Border | At::Over | At::Broken => 0,
        };
        if left == open && goes_on == (open > 0) {
            return Ok(());
        }
        let address = self.address;
        let problem = match open {
            0 => format!("the page at {address} begins with the end of a record that isn't there"),
            _ => format!("the page at {address} doesn't go on with {open} bytes of a record"),
        };
        Err((address, problem))
    }

    fn records(&mut self, page: &[u8], mut content: &[u8]) -> Result<(), Problem> {
        loop {
            match &mut self.at {
                At::Over | At::Broken => return Ok(()),
                At::Rest(rest) => {
                    let own;
                    (own, content) = taken(content, |content| rest.take(content));
                    if self.take.is_some() {
                        self.followed.rest_bytes.extend_from_slice(own);
                    }
                    if rest.left() > 0 {
                        return Ok(());
                    }
                    let At::Rest(rest) = mem::replace(&mut self.at, At::Border) else {
                        return Ok(());
                    };
                    self.followed.rest = Some(rest);
                }
                At::Record(record) => {
                    let own;
                    (own, content) = taken(content, |content| record.take(content));
                    if record.left > 0 {
                        if self.take.is_some() {
                            self.begun.extend_from_slice(own);
                        }
                        return Ok(());
                    }
                    let start = record.start;
                    record.check().map_err(|problem| (start, problem))?;
                    let before = self.previous.replace(start);
                    if before.is_some_and(|before| before != record.previous()) {
                        let problem = format!("the record at {start} follows another one");
                        return Err((start, problem));
                    }
                    if record.begins_minimal_wal() {
                        self.followed.minimal.get_or_insert(start);
                    }
                    if let Some(take) = &mut self.take {
                        match self.begun.is_empty() {
                            true => take(start, own),
                            false => {
                                self.begun.extend_from_slice(own);
                                take(start, &self.begun);
                            }
                        }
                    }
                    self.at = match record.is_switch() {
                        true => At::Over,
                        false => At::Border,
                    };
                }
                At::Border => {
                    let at = page.len() - content.len();
                    let padding = at.next_multiple_of(ALIGN) - at;
                    content = content.get(padding..).unwrap_or_default();
                    let Some(length) = content.first_chunk() else {
                        return Ok(());
                    };
                    let at = (page.len() - content.len()) as u64;
                    let start = Lsn(self.address.0.saturating_add(at));
                    let record = Record::new(start, u32::from_le_bytes(*length));
                    self.begun.clear();
                    self.at = At::Record(record.map_err(|problem| (start, problem))?);
                }
            }
        }
    }
}

/// So that a segment can be copied to it.
impl io::Write for WalRecords<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.feed(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What of `content` was taken, and what was left of it.
fn taken<'c>(content: &'c [u8], take: impl FnOnce(&'c [u8]) -> &'c [u8]) -> (&'c [u8], &'c [u8]) {
    let rest = take(content);
    (&content[..content.len() - rest.len()], rest)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::postgres::wal_page::{
        FIRST_IS_CONTRECORD, FIRST_IS_OVERWRITE_CONTRECORD, LONG_HEADER,
    };

    const PAGE: usize = 1024;

    /// The header of page `number` of a segment of 18 at 0/100000, in pages of 1 KiB.
    fn header(number: usize, info: u16, left: u32) -> Vec<u8> {
        let long = number == 0;
        let mut bytes = Vec::new();
        bytes.extend(0xD118_u16.to_le_bytes());
        bytes.extend((info | (u16::from(long) * LONG_HEADER)).to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend((0x10_0000 + (number * PAGE) as u64).to_le_bytes());
        bytes.extend(left.to_le_bytes());
        bytes.extend([0; 4]);
        if long {
            bytes.extend(7_u64.to_le_bytes());
            bytes.extend((1_u32 << 20).to_le_bytes());
            bytes.extend((PAGE as u32).to_le_bytes());
        }
        bytes
    }

    fn record(length: usize, previous: u64) -> Vec<u8> {
        let mut bytes = vec![9; length];
        bytes[..4].copy_from_slice(&(length as u32).to_le_bytes());
        bytes[8..16].copy_from_slice(&previous.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[24..]), &bytes[..20]);
        bytes[20..24].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn follow(pages: &[Vec<u8>]) -> Followed {
        let mut records = WalRecords::new(TimelineId::FIRST);
        for page in pages {
            let mut page = page.clone();
            page.resize(PAGE, 0);
            page.chunks(100).for_each(|piece| records.feed(piece));
        }
        records.finish()
    }

    /// Two records, the second over both pages, whose header is cut by their border.
    fn pages() -> Vec<Vec<u8>> {
        let first = record(PAGE - LONG - 8, 0x8_0000);
        let second = record(100, 0x10_0000 + LONG as u64);
        let goes_on = header(1, FIRST_IS_CONTRECORD, 92);
        vec![
            [header(0, 0, 0), first, second[..8].to_vec()].concat(),
            [goes_on, second[8..].to_vec()].concat(),
        ]
    }

    #[test]
    fn zeros_are_the_end_and_a_page_behind_them_makes_them_damage() {
        let mut pages = pages();
        let broken = follow(&pages).broken.unwrap();
        // 24 + 92 bytes, aligned.
        assert_eq!(broken.at, Lsn(0x10_0000 + PAGE as u64 + 120));
        assert_eq!((&broken.problem[..8], broken.goes_on), ("WAL ends", false));
        pages.push(vec![]);
        assert_eq!(follow(&pages).broken, Some(broken.clone()));
        pages.push(header(3, 0, 0));
        let goes_on = true;
        assert_eq!(follow(&pages).broken, Some(Broken { goes_on, ..broken }));
    }

    #[test]
    fn each_lie_of_a_page_or_record_is_named() {
        for (page, at, problem) in [
            (1, 0, "begins with"),
            (1, 2, "doesn't go on with 92 bytes"),
            (1, 3, "has flags 0x1001"),
            (1, 4, "is of timeline 17"),
            (1, 9, "says that it is"),
            (1, 16, "doesn't go on with 92 bytes"),
            (0, LONG, "the record at 0/100028 has changed"),
            (0, LONG + 500, "the record at 0/100028 has changed"),
            (1, 30, "the record at 0/1003F8 has changed"),
        ] {
            let mut pages = pages();
            pages[page][at] ^= if at == 2 { 1 } else { 0x10 };
            let found = follow(&pages).broken.unwrap().problem;
            assert!(found.contains(problem), "{page} {at}: {found}");
        }
        let mut pages = pages();
        pages[1] = [
            header(1, FIRST_IS_CONTRECORD, 92),
            record(100, 5)[8..].to_vec(),
        ]
        .concat();
        assert!(follow(&pages).broken.is_some());
    }

    /// After a crash in the midst of a record whose beginning was archived.
    #[test]
    fn a_record_that_never_ended_may_be_overwritten() {
        let mut pages = pages();
        let instead = record(40, 0x10_0000 + LONG as u64);
        let overwrites = header(1, FIRST_IS_OVERWRITE_CONTRECORD, 0);
        pages[1] = [overwrites, instead.clone()].concat();
        let followed = follow(&pages);
        assert_eq!(
            followed.broken.unwrap().at,
            Lsn(0x10_0000 + PAGE as u64 + 64)
        );
        assert!(!followed.overwrites);
        pages[0] = [header(0, FIRST_IS_OVERWRITE_CONTRECORD, 0), instead].concat();
        let followed = follow(&pages[..1]);
        assert_eq!(followed.broken.unwrap().at, Lsn(0x10_0000 + 80));
        assert!(followed.overwrites);
    }
}

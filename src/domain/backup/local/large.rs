//! Files that take several frames, whole or by their changed blocks: read by several workers.

use std::{
    fs::{File, Metadata},
    os::unix::fs::MetadataExt,
    sync::Arc,
};

use super::{
    member::{entry, member},
    reader::Reader,
    scan::facts,
};
use crate::{
    domain::backup::{
        changes::{Blocks, Known, Page, Since},
        member::Member,
        pack::{FRAME, Filling, Laid, Load, Packer, Piece},
    },
    error::Result,
    postgres::{
        incremental::{Header, incremental_path},
        relation_file::RelationPath,
    },
    repo::file_index::{Facts, FilePath, PageNotes},
    util::cold_read,
};

/// Loads, each with its plain bytes.
pub type Slices = Vec<(Box<dyn Load>, u64)>;

/// A large file. All its slices share it, so that it stays open for them.
pub struct Large {
    reader: Arc<Reader>,
    path: FilePath,
    file: File,
    member: Member,
    /// Only of a file of a relation.
    facts: Option<Facts>,
    /// What is stored instead of the file itself.
    changed: Option<Changed>,
}

/// The blocks of a large file that are stored.
struct Changed {
    front: Vec<u8>,
    blocks: Vec<u32>,
    notes: PageNotes,
    /// The notes are of the blocks that are not stored: those of the others come as they are read.
    of_the_rest: bool,
}

impl Large {
    pub fn new(reader: Arc<Reader>, path: FilePath, file: File, found: &Metadata) -> Self {
        cold_read::expect_random(&file);
        let relation = RelationPath::parse(&path.0);
        Self {
            facts: relation.map(|_| facts(found)),
            member: member(path.clone(), found, found.size()),
            reader,
            path,
            file,
            changed: None,
        }
    }

    /// Reads the file, to store the blocks that its parent may not have.
    pub fn compare(self, since: &Since, known: Known) -> Result<Self> {
        let page_size = self.reader.pages.size;
        let mut choice = Blocks::new(since, known);
        let size = self.member.size - self.member.size % page_size as u64;
        let mut bytes = vec![0; FRAME];
        for begin in (0..size).step_by(FRAME) {
            let bytes = &mut bytes[..(size - begin).min(FRAME as u64) as usize];
            let mut look = |page: Page<'_>| choice.look_at(&page);
            self.reader
                .read(&self.file, &self.path, begin, bytes, &mut look)?;
        }
        Ok(self.only(choice.chosen, size, choice.notes, false))
    }

    /// Stores only these blocks of its first `size` bytes; `notes` are of all blocks, or only of the
    /// rest of them.
    pub fn only(
        mut self,
        mut blocks: Vec<u32>,
        size: u64,
        notes: PageNotes,
        of_the_rest: bool,
    ) -> Self {
        let page_size = self.reader.pages.size;
        let length = (self.member.size.min(size) / page_size as u64) as u32;
        blocks.retain(|block| *block < length);
        let header = Header { length, blocks };
        let size = u64::from(length) * page_size as u64;
        self.member.path = FilePath(incremental_path(&self.path.0).into());
        self.member.size = header.file_size(page_size);
        self.facts = self.facts.map(|facts| Facts { size, ..facts });
        self.changed = Some(Changed {
            front: header.encode(page_size),
            blocks: header.blocks,
            notes,
            of_the_rest,
        });
        self
    }

    /// Bytes that are stored.
    pub fn size(&self) -> u64 {
        self.member.size
    }

    /// Where slices begin, and where the last one ends.
    fn bounds(&self) -> Vec<u64> {
        let front = match &self.changed {
            None => 0,
            // The first slice has the header too: so no block is in two.
            Some(changed) => changed.front.len() as u64,
        };
        let inner = (front + FRAME as u64..self.size()).step_by(FRAME);
        [0].into_iter().chain(inner).chain([self.size()]).collect()
    }

    /// The loads that together are what is stored, in order.
    pub fn slices(self) -> Slices {
        let bounds = self.bounds();
        let large = Arc::new(self);
        let slice = |pair: &[u64]| {
            let (begin, bytes) = (pair[0], pair[1] - pair[0]);
            let large = Arc::clone(&large);
            let slice: Box<dyn Load> = Box::new(Slice {
                large,
                begin,
                bytes,
            });
            (slice, bytes)
        };
        bounds.windows(2).map(slice).collect()
    }

    /// Gives what is stored to the packer in order, for a checksum that can't be put together from
    /// those of pieces.
    pub fn pack_in_order(&self, packer: &mut Packer<'_>, hash: bool) -> Result<()> {
        packer.member(&self.member, hash)?;
        let mut bytes = Vec::new();
        for pair in self.bounds().windows(2) {
            bytes.resize((pair[1] - pair[0]) as usize, 0);
            self.read(pair[0], &mut bytes)?;
            packer.data(&bytes)?;
        }
        Ok(())
    }

    /// Fills `bytes` from `begin` of what is stored; the notes that are there before come with the first.
    fn read(&self, begin: u64, bytes: &mut [u8]) -> Result<PageNotes> {
        let Some(changed) = &self.changed else {
            return self.reader.read_whole(&self.file, &self.path, begin, bytes);
        };
        let mut notes = PageNotes::default();
        let page_size = self.reader.pages.size;
        let front = changed.front.len() as u64;
        let mut rest = bytes;
        if begin < front {
            let (head, blocks) = rest.split_at_mut((front - begin) as usize);
            head.copy_from_slice(&changed.front[begin as usize..]);
            notes.clone_from(&changed.notes);
            rest = blocks;
        }
        let first = (begin.max(front) - front) as usize / page_size;
        let count = rest.len() / page_size;
        let blocks = &changed.blocks[first..first + count];
        let read = self
            .reader
            .read_blocks(&self.file, &self.path, blocks, rest)?;
        if changed.of_the_rest {
            notes.extend(read);
        }
        Ok(notes)
    }
}

struct Slice {
    large: Arc<Large>,
    begin: u64,
    bytes: u64,
}

impl Load for Slice {
    fn read(self: Box<Self>, frame: &mut Filling<'_>) -> Result<Laid> {
        let Large { reader, member, .. } = &*self.large;
        if self.begin == 0 {
            frame.begin(member)?;
        }
        let bytes = frame.room(self.bytes as usize);
        let notes = self.large.read(self.begin, bytes)?;
        reader.meter.add(self.bytes);
        let piece = Piece {
            bytes: self.bytes,
            crc32c: crc32c::crc32c(bytes),
            notes,
        };
        let is_last = self.begin + self.bytes == member.size;
        if is_last {
            frame.end(member.size);
        }
        let first = || {
            entry(
                member,
                0,
                piece.crc32c,
                self.large.facts,
                PageNotes::default(),
            )
        };
        Ok(match (self.begin, is_last) {
            (0, true) => {
                let mut entry = first();
                entry.notes = piece.notes;
                Laid::Members(vec![entry.into()])
            }
            (0, false) => Laid::First(first(), piece),
            (_, false) => Laid::Next(piece),
            (_, true) => Laid::Last(piece),
        })
    }
}

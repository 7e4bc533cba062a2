//! Folders and whole small files, as many as go into a frame: read by one worker.

use std::{
    fs::{self, File, Metadata},
    mem,
    os::unix::fs::MetadataExt,
    sync::Arc,
};

use super::{
    member::{entry, member},
    reader::Reader,
    scan::{facts, there},
};
use crate::{
    domain::backup::{
        changes::{Blocks, Known, Page, Since},
        pack::{Ended, FRAME, Filling, Laid, Load},
    },
    error::{IoContext, Result},
    postgres::{
        file_checksum::{Algorithm, Checksum, Hasher},
        incremental::{Header, STUB, incremental_path},
        relation_file::RelationPath,
    },
    repo::file_index::{Facts, FilePath, PageNotes},
    util::cold_read,
};

/// As large may a file be that was replaced by a larger one since it was met.
const GROWN: u64 = 32 << 10;

/// Something to store, by its path in the data directory.
#[derive(Debug)]
pub struct Wanted {
    pub path: FilePath,
    pub what: What,
}

#[derive(Debug)]
pub enum What {
    Folder,
    /// The file, which had so many bytes when it was met.
    Whole(u64),
    /// The parent has all of the file: only its length.
    Stub(Facts, PageNotes),
    /// Those of its blocks that the parent may not have, of a file of so many bytes.
    Blocks(Since, Known, u64),
    /// These blocks of the file, as it was met; what is known of the others.
    Listed(Facts, Vec<u32>, PageNotes),
}

pub struct Bundle {
    reader: Arc<Reader>,
    wanted: Vec<Wanted>,
}

impl Bundle {
    pub fn new(reader: Arc<Reader>, wanted: Vec<Wanted>) -> Self {
        Self { reader, wanted }
    }

    fn lay(&self, Wanted { path, what }: Wanted, frame: &mut Filling<'_>) -> Result<Option<Ended>> {
        match what {
            What::Folder => self.folder(path, frame),
            What::Stub(facts, notes) => self.stub(&path, facts, notes, frame),
            What::Whole(size) => match self.reader.open(&path)? {
                Some((file, found)) => self.whole(path, &file, &found, size, frame).map(Some),
                None => Ok(None),
            },
            What::Blocks(since, known, size) => match self.reader.open(&path)? {
                Some((file, found)) if known.facts.is_same_file(&facts(&found)) => self
                    .blocks(path, &file, &found, size, (&since, known), frame)
                    .map(Some),
                // Replaced since it was met.
                Some((file, found)) => self.whole(path, &file, &found, size, frame).map(Some),
                None => Ok(None),
            },
            What::Listed(met, blocks, unread) => match self.reader.open(&path)? {
                Some((file, found)) if met.is_same_file(&facts(&found)) => self
                    .listed(path, &file, &found, met.size, (blocks, unread), frame)
                    .map(Some),
                // Replaced since it was met: whatever it holds is in the WAL.
                Some((file, found)) => {
                    let most = met.size.min(FRAME as u64);
                    self.whole(path, &file, &found, most, frame).map(Some)
                }
                None => Ok(None),
            },
        }
    }

    fn folder(&self, path: FilePath, frame: &mut Filling<'_>) -> Result<Option<Ended>> {
        let absolute = self.reader.root.join(path.as_path());
        // A link where only the folder counts.
        let Some(found) = there(fs::metadata(&absolute)).at("read", &absolute)? else {
            return Ok(None);
        };
        let member = member(path, &found, 0);
        let offset = frame.length();
        frame.begin(&member)?;
        Ok(Some(
            entry(&member, offset, 0, None, PageNotes::default()).into(),
        ))
    }

    fn whole(
        &self,
        path: FilePath,
        file: &File,
        found: &Metadata,
        size: u64,
        frame: &mut Filling<'_>,
    ) -> Result<Ended> {
        // What was added to a relation since it was met is in the WAL. What no WAL knows is replaced as
        // a whole, and small.
        let relation = RelationPath::parse(&path.0);
        let most = match relation {
            Some(_) => size,
            None => size.max(GROWN),
        };
        let size = found.size().min(most);
        let facts = relation.map(|_| Facts {
            size,
            ..facts(found)
        });
        let member = member(path, found, size);
        let offset = frame.length();
        frame.begin(&member)?;
        let bytes = frame.room(size as usize);
        let notes = self.reader.read_whole(file, &member.path, 0, bytes)?;
        let crc32c = crc32c::crc32c(bytes);
        let checksum = self.checksum(bytes);
        frame.end(size);
        Ok(Ended {
            entry: entry(&member, offset, crc32c, facts, notes),
            checksum,
        })
    }

    /// `INCREMENTAL.<name>` without a block.
    fn stub(
        &self,
        path: &FilePath,
        facts: Facts,
        notes: PageNotes,
        frame: &mut Filling<'_>,
    ) -> Result<Option<Ended>> {
        let absolute = self.reader.root.join(path.as_path());
        let Some(found) = there(fs::symlink_metadata(&absolute)).at("read", &absolute)? else {
            return Ok(None);
        };
        let header = Header {
            length: (facts.size / self.reader.pages.size as u64) as u32,
            blocks: Vec::new(),
        };
        let nothing = |_: &mut [u8], _: &[u32]| Ok(notes);
        self.incremental(path, &found, header, facts, nothing, frame)
            .map(Some)
    }

    fn blocks(
        &self,
        path: FilePath,
        file: &File,
        found: &Metadata,
        size: u64,
        (since, known): (&Since, Known),
        frame: &mut Filling<'_>,
    ) -> Result<Ended> {
        let page_size = self.reader.pages.size;
        let (length, facts) = self.now(found, size);
        let mut bytes = vec![0; facts.size as usize];
        let mut choice = Blocks::new(since, known);
        let mut look = |page: Page<'_>| choice.look_at(&page);
        self.reader.read(file, &path, 0, &mut bytes, &mut look)?;
        let Blocks { chosen, notes, .. } = choice;
        let header = Header {
            length,
            blocks: chosen,
        };
        let copy = |room: &mut [u8], blocks: &[u32]| {
            for (to, number) in room.chunks_exact_mut(page_size).zip(blocks) {
                to.copy_from_slice(&bytes[*number as usize * page_size..][..page_size]);
            }
            Ok(notes)
        };
        self.incremental(&path, found, header, facts, copy, frame)
    }

    fn listed(
        &self,
        path: FilePath,
        file: &File,
        found: &Metadata,
        size: u64,
        (mut blocks, mut notes): (Vec<u32>, PageNotes),
        frame: &mut Filling<'_>,
    ) -> Result<Ended> {
        cold_read::expect_random(file);
        let (length, facts) = self.now(found, size);
        blocks.retain(|block| *block < length);
        let header = Header { length, blocks };
        let read = |room: &mut [u8], blocks: &[u32]| {
            notes.extend(self.reader.read_blocks(file, &path, blocks, room)?);
            Ok(notes)
        };
        self.incremental(&path, found, header, facts, read, frame)
    }

    /// Blocks and facts of a file that had `size` bytes when it was met: what was added since is in
    /// the WAL.
    fn now(&self, found: &Metadata, size: u64) -> (u32, Facts) {
        let page_size = self.reader.pages.size as u64;
        let length = found.size().min(size) / page_size;
        let facts = Facts {
            size: length * page_size,
            ..facts(found)
        };
        (length as u32, facts)
    }

    /// `fill` gets the room for the header's blocks, and tells what is to be noted.
    fn incremental(
        &self,
        path: &FilePath,
        found: &Metadata,
        header: Header,
        facts: Facts,
        fill: impl FnOnce(&mut [u8], &[u32]) -> Result<PageNotes>,
        frame: &mut Filling<'_>,
    ) -> Result<Ended> {
        let page_size = self.reader.pages.size;
        let size = header.file_size(page_size);
        let path = FilePath(incremental_path(&path.0).into());
        let member = member(path, found, size);
        let offset = frame.length();
        frame.begin(&member)?;
        let room = frame.room(size as usize);
        let (front, blocks) = room.split_at_mut(Header::size(header.blocks.len(), page_size));
        front.copy_from_slice(&header.encode(page_size));
        let notes = fill(blocks, &header.blocks)?;
        let crc32c = crc32c::crc32c(room);
        let checksum = self.checksum(room);
        frame.end(size);
        Ok(Ended {
            entry: entry(&member, offset, crc32c, Some(facts), notes),
            checksum,
        })
    }

    fn checksum(&self, bytes: &[u8]) -> Option<Checksum> {
        match self.reader.checksums {
            Algorithm::Crc32c => None,
            other => {
                let mut hasher = Hasher::new(other);
                hasher.update(bytes);
                Some(hasher.finish())
            }
        }
    }
}

impl Load for Bundle {
    fn read(mut self: Box<Self>, frame: &mut Filling<'_>) -> Result<Laid> {
        let mut ended = Vec::with_capacity(self.wanted.len());
        for wanted in mem::take(&mut self.wanted) {
            self.reader.meter.add(wanted.size());
            ended.extend(self.lay(wanted, frame)?);
        }
        Ok(Laid::Members(ended))
    }
}

impl Wanted {
    /// Bytes in the data directory.
    fn size(&self) -> u64 {
        match &self.what {
            What::Folder => 0,
            What::Whole(size) | What::Blocks(_, _, size) => *size,
            What::Stub(facts, _) | What::Listed(facts, ..) => facts.size,
        }
    }

    /// Whether it takes several frames, or may.
    pub fn is_large(&self, page_size: usize) -> bool {
        match &self.what {
            What::Folder | What::Stub(..) => false,
            What::Whole(size) | What::Blocks(_, _, size) => *size > FRAME as u64,
            What::Listed(..) => self.bytes_stored(page_size) > FRAME as u64,
        }
    }

    /// Bytes that are stored of them, at most.
    pub fn bytes_stored(&self, page_size: usize) -> u64 {
        match &self.what {
            What::Folder => 0,
            What::Stub(..) => STUB,
            What::Whole(size) => *size,
            // Its header may take one block more.
            What::Blocks(_, _, size) => *size + (32 << 10),
            What::Listed(_, blocks, _) => Header::stored_size(blocks.len(), page_size),
        }
    }
}

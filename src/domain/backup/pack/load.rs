//! Frames that workers fill themselves: what stands between a source that can be read anywhere
//! at once and the row of tar members that a part is.

use crate::{
    domain::backup::member::{BLOCK, Member, padding},
    error::Result,
    postgres::file_checksum::Checksum,
    repo::file_index::{FileEntry, PageNotes},
};

/// What a worker reads into a frame of its own.
pub trait Load: Send {
    /// Lays whole members, or the next piece of one, into the empty `frame`.
    fn read(self: Box<Self>, frame: &mut Filling<'_>) -> Result<Laid>;
}

/// A member that ends in a frame.
#[derive(Debug)]
pub struct Ended {
    pub entry: FileEntry,
    /// What the manifest lists, where that is no CRC-32C, which the entry has.
    pub checksum: Option<Checksum>,
}

impl From<FileEntry> for Ended {
    fn from(entry: FileEntry) -> Self {
        let checksum = None;
        Self { entry, checksum }
    }
}

/// Bytes of a file that takes several frames.
#[derive(Debug)]
pub struct Piece {
    pub bytes: u64,
    pub crc32c: u32,
    /// Of the piece's blocks, which lie behind those of the pieces before.
    pub notes: PageNotes,
}

/// What a worker laid into a frame. Where it lies in the part, the writer knows.
#[derive(Debug)]
pub enum Laid {
    /// Whole members.
    Members(Vec<Ended>),
    /// A file that takes several frames begins.
    First(FileEntry, Piece),
    /// It goes on.
    Next(Piece),
    /// It ends.
    Last(Piece),
}

/// A frame in the making. Its bytes are used again and again: they are cleared only once.
#[derive(Debug)]
pub struct Filling<'a> {
    bytes: &'a mut Vec<u8>,
    length: usize,
}

impl<'a> Filling<'a> {
    pub fn new(bytes: &'a mut Vec<u8>) -> Self {
        Self { bytes, length: 0 }
    }

    /// Plain bytes up to here.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The next `length` bytes, which hold anything.
    pub fn room(&mut self, length: usize) -> &mut [u8] {
        let begin = self.length;
        self.length += length;
        if self.bytes.len() < self.length {
            self.bytes.resize(self.length, 0);
        }
        &mut self.bytes[begin..self.length]
    }

    /// The header of a member, whose content comes next.
    pub fn begin(&mut self, member: &Member) -> Result<()> {
        let header = member.header()?;
        self.room(header.len()).copy_from_slice(&header);
        Ok(())
    }

    /// The zero bytes behind a content of `size` bytes.
    pub fn end(&mut self, size: u64) {
        self.room(padding(size)).fill(0);
    }

    /// Takes back what was laid from `length` on.
    pub fn back_to(&mut self, length: usize) {
        self.length = length;
    }

    /// The frame, of whole tar blocks.
    pub fn finish(self) -> usize {
        debug_assert_eq!(self.length as u64 % BLOCK, 0);
        self.bytes.truncate(self.length);
        self.length
    }
}

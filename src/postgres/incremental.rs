//! `INCREMENTAL.<name>`: the blocks of a relation's file that changed, in PostgreSQL 17's format.
//!
//! Written by sendFile in `src/backend/backup/basebackup.c`, read by
//! `src/bin/pg_combinebackup/reconstruct.c`: a magic, the number of blocks, the length that the
//! file is to have in blocks, the numbers of the blocks, zero bytes up to a whole block where there
//! are any, the blocks.

use std::io::{self, Read};

use crate::error::{Error, Result};

/// In front of a file's own name.
pub const PREFIX: &[u8] = b"INCREMENTAL.";

/// INCREMENTAL_MAGIC in `src/include/backup/basebackup_incremental.h`.
const MAGIC: u32 = 0xD3AE_1F0D;

/// Bytes of the three numbers in front.
const FIXED: usize = 12;

/// Bytes of a file that holds no block: its length alone.
pub const STUB: u64 = FIXED as u64;

/// The most blocks that a file of a relation can have: RELSEG_SIZE of a server that was built with
/// 32 GB segments of 8 kB blocks. PostgreSQL's own is 131072.
const MOST_BLOCKS: u32 = 1 << 22;

/// What stands in front of the blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Blocks of the file once it is put together: those that are neither here nor in an earlier
    /// backup are zeros.
    pub length: u32,
    /// Numbers of the blocks that are here, in ascending order.
    pub blocks: Vec<u32>,
}

impl Header {
    /// Bytes of the header of a file with `blocks` blocks.
    pub fn size(blocks: usize, block_size: usize) -> usize {
        let bytes = FIXED + 4 * blocks;
        match blocks {
            0 => bytes,
            _ => bytes.next_multiple_of(block_size),
        }
    }

    /// Bytes of a file with `blocks` blocks.
    pub fn stored_size(blocks: usize, block_size: usize) -> u64 {
        (Self::size(blocks, block_size) + blocks * block_size) as u64
    }

    /// Bytes of the whole file.
    pub fn file_size(&self, block_size: usize) -> u64 {
        Self::stored_size(self.blocks.len(), block_size)
    }

    pub fn encode(&self, block_size: usize) -> Vec<u8> {
        let size = Self::size(self.blocks.len(), block_size);
        let mut bytes = Vec::with_capacity(size);
        for number in [MAGIC, self.blocks.len() as u32, self.length] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for block in &self.blocks {
            bytes.extend_from_slice(&block.to_le_bytes());
        }
        bytes.resize(size, 0);
        bytes
    }

    /// Reads the header of a file, and leaves `file` at its first block. Damage of any kind is an
    /// error; memory is bounded by the most that a relation's file can have.
    pub fn read(file: &mut impl Read, block_size: usize) -> Result<Self> {
        let wrong = |what: &str| Error::damaged(format!("not an incremental file: {what}"));
        let mut word = || -> Result<u32> {
            let mut bytes = [0; 4];
            file.read_exact(&mut bytes).map_err(not_read)?;
            Ok(u32::from_le_bytes(bytes))
        };
        if word()? != MAGIC {
            return Err(wrong("it begins with another magic"));
        }
        let (count, length) = (word()?, word()?);
        if count > MOST_BLOCKS || length > MOST_BLOCKS {
            return Err(wrong("it tells more blocks than a file can have"));
        }
        let mut blocks = Vec::new();
        for _ in 0..count {
            let block = word()?;
            if blocks.last().is_some_and(|last| *last >= block) || block >= MOST_BLOCKS {
                return Err(wrong("its blocks are not in ascending order"));
            }
            blocks.push(block);
        }
        let read = FIXED + 4 * blocks.len();
        let padding = Self::size(blocks.len(), block_size) - read;
        let skipped = io::copy(&mut file.take(padding as u64), &mut io::sink());
        if skipped.map_err(not_read)? != padding as u64 {
            return Err(wrong("it ends in its header"));
        }
        Ok(Self { length, blocks })
    }

    /// Blocks of the file once it is put together, as pg_combinebackup reckons
    /// (find_reconstructed_block_length).
    pub fn reconstructed_length(&self) -> u32 {
        let last = self.blocks.last().map_or(0, |last| last + 1);
        self.length.max(last)
    }
}

/// Bytes in front of the blocks of a file, from its first [`STUB`] bytes alone.
pub fn header_size(front: &[u8], block_size: usize) -> Result<usize> {
    let (numbers, _) = front.as_chunks();
    match numbers {
        [magic, count, _, ..] if *magic == MAGIC.to_le_bytes() => {
            let count = u32::from_le_bytes(*count).min(MOST_BLOCKS);
            Ok(Header::size(count as usize, block_size))
        }
        _ => Err(Error::damaged(
            "an incremental file begins with another magic",
        )),
    }
}

fn not_read(error: io::Error) -> Error {
    Error::damaged("an incremental file ends early").because(error)
}

/// The name in an incremental backup of the file at `path`.
pub fn incremental_path(path: &[u8]) -> Vec<u8> {
    let name = path
        .iter()
        .rposition(|byte| *byte == b'/')
        .map_or(0, |at| at + 1);
    [&path[..name], PREFIX, &path[name..]].concat()
}

/// The path that the incremental file at `path` stands for; None if it is none.
pub fn plain_path(path: &[u8]) -> Option<Vec<u8>> {
    let name = path
        .iter()
        .rposition(|byte| *byte == b'/')
        .map_or(0, |at| at + 1);
    let rest = path[name..].strip_prefix(PREFIX)?;
    Some([&path[..name], rest].concat())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const BLOCK: usize = 8192;

    #[test]
    fn headers_come_back() {
        let many: Vec<u32> = (0..131_072).collect();
        for (length, blocks) in [
            (0, vec![]),
            (7, vec![]),
            (9, vec![0, 3, 8]),
            (131_072, many),
        ] {
            let header = Header { length, blocks };
            let mut bytes = header.encode(BLOCK);
            let size = Header::size(header.blocks.len(), BLOCK);
            assert_eq!(bytes.len(), size);
            assert!(header.blocks.is_empty() && size == 12 || size.is_multiple_of(BLOCK));
            bytes.push(7);
            assert_eq!(header_size(&bytes[..STUB as usize], BLOCK).unwrap(), size);
            assert!(header_size(&bytes[1..], BLOCK).is_err());
            assert!(header_size(&bytes[..11], BLOCK).is_err());
            let mut rest = &bytes[..];
            assert_eq!(Header::read(&mut rest, BLOCK).unwrap(), header);
            assert_eq!(rest, [7]);
        }
    }

    #[test]
    fn damage_is_an_error() {
        let header = Header {
            length: 9,
            blocks: vec![1, 2, 5],
        };
        let bytes = header.encode(BLOCK);
        for length in 0..bytes.len() {
            assert!(Header::read(&mut &bytes[..length], BLOCK).is_err());
        }
        for (at, value) in [(0, 0), (7, 0xFF), (11, 0xFF), (12, 3), (20, 2)] {
            let mut changed = bytes.clone();
            changed[at] = value;
            assert!(Header::read(&mut &changed[..], BLOCK).is_err(), "{at}");
        }
    }

    #[test]
    fn names() {
        for (plain, incremental) in [
            ("base/5/1259", "base/5/INCREMENTAL.1259"),
            ("x", "INCREMENTAL.x"),
        ] {
            assert_eq!(incremental_path(plain.as_bytes()), incremental.as_bytes());
            let back = plain_path(incremental.as_bytes());
            assert_eq!(back.as_deref(), Some(plain.as_bytes()));
            assert_eq!(plain_path(plain.as_bytes()), None);
        }
    }
}

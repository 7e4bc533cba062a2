//! Cuts the server's bytes into messages, within one buffer that is used again and again.
//!
//! A message is a tag byte, a length that counts itself, and a body
//! (`doc/src/sgml/protocol.sgml`, "Message Formats").

use std::{
    io::{self, Read},
    ops::Range,
};

/// Tag and length.
const HEADER: usize = 5;

/// PostgreSQL's own limit of a message (MaxAllocSize, `src/include/utils/memutils.h`).
const LONGEST: usize = 0x3FFF_FFFF;

/// Received bytes, of which `start..end` are not consumed.
pub struct Incoming {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes that the message in progress needs in all, as far as is known.
    needed: usize,
}

impl Incoming {
    pub fn new(size: usize) -> Self {
        Self {
            buffer: vec![0; size],
            start: 0,
            end: 0,
            needed: HEADER,
        }
    }

    pub fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.buffer.get(range).unwrap_or_default()
    }

    /// Tag and length of the next message, which counts itself but not the tag, once they are there.
    fn header(&self) -> Option<(u8, usize)> {
        let there = self.bytes(self.start..self.end);
        let &[tag, a, b, c, d] = there.first_chunk::<HEADER>()?;
        Some((tag, u32::from_be_bytes([a, b, c, d]) as usize))
    }

    /// Whether the next message is there in full.
    pub fn has_message(&self) -> bool {
        let header = self.header();
        header.is_some_and(|(_, length)| self.end - self.start > length)
    }

    /// Consumes the next message, if it is there in full.
    pub fn message(&mut self) -> io::Result<Option<(u8, Range<usize>)>> {
        self.needed = HEADER;
        let Some((tag, length)) = self.header() else {
            return Ok(None);
        };
        if !(4..=LONGEST).contains(&length) {
            let what = format!("message {tag:#04x} of impossible length {length}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        self.needed = 1 + length;
        if self.end - self.start < self.needed {
            return Ok(None);
        }
        let body = self.start + HEADER..self.start + self.needed;
        self.start = body.end;
        Ok(Some((tag, body)))
    }

    /// Reads once, as much as there is place for.
    pub fn fill(&mut self, from: &mut dyn Read) -> io::Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.buffer.len() - self.start < self.needed || self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            // Twice at most, so that a made-up length alone costs no memory.
            let size = self.needed.min(2 * self.buffer.len());
            self.buffer.resize(size, 0);
        }
        let place = self.buffer.get_mut(self.end..).unwrap_or_default();
        match from.read(place)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.end += count;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag];
        bytes.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        bytes.extend(body);
        bytes
    }

    /// Gives at most `step` bytes a read.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let step = self.1.min(buffer.len());
            self.0.take(step as u64).read(buffer).inspect(|&count| {
                self.0 = &self.0[count..];
            })
        }
    }

    fn all(bytes: &[u8], buffer: usize, step: usize) -> (Vec<(u8, Vec<u8>)>, io::ErrorKind) {
        let mut incoming = Incoming::new(buffer);
        let mut from = Slow(bytes, step);
        let mut found = Vec::new();
        loop {
            match incoming.message() {
                Ok(Some((tag, body))) => found.push((tag, incoming.bytes(body).to_vec())),
                Ok(None) => {
                    if let Err(error) = incoming.fill(&mut from) {
                        return (found, error.kind());
                    }
                }
                Err(error) => return (found, error.kind()),
            }
        }
    }

    #[test]
    fn messages_come_whole_whatever_the_pieces() {
        let bodies: Vec<Vec<u8>> = [0, 1, 7, 40, 3, 200, 0, 9]
            .iter()
            .map(|&length| (0..length).collect())
            .collect();
        let bytes: Vec<u8> = bodies.iter().flat_map(|body| frame(b'd', body)).collect();
        for buffer in [5, 8, 16, 64, 1024] {
            for step in [1, 3, 17, 1000] {
                let (found, end) = all(&bytes, buffer, step);
                assert_eq!(end, io::ErrorKind::UnexpectedEof);
                let found: Vec<_> = found.into_iter().map(|(_, body)| body).collect();
                assert_eq!(found, bodies, "buffer {buffer}, step {step}");
            }
        }
    }

    #[test]
    fn impossible_lengths_are_refused_and_long_ones_cost_nothing() {
        for length in [0, 3, 0x4000_0000, u32::MAX] {
            let mut bytes = vec![b'd'];
            bytes.extend(length.to_be_bytes());
            assert_eq!(all(&bytes, 64, 9).1, io::ErrorKind::InvalidData, "{length}");
        }
        let mut incoming = Incoming::new(64);
        let mut from = Slow(b"d\x3F\xFF\xFF\xFFabc", 100);
        while incoming.message().unwrap().is_none() && incoming.fill(&mut from).is_ok() {}
        assert!(incoming.buffer.len() <= 128);
    }
}

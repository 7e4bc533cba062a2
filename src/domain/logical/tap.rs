//! A copy of what streams by, for a second reader, which may stop when it has enough.

use std::{
    io::{self, Read, Write},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
};

/// Pieces that may wait for the second reader.
const WAITING: usize = 4;

/// Its reader, to be read until its end or dropped.
pub struct Tapped {
    pieces: Receiver<Vec<u8>>,
    piece: Vec<u8>,
    read: usize,
}

/// What is written goes to the reader alone. An error of kind `BrokenPipe` once that has enough.
pub struct Head(SyncSender<Vec<u8>>);

pub fn head() -> (Head, Tapped) {
    let (sender, pieces) = sync_channel(WAITING);
    let tapped = Tapped {
        pieces,
        piece: Vec::new(),
        read: 0,
    };
    (Head(sender), tapped)
}

impl Write for Head {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.send(bytes.to_vec());
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is written goes on, and to the reader as long as that wants it.
pub struct Tap<W> {
    inner: W,
    head: Option<Head>,
}

impl<W: Write> Tap<W> {
    pub fn new(inner: W, head: Option<Head>) -> Self {
        Self { inner, head }
    }

    pub fn into_inner(self) -> W {
        self.inner
    }
}

impl<W: Write> Write for Tap<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        if let Some(head) = &mut self.head
            && head.write_all(&bytes[..count]).is_err()
        {
            self.head = None;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Read for Tapped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read == self.piece.len() {
            match self.pieces.recv() {
                Ok(piece) => (self.piece, self.read) = (piece, 0),
                Err(_) => return Ok(0),
            }
        }
        let mut rest = &self.piece[self.read..];
        let count = rest.read(buffer)?;
        self.read += count;
        Ok(count)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_second_reader_may_stop_and_the_stream_goes_on() {
        let (head, mut tapped) = head();
        let mut tap = Tap::new(Vec::new(), Some(head));
        tap.write_all(b"abc").unwrap();
        let mut two = [0; 2];
        tapped.read_exact(&mut two).unwrap();
        assert_eq!(&two, b"ab");
        tap.write_all(b"def").unwrap();
        let mut two = [0; 2];
        tapped.read_exact(&mut two).unwrap();
        assert_eq!(&two, b"cd");
        drop(tapped);
        for _ in 0..2 * WAITING {
            tap.write_all(b"g").unwrap();
        }
        assert_eq!(tap.into_inner(), b"abcdefgggggggg");
    }

    #[test]
    fn the_stream_ends_for_both() {
        let (mut head, mut tapped) = head();
        head.write_all(b"abc").unwrap();
        drop(head);
        let mut all = Vec::new();
        tapped.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"abc");
        let (mut head, tapped) = self::head();
        drop(tapped);
        let error = head.write_all(b"abc").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}

//! Reads a file once more while it is being written, as the disk has it: what was written is made durable and
//! leaves the page cache first.

use std::{
    fs::File,
    io::{self, Write},
    num::NonZeroU64,
};

use rustix::fs::{Advice, fadvise};

use super::cold_read;

/// Bytes of a read.
const PIECE: usize = 1 << 20;

/// Pages are of this size, or the kernel rounds further.
const PAGE: u64 = 4096;

/// How far a file was read behind its writer.
#[derive(Debug)]
pub struct ReadBehind {
    file: File,
    read: u64,
}

impl ReadBehind {
    /// `file`, from its beginning. Its offset may be the writer's: nobody moves it here.
    pub fn new(file: File) -> Self {
        cold_read::expect_random(&file);
        Self { file, read: 0 }
    }

    /// Gives `sink` what was written until now, but nothing if that is less than `least` bytes.
    ///
    /// # Errors
    /// Those of the sync count for the writer, too: where both have the file by one descriptor, its own sync no
    /// longer tells them (errseq_check_and_advance in Linux' `lib/errseq.c`).
    pub fn follow(&mut self, least: u64, sink: &mut dyn Write) -> io::Result<()> {
        let end = self.file.metadata()?.len();
        let waiting = end.saturating_sub(self.read);
        if waiting < least {
            return Ok(());
        }
        self.file.sync_data()?;
        // Only advice; a page that was begun and read goes as a whole. No length would mean all that follows.
        let from = self.read - self.read % PAGE;
        if let Some(count) = NonZeroU64::new(end.saturating_sub(from)) {
            let _ = fadvise(&self.file, from, Some(count), Advice::DontNeed);
        }
        let mut buffer = vec![0; PIECE.min(waiting as usize)];
        while self.read < end {
            let wanted = buffer.len().min((end - self.read) as usize);
            let count = cold_read::read_at(&self.file, &mut buffer[..wanted], self.read)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            sink.write_all(&buffer[..count])?;
            self.read += count as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_disk_has_once_there_is_enough() {
        // A real disk: memory file systems have no other place than the page cache.
        let mut file = tempfile::NamedTempFile::new_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let mut behind = ReadBehind::new(file.as_file().try_clone().unwrap());
        let (mut written, mut read) = (Vec::new(), Vec::new());
        for (count, least, follows) in [
            (1000, 1001, false),
            (3 << 20, 1, true),
            (1, 1, true),
            (5000, 0, true),
            (0, 0, true),
        ] {
            let piece: Vec<u8> = (0..count)
                .map(|at| ((written.len() + at) >> 3) as u8)
                .collect();
            file.write_all(&piece).unwrap();
            written.extend(piece);
            behind.follow(least, &mut read).unwrap();
            match follows {
                true => assert!(read == written),
                false => assert!(read.is_empty()),
            }
        }
        // But for pages that two reads share, it came from the disk and left the cache again.
        let resident = cold_read::tests::resident(&file);
        assert!(resident < written.len() / 100, "{resident}");
    }

    #[test]
    fn a_sink_that_has_enough_ends_it() {
        let mut file = tempfile::tempfile().unwrap();
        let mut behind = ReadBehind::new(file.try_clone().unwrap());
        file.write_all(&[7; 100]).unwrap();
        let mut short = &mut [0; 10][..];
        let error = behind.follow(1, &mut short).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
    }
}

//! Has the disk begin with a large file while it is still being written, so that the sync at its
//! end finds little left.

use std::{fs::File, num::NonZeroU64};

use rustix::fs::{Advice, fadvise};

/// Bytes of a file after which the disk begins to work: what is smaller waits for the sync at the
/// end, which writes it in larger pieces.
const STRIDE: u64 = 8 << 20;

/// How far a file that is written in a row has come.
#[derive(Debug, Default)]
pub struct EarlyWriting {
    length: u64,
    begun: u64,
}

impl EarlyWriting {
    /// `count` more bytes were written to `file`. Only advice: `POSIX_FADV_DONTNEED` begins to
    /// write what is dirty, and leaves in the cache what is on its way (`generic_fadvise` in
    /// Linux' `mm/fadvise.c`).
    pub fn wrote(&mut self, file: &File, count: usize) {
        self.length += count as u64;
        let waiting = self.length - self.begun;
        if waiting >= STRIDE {
            // No length would mean all that follows.
            let _ = fadvise(file, self.begun, NonZeroU64::new(waiting), Advice::DontNeed);
            self.begun = self.length;
        }
    }
}

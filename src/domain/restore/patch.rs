//! Writes into a file that is there, but only where it differs.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt, path::Path};

use crate::{error::Result, util::fs::open_to_patch};

/// What is compared and written: a page of a relation, and two of memory.
const BLOCK: usize = 8 << 10;

pub struct Patch {
    file: File,
    /// Where the next bytes belong.
    at: u64,
    /// What is there, read to be compared.
    old: Vec<u8>,
}

impl Patch {
    /// Opens a plain file; a link is never followed.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self {
            file: open_to_patch(path)?,
            at: 0,
            old: Vec::new(),
        })
    }

    /// Has the file hold `bytes` behind those of the calls before; how many were written.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<u64> {
        self.old.resize(bytes.len().max(self.old.len()), 0);
        let there = read(&self.file, &mut self.old[..bytes.len()], self.at);
        let mut written = 0;
        for run in differing(bytes, &self.old[..there]) {
            let at = self.at + run.start as u64;
            written += run.len() as u64;
            self.file.write_all_at(&bytes[run], at)?;
        }
        self.at += bytes.len() as u64;
        Ok(written)
    }

    /// Cuts off what is behind `size`.
    pub fn finish(self, size: u64) -> io::Result<File> {
        if self.file.metadata()?.len() != size {
            self.file.set_len(size)?;
        }
        Ok(self.file)
    }
}

/// How much of `buffer` the file has from `at` on. What can't be read counts as not there: a bad
/// sector is mended by writing to it.
fn read(file: &File, buffer: &mut [u8], at: u64) -> usize {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    filled
}

/// Runs of whole blocks of `new` that `old`, which may be shorter, has not got.
fn differing(new: &[u8], old: &[u8]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (number, block) in new.chunks(BLOCK).enumerate() {
        let range = number * BLOCK..number * BLOCK + block.len();
        if old.get(range.clone()) == Some(block) {
            continue;
        }
        match runs.last_mut() {
            Some(run) if run.end == range.start => run.end = range.end,
            _ => runs.push(range),
        }
    }
    runs
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn only_what_differs_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let new: Vec<u8> = (0..5 * BLOCK + 100).map(|n| (n / 7) as u8).collect();
        let changed = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut old = new.clone();
            change(&mut old);
            fs::write(&path, old).unwrap();
            let mut patch = Patch::open(&path).unwrap();
            let (first, rest) = new.split_at(2 * BLOCK);
            let written = patch.write(first).unwrap() + patch.write(rest).unwrap();
            patch.finish(new.len() as u64).unwrap();
            assert!(fs::read(&path).unwrap() == new);
            written
        };
        let block = BLOCK as u64;
        assert_eq!(changed(&|_| ()), 0);
        assert_eq!(changed(&|old| old[BLOCK] ^= 1), block);
        assert_eq!(changed(&|old| old[4 * BLOCK - 1] ^= 1), block);
        assert_eq!(
            changed(&|old| {
                old[0] ^= 1;
                old[5 * BLOCK] ^= 1;
            }),
            block + 100
        );
        assert_eq!(changed(&|old| old.truncate(3 * BLOCK + 1)), 2 * block + 100);
        assert_eq!(changed(&|old| old.extend([7; 3 * BLOCK])), 0);
        assert_eq!(changed(&|old| old.clear()), new.len() as u64);
    }

    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, b"mine").unwrap();
        symlink(&file, &link).unwrap();
        assert!(Patch::open(&link).is_err());
    }
}

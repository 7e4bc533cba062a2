//! Reads that leave the page cache as they found it: what a server has in memory stays there,
//! and what a backup alone has read goes again.

use std::{
    fs::File,
    io::{self, IoSliceMut},
    num::NonZeroU64,
    os::unix::fs::FileExt,
    path::Path,
};

use rustix::{
    fs::{Advice, Mode, OFlags, fadvise},
    io::{Errno, ReadWriteFlags, preadv2},
};

/// The cache is asked in pieces of this size: small enough to tell a hot page's neighbours apart,
/// large enough that asking costs nothing beside the copying.
const PIECE: usize = 128 << 10;

/// Opens a file, never what a link leads to, and doesn't wait for the other end of a pipe.
pub fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

/// Turns the kernel's reading ahead off: what it would bring in looks as if it had been there.
/// Reads of a megabyte and more don't need it.
pub fn expect_random(file: &File) {
    // Advice that is not taken costs speed alone.
    let _ = fadvise(file, 0, None, Advice::Random);
}

/// Fills `buffer` from `offset` on; how many bytes there were before the file's end.
pub fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    // Where the cache lacks something since.
    let mut cold = None;
    let mut at = 0;
    while at < buffer.len() {
        let end = buffer.len().min(at + PIECE);
        let Some(hot) = read_cached(file, &mut buffer[at..end], offset + at as u64)? else {
            let begin = cold.unwrap_or(at);
            let read = read_full(file, &mut buffer[begin..], offset + begin as u64)?;
            return Ok(begin + read);
        };
        if hot < end - at {
            cold.get_or_insert(at + hot);
        } else if let Some(begin) = cold.take() {
            let read = read_and_forget(file, &mut buffer[begin..at], offset + begin as u64)?;
            if read < at - begin {
                return Ok(begin + read);
            }
        }
        at = end;
    }
    match cold {
        None => Ok(buffer.len()),
        Some(begin) => read_and_forget(file, &mut buffer[begin..], offset + begin as u64)
            .map(|read| begin + read),
    }
}

/// What of the bytes is in the cache, up to the first that isn't; None where nobody can tell.
fn read_cached(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
    let into = &mut [IoSliceMut::new(buffer)];
    match preadv2(file, into, offset, ReadWriteFlags::NOWAIT) {
        Ok(read) => Ok(Some(read)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(Some(0)),
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn read_and_forget(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let read = read_full(file, buffer, offset)?;
    // No length would mean all that follows.
    if let Some(length) = NonZeroU64::new(read as u64) {
        let _ = fadvise(file, offset, Some(length), Advice::DontNeed);
    }
    Ok(read)
}

fn read_full(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use std::io::Write;

    use super::*;

    const PAGE: usize = 4096;

    /// Bytes of a file that are in the page cache, as util-linux's fincore counts them.
    pub fn resident(file: &tempfile::NamedTempFile) -> usize {
        let counted = std::process::Command::new("fincore")
            .args(["--bytes", "--noheadings", "--output", "RES"])
            .arg(file.path())
            .output()
            .unwrap();
        let text = String::from_utf8(counted.stdout).unwrap();
        text.trim().parse().unwrap()
    }

    /// A durable file on a real disk: what is dirty can't leave the cache.
    fn file(length: usize) -> (tempfile::NamedTempFile, Vec<u8>) {
        let bytes: Vec<u8> = (0..length).map(|at| ((at * 31) >> 7) as u8).collect();
        let mut file = tempfile::NamedTempFile::new_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        file.write_all(&bytes).unwrap();
        file.as_file().sync_all().unwrap();
        expect_random(file.as_file());
        (file, bytes)
    }

    fn forget(file: &File, from: u64) {
        fadvise(file, from, None, Advice::DontNeed).unwrap();
    }

    #[test]
    fn reads_what_is_there() {
        let length = 3 * PIECE + 1000;
        let (file, bytes) = file(length);
        let file = file.as_file();
        for cold_from in [
            None,
            Some(0),
            Some(PIECE),
            Some(PIECE + PAGE),
            Some(3 * PIECE),
        ] {
            for (offset, wanted) in [
                (0, length),
                (0, length + 5),
                (PAGE, PIECE),
                (length - 10, 99),
            ] {
                if let Some(from) = cold_from {
                    forget(file, from as u64);
                }
                let mut buffer = vec![0xEE; wanted];
                let read = read_at(file, &mut buffer, offset as u64).unwrap();
                assert_eq!(read, wanted.min(length - offset));
                assert!(buffer[..read] == bytes[offset..][..read]);
            }
        }
    }

    #[test]
    fn what_was_in_the_cache_stays_and_nothing_else() {
        let length = 8 * PIECE;
        let (named, _) = file(length);
        let file = named.as_file();
        forget(file, 0);
        assert_eq!(resident(&named), 0);
        let mut hot = vec![0; 2 * PIECE];
        read_full(file, &mut hot, 3 * PIECE as u64).unwrap();
        let before = resident(&named);
        assert!(before >= 2 * PIECE && before < length, "{before}");

        let mut buffer = vec![0; length];
        assert_eq!(read_at(file, &mut buffer, 0).unwrap(), length);
        assert_eq!(resident(&named), before);
        read_full(file, &mut buffer, 0).unwrap();
        assert_eq!(resident(&named), length);
        assert_eq!(read_at(file, &mut buffer, 0).unwrap(), length);
        assert_eq!(resident(&named), length);
    }
}

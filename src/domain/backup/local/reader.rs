//! Reads files of the data directory, and judges every page of a relation on the way.

use std::{
    fs::{File, Metadata},
    path::PathBuf,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use super::scan::there;
use crate::{
    domain::backup::changes::Page,
    error::{Error, IoContext, Result},
    postgres::{
        file_checksum::Algorithm,
        lsn::Lsn,
        page::{self, Verdict},
        page_failures::{PageFailure, REPORTED_BLOCKS},
        relation_file::RelationPath,
    },
    repo::file_index::{FilePath, PageNotes},
    util::{cold_read, meter::Meter, pace::Pace},
};

/// How often a page with a wrong checksum is read again, and how long after: the server writes it
/// at this moment, or it is damaged.
const DOUBTS: u32 = 5;
const DOUBT_PAUSE: Duration = Duration::from_millis(2);

/// What all workers know of the data directory.
#[derive(Debug)]
pub struct Reader {
    pub root: PathBuf,
    pub pages: Pages,
    pub checksums: Algorithm,
    pub meter: Meter,
    pub pace: Pace,
    pub failures: Mutex<Vec<PageFailure>>,
}

/// Which pages there are, and which of them must be right.
#[derive(Clone, Copy, Debug)]
pub struct Pages {
    /// They have checksums.
    pub checked: bool,
    pub size: usize,
    /// Pages in a file of a relation; the next file continues.
    pub in_segment: u32,
    /// Where the backup starts: pages that were changed since are repaired by replay.
    pub start: Lsn,
}

impl Reader {
    /// Opens a file; None if it has vanished.
    pub fn open(&self, path: &FilePath) -> Result<Option<(File, Metadata)>> {
        let absolute = self.root.join(path.as_path());
        // What was a file when it was met may be something else by now.
        let Some(file) = there(cold_read::open(&absolute)).at("open", &absolute)? else {
            return Ok(None);
        };
        let found = file.metadata().at("read", &absolute)?;
        if !found.is_file() {
            return Err(Error::failed(format!(
                "{} was replaced by something that is no file",
                absolute.display()
            )));
        }
        Ok(Some((file, found)))
    }

    /// Fills `bytes` from `offset` on: zeros behind the end of a file that has shrunk meanwhile,
    /// which replay repairs. Of a relation's file `offset` is at the begin of a page, and `each`
    /// gets the whole pages.
    pub fn read(
        &self,
        file: &File,
        path: &FilePath,
        offset: u64,
        bytes: &mut [u8],
        each: &mut dyn FnMut(Page<'_>),
    ) -> Result<()> {
        self.pace.wait(bytes.len() as u64)?;
        let absolute = || self.root.join(path.as_path());
        let read = cold_read::read_at(file, bytes, offset)
            .map_err(|error| Error::io("read", &absolute(), error))?;
        bytes[read..].fill(0);
        let Some(relation) = RelationPath::parse(&path.0) else {
            return Ok(());
        };
        let size = self.pages.size;
        let first = (offset / size as u64) as u32;
        let before = relation.file.segment.wrapping_mul(self.pages.in_segment);
        for (number, page) in (first..).zip(bytes.chunks_exact_mut(size)) {
            let block = before.wrapping_add(number);
            let mut judged = self.judge(page, block);
            if !judged.right {
                judged = self.read_again(file, page, number, block);
            }
            if !judged.right {
                self.note_failure(path, block);
            }
            each(Page {
                number,
                bytes: page,
                doubtful: judged.doubtful,
            });
        }
        Ok(())
    }

    /// The same for what is stored as it is.
    pub fn read_whole(
        &self,
        file: &File,
        path: &FilePath,
        offset: u64,
        bytes: &mut [u8],
    ) -> Result<PageNotes> {
        let mut notes = PageNotes::default();
        self.read(file, path, offset, bytes, &mut |page| page.note(&mut notes))?;
        Ok(notes)
    }

    /// Fills `bytes` with these blocks of a relation's file, in ascending order: neighbours are read
    /// at once.
    pub fn read_blocks(
        &self,
        file: &File,
        path: &FilePath,
        blocks: &[u32],
        bytes: &mut [u8],
    ) -> Result<PageNotes> {
        let mut notes = PageNotes::default();
        let mut rest = bytes;
        for run in blocks.chunk_by(|one, next| one + 1 == *next) {
            let (now, later) = rest.split_at_mut(run.len() * self.pages.size);
            let offset = u64::from(run[0]) * self.pages.size as u64;
            self.read(file, path, offset, now, &mut |page| page.note(&mut notes))?;
            rest = later;
        }
        Ok(notes)
    }

    fn judge(&self, page: &[u8], block: u32) -> Judged {
        if !self.pages.checked {
            return Judged {
                right: true,
                doubtful: !page::has_plausible_header(page),
            };
        }
        let verdict = page::verify(page, block);
        let later = || page::lsn(page).is_some_and(|lsn| lsn >= self.pages.start);
        Judged {
            right: matches!(verdict, Verdict::Ok | Verdict::New) || later(),
            doubtful: verdict != Verdict::Ok,
        }
    }

    /// Reads a page again that is not right; the server may have been writing it.
    fn read_again(&self, file: &File, page: &mut [u8], number: u32, block: u32) -> Judged {
        let offset = u64::from(number) * page.len() as u64;
        for _ in 0..DOUBTS {
            thread::sleep(DOUBT_PAUSE);
            let mut again = vec![0; page.len()];
            match cold_read::read_at(file, &mut again, offset) {
                Ok(read) if read < page.len() => again.fill(0), // Cut off meanwhile.
                Ok(_) => {}
                // What can't be read again has not become right.
                Err(_) => continue,
            }
            let judged = self.judge(&again, block);
            if judged.right {
                page.copy_from_slice(&again);
                return judged;
            }
        }
        self.judge(page, block)
    }

    /// As many as the server would name, and then that there are more.
    fn note_failure(&self, path: &FilePath, block: u32) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let file = path.to_string();
        let known = failures.iter().filter(|known| known.file == file).count();
        if known <= REPORTED_BLOCKS {
            let block = (known < REPORTED_BLOCKS).then_some(block);
            failures.push(PageFailure { file, block });
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Judged {
    /// As it should be, or repaired by replay.
    right: bool,
    doubtful: bool,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs, os::unix::fs::FileExt};

    use super::*;

    const PAGE: usize = 8192;

    /// The first page of pg_class, as 18 wrote it.
    fn right() -> Vec<u8> {
        let packed = include_bytes!("../../../../tests/data/pages.zst");
        zstd::decode_all(&packed[..]).unwrap()[..PAGE].to_vec()
    }

    fn reader(root: &std::path::Path, start: u64) -> Reader {
        Reader {
            root: root.to_owned(),
            pages: Pages {
                checked: true,
                size: PAGE,
                in_segment: 131_072,
                start: Lsn(start),
            },
            checksums: Algorithm::Crc32c,
            meter: Meter::default(),
            pace: Pace::new(None, &crate::util::cancel::Cancel::default()),
            failures: Mutex::default(),
        }
    }

    /// What is read of the file, and which blocks are called damaged.
    fn read(reader: &Reader, length: usize) -> (Vec<u8>, Vec<Option<u32>>) {
        let path = FilePath(b"base/5/1259".as_slice().into());
        let (file, _) = reader.open(&path).unwrap().unwrap();
        let mut bytes = vec![0xEE; length];
        let mut each = |_: Page<'_>| ();
        reader.read(&file, &path, 0, &mut bytes, &mut each).unwrap();
        let failures = reader.failures.lock().unwrap();
        (
            bytes,
            failures.iter().map(|failure| failure.block).collect(),
        )
    }

    #[test]
    fn pages_are_judged() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("base/5")).unwrap();
        let file = folder.path().join("base/5/1259");
        let mut torn = right();
        torn[5000] ^= 1;
        let zeros = vec![0; PAGE];
        // Block 0 is right, 1 was never written, 2 can't be right.
        fs::write(&file, [right(), zeros, torn.clone()].concat()).unwrap();
        let late = 1 << 40;
        let (bytes, damaged) = read(&reader(folder.path(), late), 4 * PAGE);
        assert_eq!(damaged, [Some(2)]);
        assert!(bytes[..PAGE] == right() && bytes[2 * PAGE..3 * PAGE] == torn);
        assert!(
            bytes[3 * PAGE..].iter().all(|byte| *byte == 0),
            "past the end"
        );
        // Whatever was changed since the start, replay writes anew.
        assert_eq!(read(&reader(folder.path(), 1), 3 * PAGE).1, []);
        fs::write(&file, torn.repeat(9)).unwrap();
        let named = [Some(0), Some(1), Some(2), Some(3), Some(4), None];
        assert_eq!(read(&reader(folder.path(), late), 9 * PAGE).1, named);
    }

    /// No zeros take the place of what a disk gave only once.
    #[test]
    fn a_page_that_cannot_be_read_again_stays_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("unreadable");
        fs::write(&path, right()).unwrap();
        let file = File::options().write(true).open(path).unwrap();
        let mut torn = right();
        torn[5000] ^= 1;
        let mut page = torn.clone();
        let judged = reader(folder.path(), 1 << 40).read_again(&file, &mut page, 0, 0);
        assert!(!judged.right && judged.doubtful);
        assert!(page == torn);
    }

    #[test]
    fn a_page_that_is_being_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("base/5")).unwrap();
        let path = folder.path().join("base/5/1259");
        let mut torn = right();
        torn[PAGE / 2..].fill(0x55);
        fs::write(&path, &torn).unwrap();
        let writer = thread::spawn(move || {
            thread::sleep(DOUBT_PAUSE);
            let file = File::options().write(true).open(path).unwrap();
            file.write_all_at(&right(), 0).unwrap();
        });
        // Slow machines may have written it before it is read at all.
        let (bytes, damaged) = read(&reader(folder.path(), 1 << 40), PAGE);
        writer.join().unwrap();
        assert!(bytes == right());
        assert_eq!(damaged, []);
    }
}

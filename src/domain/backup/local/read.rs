//! What workers read: bundles of small files, and pieces of large ones. Every page is checked.

use std::{
    fs::{File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use super::scan::Item;
use crate::{
    domain::backup::{
        member::Member,
        pack::{Ended, FRAME, Filling, Laid, Load, Packer, Piece},
    },
    error::{Error, IoContext, Result},
    postgres::{
        file_checksum::{Algorithm, Hasher},
        lsn::Lsn,
        page::{self, Verdict},
        page_failures::{PageFailure, REPORTED_BLOCKS},
        relation_file::RelationPath,
    },
    repo::file_index::{FileEntry, FilePath},
    util::{cold_read, meter::Meter},
};

/// How often a page with a wrong checksum is read again, and how long after: the server writes it
/// at this moment, or it is damaged.
const DOUBTS: u32 = 5;
const DOUBT_PAUSE: Duration = Duration::from_millis(2);

/// As large may a file be that was replaced by a larger one since it was met.
const GROWN: u64 = 32 << 10;

/// What all workers know of the data directory.
#[derive(Debug)]
pub struct Reader {
    pub root: PathBuf,
    pub pages: Pages,
    pub checksums: Algorithm,
    pub meter: Meter,
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
        let file = match cold_read::open(&absolute) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open", &absolute, error)),
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
    /// which replay repairs. `offset` is at the begin of a page.
    fn read(&self, file: &File, path: &FilePath, offset: u64, bytes: &mut [u8]) -> Result<()> {
        let absolute = || self.root.join(path.as_path());
        let read = cold_read::read_at(file, bytes, offset)
            .map_err(|error| Error::io("read", &absolute(), error))?;
        bytes[read..].fill(0);
        self.meter.add(bytes.len() as u64);
        if self.pages.checked
            && let Some(relation) = RelationPath::parse(&path.0)
        {
            let first = (offset / self.pages.size as u64) as u32;
            let before = relation.file.segment.wrapping_mul(self.pages.in_segment);
            for (number, page) in (first..).zip(bytes.chunks_exact_mut(self.pages.size)) {
                let block = before.wrapping_add(number);
                if self.is_right(page, block) || self.becomes_right(file, page, number, block) {
                    continue;
                }
                self.note_failure(path, block);
            }
        }
        Ok(())
    }

    fn is_right(&self, page: &[u8], block: u32) -> bool {
        matches!(page::verify(page, block), Verdict::Ok | Verdict::New)
            || page::lsn(page).is_some_and(|lsn| lsn >= self.pages.start)
    }

    /// Reads a page again that is not right; the server may have been writing it.
    fn becomes_right(&self, file: &File, page: &mut [u8], number: u32, block: u32) -> bool {
        let mut again = vec![0; page.len()];
        for _ in 0..DOUBTS {
            thread::sleep(DOUBT_PAUSE);
            let offset = u64::from(number) * page.len() as u64;
            match cold_read::read_at(file, &mut again, offset) {
                // Cut off meanwhile.
                Ok(read) if read < page.len() => return true,
                Ok(_) if self.is_right(&again, block) => {
                    page.copy_from_slice(&again);
                    return true;
                }
                _ => {}
            }
        }
        false
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

/// The tar member of something that was found.
fn member(path: FilePath, found: &Metadata, size: u64) -> Member {
    Member {
        path,
        folder: found.is_dir(),
        size,
        mode: super::scan::mode(found),
        mtime: found.mtime(),
        uid: found.uid().into(),
        gid: found.gid().into(),
    }
}

/// The index's entry of a member whose header is at `offset` of its frame.
fn entry(member: &Member, offset: usize, crc32c: u32) -> FileEntry {
    FileEntry {
        path: member.path.clone(),
        folder: member.folder,
        part: 0,
        frame: 0,
        offset: offset as u32,
        size: member.size,
        mode: member.mode,
        mtime: member.mtime,
        crc32c,
        sha256: None,
    }
}

/// Folders and whole files, as many as go into a frame.
pub struct Bundle {
    reader: Arc<Reader>,
    items: Vec<Item>,
}

impl Bundle {
    pub fn new(reader: Arc<Reader>, items: Vec<Item>) -> Self {
        Self { reader, items }
    }

    fn folder(&self, path: FilePath, frame: &mut Filling<'_>) -> Result<Option<Ended>> {
        let absolute = self.reader.root.join(path.as_path());
        // A link where only the folder counts.
        let found = match std::fs::metadata(&absolute) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", &absolute, error)),
        };
        let member = member(path, &found, 0);
        let offset = frame.length();
        frame.begin(&member)?;
        Ok(Some(Ended {
            entry: entry(&member, offset, 0),
            checksum: None,
        }))
    }

    fn file(&self, item: Item, frame: &mut Filling<'_>) -> Result<Option<Ended>> {
        let Some((file, found)) = self.reader.open(&item.path)? else {
            return Ok(None);
        };
        // What was added to a relation since it was met is in the WAL. What no WAL knows is replaced as
        // a whole, and small.
        let most = match RelationPath::parse(&item.path.0) {
            Some(_) => item.size,
            None => item.size.max(GROWN),
        };
        let size = found.size().min(most);
        let member = member(item.path, &found, size);
        let offset = frame.length();
        frame.begin(&member)?;
        let bytes = frame.room(size as usize);
        self.reader.read(&file, &member.path, 0, bytes)?;
        let crc32c = crc32c::crc32c(bytes);
        let checksum = match self.reader.checksums {
            Algorithm::Crc32c => None,
            other => {
                let mut hasher = Hasher::new(other);
                hasher.update(bytes);
                Some(hasher.finish())
            }
        };
        frame.end(size);
        Ok(Some(Ended {
            entry: entry(&member, offset, crc32c),
            checksum,
        }))
    }
}

impl Load for Bundle {
    fn read(mut self: Box<Self>, frame: &mut Filling<'_>) -> Result<Laid> {
        let mut ended = Vec::with_capacity(self.items.len());
        for item in std::mem::take(&mut self.items) {
            ended.extend(match item.folder {
                true => self.folder(item.path, frame)?,
                false => self.file(item, frame)?,
            });
        }
        Ok(Laid::Members(ended))
    }
}

/// A file that takes several frames. All its slices share it, so that it stays open for them.
pub struct Large {
    reader: Arc<Reader>,
    file: File,
    member: Member,
}

impl Large {
    pub fn new(reader: Arc<Reader>, path: FilePath, file: File, found: &Metadata) -> Self {
        cold_read::expect_random(&file);
        let member = member(path, found, found.size());
        Self {
            reader,
            file,
            member,
        }
    }

    pub fn size(&self) -> u64 {
        self.member.size
    }

    /// The loads that together are the file, in order.
    pub fn slices(self) -> impl Iterator<Item = (Box<dyn Load>, u64)> {
        let size = self.size();
        let large = Arc::new(self);
        (0..size).step_by(FRAME).map(move |begin| {
            let bytes = (size - begin).min(FRAME as u64);
            let slice = Slice {
                large: Arc::clone(&large),
                begin,
                bytes,
            };
            (Box::new(slice) as Box<dyn Load>, bytes)
        })
    }

    /// Gives the file to the packer in order, for a checksum that can't be put together from
    /// those of pieces.
    pub fn pack_in_order(&self, packer: &mut Packer<'_>, hash: bool) -> Result<()> {
        packer.member(&self.member, hash)?;
        let mut bytes = vec![0; FRAME];
        for begin in (0..self.size()).step_by(FRAME) {
            let bytes = &mut bytes[..(self.size() - begin).min(FRAME as u64) as usize];
            self.reader
                .read(&self.file, &self.member.path, begin, bytes)?;
            packer.data(bytes)?;
        }
        Ok(())
    }
}

struct Slice {
    large: Arc<Large>,
    begin: u64,
    bytes: u64,
}

impl Load for Slice {
    fn read(self: Box<Self>, frame: &mut Filling<'_>) -> Result<Laid> {
        let Large {
            reader,
            file,
            member,
        } = &*self.large;
        if self.begin == 0 {
            frame.begin(member)?;
        }
        let bytes = frame.room(self.bytes as usize);
        reader.read(file, &member.path, self.begin, bytes)?;
        let piece = Piece {
            bytes: self.bytes,
            crc32c: crc32c::crc32c(bytes),
        };
        if self.begin + self.bytes == member.size {
            frame.end(member.size);
            return Ok(Laid::Last(piece));
        }
        Ok(match self.begin {
            0 => Laid::First(entry(member, 0, 0), piece),
            _ => Laid::Next(piece),
        })
    }
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
            failures: Mutex::default(),
        }
    }

    /// What is read of the file, and which blocks are called damaged.
    fn read(reader: &Reader, length: usize) -> (Vec<u8>, Vec<Option<u32>>) {
        let path = FilePath(b"base/5/1259".as_slice().into());
        let (file, _) = reader.open(&path).unwrap().unwrap();
        let mut bytes = vec![0xEE; length];
        reader.read(&file, &path, 0, &mut bytes).unwrap();
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

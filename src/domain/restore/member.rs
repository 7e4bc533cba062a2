//! Reads members out of a part and makes files of them, each checked before it counts.

use std::{
    fs::{File, FileTimes, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{FileExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use super::{folders::Owner, index::Member, patch::Patch};
use crate::{
    error::{Error, IoContext, Result},
    postgres::incremental::Header,
    util::{
        cancel::Cancel,
        early_writing::EarlyWriting,
        fs::{create_file, open_to_patch},
        meter::Meter,
    },
};

/// Large enough that hashing and writing, not the call, is what costs.
const BUFFER: usize = 256 << 10;

/// Where a member's bytes go.
pub enum Place {
    /// A new file.
    File(PathBuf),
    /// Into a file that is there, where it differs.
    Over(PathBuf),
    /// Blocks of so many bytes, into a file that is there.
    Blocks(PathBuf, usize),
    /// Read and checked, but not wanted in a restored directory.
    Nowhere,
    /// Not even read: the file that is there is right.
    Stays,
}

enum Target {
    New(File),
    Old(Patch),
}

/// One worker's way of writing.
pub struct Writer<'a> {
    pub owner: Option<Owner>,
    /// A file whose time lies before this one (seconds since 1970) is given it.
    pub settled: i64,
    pub cancel: &'a Cancel,
    pub meter: &'a Meter,
    /// Bytes so far.
    pub written: u64,
    buffer: Vec<u8>,
}

impl<'a> Writer<'a> {
    pub fn new(owner: Option<Owner>, settled: i64, cancel: &'a Cancel, meter: &'a Meter) -> Self {
        Self {
            owner,
            settled,
            cancel,
            meter,
            written: 0,
            buffer: vec![0; BUFFER],
        }
    }

    /// Reads `members` from `plain`, a tar archive that begins with the first one's header.
    pub fn extract(
        &mut self,
        plain: impl Read,
        members: &[Member],
        place: impl Fn(usize, &Member) -> Place,
    ) -> Result<()> {
        let mut archive = tar::Archive::new(plain);
        let mut entries = archive.entries().map_err(unreadable)?;
        for (number, member) in members.iter().enumerate() {
            self.cancel.check()?;
            let entry = entries
                .next()
                .ok_or_else(|| Error::damaged(format!("the part ends before {}", member.path)))?
                .map_err(unreadable)?;
            check(&entry, member)?;
            if !member.folder {
                self.file(entry, member, place(number, member))
                    .map_err(|error| error.context(format!("can't restore {}", member.path)))?;
            }
        }
        Ok(())
    }

    fn file(&mut self, mut plain: impl Read, member: &Member, place: Place) -> Result<()> {
        if let Place::Blocks(path, block_size) = &place {
            return self.blocks(plain, member, path, *block_size);
        }
        let mut target = match &place {
            Place::File(path) => Some((Target::New(self.create(path, member.mode)?), path)),
            Place::Over(path) => Some((Target::Old(Patch::open(path)?), path)),
            Place::Nowhere => None,
            Place::Stays | Place::Blocks(..) => return Ok(()),
        };
        let (mut length, mut crc) = (0, 0);
        let mut early = EarlyWriting::default();
        loop {
            // Full to the end of the file, so that blocks are compared whole.
            let count = fill(&mut plain, &mut self.buffer)?;
            if count == 0 {
                break;
            }
            self.cancel.check()?;
            let bytes = &self.buffer[..count];
            crc = crc32c::crc32c_append(crc, bytes);
            length += count as u64;
            match &mut target {
                Some((Target::New(file), path)) => {
                    file.write_all(bytes).at("write", path)?;
                    self.written += count as u64;
                    early.wrote(file, count);
                }
                Some((Target::Old(patch), path)) => {
                    self.written += patch.write(bytes).at("write", path)?;
                }
                None => {}
            }
            self.meter.add(count as u64);
        }
        if length != member.size {
            return Err(Error::damaged(format!(
                "{length} bytes are stored instead of {}",
                member.size
            )));
        }
        if crc != member.crc32c {
            return Err(Error::damaged(format!(
                "its checksum is {crc:08x}, in the index it is {:08x}",
                member.crc32c
            )));
        }
        if let Some((target, path)) = target {
            let file = match target {
                Target::New(file) => file,
                Target::Old(patch) => patch.finish(member.size).at("write", path)?,
            };
            self.give_time(&file, member).at("give its time to", path)?;
        }
        Ok(())
    }

    /// Puts the blocks of an incremental file where they belong.
    fn blocks(
        &mut self,
        plain: impl Read,
        member: &Member,
        path: &Path,
        block_size: usize,
    ) -> Result<()> {
        let mut plain = Checked::new(plain);
        let header = Header::read(&mut plain, block_size)?;
        let file = open_to_patch(path)?;
        let most = (self.buffer.len() / block_size).max(1);
        self.buffer.resize(self.buffer.len().max(block_size), 0);
        for run in header.blocks.chunk_by(|one, next| one + 1 == *next) {
            for run in run.chunks(most) {
                self.cancel.check()?;
                let bytes = &mut self.buffer[..run.len() * block_size];
                plain.read_exact(bytes).map_err(unreadable)?;
                let at = u64::from(run[0]) * block_size as u64;
                file.write_all_at(bytes, at).at("write", path)?;
                self.written += bytes.len() as u64;
                self.meter.add(bytes.len() as u64);
            }
        }
        let rest = io::copy(&mut plain, &mut io::sink()).map_err(unreadable)?;
        if rest > 0 || (plain.length, plain.crc) != (member.size, member.crc32c) {
            return Err(Error::damaged(
                "other blocks are stored than the index says",
            ));
        }
        let length = u64::from(header.reconstructed_length()) * block_size as u64;
        file.set_len(length).at("cut", path)?;
        self.give_time(&file, member).at("give its time to", path)
    }

    /// A time that lies before the backup proves that the file has not changed since: the next
    /// `--trust-times` may rely on it. Any other would tell what is not known.
    fn give_time(&self, file: &File, member: &Member) -> io::Result<()> {
        match u64::try_from(member.mtime) {
            Ok(seconds) if member.mtime < self.settled => {
                let time = UNIX_EPOCH + Duration::from_secs(seconds);
                file.set_times(FileTimes::new().set_modified(time))
            }
            _ => Ok(()),
        }
    }

    fn create(&self, path: &Path, mode: u32) -> Result<File> {
        let file = create_file(path)?;
        if let Some(owner) = self.owner {
            fchown(&file, Some(owner.user), Some(owner.group)).at("give its owner to", path)?;
        }
        if mode != 0o600 {
            file.set_permissions(Permissions::from_mode(mode))
                .at("give its mode to", path)?;
        }
        Ok(file)
    }
}

/// Counts and sums what is read.
struct Checked<R> {
    inner: R,
    length: u64,
    crc: u32,
}

impl<R> Checked<R> {
    fn new(inner: R) -> Self {
        Self {
            inner,
            length: 0,
            crc: 0,
        }
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.crc = crc32c::crc32c_append(self.crc, &buffer[..count]);
        self.length += count as u64;
        Ok(count)
    }
}

/// What the tar header says must be what the index says, and a plain file or folder.
fn check(entry: &tar::Entry<'_, impl Read>, member: &Member) -> Result<()> {
    let path = entry.path_bytes();
    let path = path.strip_suffix(b"/").unwrap_or(&path);
    let kind = entry.header().entry_type();
    let size = if member.folder { 0 } else { member.size };
    let expected = if member.folder {
        kind.is_dir()
    } else {
        kind.is_file()
    };
    if expected && path == &*member.stored_path() && entry.size() == size {
        return Ok(());
    }
    Err(Error::damaged(format!(
        "where the index puts {} ({size} bytes), the part holds {} ({} bytes)",
        member.path,
        String::from_utf8_lossy(path),
        entry.size()
    )))
}

/// Reads until the buffer is full or the file ends.
fn fill(plain: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match plain.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(error)),
        }
    }
    Ok(filled)
}

fn unreadable(error: io::Error) -> Error {
    // An error of ours that came through the reader says best what it is.
    Error::passed(error, |error| {
        Error::io("read", Path::new("the part"), error)
    })
}

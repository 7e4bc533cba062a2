//! Reads members out of a part and makes files of them, each checked before it counts.

use std::{
    fs::{File, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{PermissionsExt, fchown},
    path::{Path, PathBuf},
};

use super::{contents::Member, folders::Owner};
use crate::{
    error::{Error, IoContext, Result},
    util::{cancel::Cancel, fs::create_file, meter::Meter},
};

/// Large enough that hashing and writing, not the call, is what costs.
const BUFFER: usize = 256 << 10;

/// Where a member's bytes go.
pub enum Place {
    File(PathBuf),
    /// Read and checked, but not wanted in a restored directory.
    Nowhere,
}

/// One worker's way of writing.
pub struct Writer<'a> {
    pub owner: Option<Owner>,
    pub cancel: &'a Cancel,
    pub meter: &'a Meter,
    buffer: Vec<u8>,
}

impl<'a> Writer<'a> {
    pub fn new(owner: Option<Owner>, cancel: &'a Cancel, meter: &'a Meter) -> Self {
        Self {
            owner,
            cancel,
            meter,
            buffer: vec![0; BUFFER],
        }
    }

    /// Reads `members` from `plain`, a tar archive that begins with the first one's header.
    pub fn extract(
        &mut self,
        plain: impl Read,
        members: &[Member],
        place: impl Fn(&Member) -> Place,
    ) -> Result<()> {
        let mut archive = tar::Archive::new(plain);
        let mut entries = archive.entries().map_err(unreadable)?;
        for member in members {
            self.cancel.check()?;
            let entry = entries
                .next()
                .ok_or_else(|| Error::damaged(format!("the part ends before {}", member.path)))?
                .map_err(unreadable)?;
            check(&entry, member)?;
            if !member.folder {
                self.file(entry, member, place(member))
                    .map_err(|error| error.context(format!("can't restore {}", member.path)))?;
            }
        }
        Ok(())
    }

    fn file(&mut self, mut plain: impl Read, member: &Member, place: Place) -> Result<()> {
        let mut target = match &place {
            Place::File(path) => Some((self.create(path, member.mode)?, path)),
            Place::Nowhere => None,
        };
        let (mut length, mut crc) = (0, 0);
        loop {
            let count = match plain.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(unreadable(error)),
            };
            self.cancel.check()?;
            let bytes = &self.buffer[..count];
            crc = crc32c::crc32c_append(crc, bytes);
            length += count as u64;
            if let Some((file, path)) = &mut target {
                file.write_all(bytes).at("write", path)?;
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
        Ok(())
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
    if expected && path == &*member.path.0 && entry.size() == size {
        return Ok(());
    }
    Err(Error::damaged(format!(
        "where the index puts {} ({size} bytes), the part holds {} ({} bytes)",
        member.path,
        String::from_utf8_lossy(path),
        entry.size()
    )))
}

fn unreadable(error: io::Error) -> Error {
    // An error of ours that came through the reader says best what it is.
    match error.downcast::<Error>() {
        Ok(ours) => ours,
        Err(error) => Error::io("read", Path::new("the part"), error),
    }
}

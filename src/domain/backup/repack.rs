//! Files from the server: the tar archives of BASE_BACKUP, taken apart on the fly.
//!
//! The server sends one archive for each tablespace and one for the data directory
//! (src/backend/backup/basebackup.c). Their members go to the packer under the paths that they
//! have in a data directory; `global/pg_control` is held back and comes last.

use std::{io::Write, mem, path::Path};

use tar::EntryType;

use super::{
    contents::{Contents, wal_segment},
    member::{BLOCK, Member, padding},
    pack::Packer,
    regrown::Regrown,
    source::Started,
};
use crate::{
    error::{Error, Result},
    postgres::{
        base_backup::{BackupSink, BackupStart},
        control,
        incremental::{self, Header, STUB},
        lsn::{Lsn, TimelineId},
    },
    repo::{
        file_index::FilePath,
        tablespace::{Location, Tablespace},
    },
    util::meter::Meter,
};

/// PostgreSQL's PG_CONTROL_FILE_SIZE is 8192; more than this is no control file.
const CONTROL_LIMIT: u64 = 1 << 16;

/// Gives what the server sends to a packer, and the manifest to `manifest`.
pub struct Repacker<'a, 'p, M> {
    packer: &'a mut Packer<'p>,
    manifest: M,
    meter: &'a Meter,
    started: &'a mut Started<'a>,
    contents: Contents,
    incremental: Option<Incremental<'a>>,
    /// The begin of the present incremental file, up to its first block: by the file's own path.
    front: Option<(FilePath, Vec<u8>)>,
    /// In front of the paths of the present archive.
    prefix: Vec<u8>,
    state: State,
    control: Option<(Member, Vec<u8>)>,
}

/// What is to be known of incremental files.
#[derive(Clone, Copy)]
pub struct Incremental<'a> {
    /// Bytes.
    pub block_size: u32,
    pub regrown: &'a Regrown,
}

enum State {
    /// Gathers a header block.
    Header(Vec<u8>),
    Content {
        left: u64,
        padding: usize,
        hold: bool,
    },
    /// Behind the two zero blocks that end an archive.
    End,
}

impl<'a, 'p, M: Write> Repacker<'a, 'p, M> {
    pub fn new(
        packer: &'a mut Packer<'p>,
        manifest: M,
        meter: &'a Meter,
        started: &'a mut Started<'a>,
        incremental: Option<Incremental<'a>>,
    ) -> Self {
        Self {
            packer,
            manifest,
            meter,
            started,
            contents: Contents::new(Lsn::INVALID, TimelineId::FIRST),
            incremental,
            front: None,
            prefix: Vec::new(),
            state: State::End,
            control: None,
        }
    }

    /// Adds pg_control as the last member; what was cut off before can't be started.
    pub fn finish(mut self) -> Result<(Contents, M)> {
        self.end_archive()?;
        self.end_incremental()?;
        let Some((member, bytes)) = self.control.take() else {
            return Err(Error::damaged("the server sent no global/pg_control"));
        };
        self.packer.member(&member, false)?;
        self.packer.data(&bytes)?;
        Ok((self.contents, self.manifest))
    }

    /// An archive ends behind a whole member: before 15 the zero blocks were left out.
    fn end_archive(&self) -> Result<()> {
        match &self.state {
            State::End => Ok(()),
            State::Header(block) if block.is_empty() => Ok(()),
            _ => Err(Error::damaged(
                "an archive from the server ends in the middle of a file",
            )),
        }
    }

    fn header(&mut self, block: &[u8]) -> Result<State> {
        if block.iter().all(|byte| *byte == 0) {
            return Ok(State::End);
        }
        let bad = |error| {
            Error::damaged("the server sent a tar header that can't be read").because(error)
        };
        let header = tar::Header::from_byte_slice(block);
        if header.cksum().map_err(bad)? != checksum(block) {
            return Err(Error::damaged(
                "the server sent a tar header with a wrong checksum",
            ));
        }
        let name = header.path_bytes();
        let name = name.strip_prefix(b"./").unwrap_or(&name);
        let name = name.strip_suffix(b"/").unwrap_or(name);
        let path = FilePath([&self.prefix, name].concat().into());
        let kind = header.entry_type();
        let member = Member {
            folder: kind == EntryType::Directory,
            size: if kind == EntryType::Regular {
                header.size().map_err(bad)?
            } else {
                0
            },
            mode: header.mode().map_err(bad)? & 0o7777,
            mtime: header.mtime().map_err(bad)?.cast_signed(),
            uid: header.uid().map_err(bad)?,
            gid: header.gid().map_err(bad)?,
            path,
        };
        match kind {
            EntryType::Directory => {
                self.contents.add_folder(&member.path);
                self.packer.member(&member, false)?;
            }
            EntryType::Regular => return self.file(member),
            // A tablespace: `backup.json` tells where it lies, and who restores makes the link.
            EntryType::Symlink if member.path.0.starts_with(b"pg_tblspc/") => {}
            other => {
                return Err(Error::damaged(format!(
                    "the server sent {} as a member of kind {other:?}, which a data directory does not have",
                    member.path
                )));
            }
        }
        Ok(State::Header(Vec::new()))
    }

    fn file(&mut self, member: Member) -> Result<State> {
        self.end_incremental()?;
        let plain = incremental::plain_path(&member.path.0);
        match plain.filter(|_| self.incremental.is_some()) {
            Some(path) => self.front = Some((FilePath(path.into()), Vec::new())),
            None => self.contents.add_file(&member.path, member.size),
        }
        let (left, padding) = (member.size, padding(member.size));
        let hold = member.path.0.as_ref() == control::PATH.as_bytes();
        if hold {
            if member.size > CONTROL_LIMIT || self.control.is_some() {
                return Err(Error::damaged(
                    "the server sent a global/pg_control that is none",
                ));
            }
            self.control = Some((member, Vec::new()));
        } else {
            // The manifest lists all but WAL segments.
            self.packer
                .member(&member, wal_segment(&member.path).is_some())?;
        }
        match left {
            0 => Ok(State::Header(Vec::new())),
            _ => Ok(State::Content {
                left,
                padding,
                hold,
            }),
        }
    }

    fn content(&mut self, bytes: &[u8], hold: bool) -> Result<()> {
        self.look_at(bytes)?;
        match (&mut self.control, hold) {
            (Some((_, held)), true) => held.extend_from_slice(bytes),
            _ => self.packer.data(bytes)?,
        }
        Ok(())
    }
}

impl<M> Repacker<'_, '_, M> {
    /// Of an incremental file counts what it stands for, once its header is here.
    fn look_at(&mut self, bytes: &[u8]) -> Result<()> {
        let (Some((_, front)), Some(incremental)) = (&mut self.front, &self.incremental) else {
            return Ok(());
        };
        front.extend_from_slice(bytes);
        let block_size = incremental.block_size as usize;
        if front.len() < STUB as usize || front.len() < incremental::header_size(front, block_size)?
        {
            return Ok(());
        }
        let header = Header::read(&mut &front[..], block_size)?;
        if let Some((path, _)) = self.front.take() {
            let size = u64::from(header.reconstructed_length()) * u64::from(incremental.block_size);
            self.contents.add_file(&path, size);
            incremental.regrown.check(path, &header)?;
        }
        Ok(())
    }

    fn end_incremental(&self) -> Result<()> {
        match &self.front {
            None => Ok(()),
            Some((path, _)) => Err(Error::damaged(format!(
                "what the server sent of {path} ends early"
            ))),
        }
    }
}

impl<M: Write> BackupSink for Repacker<'_, '_, M> {
    fn start(&mut self, start: &BackupStart) -> Result<()> {
        self.contents.start_lsn = start.lsn;
        self.contents.timeline = start.timeline;
        let mut expected = 0;
        for tablespace in &start.tablespaces {
            expected += tablespace.size_kb.unwrap_or(0) * 1024;
            let (Some(oid), Some(location)) = (tablespace.oid, &tablespace.location) else {
                continue;
            };
            self.contents.tablespaces.push(Tablespace {
                oid,
                location: Location(location.clone()),
                in_place: location.is_relative(),
                bytes: 0,
            });
        }
        self.meter.begin("copying", expected);
        (self.started)(start.lsn, start.timeline)
    }

    fn archive(&mut self, name: &str, _location: &Path) -> Result<()> {
        self.end_archive()?;
        self.state = State::Header(Vec::new());
        self.prefix.clear();
        if name == "base.tar" {
            return Ok(());
        }
        let oid = name
            .strip_suffix(".tar")
            .and_then(|oid| oid.parse::<u32>().ok());
        let announced = |oid: &u32| {
            let mut known = self.contents.tablespaces.iter();
            known.any(|space| space.oid == *oid)
        };
        let oid = oid.filter(announced).ok_or_else(|| {
            Error::damaged(format!(
                "the server sent an archive {name:?} that it did not announce"
            ))
        })?;
        self.prefix = format!("pg_tblspc/{oid}/").into_bytes();
        Ok(())
    }

    fn data(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.meter.add(bytes.len() as u64);
        while !bytes.is_empty() {
            match &mut self.state {
                State::Header(block) => {
                    let (now, later) =
                        bytes.split_at(bytes.len().min(BLOCK as usize - block.len()));
                    block.extend_from_slice(now);
                    bytes = later;
                    if block.len() == BLOCK as usize {
                        let block = mem::take(block);
                        self.state = self.header(&block)?;
                    }
                }
                State::Content {
                    left,
                    padding,
                    hold,
                } => {
                    let hold = *hold;
                    let now = (bytes.len() as u64).min(*left) as usize;
                    *left -= now as u64;
                    let skip = if *left == 0 {
                        (bytes.len() - now).min(*padding)
                    } else {
                        0
                    };
                    *padding -= skip;
                    let ended = *left == 0 && *padding == 0;
                    if now > 0 {
                        self.content(&bytes[..now], hold)?;
                    }
                    bytes = &bytes[now + skip..];
                    if ended {
                        self.state = State::Header(Vec::new());
                    }
                }
                State::End if bytes.iter().all(|byte| *byte == 0) => return Ok(()),
                State::End => {
                    return Err(Error::damaged(
                        "the server sent bytes behind an archive's end",
                    ));
                }
            }
        }
        Ok(())
    }

    fn manifest(&mut self, bytes: &[u8]) -> Result<()> {
        self.manifest
            .write_all(bytes)
            .map_err(|error| Error::failed("can't store the backup manifest").because(error))
    }
}

/// The sum of a header's bytes, its checksum field counted as spaces (POSIX ustar).
fn checksum(block: &[u8]) -> u32 {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    sum(&block[..148]) + 8 * u32::from(b' ') + sum(&block[156..])
}

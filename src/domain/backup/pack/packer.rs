//! Lays members into tar archives, cuts these into frames and parts, and hands them on.

use std::{
    io::{self, Write},
    mem,
    sync::mpsc::{SyncSender, sync_channel},
};

use super::{
    load::{Ended, Load},
    stages::{Content, Job, Ordered, Pool, stopped},
};
use crate::{
    domain::backup::member::{BLOCK, Member, padding},
    error::{Error, Result},
    postgres::file_checksum::{Algorithm, Hasher},
    repo::file_index::{FileEntry, PageNotes},
    util::hash::Sha256Writer,
};

/// Plain bytes of a frame: large enough that compression loses nothing worth having, small
/// enough that one file can be read without much of its neighbours.
pub const FRAME: usize = 2 << 20;

/// Takes members in a row: each followed by its bytes, or as loads that a worker reads.
pub struct Packer<'a> {
    jobs: SyncSender<Job>,
    order: SyncSender<Ordered>,
    pool: &'a Pool,
    part_size: u64,
    /// What the manifest lists of each file; CRC-32C is computed anyway, for the index.
    checksums: Algorithm,
    part: u32,
    /// Plain bytes of the present part before the present frame; of loads as announced.
    part_bytes: u64,
    /// Frames of the present part before the present one.
    frames: u64,
    frame: Vec<u8>,
    ended: Vec<Ended>,
    open: Option<OpenMember>,
}

struct OpenMember {
    entry: FileEntry,
    left: u64,
    hasher: Option<Hasher>,
    sha256: Option<Sha256Writer<io::Sink>>,
}

impl<'a> Packer<'a> {
    pub fn new(
        part_size: u64,
        checksums: Algorithm,
        jobs: SyncSender<Job>,
        order: SyncSender<Ordered>,
        pool: &'a Pool,
    ) -> Self {
        Self {
            jobs,
            order,
            pool,
            part_size,
            checksums,
            part: 1,
            part_bytes: 0,
            frames: 0,
            frame: pool.take(),
            ended: Vec::new(),
            open: None,
        }
    }

    /// Begins a member; `size` bytes of `data` must follow. `hash`: with its SHA-256, for a
    /// file that the manifest will not list.
    pub fn member(&mut self, member: &Member, hash: bool) -> Result<()> {
        if let Some(open) = &self.open {
            return Err(cut_off(open));
        }
        let header = member.header()?;
        self.make_room(header.len() as u64 + member.size)?;
        if self.frame.len() == FRAME {
            self.end_frame()?;
        }
        let entry = FileEntry {
            path: member.path.clone(),
            folder: member.folder,
            part: self.part,
            frame: self.frames,
            offset: self.frame.len() as u32,
            size: member.size,
            mode: member.mode,
            mtime: member.mtime,
            crc32c: 0,
            sha256: None,
            facts: None,
            notes: PageNotes::default(),
        };
        self.push(&header)?;
        let sha256 = hash.then(|| Sha256Writer::new(io::sink()));
        let compare = !hash && !member.folder && self.checksums != Algorithm::Crc32c;
        let hasher = compare.then(|| Hasher::new(self.checksums));
        self.open = Some(OpenMember {
            entry,
            left: member.size,
            hasher,
            sha256,
        });
        if member.size == 0 {
            self.end_member()
        } else {
            Ok(())
        }
    }

    /// Ends the present part if what comes next would make it too large.
    pub fn make_room(&mut self, bytes: u64) -> Result<()> {
        let plain = self.part_bytes + self.frame.len() as u64;
        if plain > 0 && plain + bytes > self.part_size {
            self.end_part()?;
        }
        Ok(())
    }

    /// Hands over what a worker reads into a frame of its own: about `bytes` plain bytes.
    pub fn load(&mut self, load: Box<dyn Load>, bytes: u64) -> Result<()> {
        if let Some(open) = &self.open {
            return Err(cut_off(open));
        }
        if !self.frame.is_empty() {
            self.end_frame()?;
        }
        self.part_bytes += bytes;
        self.send(Content::Load(load))
    }

    /// Lets a worker do something else in between.
    pub fn run(&mut self, task: impl FnOnce() + Send + 'static) -> Result<()> {
        let task = Job::Task(Box::new(task));
        self.jobs.send(task).map_err(|_| stopped())
    }

    /// Returns once all that was handed over is read and written.
    pub fn wait(&mut self) -> Result<()> {
        if !self.frame.is_empty() {
            self.end_frame()?;
        }
        let (reached, here) = sync_channel(1);
        self.order
            .send(Ordered::Reached(reached))
            .map_err(|_| stopped())?;
        here.recv().map_err(|_| stopped())
    }

    /// The next bytes of the member; the last of them end it.
    pub fn data(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(open) = self
            .open
            .as_mut()
            .filter(|open| bytes.len() as u64 <= open.left)
        else {
            return Err(Error::damaged(
                "a file of the backup is longer than it was announced",
            ));
        };
        open.entry.crc32c = crc32c::crc32c_append(open.entry.crc32c, bytes);
        if let Some(hasher) = &mut open.hasher {
            hasher.update(bytes);
        }
        if let Some(sha256) = &mut open.sha256 {
            sha256
                .write_all(bytes)
                .map_err(|error| Error::failed("can't hash").because(error))?;
        }
        open.left -= bytes.len() as u64;
        let ended = open.left == 0;
        self.push(bytes)?;
        if ended { self.end_member() } else { Ok(()) }
    }

    fn end_member(&mut self) -> Result<()> {
        let Some(OpenMember {
            mut entry,
            hasher,
            sha256,
            ..
        }) = self.open.take()
        else {
            return Ok(());
        };
        let checksum = hasher.map(Hasher::finish);
        entry.sha256 = sha256.map(|hasher| hasher.finish().1);
        self.push(&[0; BLOCK as usize][..padding(entry.size)])?;
        self.ended.push(Ended { entry, checksum });
        Ok(())
    }

    fn push(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            if self.frame.len() == FRAME {
                self.end_frame()?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(FRAME - self.frame.len()));
            self.frame.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    fn end_frame(&mut self) -> Result<()> {
        let plain = mem::replace(&mut self.frame, self.pool.take());
        self.frame.reserve_exact(FRAME);
        self.part_bytes += plain.len() as u64;
        self.send(Content::Bytes(plain))
    }

    fn send(&mut self, content: Content) -> Result<()> {
        self.frames += 1;
        let (reply, made) = sync_channel(1);
        let ended = mem::take(&mut self.ended);
        self.order
            .send(Ordered::Frame { made, ended })
            .map_err(|_| stopped())?;
        self.jobs
            .send(Job::Frame { content, reply })
            .map_err(|_| stopped())
    }

    /// Ends the tar archive by its two zero blocks, and the part.
    fn end_part(&mut self) -> Result<()> {
        self.push(&[0; 2 * BLOCK as usize])?;
        self.end_frame()?;
        self.order.send(Ordered::EndOfPart).map_err(|_| stopped())?;
        self.part += 1;
        self.part_bytes = 0;
        self.frames = 0;
        Ok(())
    }

    /// Ends the last part.
    pub fn finish(mut self) -> Result<()> {
        if let Some(open) = &self.open {
            return Err(cut_off(open));
        }
        self.end_part()?;
        self.order.send(Ordered::End).map_err(|_| stopped())
    }
}

fn cut_off(open: &OpenMember) -> Error {
    Error::damaged(format!(
        "{} ends {} bytes early",
        open.entry.path, open.left
    ))
}

//! Files to parts: tar, compress, hash and store, in one pass.
//!
//! The caller hands over members and their bytes in one row. They are laid into tar archives
//! (parts), cut into frames of a fixed plain size; workers compress frames, one writer puts
//! them in order, hashes and stores them, and one finisher makes whole parts durable and
//! re-reads them, so that nobody waits for the disk's sync. All queues are bounded: memory is
//! `2 * workers + 3` frames, plain and compressed, whatever the size of the database.
//!
//! A crash leaves parts of an id that has no `backup.json`: remains, which the next run clears.

use std::{
    io::Write,
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use super::member::{BLOCK, Member, padding};
use crate::{
    error::{Error, Result},
    repo::{
        backup_id::BackupId,
        catalog::{Part, StoredObject},
        codec::{Codec, Compression},
        file_index::{FileEntry, FileIndexWriter},
        layout::{BackupObject, ObjectName},
        object_writer::ObjectWriter,
        repository::Repository,
        storage::Upload,
    },
    util::hash::{Sha256, Sha256Writer},
};

/// Plain bytes of a frame: large enough that compression loses nothing worth having, small
/// enough that one file can be read without much of its neighbours.
const FRAME: usize = 2 << 20;

/// Where the parts go, and how.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    pub repository: &'a Repository,
    pub id: BackupId,
    pub compression: Compression,
    /// Threads that compress.
    pub workers: usize,
    /// Plain bytes after which a new part begins; a larger file has a part of its own.
    pub part_size: u64,
    /// Re-read each stored part and compare its hash.
    pub verify: bool,
}

/// What was stored.
#[derive(Debug)]
pub struct Packed {
    pub parts: Vec<Part>,
    pub index: StoredObject,
}

/// Runs `fill`, which hands all members to the packer, and stores them.
///
/// When anything fails, what was stored already belongs to no backup.
pub fn pack<T>(
    to: Destination<'_>,
    fill: impl FnOnce(&mut Packer<'_>) -> Result<T>,
) -> Result<(Packed, T)> {
    let workers = to.workers.max(1);
    let pool = Pool::default();
    let (jobs, queue) = sync_channel(workers);
    let (order, ordered) = sync_channel(workers + 2);
    let (written, parts) = sync_channel(1);
    thread::scope(|scope| {
        let pool = &pool;
        // Shared by the workers alone: when the last of them ends, so does the queue.
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..workers {
            let queue = Arc::clone(&queue);
            scope.spawn(move || compress(to.compression, &queue, pool));
        }
        drop(queue);
        let writer = scope.spawn(move || write(to, &ordered, &written, pool));
        let finisher = scope.spawn(move || finish(to, &parts));
        let mut packer = Packer::new(to.part_size, jobs, order, pool);
        let filled = fill(&mut packer).and_then(|value| packer.finish().map(|()| value));
        drop(packer);
        // Who fails drops its queue, and the one before it fails for that reason alone: the
        // cause is the error nearest to the store.
        let parts = joined(finisher)?;
        let index = joined(writer)?;
        let value = filled?;
        let index = index.ok_or_else(stopped)?;
        Ok((Packed { parts, index }, value))
    })
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread
        .join()
        .unwrap_or_else(|_| Err(Error::failed("a thread of the backup panicked")))
}

/// The error of who finds the next stage gone; its own error comes first.
fn stopped() -> Error {
    Error::failed("storing the backup was stopped")
}

/// Buffers that are used again: their memory is touched once.
#[derive(Default)]
struct Pool(Mutex<Vec<Vec<u8>>>);

impl Pool {
    fn take(&self) -> Vec<u8> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
            .unwrap_or_default()
    }

    fn put(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(buffer);
    }
}

/// A frame for whichever worker is free.
struct Job {
    plain: Vec<u8>,
    reply: SyncSender<Result<Vec<u8>>>,
}

/// What the writer does, in order.
enum Ordered {
    Frame {
        stored: Receiver<Result<Vec<u8>>>,
        /// The members that end here; their `frame` is the number of a frame of this part.
        ended: Vec<FileEntry>,
    },
    EndOfPart {
        plain_bytes: u64,
    },
    End,
}

/// A part whose bytes are written but not yet durable.
struct Written {
    upload: Box<dyn Upload>,
    object: ObjectName,
    part: Part,
}

fn compress(compression: Compression, queue: &Mutex<Receiver<Job>>, pool: &Pool) {
    let mut framer = compression.framer();
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { plain, reply }) = job else {
            return;
        };
        let stored = match &mut framer {
            Ok(_) if compression.codec == Codec::None => Ok(plain),
            Ok(framer) => {
                let mut stored = pool.take();
                let result = framer.frame(&plain, &mut stored);
                pool.put(plain);
                result.map(|()| stored)
            }
            Err(_) => Err(Error::failed(format!("can't compress with {compression}"))),
        };
        // A writer that is gone has said why.
        let _ = reply.send(stored);
    }
}

/// The part that the writer is at.
struct OpenPart {
    number: u32,
    object: ObjectName,
    upload: Sha256Writer<Box<dyn Upload>>,
    /// Where each of its frames begins.
    frames: Vec<u64>,
}

/// The index; None if the members ended early.
fn write(
    to: Destination<'_>,
    ordered: &Receiver<Ordered>,
    written: &SyncSender<Written>,
    pool: &Pool,
) -> Result<Option<StoredObject>> {
    let storage = to.repository.storage();
    let name = |object| to.repository.layout().backup_object(&to.id, object);
    let index = ObjectWriter::begin(storage, name(BackupObject::Index), Compression::default())?;
    let mut index = FileIndexWriter::new(index)?;
    let mut part: Option<OpenPart> = None;
    let mut number = 0;
    while let Ok(next) = ordered.recv() {
        match next {
            Ordered::Frame { stored, ended } => {
                let stored = stored.recv().map_err(|_| stopped())??;
                let open = match &mut part {
                    Some(open) => open,
                    none => {
                        number += 1;
                        let object = name(BackupObject::Part(number, to.compression.codec));
                        let upload = Sha256Writer::new(storage.put_part(&object)?);
                        none.insert(OpenPart {
                            number,
                            object,
                            upload,
                            frames: Vec::new(),
                        })
                    }
                };
                open.frames.push(open.upload.length());
                open.upload
                    .write_all(&stored)
                    .map_err(|error| storage.failed("write", &open.object, error))?;
                pool.put(stored);
                for mut entry in ended {
                    entry.frame = *open.frames.get(entry.frame as usize).ok_or_else(stopped)?;
                    index.add(&entry)?;
                }
            }
            Ordered::EndOfPart { plain_bytes } => {
                let OpenPart {
                    number,
                    object,
                    upload,
                    ..
                } = part.take().ok_or_else(stopped)?;
                let stored_bytes = upload.length();
                let (upload, sha256) = upload.finish();
                let part = Part {
                    number,
                    name: object.file_name().to_owned(),
                    plain_bytes,
                    stored_bytes,
                    sha256,
                    unencrypted_sha256: sha256,
                };
                written
                    .send(Written {
                        upload,
                        object,
                        part,
                    })
                    .map_err(|_| stopped())?;
            }
            Ordered::End => {
                return index.finish()?.finish().map(Some);
            }
        }
    }
    Ok(None)
}

fn finish(to: Destination<'_>, written: &Receiver<Written>) -> Result<Vec<Part>> {
    let storage = to.repository.storage();
    let mut parts = Vec::new();
    while let Ok(Written {
        upload,
        object,
        part,
    }) = written.recv()
    {
        upload.finish()?;
        if to.verify {
            let read = storage.get(&object, None)?;
            let (sha256, length) = Sha256::of_reader(read)
                .map_err(|error| storage.failed("re-read", &object, error))?;
            if (sha256, length) != (part.sha256, part.stored_bytes) {
                let place = storage.place(&object);
                return Err(Error::damaged(format!("{place} reads back other than it was written"))
                    .hint("check the disk and the memory of the repository's host, then run the backup again."));
            }
        }
        parts.push(part);
    }
    Ok(parts)
}

/// Takes members in a row, each followed by its bytes.
pub struct Packer<'a> {
    jobs: SyncSender<Job>,
    order: SyncSender<Ordered>,
    pool: &'a Pool,
    part_size: u64,
    part: u32,
    /// Plain bytes of the present part before the present frame.
    part_bytes: u64,
    /// Frames of the present part before the present one.
    frames: u64,
    frame: Vec<u8>,
    ended: Vec<FileEntry>,
    open: Option<OpenMember>,
}

struct OpenMember {
    entry: FileEntry,
    left: u64,
    sha256: Option<Sha256Writer<std::io::Sink>>,
}

impl<'a> Packer<'a> {
    fn new(
        part_size: u64,
        jobs: SyncSender<Job>,
        order: SyncSender<Ordered>,
        pool: &'a Pool,
    ) -> Self {
        Self {
            jobs,
            order,
            pool,
            part_size,
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
        let plain = self.part_bytes + self.frame.len() as u64;
        if plain > 0 && plain + header.len() as u64 + member.size > self.part_size {
            self.end_part()?;
        }
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
        };
        self.push(&header)?;
        let sha256 = hash.then(|| Sha256Writer::new(std::io::sink()));
        self.open = Some(OpenMember {
            entry,
            left: member.size,
            sha256,
        });
        if member.size == 0 {
            self.end_member()
        } else {
            Ok(())
        }
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
            mut entry, sha256, ..
        }) = self.open.take()
        else {
            return Ok(());
        };
        entry.sha256 = sha256.map(|hasher| hasher.finish().1);
        self.push(&[0; BLOCK as usize][..padding(entry.size)])?;
        self.ended.push(entry);
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
        self.frames += 1;
        let (reply, stored) = sync_channel(1);
        let ended = mem::take(&mut self.ended);
        self.order
            .send(Ordered::Frame { stored, ended })
            .map_err(|_| stopped())?;
        self.jobs.send(Job { plain, reply }).map_err(|_| stopped())
    }

    /// Ends the tar archive by its two zero blocks, and the part.
    fn end_part(&mut self) -> Result<()> {
        self.push(&[0; 2 * BLOCK as usize])?;
        self.end_frame()?;
        self.order
            .send(Ordered::EndOfPart {
                plain_bytes: self.part_bytes,
            })
            .map_err(|_| stopped())?;
        self.part += 1;
        self.part_bytes = 0;
        self.frames = 0;
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::repo::{
        backup_id::BackupKind,
        file_index::{self, FilePath},
        location::Location,
    };

    fn member(path: &str, size: usize) -> Member {
        Member {
            path: FilePath(path.as_bytes().into()),
            folder: path.ends_with("folder"),
            size: size as u64,
            mode: 0o600,
            mtime: 1,
            uid: 0,
            gid: 0,
        }
    }

    /// Bytes that compress somewhat, different for each file.
    fn content(seed: usize, size: usize) -> Vec<u8> {
        (0..size)
            .map(|at| ((at * 31 + seed * 7) >> (at % 5)) as u8)
            .collect()
    }

    fn packed(
        folder: &std::path::Path,
        text: &str,
        sizes: &[usize],
    ) -> (Repository, BackupId, Packed) {
        let location = Location::Folder(folder.into());
        let repository = Repository::open_or_create(&location, "main".parse().unwrap())
            .unwrap()
            .0;
        let (id, _) = BackupId::next(crate::util::clock::now(), BackupKind::Full, None);
        let to = Destination {
            repository: &repository,
            id,
            compression: text.parse().unwrap(),
            workers: 2,
            part_size: 8 << 20,
            verify: true,
        };
        let (packed, ()) = pack(to, |packer| {
            packer.member(&member("a folder", 0), false)?;
            for (number, size) in sizes.iter().enumerate() {
                packer.member(&member(&format!("file {number}"), *size), false)?;
                content(number, *size)
                    .chunks(100_000)
                    .try_for_each(|piece| packer.data(piece))?;
            }
            Ok(())
        })
        .unwrap();
        (repository, id, packed)
    }

    #[test]
    fn each_file_is_found_at_its_place_and_each_part_is_a_whole_archive() {
        let sizes = [
            0,
            1,
            512,
            FRAME - 1024,
            FRAME,
            5 << 20,
            7_000_001,
            9 << 20,
            3,
        ];
        for text in ["zstd:1", "gzip:1", "lz4", "none"] {
            let folder = tempfile::tempdir().unwrap();
            let (repository, id, packed) = packed(folder.path(), text, &sizes);
            let codec = text.parse::<Compression>().unwrap().codec;
            let object = |part| {
                repository
                    .layout()
                    .backup_object(&id, BackupObject::Part(part, codec))
            };
            assert!(packed.parts.len() > 2);

            let mut names = Vec::new();
            for part in &packed.parts {
                let stored = repository
                    .storage()
                    .get(&object(part.number), None)
                    .unwrap();
                let mut archive = tar::Archive::new(codec.decoder(stored).unwrap());
                for entry in archive.entries().unwrap() {
                    names.push(entry.unwrap().path().unwrap().display().to_string());
                }
            }
            assert_eq!(names.len(), sizes.len() + 1, "{text}");

            let mut number = 0;
            let index = repository.layout().backup_object(&id, BackupObject::Index);
            file_index::read(repository.storage().get(&index, None).unwrap(), |entry| {
                if entry.folder {
                    return Ok(());
                }
                let name = object(entry.part);
                let end = repository.storage().head(&name).unwrap().size;
                let stored = repository
                    .storage()
                    .get(&name, Some(entry.frame..end))
                    .unwrap();
                let mut plain = codec.decoder(stored).unwrap();
                let skip = u64::from(entry.offset) + BLOCK;
                std::io::copy(&mut plain.by_ref().take(skip), &mut std::io::sink()).unwrap();
                let mut bytes = Vec::new();
                plain.take(entry.size).read_to_end(&mut bytes).unwrap();
                assert!(bytes == content(number, sizes[number]), "{text}: {entry:?}");
                assert_eq!(entry.crc32c, crc32c::crc32c(&bytes));
                number += 1;
                Ok(())
            })
            .unwrap();
            assert_eq!(number, sizes.len());
        }
    }

    #[test]
    fn a_source_that_fails_or_ends_early_stores_no_index() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Folder(folder.path().into());
        let repository = Repository::open_or_create(&location, "main".parse().unwrap())
            .unwrap()
            .0;
        let (id, _) = BackupId::next(crate::util::clock::now(), BackupKind::Full, None);
        let to = Destination {
            repository: &repository,
            id,
            compression: Compression::default(),
            workers: 2,
            part_size: 1 << 30,
            verify: true,
        };
        let error = pack(to, |_| Err::<(), _>(Error::failed("the network is gone"))).unwrap_err();
        assert_eq!(error.message(), "the network is gone");
        let error = pack(to, |packer| {
            packer.member(&member("x", 10), false)?;
            packer.data(b"short")
        })
        .unwrap_err();
        assert!(error.message().contains("5 bytes early"), "{error}");
        let error = pack(to, |packer| {
            packer.member(&member("x", 3), false)?;
            packer.data(b"long")
        })
        .unwrap_err();
        assert!(error.message().contains("longer"), "{error}");
        let objects = repository
            .storage()
            .list(&repository.layout().base(), None)
            .unwrap()
            .count();
        assert_eq!(objects, 0);
    }
}

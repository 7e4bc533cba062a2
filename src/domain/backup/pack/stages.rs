//! The stages behind the packer: workers that fill and compress frames, a writer that puts them
//! in order, a finisher that makes parts durable and re-reads them.

use std::{
    io::{self, Write},
    mem,
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, SyncSender},
    },
};

use super::load::{Ended, Filling, Laid, Load, Piece};
use crate::{
    error::{Error, Result},
    repo::{
        backup::{Part, StoredObject},
        backup_id::BackupId,
        codec::{Codec, Compression, Framer},
        edition::Edition,
        file_index::{FileEntry, FileIndexWriter},
        layout::{BackupObject, ObjectName},
        object_writer::{LISTS, ObjectWriter},
        repository::Repository,
        sealed_upload::SealedUpload,
        storage::Upload,
    },
    util::hash::{Crc32c, copy},
};

/// Where the parts go, and how.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    pub repository: &'a Repository,
    pub id: BackupId,
    pub compression: Compression,
    /// Threads that read and compress.
    pub workers: usize,
    /// Plain bytes after which a new part begins; a larger file has a part of its own.
    pub part_size: u64,
    /// Re-read each stored part and compare it with what was written.
    pub verify: bool,
}

/// The error of who finds the next stage gone; its own error comes first.
pub fn stopped() -> Error {
    Error::failed("storing the backup was stopped")
}

/// Buffers that are used again: their memory is touched once.
#[derive(Default)]
pub struct Pool(Mutex<Vec<Vec<u8>>>);

impl Pool {
    pub fn take(&self) -> Vec<u8> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
            .unwrap_or_default()
    }

    pub fn put(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(buffer);
    }
}

/// Work for whichever worker is free.
pub enum Job {
    Frame {
        content: Content,
        reply: SyncSender<Result<Frame>>,
    },
    /// Something else that is worth a worker; it tells its result itself.
    Task(Box<dyn FnOnce() + Send>),
}

/// What goes into a frame.
pub enum Content {
    Bytes(Vec<u8>),
    Load(Box<dyn Load>),
}

/// A frame as it is stored.
pub struct Frame {
    stored: Vec<u8>,
    plain_bytes: u64,
    /// None where the packer laid it.
    laid: Option<Laid>,
}

/// What the writer does, in order.
pub enum Ordered {
    Frame {
        made: Receiver<Result<Frame>>,
        /// The members of the packer's that end here; their `frame` is the number of a frame of
        /// this part.
        ended: Vec<Ended>,
    },
    /// Somebody waits until all that came before is written.
    Reached(SyncSender<()>),
    EndOfPart,
    End,
}

/// A part whose bytes are written but not yet durable.
pub struct Written {
    pub upload: Box<dyn Upload>,
    pub object: ObjectName,
    pub part: Part,
    pub crc32c: Crc32c,
}

/// Fills and compresses frames until there are no more jobs.
pub fn work(compression: Compression, queue: &Mutex<Receiver<Job>>, pool: &Pool) {
    let mut framer = compression.framer();
    // What a worker reads into: given away without compression alone, so that it is cleared only once.
    let mut own = Vec::new();
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let (content, reply) = match job {
            Ok(Job::Frame { content, reply }) => (content, reply),
            Ok(Job::Task(task)) => {
                task();
                continue;
            }
            Err(_) => return,
        };
        let frame = match &mut framer {
            Ok(framer) => make(content, compression.codec, framer, &mut own, pool),
            Err(_) => Err(Error::failed(format!("can't compress with {compression}"))),
        };
        // A writer that is gone has said why.
        let _ = reply.send(frame);
    }
}

fn make(
    content: Content,
    codec: Codec,
    framer: &mut Framer,
    own: &mut Vec<u8>,
    pool: &Pool,
) -> Result<Frame> {
    match content {
        Content::Bytes(plain) => {
            let plain_bytes = plain.len() as u64;
            let stored = match codec {
                Codec::None => plain,
                _ => {
                    let mut stored = pool.take();
                    framer.frame(&plain, &mut stored)?;
                    pool.put(plain);
                    stored
                }
            };
            Ok(Frame {
                stored,
                plain_bytes,
                laid: None,
            })
        }
        Content::Load(load) => {
            let mut filling = Filling::new(own);
            let laid = load.read(&mut filling)?;
            let plain_bytes = filling.finish() as u64;
            let stored = match codec {
                // The writer has put one into the pool for each that it was given.
                Codec::None => mem::replace(own, pool.take()),
                // What has no bytes has no frame.
                _ if own.is_empty() => Vec::new(),
                _ => {
                    let mut stored = pool.take();
                    framer.frame(own, &mut stored)?;
                    stored
                }
            };
            Ok(Frame {
                stored,
                plain_bytes,
                laid: Some(laid),
            })
        }
    }
}

/// The part that the writer is at.
struct OpenPart {
    number: u32,
    object: ObjectName,
    upload: SealedUpload,
    plain_bytes: u64,
    /// Where each of its frames begins, before encryption.
    frames: Vec<u64>,
    /// The file that is being laid in several frames.
    large: Option<(FileEntry, Crc32c)>,
}

impl OpenPart {
    /// Where the members lie that a worker laid into the frame that begins at `frame`, and what
    /// is now known of the large file.
    fn place(&mut self, laid: Laid, frame: u64) -> Result<Vec<Ended>> {
        let at = |mut entry: FileEntry| {
            (entry.part, entry.frame) = (self.number, frame);
            entry
        };
        match laid {
            Laid::Members(mut ended) => {
                for member in &mut ended {
                    (member.entry.part, member.entry.frame) = (self.number, frame);
                }
                Ok(ended)
            }
            Laid::First(mut entry, piece) => {
                entry.notes.extend(piece.notes);
                self.large = Some((at(entry), Crc32c(piece.crc32c)));
                Ok(Vec::new())
            }
            Laid::Next(piece) => {
                self.continue_large(piece)?;
                Ok(Vec::new())
            }
            Laid::Last(piece) => {
                self.continue_large(piece)?;
                let (mut entry, Crc32c(crc32c)) = self.large.take().ok_or_else(stopped)?;
                entry.crc32c = crc32c;
                let checksum = None;
                Ok(vec![Ended { entry, checksum }])
            }
        }
    }

    fn continue_large(&mut self, piece: Piece) -> Result<()> {
        let (entry, Crc32c(crc)) = self.large.as_mut().ok_or_else(stopped)?;
        entry.notes.extend(piece.notes);
        *crc = crc32c::crc32c_combine(*crc, piece.crc32c, piece.bytes as usize);
        Ok(())
    }
}

/// Puts the frames in order, and gives each member to `each`. The index; None if the members
/// ended early.
pub fn write(
    to: Destination<'_>,
    ordered: &Receiver<Ordered>,
    written: &SyncSender<Written>,
    pool: &Pool,
    each: &mut (dyn FnMut(&Ended) -> Result<()> + Send),
) -> Result<Option<StoredObject>> {
    let storage = to.repository.storage();
    let name = |object| to.repository.layout().backup_object(&to.id, object);
    let index = ObjectWriter::begin(to.repository, name(BackupObject::Index), LISTS, false)?;
    let coding = to.repository.coding(to.compression.codec);
    let mut index = FileIndexWriter::new(index)?;
    let mut part: Option<OpenPart> = None;
    let mut number = 0;
    while let Ok(next) = ordered.recv() {
        match next {
            Ordered::Frame { made, mut ended } => {
                let Frame {
                    stored,
                    plain_bytes,
                    laid,
                } = made.recv().map_err(|_| stopped())??;
                let open = match &mut part {
                    Some(open) => open,
                    none => {
                        number += 1;
                        let object = name(BackupObject::Part(number, Edition::FIRST, coding));
                        let upload = storage.put_part(&object)?;
                        let encrypted = coding.encrypted;
                        let upload =
                            SealedUpload::begin(to.repository, &object, upload, encrypted)?;
                        none.insert(OpenPart {
                            number,
                            object,
                            upload,
                            plain_bytes: 0,
                            frames: Vec::new(),
                            large: None,
                        })
                    }
                };
                let begin = open.upload.length();
                open.frames.push(begin);
                open.plain_bytes += plain_bytes;
                open.upload
                    .write_all(&stored)
                    .map_err(|error| storage.failed("write", &open.object, error))?;
                pool.put(stored);
                for Ended { entry, .. } in &mut ended {
                    entry.frame = *open.frames.get(entry.frame as usize).ok_or_else(stopped)?;
                }
                if let Some(laid) = laid {
                    ended.extend(open.place(laid, begin)?);
                }
                for member in &ended {
                    index.add(&member.entry)?;
                    each(member)?;
                }
            }
            Ordered::Reached(reached) => {
                // Who no longer waits has failed, and says so.
                let _ = reached.send(());
            }
            Ordered::EndOfPart => {
                let open = part.take().ok_or_else(stopped)?;
                let object = open.object.clone();
                let whole = open.end();
                let whole = whole.map_err(|error| storage.failed("write", &object, error))?;
                written.send(whole).map_err(|_| stopped())?;
            }
            Ordered::End => {
                return index.finish()?.finish().map(Some);
            }
        }
    }
    Ok(None)
}

impl OpenPart {
    fn end(self) -> io::Result<Written> {
        let sealed = self.upload.finish()?;
        let part = Part {
            number: self.number,
            name: self.object.file_name().to_owned(),
            plain_bytes: self.plain_bytes,
            stored_bytes: sealed.stored_bytes,
            sha256: sealed.sha256,
            unencrypted_sha256: sealed.unencrypted_sha256.unwrap_or(sealed.sha256),
        };
        Ok(Written {
            upload: sealed.upload,
            object: self.object,
            part,
            crc32c: sealed.crc32c,
        })
    }
}

/// Makes parts durable, and re-reads them.
pub fn finish(to: Destination<'_>, written: &Receiver<Written>) -> Result<Vec<Part>> {
    let storage = to.repository.storage();
    let mut parts = Vec::new();
    while let Ok(Written {
        upload,
        object,
        part,
        crc32c,
    }) = written.recv()
    {
        upload.finish()?;
        if to.verify {
            let mut stored = storage.get(&object, None)?;
            let mut read = Crc32c::default();
            let length = copy(&mut stored, &mut read)
                .map_err(|error| storage.failed("re-read", &object, error))?;
            if (length, read) != (part.stored_bytes, crc32c) {
                let place = storage.place(&object);
                return Err(Error::damaged(format!("{place} reads back other than it was written"))
                    .hint("check the disk and the memory of the repository's host, then run the backup again."));
            }
        }
        parts.push(part);
    }
    Ok(parts)
}

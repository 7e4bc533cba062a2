//! The stages behind the packer: workers that compress frames, a writer that puts them in
//! order, a finisher that makes parts durable and re-reads them.

use std::{
    io::Write,
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, SyncSender},
    },
};

use crate::{
    error::{Error, Result},
    postgres::file_checksum::Algorithm,
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
    util::hash::{Crc32c, Sha256Writer, copy},
};

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
    /// What the manifest will list: other ones than CRC-32C are computed beside it.
    pub manifest_checksums: Algorithm,
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

/// A frame for whichever worker is free.
pub struct Job {
    pub plain: Vec<u8>,
    pub reply: SyncSender<Result<Vec<u8>>>,
}

/// What the writer does, in order.
pub enum Ordered {
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
pub struct Written {
    pub upload: Box<dyn Upload>,
    pub object: ObjectName,
    pub part: Part,
    pub crc32c: Crc32c,
}

pub fn compress(compression: Compression, queue: &Mutex<Receiver<Job>>, pool: &Pool) {
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
    /// The SHA-256 is for whoever reads the part in years. It is dear, so that a CRC-32C serves
    /// to tell whether the store gives back at once what it took.
    upload: Sha256Writer<Box<dyn Upload>>,
    crc32c: Crc32c,
    /// Where each of its frames begins.
    frames: Vec<u64>,
}

/// The index; None if the members ended early.
pub fn write(
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
                            crc32c: Crc32c::default(),
                            frames: Vec::new(),
                        })
                    }
                };
                open.frames.push(open.upload.length());
                open.crc32c
                    .write_all(&stored)
                    .and_then(|()| open.upload.write_all(&stored))
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
                    crc32c,
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
                        crc32c,
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

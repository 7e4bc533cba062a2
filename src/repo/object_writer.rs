//! Objects of a backup beside its parts: compressed, hashed and stored as they are written.

use std::io::{self, Write};

use super::{
    backup::StoredObject,
    codec::{Codec, Compression, Encoder},
    layout::ObjectName,
    repository::Repository,
    sealed_upload::SealedUpload,
    storage::{Trail, Upload},
};
use crate::error::{Error, Result};

/// Lists of files and relations, whose lines repeat each other: level 1 makes fewer bytes of them than level 3,
/// in less time.
pub const LISTS: Compression = Compression {
    codec: Codec::Zstd,
    level: 1,
};

/// Dropped without `finish`, the object never existed.
pub struct ObjectWriter<'a> {
    repository: &'a Repository,
    name: ObjectName,
    stream: Encoder<'static, SealedUpload>,
}

impl<'a> ObjectWriter<'a> {
    pub fn begin(
        repository: &'a Repository,
        name: ObjectName,
        compression: Compression,
        encrypted: bool,
    ) -> Result<Self> {
        let upload = repository.storage().put_part(&name)?;
        Self::onto(upload, repository, name, compression, encrypted)
    }

    /// With what reads the object again behind it, if the store can do that.
    pub fn begin_with_trail(
        repository: &'a Repository,
        name: ObjectName,
        compression: Compression,
        encrypted: bool,
    ) -> Result<(Self, Option<Box<dyn Trail>>)> {
        let upload = repository.storage().put_part(&name)?;
        let trail = upload.trail()?;
        let writer = Self::onto(upload, repository, name, compression, encrypted)?;
        Ok((writer, trail))
    }

    /// Create-only: `finish` answers `AlreadyExists` where the object is there.
    pub fn begin_new(
        repository: &'a Repository,
        name: ObjectName,
        compression: Compression,
        encrypted: bool,
    ) -> Result<Self> {
        let upload = repository.storage().put_new(&name)?;
        Self::onto(upload, repository, name, compression, encrypted)
    }

    fn onto(
        upload: Box<dyn Upload>,
        repository: &'a Repository,
        name: ObjectName,
        compression: Compression,
        encrypted: bool,
    ) -> Result<Self> {
        let sealed = SealedUpload::begin(repository, &name, upload, encrypted)?;
        Ok(Self {
            repository,
            name,
            stream: compression.encoder(sealed)?,
        })
    }

    /// Makes the object durable.
    pub fn finish(self) -> Result<StoredObject> {
        let sealed = self.stream.finish().and_then(SealedUpload::finish);
        let sealed = sealed.map_err(|error| failed(self.repository, &self.name, error))?;
        sealed.upload.finish()?;
        Ok(StoredObject {
            name: self.name.file_name().to_owned(),
            stored_bytes: sealed.stored_bytes,
            sha256: sealed.sha256,
            unencrypted_sha256: sealed.unencrypted_sha256,
        })
    }
}

/// Above here nobody knows the object's place any more.
fn failed(repository: &Repository, name: &ObjectName, error: io::Error) -> Error {
    repository.storage().failed("write", name, error)
}

impl Write for ObjectWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.stream.write(bytes);
        result.map_err(|error| failed(self.repository, &self.name, error).into())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

//! Objects of a backup beside its parts: compressed, hashed and stored as they are written.

use std::io::{self, Write};

use super::{
    catalog::StoredObject,
    codec::{Codec, Compression, Encoder},
    layout::ObjectName,
    storage::{Storage, Trail, Upload},
};
use crate::{error::Result, util::hash::Sha256Writer};

/// Lists of files and relations, whose lines repeat each other: level 1 makes fewer bytes of them than level 3,
/// in less time.
pub const LISTS: Compression = Compression {
    codec: Codec::Zstd,
    level: 1,
};

/// Dropped without `finish`, the object never existed.
pub struct ObjectWriter<'a> {
    storage: &'a dyn Storage,
    name: ObjectName,
    stream: Encoder<'static, Sha256Writer<Box<dyn Upload>>>,
}

impl<'a> ObjectWriter<'a> {
    pub fn begin(
        storage: &'a dyn Storage,
        name: ObjectName,
        compression: Compression,
    ) -> Result<Self> {
        let upload = storage.put_part(&name)?;
        Self::onto(upload, storage, name, compression)
    }

    /// With what reads the object again behind it, if the store can do that.
    pub fn begin_with_trail(
        storage: &'a dyn Storage,
        name: ObjectName,
        compression: Compression,
    ) -> Result<(Self, Option<Box<dyn Trail>>)> {
        let upload = storage.put_part(&name)?;
        let trail = upload.trail()?;
        Ok((Self::onto(upload, storage, name, compression)?, trail))
    }

    fn onto(
        upload: Box<dyn Upload>,
        storage: &'a dyn Storage,
        name: ObjectName,
        compression: Compression,
    ) -> Result<Self> {
        Ok(Self {
            storage,
            name,
            stream: compression.encoder(Sha256Writer::new(upload))?,
        })
    }

    /// Makes the object durable.
    pub fn finish(self) -> Result<StoredObject> {
        let hashing = self
            .stream
            .finish()
            .map_err(|error| self.storage.failed("write", &self.name, error))?;
        let stored_bytes = hashing.length();
        let (upload, sha256) = hashing.finish();
        upload.finish()?;
        Ok(StoredObject {
            name: self.name.file_name().to_owned(),
            stored_bytes,
            sha256,
        })
    }
}

impl Write for ObjectWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.stream.write(bytes);
        // Above here nobody knows the object's place any more.
        result.map_err(|error| self.storage.failed("write", &self.name, error).into())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

//! An object on its way, encrypted if it is to be, and hashed before and behind that.

use std::io::{self, Write};

use super::{crypt::Sealer, layout::ObjectName, repository::Repository, storage::Upload};
use crate::{
    error::Result,
    util::hash::{Crc32c, Sha256, Sha256Writer},
};

pub struct SealedUpload {
    sealer: Sealer<Stored>,
    /// Of what is encrypted; None: nothing is.
    before: Option<Sha256Writer<io::Sink>>,
    length: u64,
}

/// What the store gets. The SHA-256 is for whoever reads the object in years. It is dear, so that a CRC-32C serves
/// to tell whether the store gives back at once what it took.
struct Stored {
    upload: Sha256Writer<Box<dyn Upload>>,
    crc32c: Crc32c,
}

/// What is written but not yet durable.
pub struct Sealed {
    pub upload: Box<dyn Upload>,
    pub stored_bytes: u64,
    pub sha256: Sha256,
    pub crc32c: Crc32c,
    /// None where nothing is encrypted.
    pub unencrypted_sha256: Option<Sha256>,
}

impl SealedUpload {
    pub fn begin(
        repository: &Repository,
        name: &ObjectName,
        upload: Box<dyn Upload>,
        encrypted: bool,
    ) -> Result<Self> {
        let stored = Stored {
            upload: Sha256Writer::new(upload),
            crc32c: Crc32c::default(),
        };
        Ok(Self {
            sealer: repository.seal(name, stored, encrypted, None)?,
            before: encrypted.then(|| Sha256Writer::new(io::sink())),
            length: 0,
        })
    }

    /// How many bytes were written, counted before encryption.
    pub fn length(&self) -> u64 {
        self.length
    }

    pub fn finish(self) -> io::Result<Sealed> {
        let Stored { upload, crc32c } = self.sealer.finish()?;
        let stored_bytes = upload.length();
        let (upload, sha256) = upload.finish();
        Ok(Sealed {
            upload,
            stored_bytes,
            sha256,
            crc32c,
            unencrypted_sha256: self.before.map(|before| before.finish().1),
        })
    }
}

impl Write for SealedUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.sealer.write(bytes)?;
        if let Some(before) = &mut self.before {
            before.write_all(&bytes[..count])?;
        }
        self.length += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sealer.flush()
    }
}

impl Write for Stored {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.upload.write(bytes)?;
        self.crc32c.write_all(&bytes[..count])?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.upload.flush()
    }
}

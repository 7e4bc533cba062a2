//! Objects as their coding says: what is read is decrypted and decompressed, what is written is encrypted.

use std::io::{BufReader, Read, Seek, SeekFrom, Write};

use super::{
    backup::Backup,
    coding::Coding,
    crypt::{self, CHUNK, Sealer, TAG},
    layout::ObjectName,
    ranged::Ranged,
    repository::Repository,
};
use crate::{
    error::{Error, Result},
    util::hash::Sha256,
};

/// What an encrypted object is asked for first: its header, which has some 200 bytes for each recipient.
const HEAD: u64 = 8 << 10;

impl Repository {
    /// The plain bytes of an object.
    pub fn read_coded(&self, name: &ObjectName, coding: Coding) -> Result<Box<dyn Read + Send>> {
        self.decode(name, coding, self.storage().get(name, None)?)
    }

    /// The plain bytes of what `stored` gives of the object `name`.
    pub fn decode<'a>(
        &self,
        name: &ObjectName,
        coding: Coding,
        stored: impl Read + Send + 'a,
    ) -> Result<Box<dyn Read + Send + 'a>> {
        let decoder = coding.decoder(self.keys(), stored);
        decoder.map_err(|error| match error.downcast::<Error>() {
            Ok(own) => self.sealed(name, own),
            Err(error) => self.storage().failed("read", name, error),
        })
    }

    /// The plain bytes from the frame on that begins at `from`, counted in what was compressed, of an object of
    /// `length` stored bytes. What is behind `to` is perhaps not read, and needn't be there.
    pub fn read_frames(
        &self,
        name: &ObjectName,
        coding: Coding,
        length: u64,
        from: u64,
        to: Option<u64>,
    ) -> Result<Box<dyn Read + Send>> {
        let failed =
            |error| Error::passed(error, |error| self.storage().failed("read", name, error));
        if !coding.encrypted {
            let to = to.unwrap_or(length);
            let stored = self.storage().get(name, Some(from.min(to)..to))?;
            return coding.codec.decoder(stored).map_err(failed);
        }
        // Whole chunks can be decrypted, and the one behind tells that the last of them is not the file's last.
        let chunks = to.unwrap_or(length).saturating_sub(from) / CHUNK + 3;
        let window = chunks * (CHUNK + TAG);
        let head = if from == 0 { window + HEAD } else { HEAD };
        let stored = Ranged::new(self.shared_storage(), name.clone(), length, head, window);
        let opened = self.keys().decryptor(BufReader::new(stored));
        let mut opened = opened.map_err(|error| self.sealed(name, error))?;
        if from > 0 {
            // Not to the very beginning of a chunk: age would look at the file's end first.
            opened
                .seek(SeekFrom::Start(from - 1))
                .and_then(|_| opened.read_exact(&mut [0]))
                .map_err(failed)?;
        }
        coding.codec.decoder(opened).map_err(failed)
    }

    /// Fails with kind `Key` if the backup is encrypted and can't be decrypted here.
    pub fn try_key(&self, backup: &Backup) -> Result<()> {
        let coding = backup.coding();
        if !coding.encrypted {
            return Ok(());
        }
        self.keys().check_identity()?;
        let Some(part) = backup.parts.first() else {
            return Ok(());
        };
        self.try_key_of(&self.part(backup.id, part)?)
    }

    /// The same of one object, which is encrypted: no more than its header is read.
    pub fn try_key_of(&self, name: &ObjectName) -> Result<()> {
        let stored = self.ranged(name, HEAD)?;
        let opened = self.keys().decryptor(BufReader::new(stored));
        opened.map(drop).map_err(|error| self.sealed(name, error))
    }

    /// Writes to `out`, which becomes the object `name`, encrypted if it is to be; with `plain` in the clear.
    pub fn seal<W: Write>(
        &self,
        name: &ObjectName,
        out: W,
        encrypted: bool,
        plain: Option<Sha256>,
    ) -> Result<Sealer<W>> {
        if !encrypted {
            return Ok(Sealer::Plain(out));
        }
        let encryptor = self.keys().encryptor(out, plain)?;
        let encryptor = encryptor.map_err(|error| self.storage().failed("write", name, error))?;
        Ok(Sealer::Age(Box::new(encryptor)))
    }

    /// The hash of the plain bytes that the header of an encrypted WAL segment tells everybody.
    pub fn clear_hash(&self, name: &ObjectName) -> Result<Option<Sha256>> {
        let stored = self.ranged(name, HEAD)?;
        crypt::clear_hash(BufReader::new(stored)).map_err(|error| self.sealed(name, error))
    }

    fn ranged(&self, name: &ObjectName, window: u64) -> Result<Ranged> {
        let length = self.storage().head(name)?.size;
        let storage = self.shared_storage();
        Ok(Ranged::new(storage, name.clone(), length, window, window))
    }

    fn sealed(&self, name: &ObjectName, error: Error) -> Error {
        error.context(format!("can't decrypt {}", self.storage().place(name)))
    }
}

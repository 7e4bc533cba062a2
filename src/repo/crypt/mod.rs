//! Encryption in age's format (<https://c2sp.org/age>) with X25519 keys, which any age program reads.
//!
//! Who writes has the public keys (recipients), who restores a private one (an identity). Every object's header
//! has a stanza of ours beside those of the recipients, which age readers ignore. It holds a SHA-256 of these, so
//! that a header that is damaged is told from one that is for others, and of WAL that of the plain segment, in
//! the clear: so who has only the public keys can still tell a repeated push from other bytes.

mod header;
mod keys;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::io::{self, BufRead, Write};

use age::{
    DecryptError, Decryptor, Encryptor,
    stream::{StreamReader, StreamWriter},
};

use crate::{
    error::{Error, Kind, Result},
    util::hash::Sha256,
};
use header::{Addressees, Witness};
pub use keys::{Keys, Recipient, make_pair};

/// Plain bytes of a chunk of age's payload, and how many each is longer when it is stored.
pub const CHUNK: u64 = 64 << 10;
pub const TAG: u64 = 16;

impl Keys {
    /// Encrypts what is written to it; `plain` is the hash that is told in the clear.
    pub fn encryptor<W: Write>(
        &self,
        out: W,
        plain: Option<Sha256>,
    ) -> Result<io::Result<StreamWriter<W>>> {
        let all = Addressees {
            recipients: self.recipients()?,
            plain,
        };
        let encryptor = Encryptor::with_recipients([&all as &dyn age::Recipient].into_iter());
        let encryptor =
            encryptor.map_err(|error| Error::failed("can't encrypt").because(error.to_string()))?;
        Ok(encryptor.wrap_output(out))
    }

    /// The bytes that were encrypted. Errors are of kind `Key` where there is no identity or another one is needed,
    /// and of kind `Damaged` where the header is.
    pub fn decryptor<R: BufRead>(&self, stored: R) -> Result<StreamReader<R>> {
        let identities = self.identities()?;
        let header = Decryptor::new_buffered(stored).map_err(unreadable)?;
        let witness = Witness::default();
        let all = identities.iter().map(|one| one as &dyn age::Identity);
        let opened = header.decrypt(all.chain([&witness as &dyn age::Identity]));
        opened.map_err(|error| match (error, witness.0.into_inner()) {
            (DecryptError::NoMatchingKeys, Some(seen)) if seen.damaged => header_damaged(),
            (DecryptError::NoMatchingKeys, _) => {
                let own: Vec<String> = identities.iter().map(|one| one.to_public().to_string()).collect();
                Error::new(
                    Kind::Key,
                    format!("it is encrypted for others than {}, the identity that is set", own.join(", ")),
                )
                .hint(
                    "use the private key of one of the recipients, which `pgstow list BACKUP` shows, of dumps `pgstow --json \
                     list --dumps`.",
                )
            }
            (error, _) => unreadable(error),
        })
    }
}

/// The hash in the clear of an encrypted WAL segment; None where the header has none. Of the object no more than
/// the header is read.
pub fn clear_hash(stored: impl BufRead) -> Result<Option<Sha256>> {
    let header = Decryptor::new_buffered(stored).map_err(unreadable)?;
    let witness = Witness::default();
    // Fails always: a witness opens nothing.
    drop(header.decrypt([&witness as &dyn age::Identity].into_iter()));
    match witness.0.into_inner() {
        Some(seen) if seen.damaged => Err(header_damaged()),
        Some(seen) => Ok(seen.plain),
        None => Ok(None),
    }
}

/// Whether this is how an age file begins.
pub fn is_encrypted(head: &[u8]) -> bool {
    head.starts_with(b"age-encryption.org/v1\n")
}

fn unreadable(error: DecryptError) -> Error {
    match error {
        DecryptError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
            Error::passed(error, |error| {
                Error::failed("can't read its header").because(error)
            })
        }
        DecryptError::Io(_) => Error::damaged("it ends within age's header"),
        error => Error::damaged("it has no valid age header").because(error.to_string()),
    }
}

fn header_damaged() -> Error {
    Error::damaged("its age header is damaged: it has changed since it was written")
}

/// Writes as it is told: encrypted or not.
pub enum Sealer<W: Write> {
    Plain(W),
    Age(Box<StreamWriter<W>>),
}

impl<W: Write> Sealer<W> {
    /// Ends what is encrypted and gives the writer back.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Sealer::Plain(writer) => Ok(writer),
            Sealer::Age(writer) => writer.finish(),
        }
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sealer::Plain(writer) => writer.write(bytes),
            Sealer::Age(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Sealer::Plain(writer) => writer.flush(),
            Sealer::Age(writer) => writer.flush(),
        }
    }
}

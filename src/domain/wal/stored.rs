//! One stored WAL file, read back: decompressed, and checked to be what its name says.

use std::io::{self, Read, Write};

use super::{
    content::{check, limits},
    pass::{PIECE, pass},
};
use crate::{
    error::{Error, Kind, Result},
    postgres::wal_name::WalName,
    repo::{
        layout::ObjectName,
        repository::{Repository, System},
    },
    util::hash::{Sha256, Sha256Writer},
};

#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    pub repository: &'a Repository,
    pub system: &'a System,
    pub object: &'a ObjectName,
    /// What `object` is.
    pub file: WalName,
}

/// The hash of the plain bytes: of what is encrypted that which it tells in the clear.
pub fn hash(repository: &Repository, system: &System, file: WalName) -> Result<Sha256> {
    let object = &repository.wal_object(system, file);
    if system.coding_of(file).encrypted {
        return told_hash(repository, object);
    }
    let stored = Stored {
        repository,
        system,
        object,
        file,
    };
    let mut hash = Sha256Writer::new(io::sink());
    stored.read(repository.storage().get(object, None)?, |bytes| {
        let hashed = hash.write_all(bytes);
        hashed.map_err(|error| Error::failed("can't hash").because(error))
    })?;
    Ok(hash.finish().1)
}

/// That which an encrypted one tells in the clear.
pub fn told_hash(repository: &Repository, object: &ObjectName) -> Result<Sha256> {
    repository.clear_hash(object)?.ok_or_else(|| {
        let place = repository.storage().place(object);
        Error::damaged(format!(
            "{place} tells no hash of what is in it: pgstow did not write it"
        ))
    })
}

impl Stored<'_> {
    /// Gives the plain bytes of what `reader` has of the object to `sink`. Only when it returns
    /// is it known that they were the right ones; else the error is of kind `Damaged`, or what
    /// the store or the sink said.
    pub fn read(
        &self,
        reader: impl Read + Send,
        sink: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        self.decode(reader, sink).map_err(|error| {
            if error.kind() != Kind::Damaged {
                return error;
            }
            let place = self.repository.storage().place(self.object);
            error
                .context(format!("what is stored as {place} can't be used"))
                .hint(
                    "`pgstow verify --wal` shows what else is damaged and which restores it harms.",
                )
        })
    }

    fn decode(
        &self,
        reader: impl Read + Send,
        mut sink: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let store = self.repository.storage();
        let unreadable = |error| store.failed("read", self.object, error);
        let (most, keep) = limits(self.system, self.file);
        let coding = self.system.coding_of(self.file);
        let decoder = self.repository.decode(self.object, coding, reader)?;
        let mut first = Vec::new();
        // A byte more than there may be shows that there are too many.
        let length = pass(decoder, PIECE, most + 1, unreadable, |bytes| {
            first.extend(bytes.iter().take(keep - first.len()));
            sink(bytes)
        })?;
        check(self.system, self.file, &first, length)
    }
}

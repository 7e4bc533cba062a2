//! A WAL file that is offered under a name that is taken: the same bytes, or which is which.

use std::io::{self, Write};

use super::{
    offered::Offered,
    pass::{PIECE, pass},
    stored::told_hash,
};
use crate::{
    error::{Error, Kind, Result},
    postgres::wal_header::{self, WalHeader},
    repo::{coding::Coding, layout::ObjectName, repository::Repository},
    util::{
        clock::readable,
        hash::{Sha256, Sha256Writer},
    },
};

/// Fails with kind `AlreadyExists` unless the plain bytes of `object` are those of `offered`, and
/// with kind `Damaged` if the stored ones can't be read any more.
///
/// Of what is encrypted only the hash is read that it has in the clear: who archives has no private key.
pub fn compare(
    repository: &Repository,
    object: &ObjectName,
    coding: Coding,
    offered: &Offered,
) -> Result<()> {
    let store = repository.storage();
    let place = store.place(object);
    let damaged = |error: Error| {
        if error.kind() != Kind::Damaged {
            return error;
        }
        error
            .context(format!("what is stored as {place} is damaged"))
            .hint("move that object out of the repository, and PostgreSQL's next try will store the file anew; then let `pgstow verify --wal` look for more.")
    };
    let (sha256, stored) = match coding.encrypted {
        true => {
            let hash = told_hash(repository, object).map_err(damaged)?;
            (hash, format!("encrypted, SHA-256 {hash}"))
        }
        false => {
            let mut stored = Hashing::new();
            let unreadable = |error| damaged(store.failed("read", object, error));
            let decoder = repository.read_coded(object, coding)?;
            // A byte more than can be equal tells enough of an object that is much too long.
            pass(decoder, PIECE, offered.length() + 1, unreadable, |bytes| {
                stored.add(bytes)
            })?;
            let stored = stored.finish();
            (stored.sha256, stored.describe())
        }
    };
    let mut ours = Hashing::new();
    offered.send(PIECE, |bytes| ours.add(bytes))?;
    let ours = ours.finish();
    if sha256 == ours.sha256 {
        return Ok(());
    }
    let written = readable(store.head(object)?.modified);
    Err(Error::new(
        Kind::AlreadyExists,
        format!(
            "{} is stored already, with other bytes ({place})",
            offered.name()
        ),
    )
    .because(
        Error::failed(format!("stored at {written}: {stored}"))
            .because(Error::failed(format!("offered now: {}", ours.describe()))),
    )
    .hint(
        "two servers have archived under the same name. Where both run (an old primary after a failover, or a copy that was \
         started without recovery.signal), stop the one that is not to archive here. Where this server was restored while this \
         repository didn't answer, it has taken a timeline's number that was given already: restore anew while all repositories \
         answer, which takes a new one, or along the timeline of this repository (`pgstow --repo NAME restore`); \
         docs/sync.md tells of it (Restore).",
    ))
}

/// The hash of what is offered.
pub fn hash(offered: &Offered) -> Result<Sha256> {
    let mut hashing = Hashing::new();
    offered.send(PIECE, |bytes| hashing.add(bytes))?;
    Ok(hashing.finish().sha256)
}

/// Plain bytes on their way: their hash, and the first of them.
struct Hashing {
    hash: Sha256Writer<io::Sink>,
    first: Vec<u8>,
}

impl Hashing {
    fn new() -> Self {
        Self {
            hash: Sha256Writer::new(io::sink()),
            first: Vec::new(),
        }
    }

    fn add(&mut self, bytes: &[u8]) -> Result<()> {
        let wanted = wal_header::LENGTH - self.first.len();
        self.first.extend(bytes.iter().take(wanted));
        self.hash
            .write_all(bytes)
            .map_err(|error| Error::failed("can't hash").because(error))
    }

    fn finish(self) -> Content {
        Content {
            length: self.hash.length(),
            sha256: self.hash.finish().1,
            header: WalHeader::parse(&self.first).ok(),
        }
    }
}

struct Content {
    length: u64,
    sha256: Sha256,
    /// None of a text file, or of something that is no segment.
    header: Option<WalHeader>,
}

impl Content {
    fn describe(&self) -> String {
        let origin = self.header.map_or(String::new(), |header| {
            format!(
                ", from {} on timeline {} of system {}",
                header.address, header.timeline, header.system
            )
        });
        format!("{} bytes, SHA-256 {}{origin}", self.length, self.sha256)
    }
}

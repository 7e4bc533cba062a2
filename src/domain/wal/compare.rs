//! A WAL file that is offered under a name that is taken: the same bytes, or which is which.

use std::io::{self, Write};

use super::{
    offered::Offered,
    pass::{PIECE, pass},
};
use crate::{
    error::{Error, Kind, Result},
    postgres::wal_header::{self, WalHeader},
    repo::{codec::Codec, layout::ObjectName, repository::Repository},
    util::{
        clock::readable,
        hash::{Sha256, Sha256Writer},
    },
};

/// Fails with kind `AlreadyExists` unless the plain bytes of `object` are those of `offered`, and
/// with kind `Damaged` if the stored ones can't be read any more.
pub fn compare(
    repository: &Repository,
    object: &ObjectName,
    codec: Codec,
    offered: &Offered,
) -> Result<()> {
    let store = repository.storage();
    let place = store.place(object);
    let unreadable = |error| {
        let error = store.failed("read", object, error);
        if error.kind() != Kind::Damaged {
            return error;
        }
        error
            .context(format!("what is stored as {place} is damaged"))
            .hint("move that object out of the repository, and PostgreSQL's next try will store the file anew; then let `pgstow verify --wal` look for more.")
    };
    let mut stored = Hashing::new();
    let decoder = codec
        .decoder(store.get(object, None)?)
        .map_err(unreadable)?;
    // A byte more than can be equal tells enough of an object that is much too long.
    pass(decoder, PIECE, offered.length() + 1, unreadable, |bytes| {
        stored.add(bytes)
    })?;
    let mut ours = Hashing::new();
    offered.send(PIECE, |bytes| ours.add(bytes))?;

    let (stored, ours) = (stored.finish(), ours.finish());
    if stored.sha256 == ours.sha256 {
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
        Error::failed(format!("stored at {written}: {}", stored.describe()))
            .because(Error::failed(format!("offered now: {}", ours.describe()))),
    )
    .hint(
        "two servers archive under the same name: an old primary that still runs after a failover, \
         or a copy that was started without recovery.signal. Only one of them may archive here.",
    ))
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

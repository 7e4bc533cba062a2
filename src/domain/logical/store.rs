//! What a dump becomes in the repository: data, sums, description, in that order.

use std::io::{self, Write};

use tracing::warn;

use super::reread::{self, Follower};
use crate::{
    error::Result,
    repo::{
        codec::Compression,
        dump::{Dump, StoredDump},
        dump_name::{DumpName, DumpObject},
        layout::ObjectName,
        object_writer::ObjectWriter,
        repository::Repository,
    },
    util::{cancel::Cancel, meter::Meter},
};

/// What becomes of the data that is written.
pub struct Shelf<'a> {
    pub repository: &'a Repository,
    /// Read what was stored once more before it counts.
    pub reread: bool,
    pub meter: &'a Meter,
    pub cancel: &'a Cancel,
}

/// The data on its way. Dropped without `finish`, it never existed.
pub struct DataWriter<'a> {
    shelf: Shelf<'a>,
    name: ObjectName,
    object: ObjectWriter<'a>,
    follower: Option<Follower>,
    plain_bytes: u64,
}

impl<'a> DataWriter<'a> {
    pub fn begin(
        shelf: Shelf<'a>,
        name: &DumpName,
        object: DumpObject,
        compression: Compression,
    ) -> Result<Self> {
        let name = shelf.repository.layout().dump_object(name, object);
        let repository = shelf.repository;
        let encrypted = repository.keys().encrypt();
        let (object, trail) = match shelf.reread {
            true => {
                ObjectWriter::begin_with_trail(repository, name.clone(), compression, encrypted)?
            }
            false => (
                ObjectWriter::begin(repository, name.clone(), compression, encrypted)?,
                None,
            ),
        };
        Ok(Self {
            follower: trail.map(|trail| Follower::start(trail, shelf.cancel)),
            shelf,
            name,
            object,
            plain_bytes: 0,
        })
    }

    /// Makes the data durable, and reads it again.
    ///
    /// # Errors
    /// Of kind `Damaged` where the store has something else than was written.
    pub fn finish(self) -> Result<StoredDump> {
        let stored = self.object.finish()?;
        let data = StoredDump {
            name: stored.name,
            plain_bytes: self.plain_bytes,
            stored_bytes: stored.stored_bytes,
            sha256: stored.sha256,
            unencrypted_sha256: stored.unencrypted_sha256,
        };
        let Shelf {
            repository,
            reread,
            meter,
            cancel,
        } = self.shelf;
        if reread {
            let storage = repository.storage();
            meter.begin("reading it again", data.stored_bytes);
            let found = match self.follower {
                Some(follower) => follower.finish()?,
                None => reread::read(storage, &self.name, meter, cancel)?,
            };
            reread::compare(found, &data, &storage.place(&self.name))?;
        }
        Ok(data)
    }
}

impl Write for DataWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(follower) = &mut self.follower {
            follower.check()?;
        }
        let count = self.object.write(bytes)?;
        self.plain_bytes += count as u64;
        self.shelf.meter.add(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.object.flush()
    }
}

/// What `.sha256` holds, which `sha256sum -c` reads.
pub fn sums(data: &StoredDump) -> String {
    format!("{}  {}\n", data.sha256, data.name)
}

/// Makes a dump of what is stored.
pub fn commit(repository: &Repository, dump: &Dump) -> Result<()> {
    let object = |object| repository.layout().dump_object(&dump.name, object);
    let storage = repository.storage();
    storage.create(&object(DumpObject::Sums), sums(&dump.data).as_bytes())?;
    // Objects vanish too where a disk was unmounted.
    repository.confirm()?;
    storage.create_json(&object(DumpObject::Description), dump)?;
    // From here on it counts, whatever else fails.
    if let Err(error) = repository.remove_dump_claim(&dump.name) {
        warn!(
            "the claim of dump {} is left: {}",
            dump.name,
            error.in_one_line()
        );
    }
    if dump.part().is_none()
        && let Err(error) = repository.link_latest(&dump.subject(), Some(dump))
    {
        warn!("the link to dump {}: {}", dump.name, error.in_one_line());
    }
    Ok(())
}

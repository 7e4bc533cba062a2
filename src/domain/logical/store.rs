//! What a dump becomes in the repository: data, sums, description, in that order.

use std::io::{self, Write};

use tracing::warn;

use crate::{
    error::Result,
    repo::{
        codec::Compression,
        dump::{Dump, StoredDump},
        dump_name::{DumpName, DumpObject},
        object_writer::ObjectWriter,
        repository::Repository,
    },
    util::meter::Meter,
};

/// The data on its way. Dropped without `finish`, it never existed.
pub struct DataWriter<'a> {
    object: ObjectWriter<'a>,
    plain_bytes: u64,
    meter: &'a Meter,
}

impl<'a> DataWriter<'a> {
    pub fn begin(
        repository: &'a Repository,
        name: &DumpName,
        object: DumpObject,
        compression: Compression,
        meter: &'a Meter,
    ) -> Result<Self> {
        let object = repository.layout().dump_object(name, object);
        Ok(Self {
            object: ObjectWriter::begin(repository.storage(), object, compression)?,
            plain_bytes: 0,
            meter,
        })
    }

    pub fn finish(self) -> Result<StoredDump> {
        let stored = self.object.finish()?;
        Ok(StoredDump {
            name: stored.name,
            plain_bytes: self.plain_bytes,
            stored_bytes: stored.stored_bytes,
            sha256: stored.sha256,
        })
    }
}

impl Write for DataWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.object.write(bytes)?;
        self.plain_bytes += count as u64;
        self.meter.add(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.object.flush()
    }
}

/// Makes a dump of what is stored.
pub fn commit(repository: &Repository, dump: &Dump) -> Result<()> {
    let object = |object| repository.layout().dump_object(&dump.name, object);
    let storage = repository.storage();
    let sums = format!("{}  {}\n", dump.data.sha256, dump.data.name);
    storage.create(&object(DumpObject::Sums), sums.as_bytes())?;
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
    if let Err(error) = repository.link_latest(&dump.subject(), Some(dump)) {
        warn!("the link to dump {}: {}", dump.name, error.in_one_line());
    }
    Ok(())
}

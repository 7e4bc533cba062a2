//! What a dump becomes in the repository: data, sums, description, in that order.

use std::io::{self, Write};

use tracing::warn;

use crate::{
    error::{Error, Result},
    repo::{
        codec::Compression,
        dump::{Dump, StoredDump},
        dump_name::{DumpName, DumpObject},
        layout::ObjectName,
        object_writer::ObjectWriter,
        repository::Repository,
    },
    util::{
        cancel::Cancel,
        hash::Sha256,
        meter::{Meter, Watched},
    },
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

/// Reads what was stored once more: an error of kind `Damaged` unless it is what was written.
pub fn read_again(
    repository: &Repository,
    object: &ObjectName,
    data: &StoredDump,
    meter: &Meter,
    cancel: &Cancel,
) -> Result<()> {
    meter.begin("reading it again", data.stored_bytes);
    let storage = repository.storage();
    let found = Sha256::of_reader(Watched {
        inner: storage.get(object, None)?,
        meter,
        cancel,
    });
    let (sha256, length) = found
        .map_err(|error| Error::passed(error, |error| storage.failed("read", object, error)))?;
    if (sha256, length) == (data.sha256, data.stored_bytes) {
        return Ok(());
    }
    Err(Error::damaged(format!(
        "{} is not what was written: {length} bytes with SHA-256 {sha256} instead of {} with {}",
        storage.place(object),
        data.stored_bytes,
        data.sha256
    ))
    .hint(
        "the disk or the memory of this host fails: look at the kernel's log, and dump to another disk.",
    ))
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

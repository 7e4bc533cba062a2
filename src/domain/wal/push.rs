//! One WAL file into one repository.
//!
//! The file is read once, compressed on the way, and gets its name by a create-only put. A crash
//! before that leaves nothing that a reader sees, one after it an object that the next push of
//! the same file finds equal. So PostgreSQL may repeat any push, and two hosts may race.

use std::io::Write;

use super::{compare::compare, offered::Offered};
use crate::{
    error::{Kind, Result},
    repo::{codec::Compression, repository::Repository},
    util::meter::Meter,
};

/// Plain bytes of a frame. Whole frames are compressed in place, a stream of unknown length through
/// copies and in two halves (a fifth more time). Smaller frames would be compressed less.
const FRAME: usize = 4 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    Stored,
    /// The same bytes were stored before.
    AlreadyThere,
}

/// Stores `offered` durably. The codec is the one that its system was registered with; `wanted`
/// gives the level, where it is for the same codec.
pub fn push(
    repository: &Repository,
    offered: &Offered,
    wanted: Compression,
    meter: &Meter,
) -> Result<Pushed> {
    push_in_turn(repository, offered, wanted, meter, &|| Ok(()))
}

/// The same, but `turn` is waited for once all is written but the name; its error ends the push
/// without a trace.
pub fn push_in_turn(
    repository: &Repository,
    offered: &Offered,
    wanted: Compression,
    meter: &Meter,
    turn: &dyn Fn() -> Result<()>,
) -> Result<Pushed> {
    let name = offered.name();
    let system = repository.system(offered.system())?;
    offered.check_system(&system)?;
    system.check_readable()?;
    let codec = system.codec_of(name);
    let object = repository.layout().wal_file(system.system_id, name, codec);
    let store = repository.storage();
    let place = store.place(&object);
    meter.begin(&format!("storing {name} as {place}"), offered.length());

    let mut upload = store.put_new(&object)?;
    let mut framer = wanted.of(codec).framer()?;
    let mut frame = Vec::new();
    offered.send(FRAME, |bytes| {
        framer.frame(bytes, &mut frame)?;
        upload
            .write_all(&frame)
            .map_err(|error| store.failed("write", &object, error))?;
        meter.add(bytes.len() as u64);
        Ok(())
    })?;
    meter.begin(&format!("syncing {place}"), 0);
    upload.settle()?;
    turn()?;
    match upload.finish() {
        Ok(()) => Ok(Pushed::Stored),
        Err(error) if error.kind() == Kind::AlreadyExists => {
            meter.begin(&format!("comparing {name} with {place}"), 0);
            compare(repository, &object, codec, offered)?;
            Ok(Pushed::AlreadyThere)
        }
        Err(error) => Err(error),
    }
}

//! One WAL file into one repository.
//!
//! The file is read once, compressed on the way, and gets its name by a create-only put. A crash
//! before that leaves nothing that a reader sees, one after it an object that the next push of
//! the same file finds equal. So PostgreSQL may repeat any push, and two hosts may race.
//!
//! What is encrypted is read twice: its hash stands before it, in the clear, and is taken again on the way. A
//! difference means that the file changed meanwhile, and fails.

use std::{
    io::{self, Write},
    ops::Range,
};

use super::{
    compare::{compare, hash},
    offered::Offered,
};
use crate::{
    error::{Error, Kind, Result},
    postgres::wal_name::Segment,
    repo::{
        codec::Compression,
        layout::Piece,
        repository::{Repository, System},
        storage::Upload,
    },
    util::{hash::Sha256Writer, meter::Meter},
};

/// Plain bytes of a frame. Whole frames are compressed in place, a stream of unknown length through
/// copies and in two halves (a fifth more time). Smaller frames would be compressed less.
const FRAME: usize = 4 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// As so many bytes.
    Stored { bytes: u64 },
    /// The same bytes were stored before.
    AlreadyThere,
}

/// Stores `offered` durably. The coding is the one that its system was registered with; `wanted`
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
    let system = registered(repository, offered)?;
    let coding = system.coding_of(name);
    let object = repository.wal_object(&system, name);
    let store = repository.storage();
    let place = store.place(&object);
    meter.begin(&format!("storing {name} as {place}"), offered.length());

    let plain = coding.encrypted.then(|| hash(offered)).transpose()?;
    let upload = Counted {
        upload: store.put_new(&object)?,
        bytes: 0,
    };
    let failed = |error| store.failed("write", &object, error);
    let mut sealer = repository.seal(&object, upload, coding.encrypted, plain)?;
    let mut framer = wanted.of(coding.codec).framer()?;
    let mut frame = Vec::new();
    let mut again = plain.map(|_| Sha256Writer::new(io::sink()));
    offered.send(FRAME, |bytes| {
        if let Some(again) = &mut again {
            again.write_all(bytes).map_err(failed)?;
        }
        framer.frame(bytes, &mut frame)?;
        sealer.write_all(&frame).map_err(failed)?;
        meter.add(bytes.len() as u64);
        Ok(())
    })?;
    if again.map(|again| again.finish().1) != plain {
        return Err(Error::damaged(format!("{name} changed while it was read")));
    }
    let Counted { mut upload, bytes } = sealer.finish().map_err(failed)?;
    meter.begin(&format!("syncing {place}"), 0);
    upload.settle()?;
    turn()?;
    match upload.finish() {
        Ok(()) => Ok(Pushed::Stored { bytes }),
        Err(error) if error.kind() == Kind::AlreadyExists => {
            meter.begin(&format!("comparing {name} with {place}"), 0);
            compare(repository, &object, coding, offered)?;
            Ok(Pushed::AlreadyThere)
        }
        Err(error) => Err(error),
    }
}

/// Counts what the store gets.
struct Counted {
    upload: Box<dyn Upload>,
    bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.upload.write(bytes)?;
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.upload.flush()
    }
}

/// Stores `range` of the segment `offered`, which is still being received, durably as a piece of it.
pub fn push_piece(
    repository: &Repository,
    offered: &Offered,
    segment: Segment,
    range: Range<u32>,
    wanted: Compression,
) -> Result<()> {
    let system = registered(repository, offered)?;
    let piece = Piece {
        segment,
        from: range.start,
        to: range.end,
    };
    repository.put_piece(&system, piece, wanted, &offered.range(range)?)
}

/// The system whose WAL it is, if it may be stored here.
fn registered(repository: &Repository, offered: &Offered) -> Result<System> {
    let system = repository.system(offered.system())?;
    offered.check_system(&system)?;
    repository.check_encryption(&system)?;
    Ok(system)
}

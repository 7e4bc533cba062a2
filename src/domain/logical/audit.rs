//! Whether the data of stored dumps is still what was written. It is read, and restored nowhere: that is quick enough for
//! all dumps, which may lie for years.

use super::reread;
use crate::{
    error::{Kind, Result},
    repo::{
        dump::Dump,
        dumps::{DumpEntry, DumpState},
        repository::Repository,
    },
    util::{cancel::Cancel, meter::Meter},
};

/// What was found of one dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// So many bytes, as they were written.
    Right(u64),
    Wrong(String),
    /// It can't be told what its data should be: a newer version of pgstow may know.
    Unknown(String),
}

/// Reads the data of a dump; None: it is none, or went meanwhile.
pub fn audit(
    repository: &Repository,
    entry: &DumpEntry,
    meter: &Meter,
    cancel: &Cancel,
) -> Result<Option<Found>> {
    match &entry.state {
        DumpState::Complete(dump) => read(repository, dump, meter, cancel),
        DumpState::Damaged(_, why) => Ok(Some(Found::Wrong(why.clone()))),
        DumpState::Unreadable { why, .. } => Ok(Some(Found::Unknown(why.clone()))),
        DumpState::Unfinished(_) => Ok(None),
    }
}

fn read(
    repository: &Repository,
    dump: &Dump,
    meter: &Meter,
    cancel: &Cancel,
) -> Result<Option<Found>> {
    let storage = repository.storage();
    let object = repository.layout().dump_object(&dump.name, dump.object());
    match reread::read(storage, &object, meter, cancel) {
        Ok((sha256, length)) if (sha256, length) == (dump.data.sha256, dump.data.stored_bytes) => {
            Ok(Some(Found::Right(length)))
        }
        Ok((sha256, length)) => Ok(Some(Found::Wrong(format!(
            "{} is not what was written: {length} bytes with SHA-256 {sha256} instead of {} with {}",
            storage.place(&object),
            dump.data.stored_bytes,
            dump.data.sha256
        )))),
        Err(error) if error.kind() == Kind::NotFound => {
            repository.confirm()?;
            match repository.dump(&dump.name) {
                // `cleanup` took it.
                Err(gone) if gone.kind() == Kind::NotFound => Ok(None),
                _ => Ok(Some(Found::Wrong(error.in_one_line()))),
            }
        }
        Err(error) if repository.is_of_object(&error) => {
            Ok(Some(Found::Wrong(error.in_one_line())))
        }
        Err(error) => Err(error),
    }
}

//! Heals the registration of a system by what another repository knows of it.

use super::report::Repair;
use crate::{
    domain::sync::{
        pass::Peer,
        registration::{self, Registration},
    },
    error::{Error, Kind, Result},
    postgres::lsn::SystemId,
};

/// None: it is whole here.
pub fn heal(sources: &[Peer], target: &Peer, id: SystemId) -> Result<Option<Repair>> {
    let (layout, storage) = (target.repository.layout(), target.repository.storage());
    let name = layout.system(id);
    let mut errors = Vec::new();
    for source in sources {
        match heal_from(source, target, id) {
            Ok(false) => return Ok(None),
            Ok(true) => {
                let bytes = storage.head(&name)?.size;
                return Ok(Some(Repair::of(storage.place(&name), source, bytes)));
            }
            Err(error) => {
                errors.push(error.context(format!("repository {} can't heal it", source.name)));
            }
        }
    }
    Ok(Repair::by_none(storage.place(&name), &errors))
}

/// Whether it was written.
fn heal_from(source: &Peer, target: &Peer, id: SystemId) -> Result<bool> {
    let theirs = source.repository.system(id).map_err(|error| {
        match error.kind() {
            // Its hint is for who archives.
            Kind::Foreign => Error::failed("it doesn't know this system"),
            _ => error,
        }
    })?;
    match Registration::of(target, &theirs)? {
        Registration::There(_) => Ok(false),
        Registration::New(system) | Registration::Lost(system) => {
            registration::write(&target.repository, &system).map(|()| true)
        }
    }
}

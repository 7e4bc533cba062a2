//! Roles and tablespaces before a database: what is there already is no reason to stop.

use tracing::warn;

use super::{
    load::{Complaints, How, Loader},
    material::Material,
};
use crate::{
    error::{Error, Kind, Result},
    repo::{
        dump::Dump,
        dumps::{DumpEntry, DumpState},
        repository::Repository,
    },
    util::{cancel::Cancel, meter::Meter},
};

/// `duplicate_object` (`src/backend/utils/errcodes.txt`): a role or tablespace that is there.
const THERE: &str = "ERROR:  42710:";

/// Whether both are of one run.
fn are_of_one(dump: &Dump, other: &Dump) -> bool {
    match (dump.run, other.run) {
        (Some(run), Some(other_run)) => run == other_run && dump.host == other.host,
        _ => dump.name.time() == other.name.time(),
    }
}

/// The globals that go with `dump`: of the same run, else the newest from before, else the oldest.
pub fn beside(repository: &Repository, dump: &Dump) -> Result<Box<Dump>> {
    let entries = repository.dumps()?;
    let globals = |entry: &DumpEntry| match &entry.state {
        DumpState::Complete(other)
            if other.database.is_none() && other.system_id == dump.system_id =>
        {
            Some(other.clone())
        }
        _ => None,
    };
    let found: Vec<Box<Dump>> = entries.iter().filter_map(globals).collect();
    if let Some(own) = found.iter().find(|one| are_of_one(dump, one)) {
        return Ok(own.clone());
    }
    let before = found.iter().rev().find(|one| one.begun <= dump.begun);
    let found = before.or(found.first()).cloned();
    if let Some(other) = &found {
        warn!(
            "the run of {} made no dump of roles and tablespaces that is whole: they are those of {}, as they were then",
            dump.name, other.name
        );
    }
    found.ok_or_else(|| {
        let what = format!(
            "there is no dump of roles and tablespaces in {}",
            repository.location()
        );
        Error::new(Kind::NotFound, what).hint("leave out --globals, and make the roles by hand.")
    })
}

/// Restores them; complaints are of what could not be made and is not there.
pub fn restore(
    loader: &Loader<'_>,
    repository: &Repository,
    globals: Box<Dump>,
    meter: &Meter,
    cancel: &Cancel,
) -> Result<Complaints> {
    let material = Material::stored(repository, globals)?;
    material.check(meter, cancel)?.tell_flaw();
    material.tell_lacks();
    meter.begin("restoring roles and tablespaces", 0);
    let mut complaints = loader.script(material.plain()?, &How::all(true))?;
    let all = complaints.list.len();
    complaints.list.retain(|what| !what.starts_with(THERE));
    complaints.count -= (all - complaints.list.len()) as u64;
    Ok(complaints)
}

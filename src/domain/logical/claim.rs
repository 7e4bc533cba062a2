//! Who makes a dump: its name is claimed before the first byte, and what a killed process left is told
//! from what is being made.

use chrono::TimeDelta;
use tracing::{info, warn};

use crate::{
    domain::backup::claim::FORGOTTEN,
    error::{Kind, Result},
    repo::{
        document::FORMAT,
        dump::DumpStarted,
        dump_name::{DumpName, DumpObject},
        dumps::{DumpEntry, DumpState, UnfinishedDump},
        repository::Repository,
    },
    util::{
        clock::{self, Time},
        host::ProcessId,
    },
};

/// Claims the name that `named` makes of `time`, or of the next second that is free.
pub fn claim(
    repository: &Repository,
    mut time: Time,
    named: impl Fn(Time) -> DumpName,
) -> Result<DumpName> {
    loop {
        let name = named(time);
        let started = DumpStarted {
            format: FORMAT,
            name: name.clone(),
            time: clock::now(),
            process: ProcessId::own(),
            copied_from: None,
        };
        let object = repository.layout().dump_object(&name, DumpObject::Started);
        match repository.storage().create_json(&object, &started) {
            Ok(()) if repository.is_free_for_dump(&name)? => return Ok(name),
            Ok(()) => repository.delete_if_there(&object)?,
            Err(error) if error.kind() == Kind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        time += TimeDelta::seconds(1);
    }
}

/// Takes back what was stored of a dump that failed.
pub fn give_up(repository: &Repository, name: &DumpName) {
    if let Err(error) = repository.remove_dump(name) {
        warn!(
            "remains of dump {name} are left: {}; the next run removes them",
            error.in_one_line()
        );
    }
}

/// Removes dumps of this host whose process is gone.
pub fn clear_remains(repository: &Repository, entries: &[DumpEntry]) -> Result<()> {
    for entry in entries {
        if let DumpState::Unfinished(unfinished) = &entry.state
            && let Some(started) = &unfinished.started
            && started.process.lives() == Some(false)
        {
            info!(
                "removing the remains of dump {}, which was interrupted",
                entry.name
            );
            repository.remove_dump(&entry.name)?;
        }
    }
    Ok(())
}

/// A sentence about who makes it.
pub fn maker(unfinished: &UnfinishedDump) -> String {
    match &unfinished.started {
        Some(DumpStarted { process, .. }) => format!("being made by {process}"),
        None => "being made, or remains that are younger than 24 hours".to_owned(),
    }
}

/// Whether it can never come to count any more: its process is gone, or, on another host, none of its
/// objects came for a day. `now` by the store's clock.
pub fn is_remains(unfinished: &UnfinishedDump, now: Time) -> bool {
    let started = unfinished.started.as_ref();
    match started.and_then(|started| started.process.lives()) {
        Some(lives) => !lives,
        None => now - unfinished.newest >= FORGOTTEN,
    }
}

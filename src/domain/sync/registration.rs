//! How a system that the source knows is registered in the target. Where that is lost or can't be read, it becomes what
//! is stored there: codec and encryption may be others than in the source and than the settings say by now.

use std::collections::BTreeSet;

use super::pass::Peer;
use crate::{
    error::{Error, Kind, Result},
    repo::{
        catalog::State,
        coding::Coding,
        repository::{Repository, System},
    },
    util::clock,
};

pub enum Registration {
    /// As it is.
    There(System),
    /// As it must be: nothing of the system is there yet.
    New(System),
    /// As it must be: something is stored there, or a file that can't be read.
    Lost(System),
}

impl Registration {
    /// In `target`, of a system that another repository knows as `theirs`.
    pub fn of(target: &Peer, theirs: &System) -> Result<Self> {
        let target = &target.repository;
        let is_damaged = match target.system(theirs.system_id) {
            Ok(system) => return Ok(Self::There(system)),
            Err(error) if error.kind() == Kind::Foreign => false,
            Err(error) if error.kind() == Kind::Damaged => true,
            Err(error) => return Err(error),
        };
        let wal = wal_codings(target, theirs)?;
        let backups = encryption_of_backups(target, theirs)?;
        let is_new = wal.is_empty() && backups.is_empty() && !is_damaged;
        let coding = match (only(&wal), only(&backups)) {
            (Some(coding), _) => Some(coding),
            (None, encrypted) if wal.is_empty() && (encrypted.is_some() || backups.is_empty()) => {
                Some(Coding {
                    codec: theirs.wal_codec,
                    encrypted: encrypted.unwrap_or_else(|| target.keys().encrypt()),
                })
            }
            _ => None,
        };
        let Some(coding) = coding else {
            return Err(not_told(theirs, &wal));
        };
        let system = System {
            wal_codec: coding.codec,
            encrypted: coding.encrypted,
            ..theirs.clone()
        };
        Ok(match is_new {
            true => Self::New(System {
                registered: clock::now(),
                ..system
            }),
            // The last one to be registered is taken for that of the server.
            false => Self::Lost(system),
        })
    }
}

/// Writes it in the place of what may be there.
pub fn write(target: &Repository, system: &System) -> Result<()> {
    // Below a disk that went away nothing is there, either.
    target.confirm()?;
    let name = target.layout().system(system.system_id);
    match target.storage().head(&name) {
        Err(error) if error.kind() == Kind::NotFound => target.register(system),
        there => there.and_then(|_| target.storage().replace_json(&name, system)),
    }
}

/// How segments and pieces of them are stored.
fn wal_codings(target: &Repository, theirs: &System) -> Result<BTreeSet<Coding>> {
    let (layout, id) = (target.layout(), theirs.system_id);
    let mut found = BTreeSet::new();
    for info in target.storage().list(&layout.wal(id), None)? {
        let name = info?.name;
        let segment = layout.read_wal_file(id, &name);
        let segment = segment.filter(|(file, _)| file.segment().is_some());
        let piece = layout.read_piece(id, &name).map(|(_, coding)| coding);
        found.extend(segment.map(|(_, coding)| coding).or(piece));
    }
    Ok(found)
}

fn encryption_of_backups(target: &Repository, theirs: &System) -> Result<BTreeSet<bool>> {
    let mut found = BTreeSet::new();
    target.each_backup(|entry| {
        if let State::Complete(backup) | State::Damaged(backup, _) | State::Pending(backup) =
            entry.state
            && backup.system_id == theirs.system_id
        {
            found.insert(backup.coding().encrypted);
        }
        Ok(())
    })?;
    Ok(found)
}

fn only<T: Copy + Ord>(all: &BTreeSet<T>) -> Option<T> {
    all.first().copied().filter(|_| all.len() == 1)
}

fn not_told(theirs: &System, wal: &BTreeSet<Coding>) -> Error {
    let id = theirs.system_id;
    let what = match wal.is_empty() {
        true => {
            "some of its backups are encrypted and some are not, and there is no WAL".to_owned()
        }
        false => {
            let all: Vec<String> = wal.iter().map(ToString::to_string).collect();
            format!("its WAL is stored as {}", all.join(" and as "))
        }
    };
    Error::failed(format!(
        "how system {id} was registered can't be told from what is stored: {what}"
    ))
    .hint("put the file back from an earlier copy of this repository, or move away what doesn't belong there.")
}

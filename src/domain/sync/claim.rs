//! Who copies a backup claims its id in the target by a `started.json` of its own, as who takes one does: so a cleanup
//! there leaves alone what the copy needs.
//!
//! What an interrupted copy left is gone on with, under a new claim. A cleanup that runs in the target may have decided
//! before it saw the claim: then the copy waits for the next run.

use std::collections::BTreeMap;

use super::pass::Pass;
use crate::{
    error::{Error, Kind, Result},
    repo::{
        backup::{Alive, Backup, Started, StoredObject},
        document::FORMAT,
        layout::{BackupObject, ObjectName},
        lease,
    },
    util::{clock, host::ProcessId},
};

/// What was there already, by name.
#[derive(Debug, Default)]
pub struct Left {
    /// With their lengths.
    pub objects: BTreeMap<String, u64>,
    /// What earlier copies noted of them.
    pub noted: BTreeMap<String, StoredObject>,
    /// The highest number of a sign of life.
    pub alive: u32,
}

#[derive(Debug)]
pub enum Claim {
    Ours(Left),
    /// Why the next run has to do it.
    Later(String),
}

pub fn claim(pass: &Pass<'_>, backup: &Backup) -> Result<Claim> {
    let target = &pass.target.repository;
    let name = |object| target.layout().backup_object(&backup.id, object);
    let started = name(BackupObject::Started);
    let left = left(pass, backup)?;
    if !left.objects.is_empty() {
        match target.storage().read_json::<Started>(&started) {
            Ok(other) => refuse_others(pass, &other)?,
            // Deleted by a copy that ended between this and the next line; or damaged: nobody else's matters here.
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Damaged) => {}
            Err(error) => return Err(error),
        }
        target.delete_if_we_may(&started)?;
    }
    let own = Started {
        format: FORMAT,
        id: backup.id,
        parent: backup.parent,
        system_id: backup.system_id,
        timeline: backup.timeline,
        lower_bound: backup.start_lsn,
        time: clock::now(),
        process: ProcessId::own(),
        copied_from: Some(pass.source.repository.id().to_owned()),
    };
    match target.storage().create_json(&started, &own) {
        // Of a key that may not delete: what is copied from now on is a sign of life as well.
        Err(error) if error.kind() == Kind::AlreadyExists && !left.objects.is_empty() => {}
        other => other?,
    }
    match target.lease_in_force(lease::CLEANUP)? {
        None => Ok(Claim::Ours(left)),
        Some(held) => Ok(Claim::Later(format!(
            "a cleanup is running there ({})",
            held.holder()
        ))),
    }
}

/// An id that somebody else made in the target is no copy of ours.
fn refuse_others(pass: &Pass<'_>, other: &Started) -> Result<()> {
    if other.copied_from.is_some() {
        return Ok(());
    }
    Err(Error::new(
        Kind::AlreadyExists,
        format!(
            "its id is taken in repository {} by a backup that was begun there ({})",
            pass.target.name, other.process
        ),
    )
    .hint("backups are taken into one repository, and copied into the others by sync."))
}

fn left(pass: &Pass<'_>, backup: &Backup) -> Result<Left> {
    let target = &pass.target.repository;
    let mut left = Left::default();
    for info in target
        .storage()
        .list(&target.layout().backup(&backup.id), None)?
    {
        let info = info?;
        if let Some((_, BackupObject::Alive(number))) =
            target.layout().read_backup_object(&info.name)
        {
            left.alive = left.alive.max(number);
            // One that can't be read only means that more is copied again.
            if let Ok(alive) = target.storage().read_json::<Alive>(&info.name) {
                let copied = alive.copied.into_iter();
                left.noted.extend(copied.map(|one| (one.name.clone(), one)));
            }
        }
        left.objects
            .insert(info.name.file_name().to_owned(), info.size);
    }
    Ok(left)
}

/// Notes what was copied, which is a sign of life too.
pub fn note(
    pass: &Pass<'_>,
    backup: &Backup,
    number: u32,
    copied: Vec<StoredObject>,
) -> Result<ObjectName> {
    let target = &pass.target.repository;
    let name = target
        .layout()
        .backup_object(&backup.id, BackupObject::Alive(number));
    let alive = Alive {
        format: FORMAT,
        time: clock::now(),
        start_lsn: backup.start_lsn,
        timeline: backup.timeline,
        copied,
    };
    target.storage().create_json(&name, &alive)?;
    Ok(name)
}

//! What bringing something back takes, before anything is written.

use std::path::PathBuf;

use serde::Serialize;

use super::{live::Live, moment::Way};
use crate::{
    domain::restore::{
        folders::Facts,
        forecast::{Load, forecast},
        keys,
        measured::Measured,
        target::Target,
    },
    error::Result,
    postgres::lsn::TimelineId,
    repo::{backup_id::BackupId, drill::Forecast},
    util::{host, units},
};

#[derive(Debug, Serialize)]
pub struct Planned {
    pub cluster: String,
    pub backup: BackupId,
    pub target: Target,
    pub exclusive: bool,
    pub timeline: TimelineId,
    /// Segments of WAL on the way.
    pub segments: u64,
    pub database: String,
    /// As they were asked for; none: the whole database.
    pub tables: Vec<String>,
    pub backup_bytes: u64,
    /// What of the backup is written into the scratch folder.
    pub restored_bytes: u64,
    /// In which the scratch folder is made.
    pub scratch: PathBuf,
    /// There, while the server replays.
    pub needed_bytes: u64,
    pub free_bytes: u64,
    /// Until the server has come to the target; None where no drill tells.
    pub forecast: Option<Forecast>,
    pub reasons: Vec<String>,
    pub warnings: Vec<String>,
    /// Why it would fail as things are now.
    pub refused: Option<String>,
}

/// `restores`: what they took on this host.
pub fn plan(way: &Way<'_>, restores: &[Measured]) -> Result<Planned> {
    let (repository, request) = (&way.repository, &way.request);
    Live::look(way.around, request)?;
    let choice = &way.picked.choice;
    let scratch = request.ground.place.clone();
    let (needed_bytes, free_bytes) = (way.needed_bytes(), Facts::of(&scratch)?.free_bytes);
    let room = || {
        let (needed, free) = (units::bytes(needed_bytes), units::bytes(free_bytes));
        format!(
            "{needed} are needed in {}, and {free} are free",
            scratch.display()
        )
    };
    let closed = keys::check(repository, &way.system, choice).err();
    let closed = closed.map(|error| error.in_one_line());
    let (part, whole) = (way.picked.bytes(), choice.backup.bytes);
    let load = Load::of(&way.archive, choice).of_part(part, whole);
    // Whoever plans is not to be stopped by what cannot be told.
    let drills = repository.drills().unwrap_or_default();
    Ok(Planned {
        cluster: repository.layout().cluster().to_string(),
        backup: choice.backup.id,
        target: request.wish.target.clone(),
        exclusive: request.wish.exclusive,
        timeline: choice.timeline,
        segments: choice.reach.segments(),
        database: request.what.database().to_owned(),
        tables: request
            .what
            .tables()
            .iter()
            .map(ToString::to_string)
            .collect(),
        backup_bytes: whole,
        restored_bytes: part,
        needed_bytes,
        free_bytes,
        forecast: forecast(&drills, restores, &host::name(), load),
        reasons: choice.reasons.clone(),
        warnings: choice.warnings.clone(),
        refused: closed.or_else(|| (needed_bytes > free_bytes).then(room)),
        scratch,
    })
}

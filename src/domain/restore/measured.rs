//! What restores took on this host, as `restores/measured.json` in the state folder, for the forecasts of later ones.
//!
//! `restore` notes what it did; how long replay took is added when recovery ends, by `restore-done`. Nobody waits for
//! it, and nothing fails by it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::folders::{Owner, give, make_for_notes};
use crate::{
    error::{Error, Result},
    postgres::{lsn::SystemId, postmaster},
    repo::drill::{Forecast, Phase},
    util::{
        clock::{self, Time},
        fs::{read_if_there, write_over},
    },
};

/// Of the state folder: what restores did.
pub const FOLDER: &str = "restores";

const FILE: &str = "measured.json";

/// As many as count for a forecast.
const MOST: usize = 10;

/// A restore that was to bring a server to its target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    pub time: Time,
    pub system_id: SystemId,
    pub data_dir: PathBuf,
    /// Bytes of the segments that are replayed.
    pub wal: u64,
    /// Replay comes last, when its server has opened the database.
    pub phases: Vec<Phase>,
    /// What was foreseen before it began.
    pub forecast: Option<Forecast>,
}

/// Oldest first; none where there is no such file, or one that can't be read.
pub fn read(state: &Path) -> Vec<Measured> {
    let path = state.join(FOLDER).join(FILE);
    let json = read_if_there(&path).ok().flatten();
    let read = json.and_then(|json| serde_json::from_slice(&json).ok());
    read.unwrap_or_default()
}

/// Notes one that is filled, and whose server is to be started.
pub fn note(folder: &Path, mut measured: Measured, owner: Option<Owner>) -> Result<()> {
    if let Ok(real) = fs::canonicalize(&measured.data_dir) {
        measured.data_dir = real;
    }
    make_for_notes(folder, owner)?;
    let state = folder.parent().unwrap_or(folder);
    let mut all = read(state);
    // One that never came to its end is of no use any more.
    all.retain(|one| one.data_dir != measured.data_dir || is_replayed(one));
    all.push(measured);
    all.drain(..all.len().saturating_sub(MOST));
    let path = folder.join(FILE);
    write(&path, &all)?;
    give(&path, owner)
}

/// Adds that the server in `data_dir` has come to its target, now; false where nobody noted its restore.
pub fn replayed(state: &Path, data_dir: &Path) -> Result<bool> {
    let mut all = read(state);
    let its = all.iter_mut().rev().find(|one| one.data_dir == data_dir);
    let Some(its) = its.filter(|one| !is_replayed(one)) else {
        return Ok(false);
    };
    let Some(seconds) = up(data_dir) else {
        return Ok(false);
    };
    its.phases.push(Phase {
        name: REPLAY.to_owned(),
        seconds,
        cpu_seconds: None,
        bytes: Some(its.wal),
    });
    write(&state.join(FOLDER).join(FILE), &all).map(|()| true)
}

const REPLAY: &str = "replay";

fn is_replayed(one: &Measured) -> bool {
    one.phases.iter().any(|phase| phase.name == REPLAY)
}

/// For how long the server has run.
fn up(data_dir: &Path) -> Option<f64> {
    let text = fs::read_to_string(data_dir.join(postmaster::NAME)).ok()?;
    let started = postmaster::Postmaster::parse(&text)?.started;
    let micros = clock::now().timestamp_micros();
    // It notes whole seconds, which begin half of one earlier on average.
    let seconds = micros as f64 / 1e6 - started as f64 - 0.5;
    Some(seconds.max(0.0))
}

fn write(path: &Path, all: &[Measured]) -> Result<()> {
    let json = serde_json::to_vec_pretty(all)
        .map_err(|error| Error::failed("can't note what restores took").because(error))?;
    write_over(path, 0o640, &json)
}

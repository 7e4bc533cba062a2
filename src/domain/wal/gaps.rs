//! WAL that the safety valve gave up ([`super::valve`]), and its trace.
//!
//! The order, and what a crash leaves behind each step:
//! 1. the gap is noted in the state folder, synced: the repository may be what is away (noted, but
//!    PostgreSQL offers the segment again; if it is stored then, it outranks the note);
//! 2. PostgreSQL is told that the segment is archived (it may recycle it: the gap is real);
//! 3. once archiving works again, each noted gap becomes an object of every repository, before
//!    anything else is acknowledged (the same object is stored once more at the next call);
//! 4. the notes go.
//!
//! A history file that is given up lies in pg_wal for ever, and is stored with the next
//! segment of its timeline.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::stores::OpenStore;
use crate::{
    error::{Error, IoContext, Result},
    postgres::{
        control::Control,
        lsn::SystemId,
        wal_name::{Segment, SegmentSize, WalName},
    },
    repo::{document::FORMAT, gap::Gap},
    util::{
        clock,
        fs::{create_folders, read_if_there, sync_folder, write_over},
        host,
    },
};

const FILE: &str = "gaps.json";
const FILE_MODE: u32 = 0o640;
const FOLDER_MODE: u32 = 0o750;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Notes {
    gaps: Vec<Gap>,
}

/// Gives `file` up for `reason`; the system that it is of. [`super::valve`] tells when.
pub fn give_up(state: &Path, file: WalName, data_dir: &Path, reason: &str) -> Result<SystemId> {
    let control = Control::read(data_dir)?;
    match file.segment() {
        Some(segment) => {
            note(state, segment, &control, reason)?;
            warn!(
                "{file} is given up, not archived, since {reason}: what comes behind it can't be restored before the next full backup"
            );
        }
        None => warn!(
            "{file} is not archived yet, since {reason}: a history is stored with the next segment of its timeline"
        ),
    }
    Ok(control.system)
}

fn note(state: &Path, segment: Segment, control: &Control, reason: &str) -> Result<()> {
    let mut gaps = noted(state)?;
    let now = clock::now();
    let continued = gaps
        .iter_mut()
        .find(|gap| gap.system_id == control.system && reaches(gap, segment, control.segment_size));
    match continued {
        Some(gap) => {
            gap.last = gap.last.max(segment);
            gap.until = now;
        }
        None => gaps.push(Gap {
            format: FORMAT,
            system_id: control.system,
            first: segment,
            last: segment,
            since: now,
            until: now,
            reason: reason.to_owned(),
            host: host::name(),
        }),
    }
    create_folders(state, FOLDER_MODE, None)?;
    let json = serde_json::to_vec_pretty(&Notes { gaps })
        .map_err(|error| Error::failed("can't note a gap").because(error))?;
    write_over(&path(state), FILE_MODE, &json)
        .map_err(|error| error.context(format!("can't give {segment} up without a note of it")))
}

/// Whether `segment` is in the gap or the next one behind it.
fn reaches(gap: &Gap, segment: Segment, size: SegmentSize) -> bool {
    let number = segment.number(size);
    segment.timeline == gap.first.timeline
        && (gap.first.number(size)..=gap.last.number(size) + 1).contains(&number)
}

/// The gaps that not all repositories know yet.
pub fn noted(state: &Path) -> Result<Vec<Gap>> {
    let path = path(state);
    let Some(json) = read_if_there(&path)? else {
        return Ok(Vec::new());
    };
    parse(&json).map_err(|error| {
        error
            .context(format!("can't read {}", path.display()))
            .hint("it names WAL that was given up: take a full backup, then remove it.")
    })
}

/// The gaps in a file of notes.
pub fn parse(json: &[u8]) -> Result<Vec<Gap>> {
    let notes: Notes = serde_json::from_slice(json)
        .map_err(|error| Error::damaged("these are no notes of gaps").because(error))?;
    Ok(notes.gaps)
}

/// Has a repository know what was given up. To be called before anything is acknowledged. Whether anything was.
pub fn publish(state: &Path, store: &OpenStore) -> Result<bool> {
    let gaps = noted(state)?;
    for gap in &gaps {
        store.repository.add_gap(gap).map_err(|error| {
            error.context(format!(
                "can't tell repository {} that WAL is lost from {} to {}",
                store.name, gap.first, gap.last
            ))
        })?;
    }
    Ok(!gaps.is_empty())
}

/// To be called once every repository knows.
pub fn published(state: &Path) -> Result<()> {
    let path = path(state);
    match fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => {
            removed.at("remove", &path)?;
            sync_folder(state)
        }
    }
}

fn path(state: &Path) -> PathBuf {
    state.join(FILE)
}

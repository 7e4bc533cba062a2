//! Whether an absent segment is the end of its timeline, or a hole in it.
//!
//! PostgreSQL takes "absent" as the end of the archive and opens the database there, so a hole
//! would lose what lies behind it in silence: a part of the rows, and no error. A few
//! bounded looks, never a listing of all: one behind the segment, one for each later timeline.

use std::fmt;

use super::content::TEXT_LIMIT;
use crate::{
    error::Result,
    postgres::{
        lsn::{Lsn, TimelineId},
        timeline::TimelineHistory,
        wal_name::{Segment, WalName},
    },
    repo::repository::{Repository, System},
};

/// What shows that the wanted segment once was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follower {
    /// A later segment of its timeline, perhaps a partial one.
    Later(WalName),
    /// A timeline whose history left the wanted one behind the segment.
    Fork(TimelineId, Lsn),
    /// It was given up, from the first to the last of these.
    Gap(Segment, Segment),
}

impl fmt::Display for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Follower::Later(name) => write!(f, "{name} of the same timeline is there"),
            Follower::Fork(timeline, lsn) => {
                write!(f, "timeline {timeline} left its timeline only at {lsn}")
            }
            Follower::Gap(first, last) => {
                write!(
                    f,
                    "{first} to {last} were given up to save pg_wal (wal.drop_above)"
                )
            }
        }
    }
}

pub fn what_follows(
    repository: &Repository,
    system: &System,
    wanted: Segment,
) -> Result<Option<Follower>> {
    if let Some((first, last)) = gap(repository, system, wanted)? {
        return Ok(Some(Follower::Gap(first, last)));
    }
    Ok(match later(repository, system, wanted)? {
        Some(name) => Some(Follower::Later(name)),
        None => {
            fork(repository, system, wanted)?.map(|(timeline, lsn)| Follower::Fork(timeline, lsn))
        }
    })
}

/// The gap that covers the segment. Only names are read.
fn gap(
    repository: &Repository,
    system: &System,
    wanted: Segment,
) -> Result<Option<(Segment, Segment)>> {
    let gaps = repository.gaps(system.system_id)?;
    // Names of one timeline sort as its segments do.
    let covers = |(first, last): &(Segment, Segment)| (*first..=*last).contains(&wanted);
    Ok(gaps.into_iter().find(covers))
}

fn later(repository: &Repository, system: &System, wanted: Segment) -> Result<Option<WalName>> {
    let layout = repository.layout();
    let id = system.system_id;
    let end = layout.behind_timeline(id, wanted.timeline);
    let from = layout.behind_segment(id, wanted);
    for object in repository.storage().list(&layout.wal(id), Some(&from))? {
        let name = object?.name;
        if name > end {
            break;
        }
        // Of whatever codec: restore-wal could not use another one, but it proves the hole.
        match layout.read_wal_file(id, &name) {
            Some((file, _)) if file.segment().is_some() => return Ok(Some(file)),
            _ => {}
        }
    }
    Ok(None)
}

/// A history that leaves the wanted segment's timeline at or beyond the segment's end. A fork
/// inside the segment is no hole: the old timeline ends there.
fn fork(
    repository: &Repository,
    system: &System,
    wanted: Segment,
) -> Result<Option<(TimelineId, Lsn)>> {
    let (layout, store) = (repository.layout(), repository.storage());
    let id = system.system_id;
    let end = wanted.end(system.segment_size);
    let mut from = layout.behind_timeline(id, wanted.timeline);
    // A timeline's history sorts before its segments (`.` before `0`), so the first object of
    // each timeline is enough, and all its segments are hopped over.
    while let Some(object) = store.list(&layout.wal(id), Some(&from))?.next() {
        let name = object?.name;
        let Some((file, _)) = layout.read_wal_file(id, &name) else {
            if layout.read_gap(id, &name).is_some() || layout.read_minimal(id, &name).is_some() {
                // They sort behind all WAL.
                break;
            }
            from = name;
            continue;
        };
        if let WalName::History(timeline) = file {
            let history = TimelineHistory::parse(timeline, &store.read(&name, TEXT_LIMIT)?)
                .map_err(|error| error.context(format!("can't use {}", store.place(&name))))?;
            let left = history
                .ancestors
                .iter()
                .find(|ancestor| ancestor.timeline == wanted.timeline);
            if let Some(left) = left.filter(|left| left.switch >= end) {
                return Ok(Some((timeline, left.switch)));
            }
        }
        from = layout.behind_timeline(id, file.timeline());
    }
    Ok(None)
}

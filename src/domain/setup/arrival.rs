//! Sends a real segment through the archiver, or to receive-wal, and waits until it is in every repository.

use std::{
    collections::VecDeque,
    thread,
    time::{Duration, Instant},
};

use super::{checks, facts::Waiting, finding::Finding};
use crate::{
    domain::wal::receive::slot::ReceiverSlot,
    error::{Error, Kind, Result},
    postgres::{connection::Session, lsn::Lsn, server_facts::ArchiverState, wal_name::WalName},
    repo::repository::{Repository, System},
    util::{cancel::Cancel, meter::Meter, units},
};

const NAME: &str = "wal";
const PAUSE: Duration = Duration::from_millis(100);

/// The archiver tries a file so often in a row (NUM_ARCHIVE_RETRIES in pgarch.c), then waits up
/// to a minute: what failed that often won't come soon.
const RETRIES: u64 = 3;

/// Where the segment must arrive.
pub struct Destination<'a> {
    pub name: &'a str,
    pub repository: &'a Repository,
    pub system: &'a System,
}

/// How it gets there.
#[derive(Clone, Copy, Debug)]
pub enum Way<'a> {
    /// With what waits for it.
    Archiver(Option<Waiting>),
    Receiver(&'a ReceiverSlot),
}

/// Switches to a new segment on `session`'s server, a primary; one finding for each destination.
pub fn prove(
    session: &Session,
    destinations: &[Destination<'_>],
    way: Way<'_>,
    limit: Duration,
    cancel: &Cancel,
    meter: &Meter,
) -> Result<Vec<Finding>> {
    let before = ArchiverState::gather(session)?;
    // Without a record since the last switch there would be nothing to switch.
    session.query_rows(
        "SELECT pg_logical_emit_message(false, 'pgstow', 'check')",
        &[],
    )?;
    let row = session.query_one("SELECT pg_walfile_name(pg_switch_wal())", &[])?;
    let file: WalName = row.text(0)?.parse()?;
    meter.begin(&format!("waiting for {file}"), 0);

    let started = Instant::now();
    let mut findings = Vec::new();
    let mut missing: VecDeque<&Destination<'_>> = destinations.iter().collect();
    loop {
        // Asked first: what the archiver has done, the look below must find. What is there without it, another server
        // with the same system identifier has put there.
        let state = ArchiverState::gather(session)?;
        let told = match way {
            Way::Archiver(_) => has_archived(&state, file),
            Way::Receiver(slot) => has_received(session, slot, file, destinations)?,
        };
        let mut still = VecDeque::new();
        while let Some(one) = missing.pop_front() {
            if told && has(one, file)? {
                findings.push(arrived(one, file, started.elapsed()));
            } else {
                still.push_back(one);
            }
        }
        missing = still;
        if missing.is_empty() {
            return Ok(findings);
        }
        let is_late = started.elapsed() >= limit;
        let why = match way {
            Way::Archiver(waiting) => hopeless(&state, &before, file, waiting)
                .or_else(|| is_late.then(|| too_late(&state, limit, waiting))),
            Way::Receiver(slot) => (is_late || !slot.is_active).then(|| not_received(slot, limit)),
        };
        if let Some(why) = why {
            for one in missing {
                let place = match has(one, file)? {
                    true => {
                        "is that of another server, or of an earlier state of this one, in repository"
                    }
                    false => "is not in repository",
                };
                let what = format!("{file} {place} {}: {}", one.name, why.message());
                let hint = why.hint_text().unwrap_or_default();
                findings.push(Finding::critical(NAME, what, hint));
            }
            return Ok(findings);
        }
        cancel.check()?;
        thread::sleep(PAUSE);
    }
}

/// Whether the archiver has done `file`: it takes the oldest first.
fn has_archived(state: &ArchiverState, file: WalName) -> bool {
    let last = state.last_archived.as_ref();
    last.is_some_and(|(name, _)| {
        // A history comes before all that waits.
        !matches!(name.parse(), Ok(WalName::History(_)) | Err(_)) && *name >= file.to_string()
    })
}

/// Whether receive-wal has told the server that it has all of `file`.
fn has_received(
    session: &Session,
    slot: &ReceiverSlot,
    file: WalName,
    destinations: &[Destination<'_>],
) -> Result<bool> {
    let (WalName::Segment(segment), Some(one)) = (file, destinations.first()) else {
        return Ok(false);
    };
    let size = one.system.segment_size;
    let end = Lsn(segment.start(size).0 + size.bytes());
    let upto = slot.upto(session)?;
    Ok(upto.is_some_and(|upto| upto >= end))
}

fn not_received(slot: &ReceiverSlot, limit: Duration) -> Error {
    let why = slot.trouble();
    Error::failed(why.unwrap_or_else(|| {
        format!("{}, but not within {}", slot.describe(), units::duration(limit))
    }))
    .hint("start `pgstow receive-wal`, and see what it says; if it is only slow, give it more time with --wal-timeout.")
}

fn has(one: &Destination<'_>, file: WalName) -> Result<bool> {
    let object = one.repository.wal_object(one.system, file);
    match one.repository.storage().head(&object) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == Kind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn arrived(one: &Destination<'_>, file: WalName, took: Duration) -> Finding {
    Finding::ok(
        NAME,
        format!(
            "{file} arrived in repository {} after {}",
            one.name,
            units::duration(took)
        ),
    )
}

/// Why the segment won't come, where the archiver says so already.
fn hopeless(
    state: &ArchiverState,
    before: &ArchiverState,
    file: WalName,
    waiting: Option<Waiting>,
) -> Option<Error> {
    let archived = state.last_archived.as_ref();
    if archived.is_some_and(|(name, _)| *name == file.to_string()) {
        return Some(Error::failed("the server says that it is archived").hint(
            "archive_command stores elsewhere, or nothing at all: set it with `pgstow init`.",
        ));
    }
    let failures = state.failed - before.failed.min(state.failed);
    (failures >= RETRIES && state.is_failing()).then(|| fails(state, waiting))
}

fn fails(state: &ArchiverState, waiting: Option<Waiting>) -> Error {
    let last = state.last_failed.as_ref().map_or("", |(name, _)| name);
    Error::failed(format!(
        "archive_command fails with {last}{}",
        checks::waiting(waiting)
    ))
    .hint("the server's log tells why.")
}

fn too_late(state: &ArchiverState, limit: Duration, waiting: Option<Waiting>) -> Error {
    if state.is_failing() {
        return fails(state, waiting);
    }
    let last = match &state.last_archived {
        Some((name, _)) => format!("the last that was archived is {name}"),
        None => "nothing was archived yet".to_owned(),
    };
    Error::failed(format!(
        "not within {}; {last}{}",
        units::duration(limit),
        checks::waiting(waiting)
    ))
    .hint(
        "the server's log tells whether archive_command could be run at all (failures of that kind are not \
         counted); if it is only slow, give it more time with --wal-timeout.",
    )
}

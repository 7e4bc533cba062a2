//! Sends a real segment through the archiver, and waits until it is in every repository.

use std::{
    collections::VecDeque,
    thread,
    time::{Duration, Instant},
};

use super::{checks, facts::Waiting, finding::Finding};
use crate::{
    error::{Error, Kind, Result},
    postgres::{connection::Session, server_facts::ArchiverState, wal_name::WalName},
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

/// Switches to a new segment on `session`'s server, a primary; one finding for each destination.
pub fn prove(
    session: &Session,
    destinations: &[Destination<'_>],
    waiting: Option<Waiting>,
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
        let told = has_archived(&state, file);
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
        let why = hopeless(&state, &before, file, waiting)
            .or_else(|| (started.elapsed() >= limit).then(|| too_late(&state, limit, waiting)));
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

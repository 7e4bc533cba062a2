//! Why WAL may not arrive: what the server and the repository tell about archiving.

use std::path::Path;

use tracing::warn;

use super::options::Options;
use crate::{
    domain::wal::{failed::Failed, receive::slot::ReceiverSlot},
    error::{Error, Kind, Result},
    postgres::{
        connection::Session,
        lsn::{Lsn, TimelineId},
        server_facts::{ArchiverState, Replayed, ServerFacts},
        wal_name::{Segment, WalName},
    },
    repo::repository::{Repository, System},
    util::clock::readable,
};

/// Refuses what can't succeed, and warns of what may not, before hours of copying.
pub fn before_copy(
    session: &Session,
    facts: &ServerFacts,
    repository: &Repository,
    system: &System,
    options: &Options,
    receiver: Option<&ReceiverSlot>,
) -> Result<()> {
    if facts.wal_level == "minimal" {
        return Err(Error::failed(
            "the server writes too little WAL for a base backup: wal_level is minimal",
        )
        .hint("set wal_level = replica in postgresql.conf and restart the server."));
    }
    if facts.standby && !facts.archiving.is_on(true) {
        // The primary archives; what it does can't be seen from here.
        return Ok(());
    }
    if let Some(slot) = receiver.filter(|_| !facts.archiving.is_on(false)) {
        if let Some(why) = slot.trouble() {
            warn!("the backup counts only when its WAL has arrived: {why}");
        }
        return Ok(());
    }
    if !facts.archiving.is_on(facts.standby) {
        return Err(Error::failed("the server does not archive its WAL (archive_mode is off), so this backup could never be restored")
            .hint("set up archiving with `pgstow init`, have `pgstow receive-wal` bring the WAL (--create-slot first), or take a backup that holds its own WAL with --standalone."));
    }
    let state = ArchiverState::gather(session)?;
    if let Some(trouble) = trouble(facts, &state, &options.state_folder, repository, system) {
        warn!(
            "archiving may not work, and the backup counts only when its WAL has arrived: {}",
            trouble.why
        );
    }
    Ok(())
}

/// Where a standby would be that is far behind what its primary has archived: it may have been cut off for weeks.
pub fn behind(
    session: &Session,
    timeline: TimelineId,
    repository: &Repository,
    system: &System,
) -> Result<Option<Lsn>> {
    /// As what is on its way; one that streams is ahead of the archive.
    const SEGMENTS: u64 = 2;
    let Some(replayed) = Replayed::gather(session)? else {
        return Ok(None);
    };
    let size = system.segment_size;
    let reached = replayed.position.0 / size.bytes();
    for number in reached + 1..=reached + SEGMENTS {
        let file = WalName::Segment(Segment::nth(timeline, number, size));
        match repository
            .storage()
            .head(&repository.wal_object(system, file))
        {
            Err(error) if error.kind() == Kind::NotFound => return Ok(None),
            other => other?,
        };
    }
    Ok(Some(Lsn((reached + SEGMENTS + 1) * size.bytes())))
}

/// Warns of one that did not come as far while it was copied.
pub fn warn_of_lag(session: &Session, archived: Lsn) -> Result<()> {
    let replayed = Replayed::gather(session)?;
    if let Some(replayed) = replayed.filter(|one| one.position < archived) {
        warn!(
            "this standby has replayed WAL up to {} only, and no transaction since {}, where the repository has WAL up to \
             {archived} at least: the backup is of that state, and a restore of anything later needs all WAL since; see \
             in the standby's log why it doesn't replay",
            replayed.position,
            readable(replayed.since)
        );
    }
    Ok(())
}

/// Why the WAL that is waited for may not come.
#[derive(Clone, Debug)]
pub struct Diagnosis {
    /// In one line.
    pub why: String,
    /// It won't come before somebody mends something.
    pub is_trouble: bool,
    /// The server says that it archived WAL, and that is not in this repository: it takes it elsewhere.
    pub is_elsewhere: bool,
}

impl Diagnosis {
    pub fn patience(why: String) -> Self {
        Self {
            why,
            is_trouble: false,
            is_elsewhere: false,
        }
    }
}

fn trouble_of(why: String) -> Diagnosis {
    Diagnosis {
        why,
        is_trouble: true,
        is_elsewhere: false,
    }
}

/// What the server and its archiver, or the slot of receive-wal, show.
pub fn while_waiting(
    session: &Session,
    facts: &ServerFacts,
    repository: &Repository,
    system: &System,
    options: &Options,
) -> Diagnosis {
    if facts.standby && !facts.archiving.is_on(true) {
        let why = "this server is a standby, its primary has to switch to a new segment and archive it; \
                name the primary (cluster.primary_host) to let pgstow ask for that";
        return Diagnosis::patience(why.to_owned());
    }
    let untold = |error: Error| {
        let error = error.in_one_line();
        Diagnosis::patience(format!(
            "the server doesn't tell how WAL leaves it: {error}"
        ))
    };
    if !facts.archiving.is_on(facts.standby) {
        return match ReceiverSlot::find(session, &options.slot) {
            Err(error) => untold(error),
            Ok(None) => trouble_of(format!(
                "slot {} is gone, through which it came",
                options.slot
            )),
            Ok(Some(slot)) => match slot.trouble() {
                Some(why) => trouble_of(why),
                None => Diagnosis::patience(slot.describe()),
            },
        };
    }
    let state = match ArchiverState::gather(session) {
        Ok(state) => state,
        Err(error) => return untold(error),
    };
    if let Some(trouble) = trouble(facts, &state, &options.state_folder, repository, system) {
        return trouble;
    }
    let what = facts.archiving.describe();
    Diagnosis::patience(format!("{what}, which has not failed; it may be slow"))
}

/// The first thing that is wrong with archiving.
fn trouble(
    facts: &ServerFacts,
    state: &ArchiverState,
    state_folder: &Path,
    repository: &Repository,
    system: &System,
) -> Option<Diagnosis> {
    let what = facts.archiving.describe();
    if facts.archiving.command.is_empty() && facts.archiving.library.is_empty() {
        return Some(trouble_of(format!("{what}, so the server keeps its WAL")));
    }
    if let (true, Some((wal, time))) = (state.is_failing(), &state.last_failed) {
        let why = format!(
            "{what} fails: {} failures, the last at {} with {wal}: {}",
            state.failed,
            readable(*time),
            Failed::why(Failed::read(state_folder).as_ref(), wal)
        );
        return Some(trouble_of(why));
    }
    let (wal, time) = state.last_archived.as_ref()?;
    if state.settings_read.is_some_and(|read| *time < read) {
        return None;
    }
    let file: WalName = wal.parse().ok()?;
    let object = repository.wal_object(system, file);
    match repository.storage().head(&object) {
        Err(error) if error.kind() == Kind::NotFound => {
            let why = format!(
                "the server archived {wal} at {}, but it is not in repository {}: {what}, which must store into \
                 this repository",
                readable(*time),
                repository.location()
            );
            Some(Diagnosis {
                is_elsewhere: true,
                ..trouble_of(why)
            })
        }
        _ => None,
    }
}

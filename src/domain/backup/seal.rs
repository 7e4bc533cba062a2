//! The commit point: a backup counts once all WAL that it needs is in the repository, and is the server's own.
//!
//! Order: all objects of the backup are durable; then its WAL is looked for; then
//! `backup.json` is created. A crash before that leaves remains. When the WAL does not come in
//! time, `pending.json` is written in its place: the copy is kept, and sealed later.

use std::{
    thread,
    time::{Duration, Instant},
};

use tracing::warn;

use super::{
    claim::FORGOTTEN,
    diagnosis::Diagnosis,
    note::{self, Whose},
};
use crate::{
    error::{Error, Kind, Result},
    postgres::wal_name::WalName,
    repo::{
        backup::Backup,
        backup_id::BackupId,
        catalog::{Entry, State},
        layout::BackupObject,
        missing::Missing,
        repository::{Repository, System},
        wal_index::WalIndex,
    },
    util::{
        cancel::Cancel,
        clock::{Time, readable},
        units,
    },
};

/// How often the waiting tells what it waits for.
const REPORT: Duration = Duration::from_secs(30);

/// When it tells so first, where archiving fails: PostgreSQL tries a file three times, a second apart
/// (NUM_ARCHIVE_RETRIES in src/backend/postmaster/pgarch.c), before it rests for a minute.
const EARLY: Duration = Duration::from_secs(3);

/// When no more is waited for WAL that the server archives and that doesn't come: archive-wal says that it stored
/// something when it did, and who has it copied later by something else did so by then, or does it some other day.
const ELSEWHERE: Duration = Duration::from_secs(60);

/// The segments of a backup that are not in the repository.
pub fn missing_wal(
    repository: &Repository,
    system: &System,
    backup: &Backup,
) -> Result<Vec<Missing>> {
    if backup.standalone {
        return Ok(Vec::new());
    }
    WalIndex::look(
        repository,
        system,
        backup.timeline,
        &backup.needed_segments(),
    )
}

/// What a backup needs to count, and hasn't got.
#[derive(Debug)]
pub struct Lacks {
    pub segments: Vec<Missing>,
    /// With the name of the note that would tell.
    whose: Option<(Whose, WalName)>,
}

impl Lacks {
    pub fn of(repository: &Repository, system: &System, backup: &Backup) -> Result<Self> {
        let segments = missing_wal(repository, system, backup)?;
        let whose = match segments.is_empty() {
            true => note::whose_wal(repository, system, backup)?,
            // One thing after the other: it can't be ours yet.
            false => Whose::Ours,
        };
        let whose = (whose != Whose::Ours).then(|| (whose, note::name(backup)));
        Ok(Self { segments, whose })
    }

    pub fn is_nothing(&self) -> bool {
        self.segments.is_empty() && self.whose.is_none()
    }

    /// No waiting helps.
    pub fn is_lost(&self) -> bool {
        matches!(self.whose, Some((Whose::Others | Whose::OtherBytes(_), _)))
    }

    /// For a sentence that ends with it.
    pub fn describe(&self, system: &System) -> String {
        match &self.whose {
            None => format!(
                "WAL {} is not in the repository",
                describe(&self.segments, system)
            ),
            Some((Whose::Others, name)) => format!(
                "the WAL in the repository is not this server's: {name} there is of another backup, made by a copy of this \
                 server or before its data directory was put back to an earlier state"
            ),
            Some((Whose::OtherBytes(segment), _)) => format!(
                "the WAL in the repository is not this server's: {segment} there has other bytes; it is of a copy of this server, \
                 or of before its data directory was put back to an earlier state"
            ),
            Some((_, name)) => format!(
                "segments of the right names are in the repository, but {name} is not, which shows that they are this server's: \
                 they may be those of a copy of it, or of before its data directory was put back to an earlier state"
            ),
        }
    }
}

/// Waits until all WAL of the backup is there; what is still missing at the end of `limit`.
///
/// `diagnose` says why it may not come; it is asked now and then. What goes elsewhere is given up earlier.
pub fn wait_for_wal(
    repository: &Repository,
    system: &System,
    backup: &Backup,
    limit: Duration,
    cancel: &Cancel,
    diagnose: &mut dyn FnMut() -> Diagnosis,
) -> Result<Lacks> {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(20);
    let mut next_look = EARLY;
    loop {
        let lacks = Lacks::of(repository, system, backup)?;
        if lacks.is_nothing() || lacks.is_lost() || begun.elapsed() >= limit {
            return Ok(lacks);
        }
        let waited = begun.elapsed();
        if waited >= next_look {
            let diagnosis = diagnose();
            if diagnosis.is_trouble || waited >= REPORT {
                warn!(
                    "waiting since {}: {}; {}",
                    units::duration(waited),
                    lacks.describe(system),
                    diagnosis.why
                );
            }
            if diagnosis.is_elsewhere && waited >= ELSEWHERE {
                warn!(
                    "it is not waited for any longer: what the server archives doesn't come here"
                );
                return Ok(lacks);
            }
            next_look = if waited < REPORT {
                REPORT
            } else {
                next_look + REPORT
            };
        }
        cancel.check()?;
        thread::sleep(pause.min(limit.saturating_sub(begun.elapsed())));
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// Names the missing segments, the first few of them.
fn describe(missing: &[Missing], system: &System) -> String {
    let mut names: Vec<String> = missing
        .iter()
        .take(3)
        .map(|range| range.describe(system.segment_size))
        .collect();
    if missing.len() > names.len() {
        names.push(format!("and {} more ranges", missing.len() - names.len()));
    }
    names.join(", ")
}

/// Looks again at what the backup consists of, and creates its `backup.json`.
///
/// That it is there already is success: another run sealed the same copy.
pub fn commit(repository: &Repository, backup: &Backup) -> Result<()> {
    let name = |object| repository.layout().backup_object(&backup.id, object);
    for part in &backup.parts {
        let object = repository.part(backup.id, part)?;
        let info = repository.storage().head(&object).map_err(|error| {
            error.context(format!(
                "backup {} can't be sealed: a part is gone",
                backup.id
            ))
        })?;
        if info.size != part.stored_bytes {
            return Err(Error::damaged(format!(
                "backup {} can't be sealed: {} has {} bytes instead of {}",
                backup.id,
                repository.storage().place(&object),
                info.size,
                part.stored_bytes
            )));
        }
    }
    if let Some(parent) = backup.parent {
        repository.backup(parent).map_err(|error| {
            error.context(format!(
                "backup {} can't be sealed: its parent {parent} is gone",
                backup.id
            ))
        })?;
    }
    match repository
        .storage()
        .create_json(&name(BackupObject::Backup), backup)
    {
        Err(error) if error.kind() == Kind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Refuses to commit a copy that others may have begun to delete.
pub fn check_freshness(repository: &Repository, id: BackupId, now: Time) -> Result<()> {
    let mut newest = None;
    for info in repository
        .storage()
        .list(&repository.layout().backup(&id), None)?
    {
        newest = newest.max(Some(info?.modified));
    }
    match newest {
        Some(newest) if now - newest < FORGOTTEN => Ok(()),
        // It is young by this host's clock, as its id is.
        Some(newest) if now - id.time() < FORGOTTEN => Err(Error::failed(format!(
            "backup {id} can't be sealed: the repository's clock was at {} when it was written, this host's is at {}",
            readable(newest),
            readable(now)
        ))
        .hint("set the clocks of both right, then run the backup again.")),
        _ => Err(Error::failed(format!(
            "backup {id} gave no sign of life for 24 hours: another host may have removed some of it"
        ))
        .hint("run the backup again.")),
    }
}

/// Keeps a copy whose WAL did not come.
pub fn keep_pending(repository: &Repository, backup: &Backup) -> Result<()> {
    let name = repository
        .layout()
        .backup_object(&backup.id, BackupObject::Pending);
    repository.storage().create_json(&name, backup)
}

/// Seals the pending backup `id`, or says what it still lacks.
pub fn finish_pending(repository: &Repository, id: BackupId) -> Result<Backup> {
    match repository.backup(id) {
        Err(error) if error.kind() == Kind::NotFound => {}
        sealed => return sealed,
    }
    let backup = repository
        .description(id, BackupObject::Pending)
        .map_err(|error| {
            if error.kind() != Kind::NotFound {
                return error;
            }
            Error::new(Kind::NotFound, format!("there is no pending backup {id}"))
                .because(error)
                .hint("`pgstow list` shows all backups.")
        })?;
    let system = repository.system(backup.system_id)?;
    let lacks = Lacks::of(repository, &system, &backup)?;
    if !lacks.is_nothing() {
        return Err(Error::failed(format!(
            "backup {id} in {} is still pending: {}",
            repository.location(),
            lacks.describe(&system)
        ))
        .hint("see what `pgstow check` says about archiving."));
    }
    commit(repository, &backup)?;
    Ok(backup)
}

/// Seals all pending backups whose WAL has come. One that can't be sealed is no reason against
/// a new one.
pub fn finish_all(repository: &Repository) -> Result<()> {
    for Entry { id, state } in repository.uncounted_backups()? {
        let State::Pending(backup) = state else {
            continue;
        };
        let system = match repository.system(backup.system_id) {
            Err(error) if error.kind() == Kind::Foreign => {
                warn!("backup {id} is still pending: {}", error.in_one_line());
                continue;
            }
            system => system?,
        };
        let lacks = Lacks::of(repository, &system, &backup)?;
        if !lacks.is_nothing() {
            warn!("backup {id} is still pending: {}", lacks.describe(&system));
        } else if let Err(error) = commit(repository, &backup) {
            warn!("backup {id} is still pending: {}", error.in_one_line());
        }
    }
    Ok(())
}

//! Who may run: one base backup of a cluster in a repository at a time.
//!
//! `started.json` claims the id and tells every host; then the catalog is listed again, and of
//! two that began together the higher id gives way. A crash before the claim leaves nothing;
//! after it, remains that this host clears as soon as it sees that the process is gone.

use std::{
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread::{Scope, ScopedJoinHandle},
    time::Duration,
};

use chrono::TimeDelta;
use tracing::{debug, info, warn};

use crate::{
    error::{Error, Kind, Result},
    postgres::lsn::{Lsn, SystemId, TimelineId},
    repo::{
        backup::{Alive, Started},
        backup_id::{BackupId, BackupKind, Turn},
        catalog::{Entry, State, Unfinished},
        document::FORMAT,
        layout::BackupObject,
        repository::Repository,
    },
    util::{
        clock::{self, Time, readable},
        host::ProcessId,
    },
};

/// How long another host's backup may be silent before it no longer stands in the way: twice
/// the interval of its signs of life.
const SILENCE: TimeDelta = TimeDelta::hours(2);

/// A copy of which no object came for so long is no backup any more: others may have begun to delete it.
pub const FORGOTTEN: TimeDelta = TimeDelta::hours(24);

/// How often a running backup gives a sign of life.
const SIGN: Duration = Duration::from_secs(3600);

/// What a claim says of the backup to come.
#[derive(Clone, Copy, Debug)]
pub struct Intent {
    pub kind: BackupKind,
    pub parent: Option<BackupId>,
    pub system_id: SystemId,
    pub timeline: TimelineId,
    pub lower_bound: Lsn,
    pub turn: Turn,
}

/// Removes what died here, refuses to run beside another, and claims an id.
pub fn claim(repository: &Repository, intent: Intent) -> Result<BackupId> {
    let now = clock::now();
    clear_remains(repository)?;
    if let Some(other) = running(repository, now, None)? {
        return Err(other);
    }
    let id = create_started(repository, intent, now)?;
    if let Some(other) = running(repository, clock::now(), Some(id))? {
        remove_remains(repository, id)?;
        return Err(other);
    }
    Ok(id)
}

fn create_started(repository: &Repository, intent: Intent, now: Time) -> Result<BackupId> {
    let mut newest = repository.newest_id()?;
    loop {
        let (id, backwards) = BackupId::next(now, intent.kind, newest, intent.turn);
        let started = Started {
            format: FORMAT,
            id,
            parent: intent.parent,
            system_id: intent.system_id,
            timeline: intent.timeline,
            lower_bound: intent.lower_bound,
            time: now,
            process: ProcessId::own(),
            copied_from: None,
        };
        let name = repository
            .layout()
            .backup_object(&id, BackupObject::Started);
        match repository.storage().create_json(&name, &started) {
            Ok(()) => {
                if backwards {
                    warn!(
                        "the clock of this host is behind that of the newest backup: {id} is a second after it"
                    );
                }
                return Ok(id);
            }
            // Somebody took it between the listing and now.
            Err(error) if error.kind() == Kind::AlreadyExists => newest = Some(id),
            Err(error) => return Err(error),
        }
    }
}

/// Removes backups of this host whose process is gone, but for those that others build on.
pub fn clear_remains(repository: &Repository) -> Result<()> {
    let died_here = |entry: &Entry| match &entry.state {
        State::Unfinished(Unfinished {
            started: Some(started),
            ..
        }) => started.lives() == Some(false),
        _ => false,
    };
    if !repository.uncounted_backups()?.iter().any(died_here) {
        return Ok(());
    }
    // What builds on them may be complete.
    let entries = repository.backups()?;
    for entry in entries.iter().filter(|entry| died_here(entry)) {
        let id = entry.id;
        let others = entries.iter().filter(|other| !died_here(other));
        match others.into_iter().find(|other| other.parent() == Some(id)) {
            Some(child) => warn!("{}", lost_description(id, child.id)),
            None => {
                info!("removing the remains of backup {id}, which was interrupted");
                remove_remains(repository, id)?;
            }
        }
    }
    Ok(())
}

/// Removes a backup that came to nothing, where we may: a host that can't delete goes on, and leaves it to the cleanup
/// of another.
pub fn remove_remains(repository: &Repository, id: BackupId) -> Result<()> {
    match repository.remove_backup(id) {
        Err(error) if error.kind() == Kind::Denied => {
            warn!(
                "remains of backup {id} are left: {}; `pgstow cleanup` removes them where it may",
                error.in_one_line()
            );
            Ok(())
        }
        other => {
            other?;
            let (backup, all) = (repository.layout().backup(&id), None);
            if let Err(error) = repository.storage().forget_unfinished(&backup, all) {
                debug!("unfinished uploads may be left: {}", error.in_one_line());
            }
            Ok(())
        }
    }
}

/// Of a folder that is taken for remains, though it was complete once: nothing builds on what is not.
pub fn lost_description(id: BackupId, child: BackupId) -> String {
    format!(
        "{id} has lost its backup.json, and {child} builds on it: put that file back from a copy of the repository \
         (`pgstow verify --all --repair` does that from another one), \
         or delete both folders"
    )
}

/// Why another backup that runs forbids this one: any, or of a lower id than `own`.
fn running(repository: &Repository, now: Time, own: Option<BackupId>) -> Result<Option<Error>> {
    for Entry { id, state } in repository.uncounted_backups()? {
        let State::Unfinished(unfinished) = state else {
            continue;
        };
        if own.is_some_and(|own| id >= own) || !is_running(&unfinished, now) {
            continue;
        }
        let who = match &unfinished.started {
            Some(started) => format!("{}, since {}", started.process, readable(started.time)),
            None => "started.json can't be read".to_owned(),
        };
        let cluster = repository.layout().cluster();
        return Ok(Some(
            Error::failed(format!("another base backup of cluster {cluster} is running: {id} ({who})"))
                .hint("wait until it has ended; one that died on another host stops counting 2 hours after its last sign of life."),
        ));
    }
    Ok(None)
}

/// Whether it still counts as running: on this host its process tells, elsewhere its objects.
pub fn is_running(unfinished: &Unfinished, now: Time) -> bool {
    lives(unfinished).unwrap_or(now - unfinished.newest < SILENCE)
}

/// Whether it can never come to count any more: its process is gone, or, on another host, none of its
/// objects came for so long that `seal` would refuse it. `now` by the store's clock.
pub fn is_remains(unfinished: &Unfinished, now: Time) -> bool {
    let lives = lives(unfinished);
    lives.map_or(now - unfinished.newest >= FORGOTTEN, |lives| !lives)
}

/// None: of another host's process, or of one that nobody knows, nothing is known.
fn lives(unfinished: &Unfinished) -> Option<bool> {
    unfinished.started.as_ref()?.lives()
}

/// Gives signs of life in the background until it is dropped.
pub struct SignsOfLife<'scope> {
    stop: Option<Sender<()>>,
    thread: Option<ScopedJoinHandle<'scope, ()>>,
}

impl<'scope> SignsOfLife<'scope> {
    /// Gives the first sign, with the true start, now, and one every hour.
    pub fn begin<'env: 'scope>(
        scope: &'scope Scope<'scope, 'env>,
        repository: &'env Repository,
        id: BackupId,
        start_lsn: Lsn,
        timeline: TimelineId,
    ) -> Result<Self> {
        let sign = move |number| {
            let alive = Alive {
                format: FORMAT,
                time: clock::now(),
                start_lsn,
                timeline,
                copied: Vec::new(),
            };
            let name = repository
                .layout()
                .backup_object(&id, BackupObject::Alive(number));
            repository.storage().create_json(&name, &alive)
        };
        sign(1)?;
        let (stop, stopped) = channel::<()>();
        let thread = scope.spawn(move || {
            for number in 2.. {
                if stopped.recv_timeout(SIGN) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                if let Err(error) = sign(number) {
                    warn!(
                        "can't give a sign of life of backup {id}: {}",
                        error.in_one_line()
                    );
                }
            }
        });
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for SignsOfLife<'_> {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // It can't panic, and has nothing to tell.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::repo::location::Location;

    fn intent() -> Intent {
        Intent {
            kind: BackupKind::Full,
            parent: None,
            system_id: SystemId(1),
            timeline: TimelineId::FIRST,
            lower_bound: Lsn(0x100_0000),
            turn: Turn::default(),
        }
    }

    fn repository(folder: &std::path::Path) -> Repository {
        let location = Location::Folder(folder.into());
        Repository::open_or_create(&location, "main".parse().unwrap())
            .unwrap()
            .0
    }

    fn plant(repository: &Repository, change: impl FnOnce(&mut Started)) -> BackupId {
        let id = create_started(repository, intent(), clock::now()).unwrap();
        let name = repository
            .layout()
            .backup_object(&id, BackupObject::Started);
        let mut started: Started = repository.storage().read_json(&name).unwrap();
        change(&mut started);
        repository.storage().delete(&name).unwrap();
        repository.storage().create_json(&name, &started).unwrap();
        id
    }

    #[test]
    fn one_that_lives_stands_in_the_way_and_one_that_died_here_is_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let repository = repository(folder.path());
        let first = claim(&repository, intent()).unwrap();
        let error = claim(&repository, intent()).unwrap_err();
        assert!(error.message().contains(&first.to_string()), "{error}");
        repository.remove_backup(first).unwrap();

        plant(&repository, |started| started.process.process_start += 1);
        plant(&repository, |started| {
            started.process.boot_id = "another".into()
        });
        let third = claim(&repository, intent()).unwrap();
        let left: Vec<_> = repository
            .backups()
            .unwrap()
            .into_iter()
            .map(|entry| entry.id)
            .collect();
        assert_eq!(left, [third]);
    }

    #[test]
    fn another_hosts_backup_counts_until_it_was_silent_for_two_hours() {
        let folder = tempfile::tempdir().unwrap();
        let repository = repository(folder.path());
        let id = plant(&repository, |started| {
            started.process.host = "elsewhere".into()
        });
        assert!(claim(&repository, intent()).is_err());
        let entries = repository.backups().unwrap();
        let State::Unfinished(unfinished) = &entries[0].state else {
            panic!("{entries:?}")
        };
        assert_eq!(entries[0].id, id);
        assert!(is_running(
            unfinished,
            unfinished.newest + TimeDelta::minutes(119)
        ));
        assert!(!is_running(
            unfinished,
            unfinished.newest + TimeDelta::minutes(121)
        ));
        assert!(!is_remains(
            unfinished,
            unfinished.newest + TimeDelta::minutes(24 * 60 - 1)
        ));
        assert!(is_remains(
            unfinished,
            unfinished.newest + TimeDelta::minutes(24 * 60)
        ));
    }

    #[test]
    fn of_two_that_began_together_the_higher_id_gives_way() {
        let folder = tempfile::tempdir().unwrap();
        let repository = repository(folder.path());
        let lower = create_started(&repository, intent(), clock::now()).unwrap();
        let higher = create_started(&repository, intent(), clock::now()).unwrap();
        assert!(
            running(&repository, clock::now(), Some(lower))
                .unwrap()
                .is_none()
        );
        assert!(
            running(&repository, clock::now(), Some(higher))
                .unwrap()
                .is_some()
        );
    }
}

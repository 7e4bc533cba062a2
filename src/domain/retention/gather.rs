//! Looks at all that there is to decide about. One listing of the backups and one of each system's WAL;
//! memory grows with the number of backups and of gaps, not of segments.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Elsewhere, Facts, Known, Other, Protects, Reader, SystemFacts, What};
use crate::{
    domain::{backup::claim, restore::load},
    error::{Kind, Result},
    postgres::{
        lsn::{SystemId, TimelineId},
        wal_name::WalName,
    },
    repo::{
        backup::Backup,
        backup_id::{BackupId, BackupKind},
        catalog::{Entry, State, Unfinished, Unreadable},
        lack::Held,
        layout::{ClusterName, ObjectName},
        location::Location,
        repository::{Repository, System},
        restoring::{self, Reads, Restoring},
        verified_wal::WalWord,
        wal_index::WalIndex,
    },
    util::clock::Time,
};

/// What is decided about, and what goes with it.
#[derive(Debug)]
pub struct Gathered {
    pub facts: Facts,
    /// Those that began later were not looked at.
    pub newest: Option<BackupId>,
    /// Pins of backups that are gone, results of `verify` that say nothing any more, and marks of restores
    /// whose time is over.
    pub stale: Vec<ObjectName>,
    /// Marks of restores, of which a new one may come.
    pub restores: BTreeSet<ObjectName>,
}

/// `now` is this host's clock, `stored_now` that of the store; `dropped` a pending backup that the
/// operator gives up.
pub fn gather(
    repository: &Repository,
    now: Time,
    stored_now: Time,
    dropped: Option<BackupId>,
) -> Result<Gathered> {
    let systems = repository.systems()?;
    let look = Look {
        registered: systems.iter().map(|system| system.system_id).collect(),
        stored_now,
        dropped,
    };
    let mut backups = BTreeMap::new();
    let mut others = Vec::new();
    // What others build on, and who does.
    let mut parents: BTreeMap<BackupId, BackupId> = BTreeMap::new();
    repository.each_backup(|entry| {
        if let Some(parent) = entry.parent().filter(|_| !look.is_remains(&entry)) {
            parents.insert(parent, entry.id);
        }
        match look.at(entry) {
            Ok(known) => drop(backups.insert(known.id, known)),
            Err(other) => others.push(other),
        }
        Ok(())
    })?;
    for other in others
        .iter_mut()
        .filter(|other| other.what == What::Remains)
    {
        match parents.get(&other.id) {
            Some(child) => {
                other.what = What::Lost;
                other.note = claim::lost_description(other.id, *child);
            }
            None => other.protects = Protects::Nothing,
        }
    }
    // Objects vanish too where a disk was unmounted.
    repository.confirm()?;
    let ids = backups
        .keys()
        .copied()
        .chain(others.iter().map(|other| other.id));
    let ids: BTreeSet<BackupId> = ids.collect();
    let newest = ids.last().copied();
    let gone = |id: BackupId| Some(id) <= newest && !ids.contains(&id);
    let verdicts = repository.verdicts(|id| !gone(id))?;
    verdicts.all_read()?;
    for (id, (_, verdict)) in verdicts.newest {
        if let Some(known) = backups.get_mut(&id) {
            known.problem = known.problem.take().or_else(|| verdict.flaw());
        }
    }
    let mut stale = repository.words_on(gone)?;
    stale.extend(verdicts.overtaken);
    stale.extend(repository.old_drills()?);
    stale.extend(repository.old_dump_drills()?);
    let restores = repository.restores(stored_now)?;
    stale.extend(restores.over.iter().cloned());
    let running = restores.running.iter().map(|(name, _)| name);
    let marks = running.chain(&restores.over).cloned().collect();
    let mut of_systems = Vec::with_capacity(systems.len());
    for system in &systems {
        let of_system = backups
            .values()
            .filter(|known| known.system == system.system_id);
        let timelines = of_system.map(|known| known.timeline).collect();
        let word = verdicts.wal.get(&system.system_id);
        of_systems.push(system_facts(repository, system, timelines, word)?);
    }
    let facts = Facts {
        now,
        systems: of_systems,
        backups,
        others,
        pins: repository.pins()?,
        readers: restores.running.iter().filter_map(reader).collect(),
        elsewhere: Vec::new(),
    };
    Ok(Gathered {
        facts,
        newest,
        stale,
        restores: marks,
    })
}

/// What another repository of the same cluster has. One that can't be read may lack everything.
pub fn look_elsewhere(name: &str, location: &Location, cluster: &ClusterName) -> Elsewhere {
    let held = Repository::open(location, cluster.clone()).and_then(|one| Held::look(&one));
    Elsewhere {
        name: name.to_owned(),
        held: held.map_err(|error| error.in_one_line()),
    }
}

fn system_facts(
    repository: &Repository,
    system: &System,
    mut timelines: BTreeSet<TimelineId>,
    word: Option<&WalWord>,
) -> Result<SystemFacts> {
    let wal = WalIndex::load(repository, system)?;
    repository.confirm()?;
    timelines.extend(wal.timelines());
    timelines.extend(wal.histories());
    let mut facts = SystemFacts {
        id: system.system_id,
        damaged: word.map_or_else(Vec::new, |word| word.still_there(&wal)),
        wal,
        histories: BTreeMap::new(),
        rootless: BTreeSet::new(),
    };
    for timeline in timelines.into_iter().filter(|one| *one > TimelineId::FIRST) {
        let name = repository.wal_object(system, WalName::History(timeline));
        match load::read_history(repository, &name, timeline) {
            Ok(history) => drop(facts.histories.insert(timeline, history)),
            Err(error) if matches!(error.kind(), Kind::Damaged | Kind::NotFound) => {
                facts.rootless.insert(timeline);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(facts)
}

struct Look {
    registered: BTreeSet<SystemId>,
    stored_now: Time,
    dropped: Option<BackupId>,
}

impl Look {
    fn is_remains(&self, entry: &Entry) -> bool {
        matches!(&entry.state, State::Unfinished(found) if claim::is_remains(found, self.stored_now))
    }

    /// Err: not a backup of ours that counts, or did.
    fn at(&self, Entry { id, state }: Entry) -> Result<Known, Other> {
        let stored_bytes = match &state {
            State::Complete(backup) | State::Damaged(backup, _) | State::Pending(backup) => {
                backup.stored_bytes
            }
            State::Unfinished(_) | State::Unreadable(_) => 0,
        };
        let other = |what, note: String, protects| {
            Err(Other {
                id,
                what,
                stored_bytes,
                note,
                protects,
            })
        };
        match state {
            State::Complete(backup) | State::Damaged(backup, _) | State::Pending(backup)
                if !self.registered.contains(&backup.system_id) =>
            {
                let note = format!(
                    "of system {}, which isn't registered here",
                    backup.system_id
                );
                other(What::Foreign, note, Protects::Nothing)
            }
            State::Complete(backup) => Ok(known(&backup, backup.flaw(None))),
            State::Damaged(backup, problems) => Ok(known(&backup, Some(problems.join(", ")))),
            State::Pending(_) if self.dropped == Some(id) => other(
                What::Dropped,
                "pending, and given up by --drop-pending".to_owned(),
                Protects::Nothing,
            ),
            State::Pending(backup) => {
                let protects = Protects::Part {
                    parent: backup.parent,
                    system: backup.system_id,
                    timeline: backup.timeline,
                    from: backup.start_lsn,
                };
                let note = "pending: its WAL may still come (`pgstow base --finish`, `pgstow cleanup --drop-pending`)";
                other(What::Pending, note.to_owned(), protects)
            }
            State::Unfinished(unfinished) if claim::is_remains(&unfinished, self.stored_now) => {
                let note = "remains: interrupted, or half deleted".to_owned();
                other(What::Remains, note, protects(id, &unfinished))
            }
            State::Unfinished(unfinished) => {
                let note = match &unfinished.started {
                    Some(started) => format!("running, {}", started.process),
                    None => "running, or remains that are younger than 24 hours".to_owned(),
                };
                other(What::Running, note, protects(id, &unfinished))
            }
            State::Unreadable(Unreadable { why, hint, claim }) => {
                let note = format!("{why}: {}", hint.trim_end_matches('.'));
                other(What::Unreadable, note, protects(id, &claim))
            }
        }
    }
}

/// None of one that reads a dump.
fn reader((name, mark): &(ObjectName, Option<Restoring>)) -> Option<Reader> {
    let Some(mark) = mark else {
        return Some(Reader {
            note: restoring::unreadable(name),
            protects: Protects::Everything,
        });
    };
    match mark.reads {
        Reads::Backup {
            backup,
            system_id,
            timeline,
            start_lsn,
            ..
        } => Some(Reader {
            note: mark.note(),
            protects: Protects::Part {
                parent: Some(backup),
                system: system_id,
                timeline,
                from: start_lsn,
            },
        }),
        Reads::Dump { .. } => None,
    }
}

fn known(backup: &Backup, problem: Option<String>) -> Known {
    Known {
        id: backup.id,
        parent: backup.parent,
        system: backup.system_id,
        timeline: backup.timeline,
        start: backup.start_lsn,
        stop: backup.stop_lsn,
        stop_time: backup.stop_time,
        standalone: backup.standalone,
        stored_bytes: backup.stored_bytes,
        problem,
    }
}

/// From the lower of the two positions on: the true start is known only after a while.
fn protects(id: BackupId, unfinished: &Unfinished) -> Protects {
    let Some(started) = &unfinished.started else {
        return Protects::Everything;
    };
    if id.kind() == BackupKind::Incremental && started.parent.is_none() {
        return Protects::Everything;
    }
    let alive = unfinished.alive.as_ref().map(|alive| alive.start_lsn);
    Protects::Part {
        parent: started.parent,
        system: started.system_id,
        timeline: started.timeline,
        from: alive.map_or(started.lower_bound, |alive| alive.min(started.lower_bound)),
    }
}

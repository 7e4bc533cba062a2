//! Reads what the repository has of the system that a restore is about.

use std::collections::BTreeMap;

use tracing::warn;

use super::{
    archive::Archive,
    target::{Target, Wish},
};
use crate::{
    error::{Error, Kind, Result},
    postgres::{lsn::TimelineId, timeline::TimelineHistory, wal_name::WalName},
    repo::{
        catalog::{Backup, State},
        repository::{Repository, System},
        wal_index::WalIndex,
    },
};

/// The system that the wish is about, and what the repository has of it.
pub fn load(repository: &Repository, wish: &Wish) -> Result<(System, Archive)> {
    let mut backups: Vec<Backup> = Vec::new();
    for entry in repository.backups()? {
        match entry.state {
            State::Complete(backup) => backups.push(*backup),
            State::Unreadable(why) => {
                warn!("backup {} can't be used: {}", entry.id, why);
            }
            State::Pending(_) | State::Unfinished(_) => {}
        }
    }
    let suits = |backup: &&Backup| match (wish.backup, &wish.target) {
        (Some(id), _) => backup.id == id,
        (None, Target::Time(time)) => backup.stop_time < *time,
        _ => true,
    };
    let newest = |backups: &[Backup], suits: &dyn Fn(&&Backup) -> bool| {
        backups
            .iter()
            .filter(|backup| suits(backup))
            .max_by_key(|backup| backup.stop_time)
            .map(|backup| backup.system_id)
    };
    // If none suits, any system serves to say what is possible.
    let system = newest(&backups, &suits)
        .or_else(|| newest(&backups, &|_| true))
        .ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                format!(
                    "cluster {} has no complete backup in repository {}",
                    repository.layout().cluster(),
                    repository.location()
                ),
            )
            .hint("make one with `pgstow base`; `pgstow list` shows what is there.")
        })?;
    backups.retain(|backup| backup.system_id == system);
    let system = repository.system(system)?;
    let archive = archive(repository, &system, backups)?;
    Ok((system, archive))
}

/// What the repository holds of one system; `backups` are its complete ones.
pub fn archive(repository: &Repository, system: &System, backups: Vec<Backup>) -> Result<Archive> {
    let wal = WalIndex::load(repository, system)?;
    let mut histories = BTreeMap::new();
    for timeline in wal.histories() {
        histories.insert(*timeline, read_history(repository, system, *timeline)?);
    }
    Ok(Archive {
        backups,
        wal,
        histories,
        rescued: Default::default(),
    })
}

fn read_history(
    repository: &Repository,
    system: &System,
    timeline: TimelineId,
) -> Result<TimelineHistory> {
    /// A line for each promotion: far more than any cluster has.
    const LIMIT: u64 = 1 << 20;
    let name = repository.layout().wal_file(
        system.system_id,
        WalName::History(timeline),
        system.wal_codec,
    );
    TimelineHistory::parse(timeline, &repository.storage().read(&name, LIMIT)?)
}

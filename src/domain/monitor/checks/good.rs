//! What a good backup is: one that a restore can rely on without a second thought.

use std::collections::BTreeSet;

use super::super::runs::Run;
use crate::{
    domain::setup::stored::Stored,
    repo::{
        backup_id::{BackupId, BackupKind},
        catalog::Backup,
    },
    util::clock::Time,
};

/// The good backups of a repository, by their ends, oldest first.
pub fn backups<'a>(stored: &'a Stored, runs: &[Run]) -> Vec<&'a Backup> {
    let damaged = damaged(&stored.name, runs);
    let all = &stored.archive.backups;
    let is_sound = |backup: &Backup| {
        backup.page_failures.is_empty()
            && !damaged.contains(&backup.id)
            // It can become consistent: its own WAL is there.
            && stored.archive.windows(backup).iter().any(|window| window.to_lsn.is_some())
    };
    let mut sound: BTreeSet<BackupId> = BTreeSet::new();
    let mut by_id: Vec<&Backup> = all.iter().collect();
    by_id.sort_by_key(|backup| backup.id);
    for backup in by_id {
        // A parent's id is older, so that it is judged already.
        let on_sound_ground = backup.parent.is_none_or(|parent| sound.contains(&parent));
        if on_sound_ground && is_sound(backup) {
            sound.insert(backup.id);
        }
    }
    let mut good: Vec<&Backup> = all.iter().filter(|one| sound.contains(&one.id)).collect();
    good.sort_by_key(|backup| backup.stop_time);
    good
}

pub fn newest_full<'a>(good: &[&'a Backup]) -> Option<&'a Backup> {
    let mut fulls = good.iter().rev();
    fulls
        .find(|backup| backup.kind == BackupKind::Full)
        .copied()
}

/// Backups that the last verification of each found damaged.
pub fn damaged(repository: &str, runs: &[Run]) -> BTreeSet<BackupId> {
    let mut damaged = BTreeSet::new();
    for run in runs.iter().filter(|run| run.repository == repository) {
        for id in &run.told.whole {
            damaged.remove(id);
        }
        damaged.extend(run.told.damaged.iter().copied());
    }
    damaged
}

/// The newest moment at which stored data of this repository was read and found right.
pub fn verified(stored: &Stored, runs: &[Run]) -> Option<Time> {
    let written = stored.archive.backups.iter().filter(|one| one.verified);
    let written = written.map(|one| one.stop_time).max();
    let runs = runs.iter().filter(|run| {
        run.repository == stored.name && run.exit_code == Some(0) && !run.told.whole.is_empty()
    });
    written.max(runs.filter_map(|run| run.ended).max())
}

//! What a good backup is: one that a restore can rely on without a second thought.

use std::collections::BTreeSet;

use crate::{
    domain::setup::stored::Stored,
    repo::{
        backup_id::{BackupId, BackupKind},
        catalog::Backup,
    },
    util::clock::Time,
};

/// The good backups of a repository, by their ends, oldest first.
pub fn backups(stored: &Stored) -> Vec<&Backup> {
    let damaged: BTreeSet<BackupId> = damaged(stored).collect();
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
pub fn damaged(stored: &Stored) -> impl Iterator<Item = BackupId> {
    let verdicts = stored.verdicts.values();
    verdicts.filter_map(|(_, word)| (!word.restorable).then_some(word.backup))
}

/// The newest moment at which stored data of this repository was read and found right.
pub fn verified(stored: &Stored) -> Option<Time> {
    let written = stored.archive.backups.iter().filter(|one| one.verified);
    let read = stored.verdicts.values().filter(|(_, word)| word.restorable);
    let times = written
        .map(|one| one.stop_time)
        .chain(read.map(|(time, _)| *time));
    times.max()
}

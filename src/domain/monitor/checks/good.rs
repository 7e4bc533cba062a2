//! The good backups of a repository: those that a restore can rely on without a second thought.

use crate::{
    domain::setup::stored::Stored,
    postgres::lsn::TimelineId,
    repo::{
        backup::Backup,
        backup_id::{BackupId, BackupKind},
        good::{self, Case},
    },
    util::clock::{self, Time},
};

/// The good backups of a repository, oldest first. None of a timeline whose history is
/// damaged: restores refuse these.
pub fn backups(stored: &Stored) -> Vec<&Backup> {
    let archive = &stored.archive;
    let damaged = archive.damaged_wal(stored.system.system_id);
    let lacks = |backup: &Backup| {
        let needed = backup.needed_segments();
        archive.wal.lacks(backup.timeline, &needed, &damaged)
    };
    let case = |backup: &Backup| Case {
        id: backup.id,
        parent: backup.parent,
        flaw: backup.flaw(archive.verdicts.word(backup.id)),
        lacks: lacks(backup).filter(|_| !backup.standalone),
    };
    let cases: Vec<Case> = archive.backups.iter().map(case).collect();
    let bad = good::bad(&cases);
    let is_good = |backup: &&Backup| {
        !bad.contains_key(&backup.id) && archive.history(backup.timeline).is_some()
    };
    archive.by_age().into_iter().filter(is_good).collect()
}

/// Of them those from which a restore can go along the server's timeline, if that is known.
pub fn leading(stored: &Stored, timeline: Option<TimelineId>) -> Vec<&Backup> {
    let mut good = backups(stored);
    good.retain(|backup| stored.leads_to(backup, timeline));
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
    let verdicts = stored.archive.verdicts.newest.values();
    verdicts.filter_map(|(_, word)| (!word.restorable).then_some(word.backup))
}

/// Whether the newest word on any backup was said without its key.
pub fn is_sealed(stored: &Stored) -> bool {
    let verdicts = stored.archive.verdicts.newest.values();
    let newest = verdicts.max_by_key(|(time, _)| *time);
    newest.is_some_and(|(_, word)| word.sealed)
}

/// The newest moment at which stored data of this repository was read and found right. What a clock that ran
/// ahead dated says nothing of today.
pub fn verified(stored: &Stored, now: Time) -> Option<Time> {
    let written = stored.archive.backups.iter().filter(|one| one.verified);
    let verdicts = stored.archive.verdicts.newest.values();
    let read = verdicts.filter(|(_, word)| word.restorable);
    let times = written
        .map(|one| one.stop_time)
        .chain(read.map(|(time, _)| *time));
    times.filter(|time| !clock::is_ahead(*time, now)).max()
}

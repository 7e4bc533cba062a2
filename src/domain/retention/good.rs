//! Which backups are good: whole, read again without damage, with the WAL that they need, on top of good
//! ones. Only these count. Pure.

use std::collections::BTreeMap;

use super::facts::{Facts, Known};
use crate::repo::backup_id::BackupId;

/// Of each backup that isn't good, why.
pub fn bad(facts: &Facts) -> BTreeMap<BackupId, String> {
    // Of backups whose files can't be used, whatever there is of their WAL, where that lies.
    let mut unusable: BTreeMap<BackupId, String> = BTreeMap::new();
    let mut bad = BTreeMap::new();
    // A parent's id is lower, so that it is judged before.
    for backup in facts.backups.values() {
        let below = || {
            let parent = backup.parent?;
            match facts.parent(backup) {
                None => Some(format!("{parent}, which it builds on, is gone")),
                Some(_) => unusable.get(&parent).cloned(),
            }
        };
        let own = backup
            .problem
            .as_ref()
            .map(|why| format!("{}: {why}", backup.id));
        if let Some(why) = own.or_else(below) {
            let told = backup.problem.clone();
            bad.insert(
                backup.id,
                told.unwrap_or_else(|| format!("what it builds on isn't: {why}")),
            );
            unusable.insert(backup.id, why);
        } else if let Some(why) = without_wal(facts, backup) {
            bad.insert(backup.id, why);
        }
    }
    bad
}

fn without_wal(facts: &Facts, backup: &Known) -> Option<String> {
    let system = facts.system(backup.system)?;
    if backup.standalone {
        return None;
    }
    let missing = system
        .wal
        .missing(backup.timeline, &backup.needed(system.wal.size()));
    let first = missing.first()?;
    let what = first.describe(system.wal.size());
    Some(format!("it needs WAL {what}, which is missing"))
}

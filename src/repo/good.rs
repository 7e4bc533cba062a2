//! Which backups are good: whole, read again without damage, with the WAL that they need, on top of others
//! whose files can be relied on. Only these count, for retention as for monitoring, and nothing is built on
//! files that can't be relied on. Pure.

use std::collections::BTreeMap;

use super::{
    backup::Backup,
    backup_id::BackupId,
    missing::{Missing, Numbers},
    verified::{Verdicts, VerifiedBackup},
    wal_index::WalIndex,
};
use crate::{postgres::lsn::TimelineId, util::units};

/// A backup that is to be judged, with what is known against it.
#[derive(Clone, Debug)]
pub struct Case {
    pub id: BackupId,
    pub parent: Option<BackupId>,
    /// What is wrong with its own files.
    pub flaw: Option<String>,
    /// What of its own WAL is missing or damaged. Those that build on it have WAL of their own.
    pub lacks: Option<String>,
}

/// Of each backup that isn't good, why.
pub fn bad(cases: &[Case]) -> BTreeMap<BackupId, String> {
    let mut bad = flawed(cases);
    for case in cases {
        if let Some(lacks) = &case.lacks {
            bad.entry(case.id).or_insert_with(|| lacks.clone());
        }
    }
    bad
}

/// Of each backup whose files can't be relied on, whatever there is of its WAL, why.
pub fn flawed(cases: &[Case]) -> BTreeMap<BackupId, String> {
    let by_id: BTreeMap<BackupId, &Case> = cases.iter().map(|case| (case.id, case)).collect();
    // With the backup where the reason lies. A parent's id is lower, so that it is judged before.
    let mut reasons: BTreeMap<BackupId, String> = BTreeMap::new();
    let mut flawed = BTreeMap::new();
    for (id, case) in &by_id {
        let below = |parent: BackupId| match parent < *id && by_id.contains_key(&parent) {
            false => Some(format!("{parent}, which it builds on, is gone")),
            true => reasons.get(&parent).cloned(),
        };
        let (told, reason) = match (&case.flaw, case.parent.and_then(below)) {
            (Some(flaw), _) => (flaw.clone(), format!("{id}: {flaw}")),
            (None, Some(why)) => (format!("what it builds on isn't: {why}"), why),
            (None, None) => continue,
        };
        flawed.insert(*id, told);
        reasons.insert(*id, reason);
    }
    flawed
}

/// Of each of these complete backups that nothing may be built on, why; `verdicts`: what `verify` said last.
pub fn flawed_of<'a>(
    complete: impl IntoIterator<Item = &'a Backup>,
    verdicts: &Verdicts,
) -> BTreeMap<BackupId, String> {
    by_files(complete, |backup| backup.flaw(verdicts.word(backup.id)))
}

/// Of each of these that lost something since it was written, or builds on one that did, why. Pages that were
/// damaged in the server are there as they were.
pub fn torn_of<'a>(
    complete: impl IntoIterator<Item = &'a Backup>,
    verdicts: &Verdicts,
) -> BTreeMap<BackupId, String> {
    let flaw = |backup: &Backup| verdicts.word(backup.id)?.flaw();
    by_files(complete, flaw)
}

/// A child starts behind the WAL of what it builds on.
fn by_files<'a>(
    complete: impl IntoIterator<Item = &'a Backup>,
    flaw: impl Fn(&Backup) -> Option<String>,
) -> BTreeMap<BackupId, String> {
    let case = |backup: &Backup| Case {
        id: backup.id,
        parent: backup.parent,
        flaw: flaw(backup),
        lacks: None,
    };
    let cases: Vec<Case> = complete.into_iter().map(case).collect();
    flawed(&cases)
}

impl Backup {
    /// What is wrong with its files, though all are there: pages that were damaged in the server, or what
    /// `verify` said last.
    pub fn flaw(&self, verdict: Option<&VerifiedBackup>) -> Option<String> {
        let failures = self.page_failures.len() as u64;
        let pages = || format!("it has {}", units::count(failures, "damaged page"));
        let own = (failures > 0).then(pages);
        own.or_else(|| verdict?.flaw())
    }
}

impl VerifiedBackup {
    /// What it says against the backup's files.
    pub fn flaw(&self) -> Option<String> {
        (!self.restorable).then(|| "`pgstow verify` found it damaged".to_owned())
    }
}

impl WalIndex {
    /// What can't be had of the segments that a backup on `timeline` needs to become consistent; `damaged`: what
    /// `verify` found so, and what is still there.
    pub fn lacks(
        &self,
        timeline: TimelineId,
        needed: &Numbers,
        damaged: &[Missing],
    ) -> Option<String> {
        if let Some(missing) = self.missing(timeline, needed).first() {
            let what = missing.describe(self.size());
            return Some(format!("it needs WAL {what}, which is missing"));
        }
        let sound = self.without(damaged).missing(timeline, needed);
        let what = sound.first()?.describe(self.size());
        Some(format!(
            "it needs WAL {what}, which `pgstow verify --wal` found damaged"
        ))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_as_good_as_its_worst_files() {
        let id = |hour: u32| -> BackupId {
            let kind = if hour == 1 { "full" } else { "incr" };
            format!("20261121T0{hour}0000Z-{kind}").parse().unwrap()
        };
        let case = |hour, parent: Option<u32>, flaw: &str, lacks: &str| {
            let told = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            Case {
                id: id(hour),
                parent: parent.map(id),
                flaw: told(flaw),
                lacks: told(lacks),
            }
        };
        // In any order; the WAL of the first is nobody else's need.
        let cases = [
            case(3, Some(2), "", ""),
            case(2, Some(1), "torn", "no WAL"),
            case(1, None, "", "no WAL"),
            case(4, Some(1), "", ""),
            case(5, Some(7), "", ""),
        ];
        let told = |judged: BTreeMap<BackupId, String>| -> Vec<(BackupId, String)> {
            judged.into_iter().collect()
        };
        let torn = format!("what it builds on isn't: {}: torn", id(2));
        let gone = format!(
            "what it builds on isn't: {}, which it builds on, is gone",
            id(7)
        );
        let flaws = [(id(2), "torn".to_owned()), (id(3), torn), (id(5), gone)];
        assert_eq!(told(flawed(&cases)), flaws);
        let first = [(id(1), "no WAL".to_owned())];
        assert_eq!(told(bad(&cases)), [&first[..], &flaws].concat());
    }
}

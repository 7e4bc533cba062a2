//! The WAL of one system: what was found, what it means for the backups, and what is of the past.
//!
//! What is damaged or missing is kept in the repository, since later runs may read no WAL, and `monitor` and `check`
//! never do. It is a finding as long as no good backup is behind it, and at least once: from then on it is the past,
//! so that it doesn't hide what is found after it.

use serde::Serialize;

use super::{keep, minimal};
use crate::{
    commands::context::Context,
    domain::{
        restore::{archive::Archive, load},
        sync::repair::Repair,
        wal::verify::{self, WalChecked, WalFinding},
    },
    error::{Kind, Result},
    postgres::{
        lsn::{Lsn, SystemId},
        wal_name::{Segment, SegmentSize, WalName},
    },
    repo::{
        backup::Backup,
        inventory::Unregistered,
        missing::Missing,
        repository::{Repository, System},
        verified::{Verdicts, Verified},
        verified_wal::{VerifiedWal, WalRange, WalWord},
    },
};

#[derive(Debug, Serialize)]
pub struct CheckedWal {
    pub system_id: SystemId,
    #[serde(flatten)]
    pub checked: WalChecked,
    /// What it means for each backup that can't be restored to all that came after it.
    pub affected: Vec<String>,
    /// What recovery would end at, and no backup needs any more that one would take.
    pub past: Vec<WalFinding>,
}

/// Reads all WAL of `system`, whose complete backups these are.
pub fn check(
    context: &Context,
    repository: &Repository,
    system: &System,
    backups: Vec<Backup>,
    jobs: usize,
) -> Result<CheckedWal> {
    let mut checked = verify::verify(repository, system, jobs, &context.cancel, &context.meter)?;
    let archive = load::archive(repository, system, backups)?;
    if checked.sealed > 0 {
        let doubted = doubted(repository, system, &archive.verdicts);
        checked.findings.extend(doubted);
    }
    let of_wal = checked.findings.iter().filter_map(|finding| finding.lost);
    let mut lost: Vec<Missing> = of_wal.collect();
    let mut past = note(repository, system, &archive, &lost, &mut checked);
    past.extend(minimal::judge(repository, system, &archive, &mut checked));
    lost.extend(checked.findings.iter().filter_map(|finding| finding.lost));
    checked.findings.extend(missing_histories(&archive));
    let affected = archive.backups.iter();
    let affected = affected.flat_map(|one| archive.consequences(one, &lost));
    Ok(CheckedWal {
        system_id: system.system_id,
        affected: affected.collect(),
        checked,
        past,
    })
}

/// What a run with the key found damaged, and this one can't look into.
fn doubted(repository: &Repository, system: &System, verdicts: &Verdicts) -> Vec<WalFinding> {
    let size = system.segment_size;
    let damaged = verdicts.wal.get(&system.system_id).into_iter();
    let damaged = damaged.flat_map(|word| word.damaged.iter().map(|range| range.numbers(size)));
    let segments = damaged.flat_map(|range| {
        let one = move |number| Missing {
            first: number,
            last: number,
            ..range
        };
        range.numbers().map(one)
    });
    let found = segments.filter_map(|segment| {
        let file = WalName::Segment(Segment::nth(segment.timeline, segment.first, size));
        let object = repository.wal_object(system, file);
        let opened = repository
            .read_coded(&object, system.coding_of(file))
            .err()?;
        (opened.kind() == Kind::Key).then(|| WalFinding {
            object: repository.storage().place(&object),
            what: "`pgstow verify` found it damaged where the key was".to_owned(),
            lost: Some(segment),
            file: None,
        })
    });
    found.collect()
}

/// Of what was healed and can't be looked into the words of before hold no more.
pub fn settle(
    repository: &Repository,
    system: &System,
    checked: &CheckedWal,
    repairs: &[Repair],
) -> Result<()> {
    let mut verdicts = repository.verdicts(|_| true)?;
    let Some(word) = verdicts.wal.remove(&system.system_id) else {
        return Ok(());
    };
    if checked.checked.sealed == 0 {
        return Ok(());
    }
    let size = system.segment_size;
    let is_healed = |lost: &Missing| {
        let segment = Segment::nth(lost.timeline, lost.first, size);
        let object = repository.wal_object(system, WalName::Segment(segment));
        let place = repository.storage().place(&object);
        let mut healed = repairs.iter().filter(|repair| repair.is_done());
        healed.any(|repair| repair.object == place)
    };
    let lost = checked.checked.findings.iter().chain(&checked.past);
    let lost = lost.filter_map(|finding| finding.lost);
    let healed: Vec<Missing> = lost.filter(is_healed).collect();
    let damaged = word.damaged.iter().map(|range| range.numbers(size));
    let left = damaged.flat_map(|range| range.without(&healed));
    let word = VerifiedWal {
        system_id: system.system_id,
        damaged: WalRange::joined(left, size),
        missing: word.missing,
        sealed: false,
    };
    keep::keep(
        repository,
        &Verified {
            wal: vec![word],
            ..Verified::now()
        },
    );
    Ok(())
}

/// Keeps what was found `lost`, and takes what is of the past out of the findings.
fn note(
    repository: &Repository,
    system: &System,
    archive: &Archive,
    lost: &[Missing],
    checked: &mut WalChecked,
) -> Vec<WalFinding> {
    let size = system.segment_size;
    let nothing = WalWord::default();
    let known = archive.verdicts.wal.get(&system.system_id);
    let known = known.unwrap_or(&nothing);
    let is_there = |range: &Missing| {
        archive
            .wal
            .missing(range.timeline, &range.numbers())
            .is_empty()
    };
    let (damaged, missing): (Vec<Missing>, Vec<Missing>) = lost.iter().copied().partition(is_there);
    let word = VerifiedWal {
        system_id: system.system_id,
        damaged: WalRange::joined(damaged, size),
        missing: WalRange::joined(missing, size),
        sealed: checked.sealed > 0,
    };
    if !known.is_said_by(&word) {
        keep::keep(
            repository,
            &Verified {
                wal: vec![word],
                ..Verified::now()
            },
        );
    }
    // Of what is only counted nobody knows whether it is new.
    if checked.more > 0 {
        return Vec::new();
    }
    let mut past = Vec::new();
    checked.findings.retain_mut(|finding| {
        let told = finding.lost.filter(|lost| known.tells_of(*lost, size));
        let behind = told.and_then(|lost| {
            let mut behind = archive.behind_minimal(lost.timeline, last_byte(lost, size));
            behind.next()
        });
        let Some(behind) = behind else {
            return true;
        };
        past.push(WalFinding {
            what: format!(
                "{}; {} needs nothing from before it",
                finding.what, behind.id
            ),
            ..finding.clone()
        });
        false
    });
    past
}

fn last_byte(lost: Missing, size: SegmentSize) -> Lsn {
    Lsn((lost.last + 1) * size.bytes() - 1)
}

/// Damaged ones were found when they were read.
fn missing_histories(archive: &Archive) -> impl Iterator<Item = WalFinding> {
    let rootless = archive.rootless.values();
    let missing = rootless.filter(|rootless| rootless.damage.is_none());
    missing.map(|rootless| WalFinding {
        object: rootless.file.clone(),
        what: format!(
            "is missing, the history of timeline {}: {}; {}",
            rootless.timeline,
            rootless.loss(),
            rootless.cure()
        ),
        lost: None,
        file: Some(WalName::History(rootless.timeline)),
    })
}

/// Without its registration none of a system's WAL can be read.
pub fn unregistered(lost: Unregistered) -> CheckedWal {
    let affected = lost.backups.iter();
    CheckedWal {
        system_id: lost.system_id,
        affected: affected
            .map(|id| format!("{id} can't be restored at all"))
            .collect(),
        checked: WalChecked {
            findings: vec![WalFinding {
                what: lost.what(),
                object: lost.file,
                lost: None,
                file: None,
            }],
            ..WalChecked::default()
        },
        past: Vec::new(),
    }
}

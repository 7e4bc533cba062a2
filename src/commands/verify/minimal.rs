//! WAL of `wal_level = minimal` that was read: a finding until a good backup begins behind it, the past from then on.
//! It is noted in the repository either way: `monitor` and `check` read no WAL.

use tracing::warn;

use crate::{
    domain::{
        restore::archive::Archive,
        wal::verify::{WalChecked, WalFinding},
    },
    postgres::wal_name::WalName,
    repo::{
        missing::Missing,
        repository::{Repository, System},
    },
};

/// What is of no consequence any more; the others become findings of `checked`.
pub fn judge(
    repository: &Repository,
    system: &System,
    archive: &Archive,
    checked: &mut WalChecked,
) -> Vec<WalFinding> {
    let mut past = Vec::new();
    for ((timeline, at), segment) in std::mem::take(&mut checked.minimal) {
        if let Err(error) = repository.add_minimal(system.system_id, timeline, at) {
            let error = error.in_one_line();
            warn!("WAL of wal_level = minimal can't be noted in the repository: {error}");
        }
        let object = repository.wal_object(system, WalName::Segment(segment));
        let object = repository.storage().place(&object);
        let what = format!(
            "at {at} wal_level was set to minimal: recovery ends there, so no backup from before it can be restored to anything behind it"
        );
        match archive.behind_minimal(timeline, at).next() {
            None => checked.findings.push(WalFinding {
                object,
                what: format!("{what}; take a new full backup now (`pgstow base --full`)"),
                lost: Some(Missing {
                    timeline: segment.timeline,
                    first: segment.number(system.segment_size),
                    last: segment.number(system.segment_size),
                }),
                file: None,
            }),
            Some(behind) => past.push(WalFinding {
                object,
                what: format!("{what}; {} needs nothing from before it", behind.id),
                lost: None,
                file: None,
            }),
        }
    }
    past
}

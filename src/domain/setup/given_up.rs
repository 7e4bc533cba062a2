//! WAL that the safety valve `wal.drop_above` gave up: critical until a full backup lies behind it.

use std::path::Path;

use super::finding::Finding;
use crate::{
    domain::{restore::archive::Archive, wal::gaps},
    postgres::wal_name::Segment,
    repo::{backup_id::BackupKind, gap::Gap},
};

const NAME: &str = "given up";
const TAKE: &str = "take a full backup now with `pgstow base`: from it WAL leads on again; if pg_wal of any server still has these segments, `pgstow archive-wal` can store them.";

/// What the repositories were not told of yet, because archiving has not worked since.
pub fn noted(state_folder: &Path) -> Vec<Finding> {
    match gaps::noted(state_folder) {
        Err(error) => vec![Finding::of_error(NAME, &error)],
        Ok(gaps) => untold(&gaps),
    }
}

/// The findings on gaps that are only noted on this host.
pub fn untold<'a>(gaps: impl IntoIterator<Item = &'a Gap>) -> Vec<Finding> {
    let tell = |gap: &Gap| {
        let (first, last) = (gap.first, gap.last);
        let what = format!("WAL {first} to {last} is given up, and archiving has not worked since");
        // By the name that it has when the repository was told, too.
        Finding::critical(NAME, what, TAKE).about(first)
    };
    gaps.into_iter().map(tell).collect()
}

/// What is missing behind the beginning of the newest full backup; nothing before the first backup.
pub fn stored(archive: &Archive, repository: &str) -> Vec<Finding> {
    let size = archive.wal.size();
    let mut by_age = archive.by_age().into_iter().rev();
    let Some(newest) = by_age.find(|backup| backup.kind == BackupKind::Full) else {
        return Vec::new();
    };
    let begin = newest.start_lsn.0 / size.bytes();
    let lost = archive.wal.lost().into_iter();
    lost.filter(|range| range.last >= begin)
        .map(|range| {
            let what = format!(
                "WAL {} is given up, and missing in repository {repository}",
                range.describe(size)
            );
            let first = Segment::nth(range.timeline, range.first, size);
            Finding::critical(NAME, what, TAKE).about(first)
        })
        .collect()
}

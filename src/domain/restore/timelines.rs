//! Which timeline a wish means. Pure.

use super::{
    archive::Archive,
    target::{TimelineWish, Wish},
};
use crate::{
    error::{Error, Kind, Result},
    postgres::{lsn::TimelineId, timeline::TimelineHistory, wal_name::Segment},
    repo::backup::Backup,
};

/// Resolves the timeline to a number, and thereby to a history.
pub fn resolve(
    archive: &Archive,
    wish: &Wish,
    named: Option<&Backup>,
    reasons: &mut Vec<String>,
) -> Result<TimelineHistory> {
    let unknown = |timeline: TimelineId| {
        let known: Vec<String> = archive
            .timelines()
            .iter()
            .map(TimelineId::to_string)
            .collect();
        Error::new(
            Kind::NotFound,
            format!(
                "the repository has nothing of timeline {timeline}; it has {}",
                known.join(", ")
            ),
        )
    };
    let number = match (wish.timeline, named) {
        (TimelineWish::Number(number), _) => {
            reasons.push(format!("timeline {number}, as asked for"));
            number
        }
        (TimelineWish::Current, _) => {
            let suits = |backup: &&Backup| wish.target.is_behind(backup);
            let newest = archive
                .backups
                .iter()
                .filter(suits)
                .max_by_key(|backup| backup.stop_time);
            let backup = named
                .or(newest)
                .ok_or_else(|| Error::failed(format!("no backup ended before {}", wish.target)))?;
            reasons.push(format!(
                "timeline {} is that of backup {}",
                backup.timeline, backup.id
            ));
            backup.timeline
        }
        (TimelineWish::Latest, _) => return latest(archive, named, reasons),
    };
    archive.history(number).ok_or_else(|| {
        let damaged = archive.rootless.get(&number);
        damaged.map_or_else(
            || unknown(number),
            |rootless| rootless.error(&format!("what leads to timeline {number} is not known")),
        )
    })
}

/// The newest timeline; with a backup, the newest that descends from it.
fn latest(
    archive: &Archive,
    named: Option<&Backup>,
    reasons: &mut Vec<String>,
) -> Result<TimelineHistory> {
    let size = archive.wal.size();
    for timeline in archive.timelines().into_iter().rev() {
        // Taken for no descendant, it would be left out in silence, and its rows with it.
        if let Some(rootless) = archive.rootless.get(&timeline)
            && (rootless.damage.is_some()
                || named.is_some_and(|backup| backup.timeline != timeline))
        {
            return Err(rootless.error(&match named {
                Some(backup) => format!(
                    "whether timeline {timeline} leads on from backup {} is not known",
                    backup.id
                ),
                None => {
                    format!("timeline {timeline} is the newest, and what leads to it is not known")
                }
            }));
        }
        let Some(history) = archive.history(timeline) else {
            continue;
        };
        if named.is_some_and(|backup| !history.contains(backup.timeline, backup.stop_lsn)) {
            continue;
        }
        // Right after a promotion there is the history alone, and the timeline's beginning is
        // the end of the one before it.
        let begun = archive.wal.last(timeline).is_some()
            || archive
                .backups
                .iter()
                .any(|backup| backup.timeline == timeline);
        let from = history.path().last().map(|span| span.from);
        let parent = history.ancestors.last().map(|ancestor| ancestor.timeline);
        let at_hand = |from| {
            let first = Segment::holding(timeline, from, size);
            archive.wal.live_upto(first).is_some() || archive.rescued.contains(&first)
        };
        let begun = begun || from.is_some_and(at_hand);
        if let (false, Some(from), Some(parent)) = (begun, from, parent) {
            if archive
                .wal
                .last(parent)
                .is_some_and(|last| last >= from.0 / size.bytes())
            {
                return Err(Error::failed(format!(
                    "timeline {timeline} begins at {from} and none of its WAL is in the repository, while its parent {parent} goes on behind that: \
                     say which is meant by --target-timeline"
                )));
            }
            reasons.push(format!(
                "timeline {timeline} has only its history file here: its beginning, {from}, is the end of timeline {parent}"
            ));
            continue;
        }
        reasons.push(match named {
            Some(backup) => format!(
                "timeline {timeline} is the newest that descends from {}",
                backup.id
            ),
            None => format!("timeline {timeline} is the newest"),
        });
        return Ok(history);
    }
    Err(Error::new(
        Kind::NotFound,
        "there is no complete backup in the repository",
    )
    .hint("make one with `pgstow base`; `pgstow list` shows what is there."))
}

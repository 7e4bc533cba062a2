//! From where to where a restore is possible, for the hint of a refusal. Pure.

use super::{archive::Archive, path::Reach};
use crate::{postgres::lsn::TimelineId, util::clock::readable};

/// More lines would hide the message.
const LINES: usize = 6;

/// A sentence for each of the newest backups.
pub fn possible(archive: &Archive) -> String {
    let mut backups: Vec<_> = archive.backups.iter().collect();
    backups.sort_by_key(|backup| std::cmp::Reverse(backup.stop_time));
    let size = archive.wal.size();
    let mut lines = Vec::new();
    for backup in &backups {
        for timeline in archive.timelines() {
            let Some(history) = archive.history(timeline) else {
                continue;
            };
            if !history.contains(backup.timeline, backup.stop_lsn) {
                continue;
            }
            let reach = Reach::of(backup, &history, &archive.wal);
            let end = reach.end(size).filter(|end| *end >= backup.stop_lsn);
            // A way that ends before this timeline begins is that of its parent.
            if reach
                .legs
                .last()
                .is_some_and(|leg| leg.timeline != timeline)
                && reach.hole.is_none()
            {
                continue;
            }
            lines.push(line(
                backup.id.to_string(),
                readable(backup.stop_time),
                backup.stop_lsn,
                end,
                timeline,
            ));
        }
    }
    match lines.len() {
        0 => "there is nothing to restore from; `pgstow list` shows what the repository has."
            .to_owned(),
        count => {
            lines.truncate(LINES);
            let more = if count > LINES {
                "; `pgstow list` shows more"
            } else {
                ""
            };
            format!("possible are {}{more}.", lines.join("; "))
        }
    }
}

fn line(
    id: String,
    time: String,
    from: crate::postgres::lsn::Lsn,
    to: Option<crate::postgres::lsn::Lsn>,
    timeline: TimelineId,
) -> String {
    match to {
        Some(to) => format!("{id} from {time} (LSN {from}) to LSN {to} on timeline {timeline}"),
        None => format!("{id} not at all on timeline {timeline}, whose WAL is missing"),
    }
}

//! From where to where a restore is possible, for the hint of a refusal. Pure.

use super::{archive::Archive, windows::Window};
use crate::{
    repo::{backup::Backup, backup_id::BackupId},
    util::clock::readable,
};

/// More lines would hide the message.
const LINES: usize = 6;

/// A sentence for each of the newest backups.
pub fn possible(archive: &Archive) -> String {
    let torn = archive.torn();
    let whole = |backup: &&Backup| !torn.contains_key(&backup.id);
    let newest_first = archive.by_age().into_iter().rev();
    let windows = newest_first.filter(whole).flat_map(|backup| {
        archive
            .windows(backup)
            .into_iter()
            .map(|window| line(backup.id, &window))
    });
    let mut lines: Vec<String> = windows.collect();
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

fn line(id: BackupId, window: &Window) -> String {
    let timeline = window.timeline;
    match window.to_lsn {
        Some(to) => format!(
            // Recovery stops at a record that begins at the target or behind it: none begins where the WAL ends.
            "{id} from {} (LSN {}) to any LSN before {to} on timeline {timeline}",
            readable(window.from_time),
            window.from_lsn
        ),
        None => format!("{id} not at all on timeline {timeline}, whose WAL is missing"),
    }
}

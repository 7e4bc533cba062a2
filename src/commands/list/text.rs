//! A list as people read it: tables, then what they have no room for.

use std::io::{self, Write};

use super::{
    super::{
        base::write_page_failures,
        report::Report,
        table::{Align, Table},
    },
    ListReport,
};
use crate::{
    domain::list::{Line, LineState, Listing, ShownWindow},
    postgres::version,
    repo::backup::Backup,
    util::{
        clock::{readable, whole_seconds},
        units,
    },
};

impl Report for ListReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let listing = &self.listing;
        writeln!(
            out,
            "cluster {} in {}\n",
            listing.cluster, listing.repository
        )?;
        if listing.backups.is_empty() {
            writeln!(out, "no backups yet; take one with `pgstow base`")?;
        } else {
            listing.table().write(out)?;
            listing.windows(out)?;
        }
        for line in &listing.backups {
            line.remarks(out)?;
        }
        if self.in_full {
            for backup in listing
                .backups
                .iter()
                .filter_map(|line| line.backup.as_ref())
            {
                in_full(backup, out)?;
            }
        }
        listing.wal(out)?;
        for further in &self.further {
            let name = &further.repository;
            writeln!(
                out,
                "\nREPOSITORY {name} LEADS FURTHER: its WAL goes to {} on timeline {} (`pgstow --repo {name} list`); a restore that names \
                 no repository goes along it where a backup there leads to it",
                further.lsn, further.timeline
            )?;
        }
        Ok(())
    }
}

impl Listing {
    fn table(&self) -> Table {
        let mut columns = vec![
            ("backup", Align::Left),
            ("state", Align::Left),
            ("PostgreSQL", Align::Left),
            ("ended", Align::Left),
            ("took", Align::Right),
            ("size", Align::Right),
            ("stored", Align::Right),
            ("ratio", Align::Right),
            ("checked", Align::Left),
        ];
        if self.backups.iter().any(|line| line.parent.is_some()) {
            columns.extend([("builds on", Align::Left), ("chain of", Align::Right)]);
        }
        let mut table = Table::new(&columns);
        for line in &self.backups {
            let Some(backup) = &line.backup else {
                let empty = (2..9).map(|_| String::new());
                let known = [line.id.to_string(), line.state.word().to_owned()];
                table.row(known.into_iter().chain(empty).chain(line.chain()));
                continue;
            };
            let ratio = backup.bytes as f64 / backup.stored_bytes.max(1) as f64;
            let own = [
                line.id.to_string(),
                line.state.word().to_owned(),
                version::readable(backup.postgres_version),
                readable(whole_seconds(backup.stop_time)),
                units::duration(backup.duration()),
                units::bytes(backup.bytes),
                units::bytes(backup.stored_bytes),
                format!("{ratio:.1}"),
                checked(line, backup),
            ];
            table.row(own.into_iter().chain(line.chain()));
        }
        table
    }

    fn windows(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new(&[
            ("restorable with", Align::Left),
            ("timeline", Align::Right),
            ("from", Align::Left),
            ("to LSN", Align::Left),
            ("archived", Align::Left),
            ("WAL missing behind it", Align::Left),
        ]);
        for line in &self.backups {
            let Some(backup) = &line.backup else { continue };
            for ShownWindow {
                window,
                to_archived,
                ..
            } in &line.windows
            {
                let missing = window
                    .missing
                    .map(|missing| missing.describe(backup.segment_size));
                table.row([
                    line.id.to_string(),
                    window.timeline.to_string(),
                    readable(window.from_time),
                    window
                        .to_lsn
                        .map_or("NOT RESTORABLE".to_owned(), |lsn| lsn.to_string()),
                    to_archived
                        .map(|time| readable(whole_seconds(time)))
                        .unwrap_or_default(),
                    missing.unwrap_or_default(),
                ]);
            }
        }
        if table.is_empty() {
            return Ok(());
        }
        writeln!(out)?;
        table.write(out)
    }

    fn wal(&self, out: &mut dyn Write) -> io::Result<()> {
        for wal in &self.wal {
            let newest = match (&wal.newest, wal.newest_archived) {
                (Some(segment), Some(time)) => {
                    format!(
                        ", newest {segment} archived at {}",
                        readable(whole_seconds(time))
                    )
                }
                _ => String::new(),
            };
            writeln!(
                out,
                "\nWAL of system {} (PostgreSQL {}): {}, {} stored{newest}",
                wal.system_id,
                wal.postgres_major,
                units::count(wal.segments, "segment"),
                units::bytes(wal.stored_bytes)
            )?;
            if let Some(forecast) = &wal.forecast {
                writeln!(out, "a restore to its end takes {forecast}")?;
            }
            for range in &wal.given_up {
                writeln!(
                    out,
                    "\nGIVEN UP by wal.drop_above: {} to {}; what comes behind can be restored only with a full backup that was begun later",
                    range.first_segment, range.last_segment
                )?;
            }
            for range in &wal.damaged {
                writeln!(
                    out,
                    "\nDAMAGED, as `pgstow verify --wal` found: {} to {}; what comes behind can be restored only from a backup that was begun later",
                    range.first_segment, range.last_segment
                )?;
            }
            for history in &wal.bad_histories {
                writeln!(
                    out,
                    "\nHISTORY OF TIMELINE {}: {history}: {}; {}",
                    history.timeline,
                    history.loss(),
                    history.cure()
                )?;
            }
        }
        for lost in &self.unregistered {
            writeln!(
                out,
                "\nSYSTEM {}: {} {}",
                lost.system_id,
                lost.file,
                lost.what()
            )?;
        }
        Ok(())
    }
}

impl Line {
    /// What it builds on, and how many backups a restore of it reads.
    fn chain(&self) -> [String; 2] {
        let Some(parent) = self.parent else {
            return Default::default();
        };
        let length = self.chain_length.map(|length| length.to_string());
        [parent.to_string(), length.unwrap_or_else(|| "?".to_owned())]
    }

    /// What a table has no room for.
    fn remarks(&self, out: &mut dyn Write) -> io::Result<()> {
        if let Some(note) = &self.note {
            writeln!(out, "\n{}: {note}", self.id)?;
        }
        if let Some(drill) = &self.drill {
            let (id, when) = (self.id, readable(whole_seconds(drill.time)));
            match drill.proven {
                true => writeln!(
                    out,
                    "\n{id}: proven by the drill of {when}, to {}",
                    drill.to
                )?,
                false => writeln!(
                    out,
                    "\n{id}: NOT PROVEN by the drill of {when}: {}",
                    drill.failed.join(", ")
                )?,
            }
        }
        if let Some(pin) = &self.pin {
            let until = pin.until.map(|until| format!(" until {}", readable(until)));
            let reason = pin.reason.as_ref().map(|reason| format!(": {reason}"));
            let (until, reason) = (until.unwrap_or_default(), reason.unwrap_or_default());
            writeln!(out, "\n{}: pinned{until}{reason}", self.id)?;
        }
        let Some(backup) = &self.backup else {
            return Ok(());
        };
        if self.state == LineState::Pending && self.note.is_none() {
            let size = backup.segment_size;
            let waits: Vec<String> = self
                .waits_for
                .iter()
                .map(|named| named.missing.describe(size))
                .collect();
            match waits.is_empty() {
                true => writeln!(
                    out,
                    "\n{}: its WAL is here now; `pgstow base --finish {}` makes it count",
                    self.id, self.id
                )?,
                false => writeln!(
                    out,
                    "\n{}: NOT RESTORABLE YET, waits for WAL {}",
                    self.id,
                    waits.join(", ")
                )?,
            }
        }
        if !backup.page_failures.is_empty() {
            writeln!(
                out,
                "\n{}: the server had damaged pages when it was taken:",
                self.id
            )?;
            write_page_failures(backup, out)?;
        }
        Ok(())
    }
}

/// Every field that says something to a person.
fn in_full(backup: &Backup, out: &mut dyn Write) -> io::Result<()> {
    let mut field = |name: &str, value: String| match value.is_empty() {
        true => Ok(()),
        false => writeln!(out, "  {name:<18} {value}"),
    };
    field("label", backup.label.clone())?;
    field("kind", backup.kind.to_string())?;
    field(
        "parent",
        backup.parent.map(|id| id.to_string()).unwrap_or_default(),
    )?;
    field("system", backup.system_id.to_string())?;
    field("timeline", backup.timeline.to_string())?;
    field(
        "start",
        format!("{} at {}", backup.start_lsn, readable(backup.start_time)),
    )?;
    field(
        "stop",
        format!("{} at {}", backup.stop_lsn, readable(backup.stop_time)),
    )?;
    field(
        "needs WAL",
        format!("{} to {}", backup.start_segment, backup.stop_segment),
    )?;
    field(
        "holds its WAL",
        if backup.standalone { "yes" } else { "no" }.to_owned(),
    )?;
    field(
        "taken from",
        format!(
            "{} ({})",
            backup.data_directory,
            if backup.standby { "standby" } else { "primary" }
        ),
    )?;
    field("on host", backup.host.clone())?;
    field(
        "data checksums",
        if backup.data_checksums { "on" } else { "off" }.to_owned(),
    )?;
    field("files", backup.files.to_string())?;
    field("parts", backup.parts.len().to_string())?;
    field("encrypted for", backup.recipients.join(", "))?;
    for tablespace in &backup.tablespaces {
        field(
            "tablespace",
            format!(
                "{} at {}, {}",
                tablespace.oid,
                tablespace.location.0.display(),
                units::bytes(tablespace.bytes)
            ),
        )?;
    }
    field("configuration", backup.config_files.join(", "))?;
    field("not included", backup.config_missing.join(", "))?;
    for (key, value) in &backup.annotations {
        field(key, value.clone())?;
    }
    field("pgstow", backup.pgstow_version.clone())
}

fn checked(line: &Line, backup: &Backup) -> String {
    let proven = line.drill.as_ref().map(|drill| drill.proven);
    let word = match (proven, backup.page_failures.is_empty(), backup.verified) {
        (Some(false), ..) => "DRILL FAILED",
        (_, false, _) => "DAMAGED PAGES",
        (Some(true), true, _) => "proven",
        (None, true, true) => "re-read",
        (None, true, false) => "no",
    };
    word.to_owned()
}

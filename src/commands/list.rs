//! `pgstow list`: the backups, and from where to where a restore is possible.

use std::io::{self, Write};

use serde::Serialize;

use super::{
    base::write_page_failures,
    context::Context,
    options::ListOptions,
    report::Report,
    table::{Align, Table},
};
use crate::{
    domain::{
        backup::{claim, seal},
        restore::{archive::Archive, load, windows::Window},
    },
    error::{Error, Kind, Result},
    postgres::{
        lsn::SystemId,
        wal_name::{Segment, SegmentSize, WalName},
    },
    repo::{
        backup_id::BackupId,
        catalog::{Backup, State, Unfinished},
        repository::{Repository, System},
        wal_index::Missing,
    },
    util::{
        clock::{self, Time, readable},
        units,
    },
};

#[derive(Debug, Serialize)]
pub struct ListReport {
    repository: String,
    cluster: String,
    backups: Vec<Line>,
    wal: Vec<Wal>,
    #[serde(skip)]
    in_full: bool,
}

/// One backup, whatever its state.
#[derive(Debug, Serialize)]
struct Line {
    id: BackupId,
    state: LineState,
    #[serde(skip_serializing_if = "Option::is_none")]
    backup: Option<Box<Backup>>,
    /// To where a complete backup can be restored.
    windows: Vec<ShownWindow>,
    /// WAL that a pending one waits for.
    waits_for: Vec<Missing>,
    /// Of one that runs or was interrupted.
    note: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum LineState {
    Complete,
    Pending,
    Running,
    Interrupted,
}

#[derive(Debug, Serialize)]
struct ShownWindow {
    #[serde(flatten)]
    window: Window,
    /// When the last segment of the window arrived.
    to_archived: Option<Time>,
}

/// The WAL of one system.
#[derive(Debug, Serialize)]
struct Wal {
    system_id: SystemId,
    postgres_major: u32,
    segment_size: SegmentSize,
    segments: u64,
    stored_bytes: u64,
    newest: Option<String>,
    newest_archived: Option<Time>,
}

pub fn run(context: &Context, options: &ListOptions) -> Result<ListReport> {
    let repository = context.repository()?;
    let mut lines = Vec::new();
    let mut complete: Vec<Backup> = Vec::new();
    for entry in repository.backups()? {
        if options.backup.is_some_and(|id| id != entry.id) {
            continue;
        }
        if let State::Complete(backup) = &entry.state {
            complete.push((**backup).clone());
        }
        lines.push(line(&repository, entry.id, entry.state)?);
    }
    if let (Some(id), true) = (options.backup, lines.is_empty()) {
        return Err(Error::new(
            Kind::NotFound,
            format!("there is no backup {id} in {}", repository.location()),
        )
        .hint("`pgstow list` shows all backups."));
    }
    let mut wal = Vec::new();
    for system in repository.systems()? {
        let of_system = complete
            .iter()
            .filter(|backup| backup.system_id == system.system_id);
        let archive = load::archive(&repository, &system, of_system.cloned().collect())?;
        for line in &mut lines {
            let Some(backup) = line
                .backup
                .as_ref()
                .filter(|_| line.state == LineState::Complete)
            else {
                continue;
            };
            if backup.system_id == system.system_id {
                let windows = archive.windows(backup).into_iter();
                line.windows = windows
                    .map(|window| shown(&repository, &system, window))
                    .collect();
            }
        }
        wal.push(wal_line(&system, &archive));
    }
    Ok(ListReport {
        repository: repository.location().to_string(),
        cluster: repository.layout().cluster().to_string(),
        backups: lines,
        wal,
        in_full: options.backup.is_some(),
    })
}

fn line(repository: &Repository, id: BackupId, state: State) -> Result<Line> {
    let mut line = Line {
        id,
        state: LineState::Complete,
        backup: None,
        windows: Vec::new(),
        waits_for: Vec::new(),
        note: None,
    };
    match state {
        State::Complete(backup) => line.backup = Some(backup),
        State::Pending(backup) => {
            line.state = LineState::Pending;
            let system = repository.system(backup.system_id)?;
            line.waits_for = seal::missing_wal(repository, &system, &backup)?;
            line.backup = Some(backup);
        }
        State::Unfinished(unfinished) => {
            let running = claim::is_running(&unfinished, clock::now());
            line.state = if running {
                LineState::Running
            } else {
                LineState::Interrupted
            };
            line.note = Some(who(&unfinished));
        }
    }
    Ok(line)
}

fn who(unfinished: &Unfinished) -> String {
    let newest = readable(unfinished.newest);
    match &unfinished.started {
        Some(started) => format!(
            "begun at {} by process {} on {}, last sign of life at {newest}",
            readable(started.time),
            started.process,
            started.host
        ),
        None => format!("started.json can't be read, last sign of life at {newest}"),
    }
}

fn shown(repository: &Repository, system: &System, window: Window) -> ShownWindow {
    // Of a standalone backup the last segment may be in the backup alone.
    let to_archived = window.last.and_then(|last| {
        let file = WalName::Segment(last);
        let name = repository
            .layout()
            .wal_file(system.system_id, file, system.wal_codec);
        repository
            .storage()
            .head(&name)
            .ok()
            .map(|info| info.modified)
    });
    ShownWindow {
        window,
        to_archived,
    }
}

fn wal_line(system: &System, archive: &Archive) -> Wal {
    let newest = archive.wal.newest();
    Wal {
        system_id: system.system_id,
        postgres_major: system.postgres_major,
        segment_size: system.segment_size,
        segments: archive.wal.segments(),
        stored_bytes: archive.wal.stored_bytes(),
        newest: newest.map(|(segment, _): (Segment, Time)| segment.to_string()),
        newest_archived: newest.map(|(_, time)| time),
    }
}

impl Report for ListReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "cluster {} in {}\n", self.cluster, self.repository)?;
        if self.backups.is_empty() {
            writeln!(out, "no backups yet; take one with `pgstow base`")?;
        } else {
            self.table().write(out)?;
            self.windows(out)?;
        }
        for line in &self.backups {
            line.remarks(out)?;
        }
        if self.in_full {
            for backup in self.backups.iter().filter_map(|line| line.backup.as_ref()) {
                in_full(backup, out)?;
            }
        }
        self.wal(out)
    }
}

impl ListReport {
    fn table(&self) -> Table {
        let mut table = Table::new(&[
            ("backup", Align::Left),
            ("state", Align::Left),
            ("PostgreSQL", Align::Left),
            ("ended", Align::Left),
            ("took", Align::Right),
            ("size", Align::Right),
            ("stored", Align::Right),
            ("ratio", Align::Right),
            ("checked", Align::Left),
        ]);
        for line in &self.backups {
            let Some(backup) = &line.backup else {
                table.row([line.id.to_string(), line.state.word().to_owned()]);
                continue;
            };
            let ratio = backup.bytes as f64 / backup.stored_bytes.max(1) as f64;
            table.row([
                line.id.to_string(),
                line.state.word().to_owned(),
                version(backup.postgres_version),
                readable(whole_seconds(backup.stop_time)),
                units::duration(backup.duration()),
                units::bytes(backup.bytes),
                units::bytes(backup.stored_bytes),
                format!("{ratio:.1}"),
                checked(backup),
            ]);
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
                "\nWAL of system {} (PostgreSQL {}): {} segments, {} stored{newest}",
                wal.system_id,
                wal.postgres_major,
                wal.segments,
                units::bytes(wal.stored_bytes)
            )?;
        }
        Ok(())
    }
}

impl LineState {
    fn word(self) -> &'static str {
        match self {
            LineState::Complete => "complete",
            LineState::Pending => "pending",
            LineState::Running => "running",
            LineState::Interrupted => "interrupted",
        }
    }
}

impl Line {
    /// What a table has no room for.
    fn remarks(&self, out: &mut dyn Write) -> io::Result<()> {
        if let Some(note) = &self.note {
            writeln!(out, "\n{}: {note}", self.id)?;
        }
        let Some(backup) = &self.backup else {
            return Ok(());
        };
        if self.state == LineState::Pending {
            let size = backup.segment_size;
            let waits: Vec<String> = self
                .waits_for
                .iter()
                .map(|missing| missing.describe(size))
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
    for tablespace in &backup.tablespaces {
        field(
            "tablespace",
            format!(
                "{} at {}, {}",
                tablespace.oid,
                tablespace.location,
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

/// Such as 17.11: since PostgreSQL 10 the last four digits are the minor version.
fn version(number: u32) -> String {
    format!("{}.{}", number / 10_000, number % 10_000)
}

fn checked(backup: &Backup) -> String {
    match (backup.page_failures.is_empty(), backup.verified) {
        (false, _) => "DAMAGED PAGES".to_owned(),
        (true, true) => "re-read".to_owned(),
        (true, false) => "no".to_owned(),
    }
}

fn whole_seconds(time: Time) -> Time {
    chrono::SubsecRound::trunc_subsecs(time, 0)
}

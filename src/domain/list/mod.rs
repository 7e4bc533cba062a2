//! What a repository holds of a cluster: its backups, whatever their state, from where to where each can
//! be restored, and the WAL of each system.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    domain::{
        backup::{claim, seal},
        restore::{
            archive::{Archive, Rootless},
            forecast, load,
            measured::Measured,
            windows::Window,
        },
    },
    error::{Kind, Result},
    postgres::{
        lsn::SystemId,
        wal_name::{Segment, SegmentSize, WalName},
    },
    repo::{
        backup::Backup,
        backup_id::{BackupId, BackupKind},
        catalog::{State, Unfinished, Unreadable},
        drill::{Drill, Forecast},
        inventory::Unregistered,
        missing::{Missing, NamedMissing},
        pins::Pin,
        repository::{Repository, System},
        wal_index::End,
    },
    util::clock::{self, Time, readable},
};

#[derive(Debug, Serialize)]
pub struct Listing {
    pub repository: String,
    pub cluster: String,
    /// Oldest id first.
    pub backups: Vec<Line>,
    /// Of each registered system, in that order.
    pub wal: Vec<Wal>,
    /// Systems whose registration is lost.
    pub unregistered: Vec<Unregistered>,
}

/// One backup, whatever its state.
#[derive(Debug, Serialize)]
pub struct Line {
    pub id: BackupId,
    pub state: LineState,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<Box<Backup>>,
    /// What an incremental one builds on.
    pub parent: Option<BackupId>,
    /// How many backups a restore of it reads, itself among them; None where one of them is gone.
    pub chain_length: Option<u64>,
    /// To where a complete backup can be restored.
    pub windows: Vec<ShownWindow>,
    /// WAL that a pending one waits for.
    pub waits_for: Vec<NamedMissing>,
    /// What the newest drill of it found; None: there was none.
    pub drill: Option<ShownDrill>,
    /// Why retention leaves it alone.
    pub pin: Option<ShownPin>,
    /// Of one that runs, was interrupted, can't be read or can't be sealed.
    pub note: Option<String>,
}

/// A drill that restored a backup.
#[derive(Debug, Serialize)]
pub struct ShownDrill {
    pub time: Time,
    pub host: String,
    /// Whether it proved the backup.
    pub proven: bool,
    /// To which moment it was restored: that of the newest transaction, else the position in the WAL.
    pub to: String,
    /// Names of the checks that were not passed.
    pub failed: Vec<String>,
}

impl From<&Drill> for ShownDrill {
    fn from(drill: &Drill) -> Self {
        Self {
            time: drill.time,
            host: drill.host.clone(),
            proven: drill.good,
            to: drill.moment(),
            failed: drill.failed().map(|check| check.name.clone()).collect(),
        }
    }
}

/// A pin that holds.
#[derive(Debug, Serialize)]
pub struct ShownPin {
    pub reason: Option<String>,
    pub until: Option<Time>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LineState {
    Complete,
    Damaged,
    Pending,
    Running,
    Interrupted,
    Unreadable,
}

impl LineState {
    /// For people; what they must look at in capitals.
    pub fn word(self) -> &'static str {
        match self {
            LineState::Complete => "complete",
            LineState::Damaged => "DAMAGED",
            LineState::Pending => "pending",
            LineState::Unreadable => "UNREADABLE",
            LineState::Running => "running",
            LineState::Interrupted => "interrupted",
        }
    }
}

#[derive(Debug, Serialize)]
pub struct ShownWindow {
    #[serde(flatten)]
    pub window: Window,
    /// When the last segment of the window arrived.
    pub to_archived: Option<Time>,
    pub missing: Option<NamedMissing>,
}

/// The WAL of one system.
#[derive(Debug, Serialize)]
pub struct Wal {
    pub system_id: SystemId,
    pub postgres_major: u32,
    pub segment_size: SegmentSize,
    pub segments: u64,
    pub stored_bytes: u64,
    pub newest: Option<String>,
    pub newest_archived: Option<Time>,
    /// Of a restore to its end; None where no drill tells.
    pub forecast: Option<Forecast>,
    /// What the safety valve gave up and did not arrive since.
    pub given_up: Vec<NamedMissing>,
    /// What is there, and `verify` found damaged: windows don't end before it.
    pub damaged: Vec<NamedMissing>,
    /// Timelines whose history is damaged or missing.
    pub bad_histories: Vec<Rootless>,
    /// Where it ends, pieces of a segment included.
    #[serde(skip)]
    pub end: Option<End>,
}

impl Listing {
    /// One listing of the backups, and one of each system's WAL. Of one backup alone, if it is named.
    pub fn gather(
        repository: &Repository,
        only: Option<BackupId>,
        restores: &[Measured],
    ) -> Result<Self> {
        let mut lines = Vec::new();
        let mut complete: Vec<Backup> = Vec::new();
        let entries = repository.backups()?;
        let unregistered = repository.unregistered(&entries)?;
        let mut pins = repository.pins()?;
        let drills = repository.drills()?;
        let parents: BTreeMap<BackupId, Option<BackupId>> = entries
            .iter()
            .map(|entry| (entry.id, entry.parent()))
            .collect();
        for entry in entries {
            if let State::Complete(backup) = &entry.state {
                complete.push((**backup).clone());
            }
            if only.is_some_and(|id| id != entry.id) {
                continue;
            }
            let mut line = line(repository, entry.id, entry.state)?;
            line.parent = parents[&entry.id];
            line.chain_length = chain_length(&parents, entry.id);
            line.drill = drills.of(entry.id).map(ShownDrill::from);
            let pin = pins.remove(&entry.id).filter(|pin| pin.holds(clock::now()));
            line.pin = pin.map(|Pin { reason, until, .. }| ShownPin { reason, until });
            lines.push(line);
        }
        let mut wal = Vec::new();
        for system in repository.systems()? {
            let of_system = complete
                .iter()
                .filter(|backup| backup.system_id == system.system_id);
            let archive = load::archive(repository, &system, of_system.cloned().collect())?;
            let torn = archive.torn();
            // Most windows end with the same segment, which costs a request.
            let mut arrivals: BTreeMap<Segment, Option<Time>> = BTreeMap::new();
            let mut arrival = |segment| {
                let arrival = || archived(repository, &system, segment);
                *arrivals.entry(segment).or_insert_with(arrival)
            };
            for line in &mut lines {
                let backup = line.backup.as_deref();
                let backup = backup.filter(|backup| backup.system_id == system.system_id);
                let Some(backup) = backup.filter(|_| line.state == LineState::Complete) else {
                    continue;
                };
                let mut windows = archive.windows(backup);
                if let Some(why) = torn.get(&line.id) {
                    line.note = Some(format!("{why}; {}", still_holds(line.id)));
                    line.state = LineState::Damaged;
                    // Nothing is promised of it, but what it lacks is told.
                    windows.retain(|window| window.to_lsn.is_none());
                }
                line.windows = windows
                    .into_iter()
                    .map(|window| shown(&system, window, &mut arrival))
                    .collect();
            }
            let forecast = forecast::to_the_end(&archive, &drills, restores);
            let newest = newest(&archive).map(|segment| (segment, arrival(segment)));
            wal.push(wal_line(&system, &archive, newest, forecast));
        }
        Ok(Self {
            repository: repository.location().to_string(),
            cluster: repository.layout().cluster().to_string(),
            backups: lines,
            wal,
            unregistered,
        })
    }

    /// Where the WAL of the system that was backed up last ends.
    pub fn end(&self) -> Option<(SystemId, End)> {
        let backups = self.backups.iter().filter_map(|line| line.backup.as_ref());
        let system = backups.max_by_key(|backup| backup.stop_time)?.system_id;
        let wal = self.wal.iter().find(|wal| wal.system_id == system)?;
        Some((system, wal.end?))
    }
}

/// From a backup down to a full one.
fn chain_length(parents: &BTreeMap<BackupId, Option<BackupId>>, mut id: BackupId) -> Option<u64> {
    let mut length = 1;
    while let Some(parent) = *parents.get(&id)? {
        // A parent's id is lower: there are no rings.
        id = Some(parent).filter(|parent| *parent < id)?;
        length += 1;
    }
    // One whose parent nobody can tell is no end.
    (id.kind() == BackupKind::Full).then_some(length)
}

fn line(repository: &Repository, id: BackupId, state: State) -> Result<Line> {
    let mut line = Line {
        id,
        state: LineState::Complete,
        backup: None,
        parent: None,
        chain_length: None,
        windows: Vec::new(),
        waits_for: Vec::new(),
        drill: None,
        pin: None,
        note: None,
    };
    match state {
        State::Complete(backup) => line.backup = Some(backup),
        State::Damaged(backup, problems) => {
            line.state = LineState::Damaged;
            line.note = Some(format!("{}; {}", problems.join(", "), still_holds(id)));
            line.backup = Some(backup);
        }
        State::Pending(backup) => {
            line.state = LineState::Pending;
            match repository.system(backup.system_id) {
                Err(error) if error.kind() == Kind::Foreign => {
                    line.note = Some(error.message().to_owned());
                }
                system => {
                    let system = system?;
                    let lacks = seal::Lacks::of(repository, &system, &backup)?;
                    if lacks.segments.is_empty() && !lacks.is_nothing() {
                        line.note = Some(lacks.describe(&system));
                    }
                    let missing = lacks.segments.into_iter();
                    line.waits_for = missing
                        .map(|missing| missing.named(backup.segment_size))
                        .collect();
                }
            }
            line.backup = Some(backup);
        }
        State::Unfinished(unfinished) => {
            // Of a copy that is gone on with, too, the process that left it is gone.
            let started = unfinished.started.as_ref();
            let is_left = started.and_then(|started| started.process.lives()) == Some(false);
            let running = !is_left && claim::is_running(&unfinished, clock::now());
            line.state = if running {
                LineState::Running
            } else {
                LineState::Interrupted
            };
            line.note = Some(who(&unfinished));
        }
        State::Unreadable(Unreadable { why, hint, .. }) => {
            line.state = LineState::Unreadable;
            line.note = Some(format!("{why}; {}", hint.trim_end_matches('.')));
        }
    }
    Ok(line)
}

fn still_holds(id: BackupId) -> String {
    format!("what it still holds: `pgstow verify {id}`")
}

fn who(unfinished: &Unfinished) -> String {
    let newest = readable(unfinished.newest);
    match &unfinished.started {
        Some(started) => format!(
            "begun at {} by process {} on {}, last sign of life at {newest}",
            readable(started.time),
            started.process.process,
            started.process.host
        ),
        None => format!("started.json can't be read, last sign of life at {newest}"),
    }
}

fn shown(
    system: &System,
    window: Window,
    arrival: impl FnOnce(Segment) -> Option<Time>,
) -> ShownWindow {
    // Of a standalone backup the last segment may be in the backup alone.
    let to_archived = window.last.and_then(arrival);
    let missing = window
        .missing
        .map(|missing| missing.named(system.segment_size));
    ShownWindow {
        window,
        to_archived,
        missing,
    }
}

/// When a segment arrived, by the store's clock; None if it isn't there.
pub fn archived(repository: &Repository, system: &System, segment: Segment) -> Option<Time> {
    let name = repository.wal_object(system, WalName::Segment(segment));
    let info = repository.storage().head(&name).ok();
    info.map(|info| info.modified)
}

/// The last one of the latest timeline: what came last may have been copied, or healed, later than those behind it.
fn newest(archive: &Archive) -> Option<Segment> {
    let wal = &archive.wal;
    let timeline = wal.timelines().last()?;
    Some(Segment::nth(timeline, wal.last(timeline)?, wal.size()))
}

/// `newest`: and when it arrived.
fn wal_line(
    system: &System,
    archive: &Archive,
    newest: Option<(Segment, Option<Time>)>,
    forecast: Option<Forecast>,
) -> Wal {
    let named = |ranges: Vec<Missing>| {
        let ranges = ranges.into_iter();
        ranges
            .map(|range| range.named(system.segment_size))
            .collect()
    };
    Wal {
        system_id: system.system_id,
        postgres_major: system.postgres_major,
        segment_size: system.segment_size,
        segments: archive.wal.segments(),
        stored_bytes: archive.wal.stored_bytes(),
        newest: newest.map(|(segment, _)| segment.to_string()),
        newest_archived: newest.and_then(|(_, time)| time),
        forecast,
        given_up: named(archive.wal.lost()),
        damaged: named(archive.damaged_wal(system.system_id)),
        bad_histories: archive.rootless.values().cloned().collect(),
        end: archive.wal.end(),
    }
}

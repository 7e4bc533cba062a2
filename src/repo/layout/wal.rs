//! Names of WAL: segments and what PostgreSQL keeps beside them, pieces of segments in progress, notes of gaps. Pure.

use super::super::{codec::Codec, coding::Coding};
use super::{Layout, ObjectName, Prefix};
use crate::postgres::{
    lsn::{Lsn, SystemId, TimelineId},
    wal_name::{Segment, WalName},
};

/// Sorts behind dots and hexadecimal digits. Not `~`, which stores don't agree about how to sign.
const BEHIND: char = 'G';

/// The bytes of a segment in progress from one offset in it up to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub segment: Segment,
    pub from: u32,
    pub to: u32,
}

impl Layout {
    /// The WAL of all systems.
    pub fn all_wal(&self) -> Prefix {
        self.prefix(format_args!("wal/"))
    }

    /// Whose WAL lies in a folder of `all_wal()`, whose name ends with `/`.
    pub fn read_wal_folder(&self, name: &str) -> Option<SystemId> {
        let id = name.strip_suffix('/')?;
        id.parse()
            .ok()
            .filter(|system: &SystemId| system.to_string() == id)
    }

    /// All WAL of one system.
    pub fn wal(&self, system: SystemId) -> Prefix {
        self.prefix(format_args!("wal/{system}/"))
    }

    /// One WAL file; `coding` is that of the system, and history and backup files have none.
    pub fn wal_file(&self, system: SystemId, file: WalName, coding: Coding) -> ObjectName {
        match file {
            WalName::Segment(segment) | WalName::Partial(segment) => {
                let folder = segment.folder();
                self.name(format_args!(
                    "wal/{system}/{folder}/{file}{}",
                    coding.ending()
                ))
            }
            WalName::BackupHistory(..) | WalName::History(_) => {
                self.name(format_args!("wal/{system}/{file}"))
            }
        }
    }

    /// Ranges of WAL that are known to be lost.
    pub fn gaps(&self, system: SystemId) -> Prefix {
        self.prefix(format_args!("wal/{system}/gaps/"))
    }

    /// The range from `first` to `last`, which are of one timeline.
    pub fn gap(&self, system: SystemId, first: Segment, last: Segment) -> ObjectName {
        self.name(format_args!("wal/{system}/gaps/{first}-{last}.json"))
    }

    /// First and last segment of which gap `name` is; None for what is none.
    pub fn read_gap(&self, system: SystemId, name: &ObjectName) -> Option<(Segment, Segment)> {
        let file = name.as_str().strip_prefix(self.gaps(system).as_str())?;
        let (first, last) = file.strip_suffix(".json")?.split_once('-')?;
        let (first, last): (Segment, Segment) = (first.parse().ok()?, last.parse().ok()?);
        (first.timeline == last.timeline && first <= last).then_some((first, last))
    }

    /// Where WAL of `wal_level = minimal` begins at `position` of `timeline`.
    pub fn minimal(&self, system: SystemId, timeline: TimelineId, position: Lsn) -> ObjectName {
        let (timeline, position) = (timeline.get(), position.0);
        self.name(format_args!(
            "wal/{system}/minimal/{timeline:08X}-{position:016X}.json"
        ))
    }

    /// Which such place `name` is; None for what is none.
    pub fn read_minimal(&self, system: SystemId, name: &ObjectName) -> Option<(TimelineId, Lsn)> {
        let wal = self.wal(system);
        let file = name.as_str().strip_prefix(wal.as_str())?;
        let file = file.strip_prefix("minimal/")?.strip_suffix(".json")?;
        let (timeline, position) = file.split_once('-')?;
        let timeline = TimelineId::new(u32::from_str_radix(timeline, 16).ok()?)?;
        let position = Lsn(u64::from_str_radix(position, 16).ok()?);
        (self.minimal(system, timeline, position) == *name).then_some((timeline, position))
    }

    /// A name that sorts behind all WAL of `segment`'s kind up to it and before what follows.
    pub fn behind_segment(&self, system: SystemId, segment: Segment) -> ObjectName {
        self.name(format_args!(
            "wal/{system}/{}/{segment}{BEHIND}",
            segment.folder()
        ))
    }

    /// A name that sorts behind all WAL of `timeline` and before that of the next.
    pub fn behind_timeline(&self, system: SystemId, timeline: TimelineId) -> ObjectName {
        self.name(format_args!("wal/{system}/{:08X}{BEHIND}", timeline.get()))
    }

    /// The pieces of a segment that was in progress.
    pub fn pieces(&self, system: SystemId, segment: Segment) -> Prefix {
        self.prefix(format_args!("wal/{system}/live/{segment}/"))
    }

    /// One of them; `coding` is that of the system.
    pub fn piece(&self, system: SystemId, piece: Piece, coding: Coding) -> ObjectName {
        let Piece { segment, from, to } = piece;
        let ending = coding.ending();
        self.name(format_args!(
            "wal/{system}/live/{segment}/{from:08X}-{to:08X}{ending}"
        ))
    }

    /// Which piece an object below `wal(system)` is, and its coding; None for what is none.
    pub fn read_piece(&self, system: SystemId, name: &ObjectName) -> Option<(Piece, Coding)> {
        let rest = name.as_str().strip_prefix(self.wal(system).as_str())?;
        let (segment, file) = rest.strip_prefix("live/")?.split_once('/')?;
        let (range, coding) = Coding::split(file);
        let (from, to) = range.split_once('-')?;
        let offset = |text| u32::from_str_radix(text, 16).ok();
        let piece = Piece {
            segment: segment.parse().ok()?,
            from: offset(from)?,
            to: offset(to)?,
        };
        let is_one = piece.from < piece.to && self.piece(system, piece, coding) == *name;
        is_one.then_some((piece, coding))
    }

    /// Which WAL file an object below `wal(system)` is, and its coding.
    pub fn read_wal_file(&self, system: SystemId, name: &ObjectName) -> Option<(WalName, Coding)> {
        let rest = name.as_str().strip_prefix(self.wal(system).as_str())?;
        let (folder, file) = match rest.split_once('/') {
            Some((folder, file)) => (Some(folder), file),
            None => (None, rest),
        };
        let (plain, coding) = Coding::split(file);
        let file = plain.parse::<WalName>().ok()?;
        match (file, folder) {
            (WalName::Segment(segment) | WalName::Partial(segment), Some(folder)) => {
                (segment.folder() == folder).then_some((file, coding))
            }
            (WalName::BackupHistory(..) | WalName::History(_), None) => {
                (coding == Codec::None.into()).then_some((file, coding))
            }
            _ => None,
        }
    }
}

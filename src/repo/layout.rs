//! The only file that knows the names of objects. Pure.

use std::{fmt, str::FromStr};

use chrono::NaiveDateTime;

use super::{
    backup_id::BackupId,
    codec::Codec,
    coding::Coding,
    dump_name::{DumpName, DumpObject, LATEST, Subject},
    edition::Edition,
};
use crate::{
    error::{Error, Result},
    postgres::{
        lsn::{Lsn, SystemId, TimelineId},
        wal_name::{Segment, WalName},
    },
    util::clock::Time,
};

/// The time in the name of a result of `verify`, of a report of a drill, and of a mark of a restore.
const MOMENT: &str = "%Y%m%dT%H%M%S%.6fZ";

/// An object's name: a relative path with `/`. Made here, or by a store that lists what is there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(String);

impl ObjectName {
    pub(super) fn listed(name: String) -> Self {
        Self(name)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name behind the last slash.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A folder of objects: empty, or a path that ends with `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// For a store that is tried out below this folder.
    pub fn object(&self, name: &str) -> ObjectName {
        ObjectName(format!("{}{name}", self.0))
    }

    /// A name that sorts behind `name`, and behind all that is in it if it is a folder, whose name
    /// ends with `/`: the character behind that is `0`.
    pub(super) fn behind(&self, name: &str) -> ObjectName {
        match name.strip_suffix('/') {
            Some(folder) => self.object(&format!("{folder}0")),
            None => self.object(name),
        }
    }
}

/// The name that a database cluster has in configuration and repository, such as `main`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterName(String);

impl ClusterName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClusterName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let good = !name.is_empty()
            && name.len() <= 63
            && !name.starts_with('.')
            && name.chars().all(plain);
        if good && name != "repository.json" && name != "combine.py" {
            return Ok(Self(name.to_owned()));
        }
        Err(Error::usage(format!("not a cluster's name: {name:?}"))
            .hint("a name has up to 63 letters, digits, `-`, `_` and `.`, and does not begin with a dot."))
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `repository.json`: what makes a place a repository.
pub fn repository() -> ObjectName {
    ObjectName("repository.json".to_owned())
}

/// `combine.py`: combines incremental backups with Python alone.
pub fn combine_script() -> ObjectName {
    ObjectName("combine.py".to_owned())
}

/// Where `check` tries out what a store can do.
pub fn probe() -> Prefix {
    Prefix("probe/".to_owned())
}

fn read_moment(folder: &Prefix, name: &ObjectName) -> Option<Time> {
    let rest = name.as_str().strip_prefix(folder.as_str())?;
    let text = rest.strip_suffix(".json")?;
    let time = NaiveDateTime::parse_from_str(text, MOMENT).ok()?;
    Some(time.and_utc())
}

/// Sorts behind dots and hexadecimal digits. Not `~`, which stores don't agree about how to sign.
const BEHIND: char = 'G';

/// The names of one cluster's objects.
#[derive(Clone, Debug)]
pub struct Layout {
    cluster: ClusterName,
}

impl Layout {
    pub fn new(cluster: ClusterName) -> Self {
        Self { cluster }
    }

    pub fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    /// All of the cluster.
    pub fn all(&self) -> Prefix {
        self.prefix(format_args!(""))
    }

    fn name(&self, rest: fmt::Arguments<'_>) -> ObjectName {
        ObjectName(format!("{}/{rest}", self.cluster))
    }

    fn prefix(&self, rest: fmt::Arguments<'_>) -> Prefix {
        Prefix(format!("{}/{rest}", self.cluster))
    }

    pub fn systems(&self) -> Prefix {
        self.prefix(format_args!("systems/"))
    }

    pub fn system(&self, id: SystemId) -> ObjectName {
        self.name(format_args!("systems/{id}.json"))
    }

    /// All base backups.
    pub fn base(&self) -> Prefix {
        self.prefix(format_args!("base/"))
    }

    /// All objects of one backup.
    pub fn backup(&self, id: &BackupId) -> Prefix {
        self.prefix(format_args!("base/{id}/"))
    }

    /// One object of a backup.
    pub fn backup_object(&self, id: &BackupId, object: BackupObject) -> ObjectName {
        self.name(format_args!("base/{id}/{object}"))
    }

    /// Which backup's which object a name below `base()` is; None for what we don't know.
    pub fn read_backup_object(&self, name: &ObjectName) -> Option<(BackupId, BackupObject)> {
        let rest = name.as_str().strip_prefix(self.base().as_str())?;
        let (id, object) = rest.split_once('/')?;
        Some((id.parse().ok()?, BackupObject::read(object)?))
    }

    /// What is said of backups that stay whatever the rules say.
    pub fn pins(&self) -> Prefix {
        self.prefix(format_args!("pins/"))
    }

    /// The `number`-th word on backup `id`; the highest number holds.
    pub fn pin(&self, id: &BackupId, number: u32) -> ObjectName {
        self.name(format_args!("pins/{id}-{number}.json"))
    }

    /// Which backup's which word a name below `pins()` is; None for what we don't know.
    pub fn read_pin(&self, name: &ObjectName) -> Option<(BackupId, u32)> {
        let rest = name.as_str().strip_prefix(self.pins().as_str())?;
        let (id, number) = rest.strip_suffix(".json")?.rsplit_once('-')?;
        let (id, number): (BackupId, u32) = (id.parse().ok()?, number.parse().ok()?);
        (self.pin(&id, number) == *name).then_some((id, number))
    }

    /// Results of `verify`.
    pub fn verified(&self) -> Prefix {
        self.prefix(format_args!("verified/"))
    }

    /// The results of the run that ended at `time`.
    pub fn verified_at(&self, time: Time) -> ObjectName {
        self.name(format_args!("verified/{}.json", time.format(MOMENT)))
    }

    /// When the run ended whose results `name` holds; None for what we don't know.
    pub fn read_verified(&self, name: &ObjectName) -> Option<Time> {
        let time = read_moment(&self.verified(), name)?;
        (self.verified_at(time) == *name).then_some(time)
    }

    /// Marks of restores that run.
    pub fn restores(&self) -> Prefix {
        self.prefix(format_args!("restores/"))
    }

    /// The mark of the restore that began at `time`.
    pub fn restore_at(&self, time: Time) -> ObjectName {
        self.name(format_args!("restores/{}.json", time.format(MOMENT)))
    }

    /// When the restore began whose mark is `name`; None for what we don't know.
    pub fn read_restore(&self, name: &ObjectName) -> Option<Time> {
        let time = read_moment(&self.restores(), name)?;
        (self.restore_at(time) == *name).then_some(time)
    }

    /// Reports of restore drills.
    pub fn drills(&self) -> Prefix {
        self.prefix(format_args!("drills/"))
    }

    /// The report of the drill that began at `time`.
    pub fn drill_at(&self, time: Time) -> ObjectName {
        self.name(format_args!("drills/{}.json", time.format(MOMENT)))
    }

    /// What the databases held that this drill restored.
    pub fn drilled_at(&self, time: Time) -> ObjectName {
        self.name(format_args!("drills/{}-objects.json", time.format(MOMENT)))
    }

    /// When the drill began whose report is `name`; None for what we don't know.
    pub fn read_drill(&self, name: &ObjectName) -> Option<Time> {
        let time = read_moment(&self.drills(), name)?;
        (self.drill_at(time) == *name).then_some(time)
    }

    /// The report of the drill of a dump that began at `time`.
    pub fn dump_drill_at(&self, time: Time) -> ObjectName {
        self.name(format_args!("drills/{}-dump.json", time.format(MOMENT)))
    }

    /// When the drill of a dump began whose report is `name`; None for what we don't know.
    pub fn read_dump_drill(&self, name: &ObjectName) -> Option<Time> {
        let text = name.as_str().strip_suffix("-dump.json")?;
        let time = read_moment(&self.drills(), &ObjectName(format!("{text}.json")))?;
        (self.dump_drill_at(time) == *name).then_some(time)
    }

    /// All dumps.
    pub fn dumps(&self) -> Prefix {
        self.prefix(format_args!("dumps/"))
    }

    /// The folder that a dump's objects lie in, with others.
    pub fn dump_folder(&self, name: &DumpName) -> Prefix {
        match name.folder() {
            "" => self.dumps(),
            folder => self.prefix(format_args!("dumps/{folder}/")),
        }
    }

    /// One object of a dump.
    pub fn dump_object(&self, name: &DumpName, object: DumpObject) -> ObjectName {
        self.name(format_args!("dumps/{name}{}", object.ending()))
    }

    /// The link to the newest dump of a database.
    pub fn latest_dump(&self, subject: &Subject, object: DumpObject) -> ObjectName {
        let (subject, ending) = (subject.in_names(), object.ending());
        self.name(format_args!("dumps/{LATEST}/{subject}{ending}"))
    }

    /// Which dump's which object a name below `dumps()` is; None for what we don't know, and for links: a database
    /// may have the name of a dump.
    pub fn read_dump_object(&self, name: &ObjectName) -> Option<(DumpName, DumpObject)> {
        let rest = name.as_str().strip_prefix(self.dumps().as_str())?;
        if rest.starts_with(&format!("{LATEST}/")) {
            return None;
        }
        let (rest, object) = DumpObject::split(rest)?;
        Some((DumpName::read(rest)?, object))
    }

    /// What `sync` has brought here.
    pub fn brought_all(&self) -> Prefix {
        self.prefix(format_args!("brought/"))
    }

    /// The `number`-th word on that; the highest number holds.
    pub fn brought(&self, number: u64) -> ObjectName {
        self.name(format_args!("brought/{number}.json"))
    }

    /// The number of such a word; None for what is none.
    pub fn read_brought(&self, name: &ObjectName) -> Option<u64> {
        let rest = name.as_str().strip_prefix(self.brought_all().as_str())?;
        let number = rest.strip_suffix(".json")?.parse().ok()?;
        (self.brought(number) == *name).then_some(number)
    }

    /// All leases.
    pub fn locks(&self) -> Prefix {
        self.prefix(format_args!("locks/"))
    }

    /// Room for a cleanup; no lease.
    pub fn reserve(&self) -> ObjectName {
        self.name(format_args!("locks/reserve"))
    }

    /// The `number`-th lease for `purpose`; the highest number holds.
    pub fn lease(&self, purpose: &str, number: u64) -> ObjectName {
        self.name(format_args!("locks/{purpose}-{number}.json"))
    }

    /// The number of a lease for `purpose` below `locks()`; None for what is none.
    pub fn read_lease(&self, purpose: &str, name: &ObjectName) -> Option<u64> {
        let rest = name.as_str().strip_prefix(self.locks().as_str())?;
        let number = rest.strip_prefix(purpose)?.strip_prefix('-')?;
        let number = number.strip_suffix(".json")?.parse().ok()?;
        (self.lease(purpose, number) == *name).then_some(number)
    }

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

/// The bytes of a segment in progress from one offset in it up to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub segment: Segment,
    pub from: u32,
    pub to: u32,
}

/// The objects of a backup's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BackupObject {
    Started,
    Alive(u32),
    Part(u32, Edition, Coding),
    Config(Edition, Coding),
    Manifest,
    Index,
    Relations,
    Sums,
    Pending,
    Backup,
}

impl fmt::Display for BackupObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackupObject::Started => f.write_str("started.json"),
            BackupObject::Alive(number) => write!(f, "alive-{number}.json"),
            BackupObject::Part(number, edition, coding) => {
                write!(f, "part-{number:04}{edition}.tar{}", coding.ending())
            }
            BackupObject::Config(edition, coding) => {
                write!(f, "config{edition}.tar{}", coding.ending())
            }
            BackupObject::Manifest => f.write_str("backup_manifest.zst"),
            BackupObject::Index => f.write_str("index.json.zst"),
            BackupObject::Relations => f.write_str("relations.json.zst"),
            BackupObject::Sums => f.write_str("SHA256SUMS"),
            BackupObject::Pending => f.write_str("pending.json"),
            BackupObject::Backup => f.write_str("backup.json"),
        }
    }
}

impl BackupObject {
    /// None for a name that no object of a backup has.
    pub fn read(name: &str) -> Option<Self> {
        let fixed = [
            BackupObject::Started,
            BackupObject::Manifest,
            BackupObject::Index,
            BackupObject::Relations,
            BackupObject::Sums,
            BackupObject::Pending,
            BackupObject::Backup,
        ];
        if let Some(object) = fixed.into_iter().find(|object| object.to_string() == name) {
            return Some(object);
        }
        if let Some(number) = name
            .strip_prefix("alive-")
            .and_then(|rest| rest.strip_suffix(".json"))
        {
            return number.parse().ok().map(BackupObject::Alive);
        }
        let (plain, coding) = Coding::split(name);
        let plain = plain.strip_suffix(".tar")?;
        if let Some(behind) = plain.strip_prefix("config") {
            return Some(BackupObject::Config(Edition::read(behind)?, coding));
        }
        let numbers = plain.strip_prefix("part-")?;
        let (number, behind) = numbers.split_at(numbers.find('-').unwrap_or(numbers.len()));
        let edition = Edition::read(behind)?;
        Some(BackupObject::Part(number.parse().ok()?, edition, coding))
    }

    /// The same under the name that it gets when it is stored anew, with other bytes; lists keep theirs.
    pub fn anew(self) -> Self {
        match self {
            BackupObject::Part(number, edition, coding) => {
                BackupObject::Part(number, edition.next(), coding)
            }
            BackupObject::Config(edition, coding) => BackupObject::Config(edition.next(), coding),
            list => list,
        }
    }

    /// Whether one was stored anew as the other: `backup.json` says which of both counts.
    pub fn is_other_edition_of(self, other: Self) -> bool {
        match (self, other) {
            (BackupObject::Part(number, edition, coding), BackupObject::Part(same, than, like)) => {
                (number, coding) == (same, like) && edition != than
            }
            (BackupObject::Config(edition, coding), BackupObject::Config(than, like)) => {
                coding == like && edition != than
            }
            _ => false,
        }
    }

    /// Whether both hold the same plain bytes, in whatever coding and edition.
    pub fn is_alike(self, other: Self) -> bool {
        match (self, other) {
            (BackupObject::Part(one, ..), BackupObject::Part(other, ..)) => one == other,
            (BackupObject::Config(..), BackupObject::Config(..)) => true,
            (one, other) => one == other,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        Layout::new("main".parse().unwrap())
    }

    fn encrypted(codec: Codec) -> Coding {
        Coding {
            codec,
            encrypted: true,
        }
    }

    #[test]
    fn backup_objects_read_as_they_are_written() {
        let id: BackupId = "20261121T020000Z-full".parse().unwrap();
        for object in [
            BackupObject::Started,
            BackupObject::Alive(12),
            BackupObject::Part(1, Edition::FIRST, Codec::Zstd.into()),
            BackupObject::Part(12345, Edition::FIRST, Codec::None.into()),
            BackupObject::Part(7, Edition::FIRST, encrypted(Codec::Zstd)),
            BackupObject::Part(7, Edition::FIRST, encrypted(Codec::Zstd)).anew(),
            BackupObject::Config(Edition::FIRST, Codec::Gzip.into()),
            BackupObject::Config(Edition::FIRST, encrypted(Codec::None)),
            BackupObject::Config(Edition::FIRST, encrypted(Codec::None)).anew(),
            BackupObject::Manifest,
            BackupObject::Backup,
        ] {
            let name = layout().backup_object(&id, object);
            assert_eq!(
                layout().read_backup_object(&name),
                Some((id, object)),
                "{name}"
            );
        }
        let part = BackupObject::Part(1, Edition::FIRST, Codec::Zstd.into());
        for (object, name) in [
            (part, "part-0001.tar.zst"),
            (part.anew(), "part-0001-2.tar.zst"),
            (part.anew().anew(), "part-0001-3.tar.zst"),
        ] {
            let folder = "main/base/20261121T020000Z-full/";
            let found = layout().backup_object(&id, object);
            assert_eq!(found.as_str(), format!("{folder}{name}"));
        }
        let later = part.anew().anew();
        assert!(later.is_other_edition_of(part) && part.is_other_edition_of(later));
        let plain = BackupObject::Part(1, Edition::FIRST, Codec::None.into());
        for other in [part, plain.anew(), BackupObject::Index] {
            assert!(!part.is_other_edition_of(other), "{other}");
        }
        for name in [
            "part-0001-1.tar",
            "part-0001-.tar",
            "part-0001-x.tar",
            "configs.tar",
        ] {
            assert_eq!(BackupObject::read(name), None, "{name}");
        }
    }

    #[test]
    fn wal_files_lie_where_the_format_says() {
        let system = SystemId(7);
        for (file, name) in [
            (
                "000000010000000A000000FE",
                "main/wal/7/000000010000000A/000000010000000A000000FE.zst",
            ),
            (
                "000000010000000A000000FF.partial",
                "main/wal/7/000000010000000A/000000010000000A000000FF.partial.zst",
            ),
            ("00000002.history", "main/wal/7/00000002.history"),
            (
                "000000010000000A000000FE.00000028.backup",
                "main/wal/7/000000010000000A000000FE.00000028.backup",
            ),
        ] {
            let file: WalName = file.parse().unwrap();
            let object = layout().wal_file(system, file, Codec::Zstd.into());
            assert_eq!(object.as_str(), name);
            assert_eq!(layout().read_wal_file(system, &object).unwrap().0, file);
        }
        let file: WalName = "000000010000000A000000FE".parse().unwrap();
        let object = layout().wal_file(system, file, encrypted(Codec::Lz4));
        assert!(
            object
                .as_str()
                .ends_with("/000000010000000A000000FE.lz4.age")
        );
        let read = layout().read_wal_file(system, &object);
        assert_eq!(read, Some((file, encrypted(Codec::Lz4))));
        let stray = ObjectName("main/wal/7/000000010000000B/000000010000000A000000FE.zst".into());
        assert_eq!(layout().read_wal_file(system, &stray), None);
    }

    #[test]
    fn pieces_read_as_they_are_written_and_are_no_wal_files() {
        let system = SystemId(7);
        let piece = Piece {
            segment: "000000010000000A000000FE".parse().unwrap(),
            from: 0x2000,
            to: 0x01_0000,
        };
        for (coding, ending) in [
            (Codec::Zstd.into(), ".zst"),
            (encrypted(Codec::Zstd), ".zst.age"),
            (Codec::None.into(), ""),
        ] {
            let name = layout().piece(system, piece, coding);
            let folder = "main/wal/7/live/000000010000000A000000FE/";
            assert_eq!(layout().pieces(system, piece.segment).as_str(), folder);
            assert_eq!(name.as_str(), format!("{folder}00002000-00010000{ending}"));
            assert_eq!(layout().read_piece(system, &name), Some((piece, coding)));
            assert_eq!(layout().read_wal_file(system, &name), None);
        }
        for stray in ["2000-10000", "00002000-00002000", "0000a000-0000b000", "x"] {
            let name = ObjectName(format!("main/wal/7/live/000000010000000A000000FE/{stray}"));
            assert_eq!(layout().read_piece(system, &name), None, "{stray}");
        }
    }

    #[test]
    fn places_of_minimal_wal_read_as_they_are_written() {
        let (system, timeline) = (SystemId(7), TimelineId::new(17).unwrap());
        let name = layout().minimal(system, timeline, Lsn(0xA_0300_0028));
        assert_eq!(
            name.as_str(),
            "main/wal/7/minimal/00000011-0000000A03000028.json"
        );
        let read = layout().read_minimal(system, &name);
        assert_eq!(read, Some((timeline, Lsn(0xA_0300_0028))));
        for stray in [
            "0-0.json",
            "11-A03000028.json",
            "00000011-0000000a03000028.json",
            "x",
        ] {
            let name = ObjectName(format!("main/wal/7/minimal/{stray}"));
            assert_eq!(layout().read_minimal(system, &name), None, "{stray}");
        }
    }

    #[test]
    fn pins_leases_and_results_read_as_they_are_written() {
        let id: BackupId = "20261121T020000Z-incr".parse().unwrap();
        let pin = layout().pin(&id, 12);
        assert_eq!(pin.as_str(), "main/pins/20261121T020000Z-incr-12.json");
        assert_eq!(layout().read_pin(&pin), Some((id, 12)));
        let lease = layout().lease("cleanup", 7);
        assert_eq!(lease.as_str(), "main/locks/cleanup-7.json");
        assert_eq!(layout().read_lease("cleanup", &lease), Some(7));
        assert_eq!(layout().read_lease("clean", &lease), None);
        let time: Time = "2026-11-21T02:00:00.012345Z".parse().unwrap();
        let verified = layout().verified_at(time);
        assert_eq!(
            verified.as_str(),
            "main/verified/20261121T020000.012345Z.json"
        );
        assert_eq!(layout().read_verified(&verified), Some(time));
        let drill = layout().drill_at(time);
        assert_eq!(drill.as_str(), "main/drills/20261121T020000.012345Z.json");
        assert_eq!(layout().read_drill(&drill), Some(time));
        assert_eq!(layout().read_drill(&layout().drilled_at(time)), None);
        let of_dump = layout().dump_drill_at(time);
        assert_eq!(
            of_dump.as_str(),
            "main/drills/20261121T020000.012345Z-dump.json"
        );
        assert_eq!(layout().read_dump_drill(&of_dump), Some(time));
        assert_eq!(layout().read_drill(&of_dump), None);
        assert_eq!(layout().read_dump_drill(&drill), None);
        for stray in [
            "main/pins/20261121T020000Z-incr.json",
            "main/pins/20261121T020000Z-incr-01.json",
            "main/locks/cleanup-07.json",
            "main/locks/cleanup-+7.json",
            "main/verified/x.json",
        ] {
            let name = ObjectName(stray.to_owned());
            assert_eq!(layout().read_pin(&name), None, "{stray}");
            assert_eq!(layout().read_lease("cleanup", &name), None, "{stray}");
            assert_eq!(layout().read_verified(&name), None, "{stray}");
        }
    }

    #[test]
    fn cluster_names_stay_in_their_folder() {
        assert!("main-15_a.b".parse::<ClusterName>().is_ok());
        for bad in ["", ".", "..", "a/b", ".x", "repository.json", "ä", "a b"] {
            assert!(bad.parse::<ClusterName>().is_err(), "{bad}");
        }
    }
}

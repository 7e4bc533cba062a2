//! The only place that knows the names of objects. Pure.

mod backup_object;
mod name;
#[cfg(test)]
mod tests;
mod wal;

use std::fmt;

use chrono::NaiveDateTime;

pub use backup_object::BackupObject;
pub use name::{ClusterName, ObjectName, Prefix};
pub use wal::Piece;

use super::{
    backup_id::BackupId,
    dump_name::{DumpName, DumpObject, LATEST, Subject},
};
use crate::{postgres::lsn::SystemId, util::clock::Time};

/// The time in the name of a result of `verify`, of a report of a drill, and of a mark of a restore.
const MOMENT: &str = "%Y%m%dT%H%M%S%.6fZ";

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

    /// Whose registration a name below `systems()` is; None for what is none.
    pub fn read_system(&self, name: &ObjectName) -> Option<SystemId> {
        let rest = name.as_str().strip_prefix(self.systems().as_str())?;
        let id: SystemId = rest.strip_suffix(".json")?.parse().ok()?;
        (self.system(id) == *name).then_some(id)
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
}

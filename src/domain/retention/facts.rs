//! What there is to decide about: values, gathered from a repository or made up by a test.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    postgres::{
        lsn::{Lsn, SystemId, TimelineId},
        timeline::TimelineHistory,
        wal_name::{SegmentSize, segment_numbers},
    },
    repo::{
        backup_id::BackupId,
        lack::{Held, Lack},
        missing::{Missing, Numbers},
        order::{self, End, Ended},
        pins::Pin,
        wal_index::WalIndex,
    },
    util::clock::Time,
};

#[derive(Debug)]
pub struct Facts {
    pub now: Time,
    /// Those that are registered, in that order.
    pub systems: Vec<SystemFacts>,
    /// Those of registered systems that have their `backup.json`.
    pub backups: BTreeMap<BackupId, Known>,
    pub others: Vec<Other>,
    pub pins: BTreeMap<BackupId, Pin>,
    pub readers: Vec<Reader>,
    pub elsewhere: Vec<Elsewhere>,
}

impl Facts {
    pub fn system(&self, id: SystemId) -> Option<&SystemFacts> {
        self.systems.iter().find(|system| system.id == id)
    }

    /// All backups, oldest first.
    pub fn ordered(&self) -> Vec<Placed<'_>> {
        let systems: Vec<SystemId> = self.systems.iter().map(|system| system.id).collect();
        let history = |system, timeline| self.system(system)?.history(timeline);
        order::ordered(self.backups.values(), &systems, history)
    }

    /// What a backup builds on, if that is there.
    pub fn parent(&self, backup: &Known) -> Option<&Known> {
        // A parent's id is lower, else it is none: there are no rings.
        let parent = backup.parent.filter(|parent| *parent < backup.id)?;
        self.backups.get(&parent)
    }
}

#[derive(Debug)]
pub struct SystemFacts {
    pub id: SystemId,
    pub wal: WalIndex,
    /// What of it `verify` found damaged.
    pub damaged: Vec<Missing>,
    pub histories: BTreeMap<TimelineId, TimelineHistory>,
    /// Timelines that may lead on from earlier ones, nobody knows from where: their history is damaged
    /// or missing.
    pub rootless: BTreeSet<TimelineId>,
}

impl SystemFacts {
    /// What leads to `timeline`; None where that isn't known.
    pub fn history(&self, timeline: TimelineId) -> Option<TimelineHistory> {
        let known = || !self.rootless.contains(&timeline);
        let own = || TimelineHistory::without_ancestors(timeline);
        let history = self.histories.get(&timeline).cloned();
        history.or_else(|| known().then(own))
    }
}

pub type Placed<'a> = order::Placed<'a, Known>;

/// A backup that counts, or did.
#[derive(Clone, Debug)]
pub struct Known {
    pub id: BackupId,
    pub parent: Option<BackupId>,
    pub system: SystemId,
    pub timeline: TimelineId,
    pub start: Lsn,
    pub stop: Lsn,
    /// By the server's clock.
    pub stop_time: Time,
    pub standalone: bool,
    pub stored_bytes: u64,
    /// Why it isn't good, as far as its own objects are concerned.
    pub problem: Option<String>,
}

impl Ended for Known {
    fn end(&self) -> End {
        End {
            id: self.id,
            system: self.system,
            timeline: self.timeline,
            stop: self.stop,
            time: self.stop_time,
        }
    }
}

impl Known {
    /// The segments that recovery needs to become consistent, as numbers.
    pub fn needed(&self, size: SegmentSize) -> Numbers {
        segment_numbers(self.start, self.stop, size)
    }
}

/// Something else in a backup's folder.
#[derive(Clone, Debug)]
pub struct Other {
    pub id: BackupId,
    pub what: What,
    pub stored_bytes: u64,
    /// A sentence about it.
    pub note: String,
    pub protects: Protects,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A whole copy that waits for its WAL.
    Pending,
    /// A pending one that the operator gave up.
    Dropped,
    Running,
    /// Of a backup that was interrupted, or was being deleted.
    Remains,
    /// Its description is lost, and others build on it.
    Lost,
    /// Its description can't be read.
    Unreadable,
    /// Of a system that isn't registered.
    Foreign,
}

/// A repository that `sync` fills from this one.
#[derive(Debug)]
pub struct Elsewhere {
    pub name: String,
    /// Why that can't be told, or what it has.
    pub held: Result<Held, String>,
}

impl Elsewhere {
    /// Why something stays here.
    pub fn reason(&self, lack: Lack) -> String {
        format!("repository {} {lack}", self.name)
    }
}

/// A restore that runs.
#[derive(Clone, Debug)]
pub struct Reader {
    /// A sentence about it.
    pub note: String,
    /// As `parent`: the backup that it reads.
    pub protects: Protects,
}

/// What a backup that may come to count, or a restore, needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protects {
    Nothing,
    Part {
        parent: Option<BackupId>,
        system: SystemId,
        timeline: TimelineId,
        from: Lsn,
    },
    /// Nobody can say.
    Everything,
}

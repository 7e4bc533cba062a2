//! Restores that run: `restores/<time>.json`, by which a cleanup leaves alone what they read.
//!
//! A mark counts until its time is over. Only a restore that fails takes it back: when the files are there the
//! restored server goes on to read WAL, for as long as it has to. What a crash leaves behind keeps things for a while, and no
//! longer.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::{
    backup_id::BackupId, catalog::Backup, document::FORMAT, layout::ObjectName,
    repository::Repository,
};
use crate::{
    error::{Kind, Result},
    postgres::lsn::{Lsn, SystemId, TimelineId},
    util::{
        clock::{self, Time},
        host,
    },
};

/// For the WAL behind the files, and for a restore of next to nothing.
const TERM: TimeDelta = TimeDelta::hours(24);

/// A slow restore, in bytes a second.
const SLOW: u64 = 8 << 20;

/// No mark counts for longer, whatever is written in it.
const MOST: TimeDelta = TimeDelta::days(31);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restoring {
    pub format: u32,
    pub time: Time,
    pub until: Time,
    pub backup: BackupId,
    pub system_id: SystemId,
    pub timeline: TimelineId,
    /// From here on it may need WAL.
    pub start_lsn: Lsn,
    pub host: String,
}

/// What marks say.
#[derive(Debug, Default)]
pub struct Restores {
    /// None: it can't be read.
    pub running: Vec<(ObjectName, Option<Restoring>)>,
    /// Marks whose time is over.
    pub over: Vec<ObjectName>,
}

impl Restoring {
    fn of(backup: &Backup, now: Time) -> Self {
        let seconds = (backup.bytes / SLOW).min(MOST.num_seconds().unsigned_abs());
        let slow = TimeDelta::seconds(seconds.cast_signed());
        Self {
            format: FORMAT,
            time: now,
            until: now + (TERM + slow).min(MOST),
            backup: backup.id,
            system_id: backup.system_id,
            timeline: backup.timeline,
            start_lsn: backup.start_lsn,
            host: host::name(),
        }
    }

    /// How long it counts, from when it was stored on.
    pub fn term(&self) -> TimeDelta {
        (self.until - self.time).clamp(TimeDelta::zero(), MOST)
    }
}

impl Repository {
    /// Has cleanups know of a restore of `backup` that begins. The name is for whoever gives it up.
    pub fn mark_restore(&self, backup: &Backup) -> Result<ObjectName> {
        let mut mark = Restoring::of(backup, clock::now());
        loop {
            let name = self.layout().restore_at(mark.time);
            match self.storage().create_json(&name, &mark) {
                Ok(()) => return Ok(name),
                Err(error) if error.kind() == Kind::AlreadyExists => {
                    mark.time += TimeDelta::microseconds(1);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// All marks; `stored_now` is the store's clock, by which their age counts.
    pub fn restores(&self, stored_now: Time) -> Result<Restores> {
        let mut restores = Restores::default();
        for (name, stored) in self.marks()? {
            let mark = match self.storage().read_json::<Restoring>(&name) {
                Ok(mark) => Some(mark).filter(|mark| mark.format == FORMAT),
                Err(error) if error.kind() == Kind::Damaged => None,
                Err(error) if error.kind() == Kind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let term = mark.as_ref().map_or(TERM, Restoring::term);
            match stored + term > stored_now {
                true => restores.running.push((name, mark)),
                false => restores.over.push(name),
            }
        }
        Ok(restores)
    }

    /// The names of all marks.
    pub fn restore_marks(&self) -> Result<BTreeSet<ObjectName>> {
        Ok(self.marks()?.into_iter().map(|(name, _)| name).collect())
    }

    /// With when they were stored.
    fn marks(&self) -> Result<Vec<(ObjectName, Time)>> {
        let mut marks = Vec::new();
        for info in self.storage().list(&self.layout().restores(), None)? {
            let info = info?;
            if self.layout().read_restore(&info.name).is_some() {
                marks.push((info.name, info.modified));
            }
        }
        Ok(marks)
    }
}

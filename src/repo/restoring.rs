//! Restores that run: `restores/<time>.json`, by which a cleanup leaves alone what they read.
//!
//! A mark counts until its time is over. Of a backup only a restore that fails takes it back: when the files are
//! there the restored server goes on to read WAL, for as long as it has to. A drill, and who reads a dump, takes it back
//! at the end; if it was killed, the mark counts no longer on its own host. What a crash leaves behind keeps things for a
//! while, and no longer.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::{
    backup::Backup, backup_id::BackupId, document::FORMAT, dump::Dump, dump_name::DumpName,
    layout::ObjectName, repository::Repository,
};
use crate::{
    error::{Kind, Result},
    postgres::lsn::{Lsn, SystemId, TimelineId},
    util::{
        clock::{self, Time, readable},
        host::{self, ProcessId},
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
    #[serde(flatten)]
    pub reads: Reads,
    pub host: String,
}

/// What a restore reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reads {
    Backup {
        backup: BackupId,
        system_id: SystemId,
        timeline: TimelineId,
        /// From here on it may need WAL.
        start_lsn: Lsn,
        /// Who, where the restored server ends with it. None: that server reads WAL long after.
        #[serde(default)]
        process: Option<ProcessId>,
    },
    Dump {
        dump: DumpName,
        /// Who: nobody else goes on reading when it ends. None: a version that did not tell.
        process: Option<ProcessId>,
    },
}

/// How long a backup is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// By the restored server, too, whoever starts it.
    Server,
    /// As long as this process lives, and its own server.
    Process,
}

/// What marks say.
#[derive(Debug, Default)]
pub struct Restores {
    /// None: it can't be read.
    pub running: Vec<(ObjectName, Option<Restoring>)>,
    /// Marks that count no longer.
    pub over: Vec<ObjectName>,
}

impl Restoring {
    /// `bytes`: what is written while it is read.
    fn of(reads: Reads, bytes: u64, now: Time) -> Self {
        let seconds = (bytes / SLOW).min(MOST.num_seconds().unsigned_abs());
        let slow = TimeDelta::seconds(seconds.cast_signed());
        Self {
            format: FORMAT,
            time: now,
            until: now + (TERM + slow).min(MOST),
            reads,
            host: host::name(),
        }
    }

    /// A sentence about it.
    pub fn note(&self) -> String {
        let (host, since) = (&self.host, readable(self.time));
        format!("a restore on host {host} reads it, since {since}")
    }

    /// Whether nobody reads any more, surely: of another host nothing is known.
    fn has_ended(&self) -> bool {
        let process = match &self.reads {
            Reads::Backup { process, .. } | Reads::Dump { process, .. } => process,
        };
        process.as_ref().and_then(ProcessId::lives) == Some(false)
    }

    /// How long it counts, from when it was stored on.
    pub fn term(&self) -> TimeDelta {
        (self.until - self.time).clamp(TimeDelta::zero(), MOST)
    }
}

impl Restores {
    /// Why `dump` must stay, if so.
    pub fn reading(&self, dump: &DumpName) -> Option<String> {
        self.running.iter().find_map(|(name, mark)| match mark {
            None => Some(unreadable(name)),
            Some(mark) => matches!(&mark.reads, Reads::Dump { dump: read, .. } if read == dump)
                .then(|| mark.note()),
        })
    }
}

/// A sentence about a mark that says nothing.
pub fn unreadable(name: &ObjectName) -> String {
    format!("{name} can't be read; it counts for a day")
}

impl Repository {
    /// Has cleanups know of a restore of `backup` that begins. The name is for whoever gives it up.
    pub fn mark_restore(&self, backup: &Backup, reader: Reader) -> Result<ObjectName> {
        let reads = Reads::Backup {
            backup: backup.id,
            system_id: backup.system_id,
            timeline: backup.timeline,
            start_lsn: backup.start_lsn,
            process: (reader == Reader::Process).then(ProcessId::own),
        };
        self.mark(Restoring::of(reads, backup.bytes, clock::now()))
    }

    /// As [`Repository::mark_restore`], of a dump.
    pub fn mark_restore_of_dump(&self, dump: &Dump) -> Result<ObjectName> {
        let bytes = dump.database_bytes.unwrap_or(dump.data.plain_bytes);
        let reads = Reads::Dump {
            dump: dump.name.clone(),
            process: Some(ProcessId::own()),
        };
        self.mark(Restoring::of(reads, bytes, clock::now()))
    }

    fn mark(&self, mut mark: Restoring) -> Result<ObjectName> {
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
        for (name, stored, mark) in self.read_marks()? {
            let term = mark.as_ref().map_or(TERM, Restoring::term);
            let has_ended = mark.as_ref().is_some_and(Restoring::has_ended);
            match stored + term > stored_now && !has_ended {
                true => restores.running.push((name, mark)),
                false => restores.over.push(name),
            }
        }
        Ok(restores)
    }

    /// Deletes what killed readers left on this host: elsewhere nobody knows that they are gone.
    pub fn forget_ended_restores(&self) -> Result<()> {
        for (name, _, mark) in self.read_marks()? {
            if mark.is_some_and(|mark| mark.has_ended()) {
                self.delete_if_we_may(&name)?;
            }
        }
        Ok(())
    }

    /// Whether there is a mark, beside those that are `known`, of who reads a backup.
    pub fn restore_has_begun(&self, known: &BTreeSet<ObjectName>) -> Result<bool> {
        for (name, _) in self.marks()? {
            let is_of_dump = |mark: Option<Restoring>| {
                mark.is_some_and(|mark| matches!(mark.reads, Reads::Dump { .. }))
            };
            if !known.contains(&name) && !self.read_mark(&name)?.is_none_or(is_of_dump) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// None: it is gone; `Some(None)`: it can't be read.
    fn read_mark(&self, name: &ObjectName) -> Result<Option<Option<Restoring>>> {
        match self.storage().read_json::<Restoring>(name) {
            Ok(mark) => Ok(Some(Some(mark).filter(|mark| mark.format == FORMAT))),
            Err(error) if error.kind() == Kind::Damaged => Ok(Some(None)),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All that are still there, with when they were stored.
    fn read_marks(&self) -> Result<Vec<(ObjectName, Time, Option<Restoring>)>> {
        let marks = self.marks()?;
        let mut all = Vec::with_capacity(marks.len());
        let read = self.read_each(&marks, |(name, _)| self.read_mark(name));
        for ((name, stored), mark) in marks.iter().zip(read) {
            all.extend(mark?.map(|mark| (name.clone(), *stored, mark)));
        }
        Ok(all)
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

//! Reports of restore drills: `drills/<time>.json`, and beside each what its databases held.
//!
//! What they held is stored first: it is large, and only the next drill reads it. A crash in between leaves it
//! without a report, and nobody looks at it.

use std::{collections::BTreeMap, fmt, time::Duration};

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::{
    backup_id::BackupId,
    document::FORMAT,
    dump::ObjectCounts,
    layout::ObjectName,
    repository::Repository,
    verified::{CheckState, VerifiedCheck},
};
use crate::{
    error::{Kind, Result},
    postgres::lsn::{Lsn, SystemId, TimelineId},
    util::{
        clock::{Time, readable},
        units,
    },
};

/// The newest reports that are read and kept: two years of weekly drills.
const MOST: usize = 104;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drill {
    pub format: u32,
    /// When it began; its name.
    pub time: Time,
    pub finished: Time,
    pub host: String,
    pub pgstow_version: String,
    pub cluster: String,
    pub system_id: SystemId,
    /// As PostgreSQL's server_version_num.
    pub postgres_version: u32,
    /// None: no backup could be chosen.
    pub backup: Option<BackupId>,
    /// How many backups a restore of it reads, itself among them.
    pub chain_length: u64,
    pub timeline: Option<TimelineId>,
    /// To where it was restored, as people read it.
    pub target: String,
    /// Whether every check that could be made was passed, and it was restored at all.
    pub good: bool,
    /// Where recovery ended.
    pub reached: Option<Reached>,
    /// Segments of WAL on the way.
    pub segments: u64,
    pub seconds: f64,
    pub phases: Vec<Phase>,
    /// What was foreseen of fetch, unpack and replay before it began; None: no earlier drill told.
    #[serde(default)]
    pub forecast: Option<Forecast>,
    pub checks: Vec<VerifiedCheck>,
}

/// How long it will take until a restored server is open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    pub seconds: f64,
    pub phases: Vec<Foreseen>,
    /// How many drills it is made of.
    pub drills: u64,
    /// How many restores that were no drills.
    #[serde(default)]
    pub restores: u64,
    /// Where they were made.
    pub host: String,
    /// How far earlier forecasts were off on average, as a part of what it took; None: there was none.
    pub error: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Foreseen {
    pub name: String,
    pub seconds: f64,
}

impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |seconds: f64| units::duration(Duration::from_secs_f64(seconds.max(0.0)));
        let share = |part: &Foreseen| match self.seconds > 0.0 {
            true => format!("{} {:.0} %", part.name, 100.0 * part.seconds / self.seconds),
            false => part.name.clone(),
        };
        let shares: Vec<String> = self.phases.iter().map(share).collect();
        let off = match self.error {
            Some(error) => format!("; earlier forecasts were {:.0} % off", 100.0 * error),
            None => String::new(),
        };
        let by = [(self.drills, "drill"), (self.restores, "restore")];
        let by = by.into_iter().filter(|(count, _)| *count > 0);
        let by: Vec<String> = by.map(|(count, what)| units::count(count, what)).collect();
        write!(
            f,
            "about {} ({}), by {} on {}{off}",
            time(self.seconds),
            shares.join(", "),
            by.join(" and "),
            self.host
        )
    }
}

/// Where recovery ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    pub lsn: Lsn,
    /// Of the newest transaction that was replayed; None: there was none behind the backup.
    pub transaction: Option<Time>,
}

/// A part of the work, measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    pub name: String,
    pub seconds: f64,
    /// Of this program and those that it ran; None where that isn't known.
    pub cpu_seconds: Option<f64>,
    /// That were fetched, written, replayed or read, by what the phase is.
    pub bytes: Option<u64>,
}

/// What the databases held that a drill restored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drilled {
    pub format: u32,
    pub databases: BTreeMap<String, DrilledDatabase>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrilledDatabase {
    pub schemas: Vec<String>,
    pub extensions: Vec<String>,
    pub counts: ObjectCounts,
    pub sequences: u64,
    /// `schema.table`, and whether it had any rows.
    pub tables: BTreeMap<String, bool>,
}

impl Drill {
    pub fn findings(&self) -> u64 {
        let failed = self.failed();
        failed.count() as u64
    }

    /// Checks that were not passed.
    pub fn failed(&self) -> impl Iterator<Item = &VerifiedCheck> {
        let checks = self.checks.iter();
        checks.filter(|check| check.result == CheckState::Failed)
    }

    /// To which moment it was restored, for people.
    pub fn moment(&self) -> String {
        match &self.reached {
            Some(Reached {
                transaction: Some(time),
                ..
            }) => readable(*time),
            Some(Reached { lsn, .. }) => format!("LSN {lsn}"),
            None => self.target.clone(),
        }
    }
}

/// All reports that are read, and which could not be.
#[derive(Clone, Debug, Default)]
pub struct Drills {
    /// Oldest first.
    pub all: Vec<Drill>,
    /// Why reports that are there could not be read.
    pub unread: Vec<String>,
}

impl Drills {
    pub fn newest(&self) -> Option<&Drill> {
        self.all.last()
    }

    /// The newest drill that found nothing wrong.
    pub fn proof(&self) -> Option<&Drill> {
        self.all.iter().rev().find(|drill| drill.good)
    }

    /// The newest drill of a backup.
    pub fn of(&self, backup: BackupId) -> Option<&Drill> {
        let mut newest_first = self.all.iter().rev();
        newest_first.find(|drill| drill.backup == Some(backup))
    }
}

impl Repository {
    /// Files a report behind all others: names give the order, whatever a clock said at an earlier drill.
    pub fn add_drill(&self, drill: &mut Drill, drilled: Option<&Drilled>) -> Result<ObjectName> {
        loop {
            let newest = self.drill_reports()?.pop();
            let newest = newest.and_then(|name| self.layout().read_drill(&name));
            let next = newest.map(|newest| newest + TimeDelta::microseconds(1));
            let time = next.map_or(drill.time, |next| next.max(drill.time));
            drill.time = time;
            if let Some(drilled) = drilled {
                let name = self.layout().drilled_at(time);
                match self.storage().create_json(&name, drilled) {
                    Err(error) if error.kind() == Kind::AlreadyExists => {
                        drill.time += TimeDelta::microseconds(1);
                        continue;
                    }
                    other => other?,
                }
            }
            let name = self.layout().drill_at(time);
            match self.storage().create_json(&name, drill) {
                Err(error) if error.kind() == Kind::AlreadyExists => {}
                other => return other.map(|()| name),
            }
        }
    }

    /// Oldest first.
    fn drill_reports(&self) -> Result<Vec<ObjectName>> {
        let mut reports = Vec::new();
        for info in self.storage().list(&self.layout().drills(), None)? {
            let name = info?.name;
            if self.layout().read_drill(&name).is_some() {
                reports.push(name);
            }
        }
        Ok(reports)
    }

    /// Reports that nobody reads any more, and what belongs to them.
    pub fn old_drills(&self) -> Result<Vec<ObjectName>> {
        let mut old = self.drill_reports()?;
        old.truncate(old.len().saturating_sub(MOST));
        let times = old.iter().filter_map(|name| self.layout().read_drill(name));
        let beside: Vec<ObjectName> = times.map(|time| self.layout().drilled_at(time)).collect();
        old.extend(beside);
        Ok(old)
    }

    /// The newest reports.
    pub fn drills(&self) -> Result<Drills> {
        let mut drills = Drills::default();
        let reports = self.drill_reports()?;
        let newest = &reports[reports.len().saturating_sub(MOST)..];
        for drill in self.read_each(newest, |name| self.storage().read_json::<Drill>(name)) {
            match drill {
                Ok(drill) if drill.format == FORMAT => drills.all.push(drill),
                Ok(_) => {}
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) if self.is_of_object(&error) => {
                    drills.unread.push(error.in_one_line());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(drills)
    }

    /// What the databases held that a drill restored; None where nobody noted it, or it can't be read.
    pub fn drilled(&self, drill: &Drill) -> Result<Option<Drilled>> {
        let name = self.layout().drilled_at(drill.time);
        match self.storage().read_json::<Drilled>(&name) {
            Ok(drilled) => Ok(Some(drilled).filter(|drilled| drilled.format == FORMAT)),
            Err(error) if error.kind() == Kind::NotFound || self.is_of_object(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

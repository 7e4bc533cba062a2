//! The table of jobs. A command that wants to be one has its two files in `systemd/` and a row here.

use crate::error::{Error, Result};

/// Something that runs again and again.
#[derive(Debug, PartialEq, Eq)]
pub struct Job {
    /// `pgstow-NAME@CLUSTER` are its units.
    pub name: &'static str,
    /// What the history of runs calls it: the command.
    pub command: &'static str,
    /// The text of its service, as it stands in `systemd/`.
    pub service: &'static str,
    /// The text of its timer.
    pub timer: &'static str,
    /// When its timer elapses, in the five fields of a crontab.
    pub cron: &'static str,
}

macro_rules! job {
    ($name:literal, $command:literal, $cron:literal) => {
        Job {
            name: $name,
            command: $command,
            service: include_str!(concat!("../../../systemd/pgstow-", $name, "@.service")),
            timer: include_str!(concat!("../../../systemd/pgstow-", $name, "@.timer")),
            cron: $cron,
        }
    };
}

/// The job that is there only where dumps are made.
pub const DUMP: &str = "dump";

/// The job that is there only where repositories are filled from others.
pub const SYNC: &str = "sync";

/// The job that looks at everything, every few minutes.
pub const MONITOR: &str = "monitor";

pub const JOBS: [Job; 8] = [
    job!("base", "base", "0 2 * * 0"),
    job!("incremental", "base", "0 2 * * 1-6"),
    job!("dump", "dump", "0 1 * * *"),
    job!("sync", "sync", "30 * * * *"),
    job!("cleanup", "cleanup", "0 6 * * *"),
    job!("verify", "verify", "0 12 * * 0"),
    job!("drill", "drill", "0 14 * * 0"),
    job!("monitor", "monitor", "*/5 * * * *"),
];

/// The unit that jobs call when they fail or have findings, as it stands in `systemd/`.
pub const ALERT: &str = "pgstow-alert@";
pub const ALERT_TEXT: &str = include_str!("../../../systemd/pgstow-alert@.service");

/// As [`ALERT`], of a cluster: its settings, its user.
pub fn alert_of(cluster: &str) -> String {
    format!("pgstow-alert-{cluster}@")
}

impl Job {
    pub fn named(name: &str) -> Result<&'static Self> {
        JOBS.iter().find(|job| job.name == name).ok_or_else(|| {
            let names: Vec<&str> = JOBS.iter().map(|job| job.name).collect();
            Error::usage(format!("there is no job {name:?}"))
                .hint(format!("jobs are: {}.", names.join(", ")))
        })
    }

    /// Whether a cluster may be without it.
    pub fn optional(&self) -> bool {
        self.name == DUMP || self.name == SYNC
    }

    pub fn service_name(&self, cluster: &str) -> String {
        format!("pgstow-{}@{cluster}.service", self.name)
    }

    pub fn timer_name(&self, cluster: &str) -> String {
        format!("pgstow-{}@{cluster}.timer", self.name)
    }
}

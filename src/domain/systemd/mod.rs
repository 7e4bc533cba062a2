//! What runs pgstow unattended: systemd's units of a cluster, or a crontab where there is no systemd.
//!
//! `jobs` is the table of what there is, `units` and `crontab` word the files, `file` knows which of those
//! that are there may be replaced; `install`, `remove` and `status` act.

mod cron_time;
mod crontab;
pub mod ended;
pub mod file;
pub mod install;
pub mod jobs;
mod place;
pub mod remove;
pub mod status;
mod systemctl;
mod units;

use std::{collections::BTreeMap, path::PathBuf};

use crate::repo::layout::ClusterName;
use jobs::{JOBS, Job};
pub use place::{Place, Scheduler};

/// What the files of a cluster say.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub cluster: ClusterName,
    /// The program and the options that lead it to the present settings.
    pub call: Vec<String>,
    /// Whom the jobs run as.
    pub user: String,
    /// The cluster's folder for notes of this host.
    pub state_folder: PathBuf,
    /// Folders beside `/var/lib/pgstow` in which the jobs write.
    pub writes: Vec<PathBuf>,
    /// The folder of the log file.
    pub log: Option<PathBuf>,
    /// When each job runs, where that is not its default.
    pub calendars: BTreeMap<&'static str, String>,
    /// Whether dumps are made, too.
    pub dumps: bool,
    /// Whether there are repositories that are filled from others.
    pub syncs: bool,
}

impl Wanted {
    /// Those that are set up.
    fn jobs(&self) -> impl Iterator<Item = &'static Job> {
        JOBS.iter().filter(|job| match job.name {
            jobs::DUMP => self.dumps,
            jobs::SYNC => self.syncs,
            _ => true,
        })
    }
}

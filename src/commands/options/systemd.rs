//! Options of `systemd`.

use std::{collections::BTreeMap, path::PathBuf};

use crate::domain::systemd::Place;

#[derive(Debug)]
pub struct SystemdOptions {
    pub action: SystemdAction,
    pub place: Place,
}

#[derive(Debug, PartialEq, Eq)]
pub enum SystemdAction {
    Install {
        /// The program and the options that lead it to the present settings.
        call: Vec<String>,
        user: String,
        /// By the name of the job.
        calendars: BTreeMap<&'static str, String>,
        /// Whether dumps are made.
        dumps: bool,
        /// Whether there are repositories that are filled from others, by these jobs.
        syncs: bool,
        /// Where folders of drills are made, if not in the state folder.
        drills: Option<PathBuf>,
        /// The folder of the log file, where there is one.
        log: Option<PathBuf>,
        /// Only show what would be written.
        print: bool,
        /// Overwrite what somebody changed.
        force: bool,
    },
    Status,
}

#[derive(Debug)]
pub struct RemoveOptions {
    pub place: Place,
    /// Remove what somebody changed, too.
    pub force: bool,
}

//! Options of `drill`.

use std::{path::PathBuf, time::Duration};

use crate::domain::drill::pick::To;

#[derive(Debug)]
pub struct DrillOptions {
    pub to: To,
    pub ground: GroundOptions,
    pub settings: DrillSettings,
}

/// For restores into a scratch folder.
#[derive(Clone, Debug)]
pub struct GroundOptions {
    /// Above that of the settings.
    pub scratch: Option<PathBuf>,
    pub jobs: usize,
    pub bindir: Option<PathBuf>,
    /// Global flags that lead restore-wal, called by the server, to the same settings.
    pub server_flags: Vec<String>,
}

#[derive(Debug)]
pub struct DrillSettings {
    /// Where folders of drills are made; None: in the state folder.
    pub scratch: Option<PathBuf>,
    /// Statements that must return true.
    pub sql: Vec<String>,
    /// Where they are asked; None: in the cluster's own database.
    pub database: Option<String>,
    /// How long pg_amcheck may look at tables.
    pub amcheck_limit: Duration,
    /// How old the newest transaction may be, before the target.
    pub recovery_point: Option<Duration>,
    /// For the restored server.
    pub server: Vec<(String, String)>,
}

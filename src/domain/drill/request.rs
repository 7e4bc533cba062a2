//! All that a drill is asked for.

use std::{path::PathBuf, time::Duration};

use super::pick::To;

#[derive(Clone, Debug)]
pub struct Request {
    pub to: To,
    /// Where the folder of the drill is made.
    pub place: PathBuf,
    pub workers: usize,
    pub bindir: Option<PathBuf>,
    /// Statements that must return true.
    pub sql: Vec<String>,
    /// Where they are asked.
    pub database: String,
    /// How long relations are looked at by pg_amcheck.
    pub amcheck_limit: Duration,
    /// How old the newest transaction may be, before the target.
    pub recovery_point: Option<Duration>,
    /// For the server, behind our own settings.
    pub settings: Vec<(String, String)>,
    /// Roles as whom the restored server may let us in.
    pub users: Vec<String>,
    /// This program and its flags, up to and with `restore-wal`, and with `restore-done`.
    pub wal_command: Vec<String>,
    pub done_command: Vec<String>,
}

//! Options of `restore`.

use std::path::PathBuf;

use super::{GroundOptions, RepoSettings};
use crate::domain::{
    regain::request::{To, What},
    restore::{request::Request, target::Wish},
};

#[derive(Debug)]
pub struct RestoreOptions {
    pub request: Request,
    /// Only show what would be done.
    pub plan: bool,
    pub from: ReadFrom,
}

/// The repositories that what was kept comes from.
#[derive(Debug)]
pub struct ReadFrom {
    /// Global flags that lead restore-wal, called by the server, to the same settings.
    pub server_flags: Vec<String>,
    /// Where that is looked for which the chosen repository should have and can't give; each with such flags.
    pub others: Vec<(RepoSettings, Vec<String>)>,
    /// The repository was named: only what is damaged or missing of a backup comes from elsewhere.
    pub keeps_to_chosen: bool,
}

/// Options of `restore` for a part of a backup.
#[derive(Debug)]
pub struct RegainOptions {
    pub wish: Wish,
    pub what: What,
    pub to: To,
    pub schema: Option<String>,
    pub owners: bool,
    /// Only show what would be done.
    pub plan: bool,
    pub from: ReadFrom,
    pub ground: GroundOptions,
    /// As for drills.
    pub scratch: Option<PathBuf>,
    pub server: Vec<(String, String)>,
}

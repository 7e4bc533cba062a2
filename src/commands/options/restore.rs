//! Options of `restore`.

use std::path::PathBuf;

use super::GroundOptions;
use crate::domain::{
    regain::request::{To, What},
    restore::{request::Request, target::Wish},
};

#[derive(Debug, PartialEq, Eq)]
pub struct RestoreOptions {
    pub request: Request,
    /// Only show what would be done.
    pub plan: bool,
    /// Global flags that lead restore-wal, called by the server, to the same settings.
    pub server_flags: Vec<String>,
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
    pub ground: GroundOptions,
    /// As for drills.
    pub scratch: Option<PathBuf>,
    pub server: Vec<(String, String)>,
}

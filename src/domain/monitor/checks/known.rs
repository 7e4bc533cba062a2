//! The names of all checks, and what they judge by.

use super::super::thresholds::Thresholds;
use crate::{domain::setup::archive_command::ArchiveCommand, util::clock::Time};

/// Of the server: unknown while it can't be asked.
pub const OF_SERVER: [&str; 11] = [
    "version",
    "wal_level",
    "archive_mode",
    "archive_command",
    "archive_timeout",
    "archiver",
    "waiting",
    "recovery_target",
    "full_page_writes",
    "slots",
    "clock",
];

/// Of each repository: unknown while it can't be read.
pub const OF_REPOSITORY: [&str; 8] = [
    "verification",
    "restorable",
    "given_up",
    "page_failures",
    "damaged",
    "pending",
    "timeline",
    "wal_lag",
];

/// The others.
const REST: [&str; 7] = [
    "connection",
    "repository",
    "backup_age",
    "full_age",
    "disk",
    "runs",
    "timers",
];

/// The names of all checks.
pub fn names() -> impl Iterator<Item = &'static str> {
    OF_SERVER.into_iter().chain(OF_REPOSITORY).chain(REST)
}

/// What is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Yardstick<'a> {
    pub thresholds: &'a Thresholds,
    /// As archive_command should be.
    pub command: &'a ArchiveCommand,
    pub now: Time,
}

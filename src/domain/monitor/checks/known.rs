//! The names of all checks, and what they judge by.

use super::{
    super::{
        thresholds::Thresholds,
        verdict::{State, Verdict},
    },
    wanted::Wanted,
};
use crate::{domain::setup::archive_command::ArchiveCommand, util::clock::Time};

/// Of the server: unknown while it can't be asked.
pub const OF_SERVER: [&str; 13] = [
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
    "receive_wal",
    "clock",
    "left_databases",
];

/// Of each of several repositories: whether it has a backup of its own.
pub const HERE: &str = "backup_here";

/// Of each repository: unknown while it can't be read.
pub const OF_REPOSITORY: [&str; 13] = [
    HERE,
    "verification",
    "restorable",
    "given_up",
    "page_failures",
    "damaged",
    "pending",
    "timeline",
    "wal_lag",
    "dump_verification",
    "drill",
    "recovery_point",
    "recovery_time",
];

/// Of base backups and their WAL.
const OF_BACKUPS: [&str; 11] = [
    HERE,
    "wal_level",
    "archive_mode",
    "archive_command",
    "archiver",
    "waiting",
    "timeline",
    "wal_lag",
    "recovery_point",
    "backup_age",
    "full_age",
];

/// Whether a verdict is without meaning where dumps are all that is made.
pub fn is_of_backups(verdict: &Verdict) -> bool {
    let is_timer = || verdict.object.as_deref().is_some_and(is_timer_of_backups);
    OF_BACKUPS.contains(&verdict.check) || (verdict.check == "timers" && is_timer())
}

/// Of the jobs that run `base`.
pub fn is_timer_of_backups(name: &str) -> bool {
    ["pgstow-base@", "pgstow-incremental@"]
        .iter()
        .any(|begin| name.starts_with(begin))
}

/// The others.
const REST: [&str; 10] = [
    "connection",
    "repository",
    "backup_age",
    "full_age",
    "dump_age",
    "unsynced",
    "disk",
    "state",
    "runs",
    "timers",
];

/// The names of all checks.
pub fn names() -> impl Iterator<Item = &'static str> {
    OF_SERVER.into_iter().chain(OF_REPOSITORY).chain(REST)
}

/// Unknown while a repository can't be read that may have what they look for, or is compared.
const OF_ALL_REPOSITORIES: [&str; 4] = ["backup_age", "full_age", "dump_age", "unsynced"];

/// True of what could not be looked at because of something else that is a verdict itself.
pub fn is_consequence(verdict: &Verdict, all: &[Verdict]) -> bool {
    let is_bad = |check: &str, object: Option<&str>| {
        all.iter().any(|one| {
            one.check == check && one.object.as_deref() == object && one.state != State::Ok
        })
    };
    let check = verdict.check;
    let object = verdict.object.as_deref();
    let of_repository = OF_REPOSITORY.contains(&check);
    let asks_server = of_repository || OF_SERVER.contains(&check);
    // `disk` has its repository as `repo.NAME`.
    let its_repository = match check {
        "disk" => object.and_then(|object| object.strip_prefix("repo.")),
        _ => object.filter(|_| of_repository),
    };
    let lost = |one: &Verdict| one.check == "repository" && one.state != State::Ok;
    verdict.state == State::Unknown
        && ((asks_server && is_bad("connection", None))
            || its_repository.is_some_and(|name| is_bad("repository", Some(name)))
            || (OF_ALL_REPOSITORIES.contains(&check) && all.iter().any(lost)))
}

/// What is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Yardstick<'a> {
    pub thresholds: &'a Thresholds,
    /// As archive_command should be.
    pub command: &'a ArchiveCommand,
    /// Dumps that are missed where there are none.
    pub wanted: &'a Wanted,
    /// The replication slot of receive-wal.
    pub slot: &'a str,
    /// Names of all repositories that are set, whichever are looked at.
    pub repositories: &'a [String],
    pub now: Time,
}

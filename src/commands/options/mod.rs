//! What commands are told: plain values, checked and complete, that know no command line.

mod base;
mod connection;
mod drill;
mod dump;
mod find_target;
mod restore;
mod restore_dump;
mod retention;
mod settings;
mod sync;
mod systemd;
mod verify_dump;
mod wal;

use std::{path::PathBuf, time::Duration};

pub use base::{BaseOptions, Checkpoint};
pub use connection::ConnectionSettings;
pub use drill::{DrillOptions, DrillSettings, GroundOptions};
pub use dump::{DumpOptions, DumpSettings};
pub use find_target::FindTargetOptions;
pub use restore::{ReadFrom, RegainOptions, RestoreOptions};
pub use restore_dump::{DumpFrom, RestoreDumpOptions};
pub use retention::{CleanupOptions, PinOptions};
pub use settings::{
    BackupSettings, ClusterSettings, Jobs, LogLevel, RepoSettings, Settings, WalMode, WalSettings,
};
pub use sync::{SyncAction, SyncOptions};
pub use systemd::{RemoveOptions, SystemdAction, SystemdOptions};
pub use verify_dump::{HealthSettings, Place, VerifyDumpSettings, VerifyDumpsOptions, WhichDumps};
pub use wal::{ArchiveWalOptions, ReceiveWalOptions, RestoreWalOptions};

use crate::{
    domain::{
        monitor::{
            alert::Wishes,
            checks::Wanted,
            door::Notifier,
            thresholds::{Limits, Thresholds},
        },
        systemd::ended::EndedUnit,
    },
    repo::{backup_id::BackupId, dump_name::Class},
};

#[derive(Debug, PartialEq, Eq)]
pub struct DemoOptions {
    /// Where PostgreSQL's programs are; None: the newest that is installed.
    pub bindir: Option<PathBuf>,
    /// Leave the scratch folder behind.
    pub keep: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub struct InitOptions {
    /// Register a further system identifier, after pg_upgrade or a new initdb.
    pub new_system: bool,
    /// Set the server's settings by ALTER SYSTEM.
    pub apply: bool,
    /// The words of archive_command before `archive-wal %p`.
    pub archive_call: Vec<String>,
    /// Repositories are where the file has them, so that their names mean the same at each run.
    pub of_file: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub struct CheckOptions {
    /// Probe the chosen repository and nothing else.
    pub only_repo: bool,
    /// As in [`InitOptions`].
    pub archive_call: Vec<String>,
    /// How long a WAL segment may take to arrive.
    pub wal_timeout: Duration,
    /// The slot of receive-wal.
    pub slot: String,
    /// Whether the configuration file speaks of dumps.
    pub dumps: bool,
    /// Whether each dump is restored, to be checked.
    pub verifies_dumps: bool,
}

#[derive(Debug)]
pub struct ListOptions {
    /// Show this one in full.
    pub backup: Option<BackupId>,
    /// Listed in the place of the first repository, where that is away.
    pub others: Vec<RepoSettings>,
}

#[derive(Debug)]
pub struct ListDumpsOptions {
    /// As in [`ListOptions`].
    pub others: Vec<RepoSettings>,
    /// Only these.
    pub class: Option<Class>,
    pub database: Option<String>,
}

#[derive(Debug)]
pub struct VerifyOptions {
    /// None: the newest, unless `all`.
    pub backup: Option<BackupId>,
    pub all: bool,
    pub wal: bool,
    /// What is damaged is healed by what these have.
    pub repair_from: Option<Vec<RepoSettings>>,
    pub jobs: usize,
}

/// Who is told of failures.
#[derive(Debug)]
pub struct AlertOptions {
    pub notifiers: Vec<Notifier>,
    /// For sending.
    pub limit: Duration,
}

/// A unit of systemd that failed, and what can be read of the settings.
#[derive(Debug)]
pub struct FailedUnitOptions {
    pub unit: EndedUnit,
    /// Of all clusters.
    pub state_dir: PathBuf,
    pub alerts: AlertOptions,
    pub failed_runs: Limits<u64>,
    /// Names of all repositories that are set.
    pub repositories: Vec<String>,
}

#[derive(Debug)]
pub struct MonitorOptions {
    /// Names of checks; none: all.
    pub only: Vec<String>,
    /// The report as one line for Nagios.
    pub nagios: bool,
    /// Where the metrics are written and sent to.
    pub textfile: Option<PathBuf>,
    pub pushgateway: Option<String>,
    /// Where the page for browsers is written to.
    pub page: Option<PathBuf>,
    /// Metrics of runs under the names of older scripts, too.
    pub plain_names: bool,
    /// Dumps that are missed where there are none.
    pub wanted: Wanted,
    /// The replication slot of receive-wal.
    pub slot: String,
    /// Only the ages of the newest good backup and dump, without a server.
    pub healthcheck: bool,
    /// As in [`InitOptions`].
    pub archive_call: Vec<String>,
    pub thresholds: Thresholds,
    /// For all that is looked at.
    pub limit: Duration,
    pub alerts: AlertOptions,
    /// Say only what changed, as to one who wants to hear this; None: say all.
    pub changes: Option<Wishes>,
}

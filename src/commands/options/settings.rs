//! The settings of an installation, whatever layer each came from.

use std::{num::NonZeroUsize, path::PathBuf, sync::Arc, thread, time::Duration};

use super::{base::Checkpoint, connection::ConnectionSettings};
use crate::{
    domain::retention::policy::Policy,
    error::{Error, Result},
    postgres::{conninfo::ConnInfo, file_checksum::Algorithm},
    repo::{codec::Compression, crypt::Keys, layout::ClusterName, location::Location},
};

#[derive(Clone, Debug)]
pub struct Settings {
    pub state_dir: PathBuf,
    /// In order: the first is the one that restores and lists read. Empty: none is set.
    pub repos: Vec<RepoSettings>,
    /// Names and places of those that `sync` fills: no other command knows of them unless it is told to.
    pub synced: Vec<(String, Location)>,
    /// Names of all repositories in the file, in its order, whichever was chosen.
    pub named: Vec<String>,
    pub cluster: ClusterSettings,
    pub archive_wal_limit: Duration,
    pub restore_wal_limit: Duration,
    pub wal: WalSettings,
}

impl Settings {
    /// The chosen cluster's folder for notes of this host.
    pub fn state_folder(&self) -> PathBuf {
        self.state_dir.join(self.cluster.name.as_str())
    }

    /// The first or chosen repository.
    pub fn repo(&self) -> Result<&RepoSettings> {
        self.repos.first().ok_or_else(|| {
            Error::usage("no repository is set")
                .hint("give --repo-url /a/folder, or url in [repo.local] of pgstow.toml.")
        })
    }

    /// Those of the first or chosen repository; none where none is set.
    pub fn keys(&self) -> Arc<Keys> {
        let first = self.repos.first();
        first.map_or_else(Arc::default, |repo| Arc::clone(&repo.keys))
    }
}

/// How far archive-wal and restore-wal go beyond the file that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalSettings {
    /// Segments that one call stores beside its own.
    pub look_ahead: usize,
    /// Bytes of WAL that may wait to be archived before the oldest is given up; None: any.
    pub drop_above: Option<u64>,
    /// Segments that are fetched before they are asked for.
    pub prefetch: usize,
    /// Bytes of these.
    pub prefetch_size: u64,
}

/// How a repository comes to its WAL, and backups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalMode {
    /// archive-wal waits for it.
    Push,
    /// Copied later from the first.
    Sync,
}

/// What backups of a cluster are made by, where no option of `base` says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupSettings {
    /// None: each is a full one.
    pub full_every: Option<Duration>,
    /// Incremental backups that build on one full one.
    pub chain_max: u32,
    pub checkpoint: Checkpoint,
    /// Bytes a second; PostgreSQL's own range.
    pub max_rate: Option<u64>,
    pub manifest_checksums: Algorithm,
    /// How long to wait for the WAL that a backup needs.
    pub wal_timeout: Duration,
}

#[derive(Clone, Debug)]
pub struct RepoSettings {
    pub name: String,
    pub location: Location,
    pub compression: Compression,
    /// Plain bytes of a part.
    pub part_size: u64,
    pub verify_after_write: bool,
    pub retention: Policy,
    pub keys: Arc<Keys>,
}

#[derive(Clone, Debug)]
pub struct ClusterSettings {
    pub name: ClusterName,
    /// A call that names none doesn't mean this one.
    pub must_be_named: bool,
    pub connection: ConnectionSettings,
    /// None: the server is asked.
    pub data_dir: Option<PathBuf>,
    /// Where PostgreSQL's programs are; None: they are looked for.
    pub bindir: Option<PathBuf>,
    pub jobs: Jobs,
    /// Where a standby's backup switches WAL.
    pub primary_host: Option<String>,
    pub primary_port: Option<u16>,
}

impl ClusterSettings {
    /// The primary of a standby: the same connection but for host and port.
    pub fn primary(&self, info: &ConnInfo) -> Result<Option<ConnInfo>> {
        let host = self.primary_host.as_deref();
        host.map(|host| info.clone().with_server(host, self.primary_port))
            .transpose()
    }
}

/// How many workers; counted only when they are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jobs {
    /// One for each processor, at most 8.
    Auto,
    Count(NonZeroUsize),
}

impl Jobs {
    pub fn count(self) -> usize {
        match self {
            Jobs::Count(count) => count.get(),
            Jobs::Auto => thread::available_parallelism().map_or(1, |count| count.get().min(8)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

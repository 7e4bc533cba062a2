//! What a base backup is asked for, and how it ends.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use crate::{
    postgres::{conninfo::ConnInfo, file_checksum::Algorithm},
    repo::{backup::Backup, backup_id::Turn, codec::Compression},
};

/// How the files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// From the data directory where that can be done, else from the server.
    Auto,
    /// From the server's data directory, on its host.
    Local,
    /// From the server, by its replication protocol.
    Stream,
}

/// When a backup builds on an older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainPolicy {
    /// As long as the newest full backup is not older; None: never.
    pub full_every: Option<Duration>,
    /// As long as a chain has not so many incremental backups.
    pub longest: u32,
}

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    pub chain: ChainPolicy,
    pub method: Method,
    /// Where the data directory is on this host, if not where the server says.
    pub data_dir: Option<PathBuf>,
    pub label: String,
    pub checkpoint_fast: bool,
    pub max_rate_kb: Option<u32>,
    pub manifest_checksums: Algorithm,
    pub standalone: bool,
    /// Re-read the stored parts.
    pub verify: bool,
    pub compression: Compression,
    pub part_size: u64,
    pub workers: usize,
    /// How long to wait for the WAL.
    pub wal_limit: Duration,
    /// The slot of receive-wal, if there is one.
    pub slot: String,
    /// The notes of this host, archive-wal's among them.
    pub state_folder: PathBuf,
    pub annotations: BTreeMap<String, String>,
    /// In which seconds it may begin, by its id.
    pub turn: Turn,
    /// Where a standby's primary is asked to switch to a new segment.
    pub primary: Option<ConnInfo>,
}

/// How a backup that did not fail ended.
#[derive(Debug)]
pub enum Outcome {
    Sealed(Box<Backup>),
    /// The copy is whole, but the WAL that it needs did not come in time.
    Pending {
        backup: Box<Backup>,
        lacks: String,
        why: String,
    },
}

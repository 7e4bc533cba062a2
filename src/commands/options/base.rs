//! Options of `base`.

use std::{collections::BTreeMap, time::Duration};

use super::retention::CleanupOptions;
use crate::{
    domain::backup::{ChainPolicy, Method},
    postgres::file_checksum::Algorithm,
    repo::backup_id::BackupId,
};

#[derive(Debug, PartialEq, Eq)]
pub struct BaseOptions {
    pub method: Method,
    pub chain: ChainPolicy,
    /// Put the WAL that the backup needs into the backup.
    pub standalone: bool,
    /// Seal this pending backup instead of making one.
    pub finish: Option<BackupId>,
    /// Apply the rules of retention after a success.
    pub cleanup: Option<CleanupOptions>,
    pub annotations: BTreeMap<String, String>,
    /// Re-read and check the stored parts before the backup counts.
    pub verify: bool,
    pub checkpoint: Checkpoint,
    /// Bytes a second; PostgreSQL's own range.
    pub max_rate: Option<u64>,
    pub label: Option<String>,
    pub jobs: usize,
    /// Of files, in PostgreSQL's backup manifest.
    pub manifest_checksums: Algorithm,
    /// How long to wait for the WAL that the backup needs.
    pub wal_timeout: Duration,
    /// The slot of receive-wal, which may bring it.
    pub slot: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    Fast,
    Spread,
}

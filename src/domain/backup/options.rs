//! What a base backup is asked for, and how it ends.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    postgres::{conninfo::ConnInfo, file_checksum::Algorithm},
    repo::{catalog::Backup, codec::Compression, wal_index::Missing},
};

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Options {
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
    pub annotations: BTreeMap<String, String>,
    /// Where a standby's primary is asked to switch to a new segment.
    pub primary: Option<ConnInfo>,
}

/// How a backup that did not fail ended.
#[derive(Debug)]
pub enum Outcome {
    Sealed(Box<Backup>),
    /// The copy is whole, but this WAL did not come in time.
    Pending {
        backup: Box<Backup>,
        missing: Vec<Missing>,
        why: String,
    },
}

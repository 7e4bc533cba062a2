//! Options of `archive-wal`, `restore-wal` and `receive-wal`.

use std::{path::PathBuf, time::Duration};

use super::RepoSettings;
use crate::postgres::{
    lsn::SystemId,
    wal_name::{Segment, WalName},
};

#[derive(Debug, PartialEq, Eq)]
pub struct ArchiveWalOptions {
    pub path: PathBuf,
    pub name: WalName,
    /// Of what is stored ahead: the repositories.
    pub into: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct ReceiveWalOptions {
    /// The replication slot; also the session's application_name.
    pub slot: String,
    /// Make the slot and do nothing else.
    pub create_slot: bool,
    /// How often at most a piece of the segment in progress is stored; None: never.
    pub live: Option<Duration>,
}

#[derive(Clone, Debug)]
pub struct RestoreWalOptions {
    pub name: WalName,
    pub destination: PathBuf,
    /// None: that of the current folder's pg_control.
    pub system_id: Option<SystemId>,
    /// Behind this segment, absent is the end whatever follows.
    pub last: Option<Segment>,
    /// Doubt is an error for standbys too.
    pub strict: bool,
    /// Be the background process that fetches the segments from `name` to `last` into the spool
    /// `destination`.
    pub prefetch: bool,
    /// Global flags that lead such a process to the same settings.
    pub server_flags: Vec<String>,
    /// Where a file is looked for that the chosen repository should have and can't give, in this order.
    pub others: Vec<RepoSettings>,
}

//! Options of `restore`.

use std::path::PathBuf;

use crate::{
    postgres::lsn::{Lsn, TimelineId},
    repo::backup_id::BackupId,
};

#[derive(Debug, PartialEq, Eq)]
pub struct RestoreOptions {
    /// None: the newest that reaches the target.
    pub backup: Option<BackupId>,
    pub target: TargetOptions,
    /// None: the cluster's own.
    pub data_dir: Option<PathBuf>,
    /// Rename what is in the way.
    pub replace: bool,
    pub tablespaces: Vec<TablespaceMove>,
    pub standby: bool,
    /// None: on in the cluster's own data directory, off elsewhere.
    pub archive: Option<bool>,
    /// The restored server can't reach the repository: only a standalone backup will do.
    pub offline: bool,
    /// Only show what would be done.
    pub plan: bool,
    /// Look for a target's xid or name in the WAL before anything is written.
    pub prove: bool,
    pub jobs: usize,
    pub bindir: Option<PathBuf>,
    /// Global flags that lead restore-wal, called by the server, to the same settings.
    pub server_flags: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct TargetOptions {
    pub target: Target,
    /// Stop before the target; only for times, LSNs and xids.
    pub exclusive: bool,
    pub timeline: TargetTimeline,
    pub action: TargetAction,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The end of the archive.
    Latest,
    /// As it was typed: which zone it means is for the restore to judge.
    Time(String),
    Lsn(Lsn),
    Xid(u64),
    Name(String),
    Immediate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetTimeline {
    Latest,
    Current,
    Number(TimelineId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetAction {
    Pause,
    Promote,
    Shutdown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablespaceMove {
    pub was: TablespaceWas,
    pub to: PathBuf,
}

/// Which tablespace moves: by its oid or by where it lay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TablespaceWas {
    Oid(u32),
    At(PathBuf),
}

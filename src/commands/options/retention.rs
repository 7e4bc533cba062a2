//! Options of `cleanup`, `pin` and `unpin`.

use crate::{repo::backup_id::BackupId, util::clock::Time};

#[derive(Debug, PartialEq, Eq)]
pub struct CleanupOptions {
    /// Only say what would go.
    pub dry_run: bool,
    /// A pending backup that is given up.
    pub drop_pending: Option<BackupId>,
    /// Also what a repository that `sync` fills lacks.
    pub force_unsynced: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub struct PinOptions {
    pub backup: BackupId,
    pub reason: Option<String>,
    pub until: Option<Time>,
}

//! Options of `cleanup`, `pin` and `unpin`.

use crate::{domain::logical::retention::Rules, repo::backup_id::BackupId, util::clock::Time};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupOptions {
    /// Only say what would go.
    pub dry_run: bool,
    /// A pending backup that is given up.
    pub drop_pending: Option<BackupId>,
    /// Also what a repository that `sync` fills lacks.
    pub force_unsynced: bool,
    /// Which dumps stay.
    pub dumps: Rules,
}

impl CleanupOptions {
    /// Of a cleanup behind a backup or dump.
    pub fn behind(dumps: Rules) -> Self {
        Self {
            dry_run: false,
            drop_pending: None,
            force_unsynced: false,
            dumps,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct PinOptions {
    pub backup: BackupId,
    pub reason: Option<String>,
    pub until: Option<Time>,
}

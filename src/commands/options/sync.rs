//! Options of `sync`.

use super::RepoSettings;
use crate::domain::sync::Only;

#[derive(Debug)]
pub struct SyncOptions {
    /// In the order in which they are asked.
    pub sources: Vec<RepoSettings>,
    pub targets: Vec<RepoSettings>,
    /// Whether these are all sources, none chosen among them.
    pub all_sources: bool,
    /// None: all that is missing.
    pub only: Option<Only>,
    pub action: SyncAction,
    /// Bytes a second.
    pub rate: Option<u64>,
    pub jobs: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncAction {
    Copy,
    DryRun,
    Status,
}

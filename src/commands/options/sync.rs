//! Options of `sync`.

use super::RepoSettings;

#[derive(Debug)]
pub struct SyncOptions {
    /// In the order in which they are asked.
    pub sources: Vec<RepoSettings>,
    pub targets: Vec<RepoSettings>,
    /// Whether these are all sources, none chosen among them.
    pub all_sources: bool,
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

//! All that a restore is asked for: to which state, from where and to where.

use std::{collections::BTreeSet, path::PathBuf};

use super::{tablespaces::Move, target::Wish};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub wish: Wish,
    /// None: the cluster's own.
    pub data_dir: Option<PathBuf>,
    /// Rename what is in the way.
    pub replace: bool,
    /// Use what is there again.
    pub delta: Option<Delta>,
    pub tablespaces: Vec<Move>,
    /// None: on in the cluster's own data directory, off elsewhere.
    pub archive: Option<bool>,
    /// The restored server can't reach the repository: only a standalone backup will do.
    pub offline: bool,
    /// OIDs of those whose rows are wanted: others are [hollow](super::hollow). None: all are.
    pub databases: Option<BTreeSet<u32>>,
    /// Look for a target's xid or name in the WAL before anything is written.
    pub prove: bool,
    pub workers: usize,
    pub bindir: Option<PathBuf>,
}

/// How files that are there already are used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delta {
    /// Those whose size and time are the backup's are not read.
    pub trust_times: bool,
    /// Also where it isn't known whose the folders are.
    pub force: bool,
}

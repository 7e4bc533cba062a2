//! Options of `dump`.

use super::{retention::CleanupOptions, verify_dump::VerifyDumpsOptions};
use crate::{
    domain::logical::{
        class::ClassWish,
        request::{Choice, Selection},
        retention::Rules,
    },
    repo::{
        codec::Compression,
        dump::RowCounts,
        dump_name::{DumpFormat, DumpPrefix, PathFormat},
    },
};

/// What dumps are made by, where no option of `dump` says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DumpSettings {
    /// Names and patterns; empty: all.
    pub databases: Vec<String>,
    pub exclude: Vec<String>,
    pub format: DumpFormat,
    /// Of plain dumps and of globals.
    pub compression: Compression,
    /// pg_dump's own, of the other formats.
    pub level: Option<u32>,
    pub row_counts: RowCounts,
    pub globals: bool,
    pub prefix: DumpPrefix,
    pub path: PathFormat,
    /// Restore each dump, and check what came of it.
    pub verify: bool,
    /// Of the first or chosen repository.
    pub retention: Rules,
}

#[derive(Debug)]
pub struct DumpOptions {
    pub settings: DumpSettings,
    pub choice: Choice,
    pub selection: Selection,
    pub globals: bool,
    pub class: ClassWish,
    /// Workers of pg_dump.
    pub jobs: usize,
    /// Read what was stored once more before it counts.
    pub reread: bool,
    /// Restore each dump, and check what came of it.
    pub verify: Option<VerifyDumpsOptions>,
    /// Apply the rules of retention after a success.
    pub cleanup: Option<CleanupOptions>,
}

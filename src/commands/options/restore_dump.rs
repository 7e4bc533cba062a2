//! Options of `restore-dump`.

use std::path::PathBuf;

use crate::{domain::logical::restore::run::Request, repo::dumps::DumpChoice};

#[derive(Debug, PartialEq, Eq)]
pub struct RestoreDumpOptions {
    pub dump: DumpFrom,
    pub request: Request,
    /// Ask nothing.
    pub yes: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub enum DumpFrom {
    Repository(DumpChoice),
    File(PathBuf),
}

//! Options of `restore-dump`.

use std::path::PathBuf;

use super::ReadFrom;
use crate::{domain::logical::restore::run::Request, repo::dumps::DumpChoice};

#[derive(Debug)]
pub struct RestoreDumpOptions {
    pub dump: DumpFrom,
    pub request: Request,
    /// Ask nothing.
    pub yes: bool,
}

#[derive(Debug)]
pub enum DumpFrom {
    Repository(DumpChoice, ReadFrom),
    File(PathBuf),
}

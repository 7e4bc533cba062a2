//! `pgstow restore-done`: removes what `restore` wrote, when recovery ends.

use std::{
    env,
    io::{self, Write},
};

use serde::Serialize;

use super::report::Report;
use crate::{
    domain::restore::recovery::{self, Finished},
    error::{IoContext, Result},
};

#[derive(Debug, Serialize)]
pub struct RestoreDoneReport(Finished);

impl Report for RestoreDoneReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        // Into the server's log.
        match self.0.removed.as_slice() {
            [] => Ok(()),
            removed => writeln!(out, "removed recovery settings: {}", removed.join(", ")),
        }
    }
}

/// Works in the current folder: PostgreSQL calls it in the data directory.
pub fn run() -> Result<RestoreDoneReport> {
    let data_dir = env::current_dir().at("find", "the current folder")?;
    recovery::finish(&data_dir).map(RestoreDoneReport)
}

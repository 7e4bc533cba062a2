//! `pgstow restore-done`: removes what `restore` wrote, when recovery ends.

use std::{
    env,
    io::{self, Write},
    path::Path,
};

use serde::Serialize;
use tracing::{debug, warn};

use super::report::Report;
use crate::{
    domain::{
        restore::{
            measured,
            recovery::{self, Finished},
        },
        wal::spool,
    },
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

/// Works in the current folder: PostgreSQL calls it in the data directory. What was fetched ahead
/// goes too; a rest of it would only take room.
pub fn run(state: Option<&Path>) -> Result<RestoreDoneReport> {
    let data_dir = env::current_dir().at("find", "the current folder")?;
    let cleared = state.map(|state| spool::clear(state, Some(&data_dir)));
    if let Some(Err(error)) = cleared {
        warn!(
            "can't remove what was fetched ahead: {}",
            error.in_one_line()
        );
    }
    if let Some(Err(error)) = state.map(|state| measured::replayed(state, &data_dir)) {
        debug!("no note of how long replay took: {}", error.in_one_line());
    }
    recovery::finish(&data_dir).map(RestoreDoneReport)
}

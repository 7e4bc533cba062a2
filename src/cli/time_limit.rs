//! archive-wal and restore-wal end at their time limit, whatever hangs: PostgreSQL waits for them
//! without one, and a store on a dead server never answers.

use std::{process, time::Duration};

use super::{
    exit::Row,
    output::{self, Form},
};
use crate::{
    commands::options::Settings,
    error::{Error, Kind, Result},
    util::{meter::Meter, units, watchdog::Watchdog},
};

/// Ends the process with an error once the limit is reached, until it is dropped; None for
/// commands that have no limit.
pub fn watch(row: Row, form: Form, settings: &Settings, meter: &Meter) -> Result<Option<Watchdog>> {
    let (limit, key) = match row {
        Row::ArchiveWal | Row::Ahead => (settings.archive_wal_limit, "archive_wal.time_limit"),
        Row::RestoreWal(_) | Row::Prefetch => {
            (settings.restore_wal_limit, "restore_wal.time_limit")
        }
        Row::RestoreDone | Row::Monitor | Row::Healthcheck | Row::Other => return Ok(None),
    };
    let meter = meter.clone();
    let expired = move || {
        let error = expired(limit, key, &meter);
        output::print_error(form, &error);
        process::exit(row.fail(error.kind()).into())
    };
    Watchdog::start(limit, expired).map(Some)
}

fn expired(limit: Duration, key: &str, meter: &Meter) -> Error {
    let message = format!(
        "not done after {}, while {}",
        units::duration(limit),
        meter.phase()
    );
    Error::new(Kind::TimedOut, message).hint(format!(
        "see whether the repository answers, its file system or the host that it is on; a slow one may need a longer {key}."
    ))
}

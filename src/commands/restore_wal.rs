//! `restore-wal`: fetches one WAL file from the repository to where PostgreSQL wants it.

use std::{io, path::Path, time::Duration};

use serde::Serialize;

use super::{
    context::Context,
    options::RestoreWalOptions,
    report::{Outcome, Report},
};
use crate::{
    domain::wal::{
        fetch::{Fetched, Wanted, fetch},
        standby::asks_again,
    },
    error::Result,
    postgres::control::Control,
    repo::repository::Repository,
};

/// PostgreSQL runs archive_command and restore_command in its data directory.
const DATA_DIR: &str = ".";

/// How long a hole may take to close. Pushes run one after another on each host, so that the
/// segment before one that is there comes within seconds, or not by itself.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Serialize)]
pub struct RestoredWal {
    pub name: String,
    /// False: certainly not in the archive, and nothing follows it.
    pub found: bool,
}

impl Report for RestoredWal {
    /// Silent: PostgreSQL's log would have a line for every segment.
    fn text(&self, _: &mut dyn io::Write) -> io::Result<()> {
        Ok(())
    }

    fn outcome(&self) -> Outcome {
        match self.found {
            true => Outcome::Done,
            false => Outcome::Absent,
        }
    }
}

/// Whether the server that called must be told "absent" where we are in doubt.
pub fn doubt_means_absent(strict: bool) -> bool {
    !strict && asks_again(Path::new(DATA_DIR))
}

pub fn run(context: &Context, options: &RestoreWalOptions) -> Result<RestoredWal> {
    let settings = &context.settings;
    let location = &settings.repo()?.location;
    context
        .meter
        .begin(&format!("opening the repository {location}"), 0);
    let repository = Repository::open(location, settings.cluster.name.clone())?;
    let system_id = match options.system_id {
        Some(id) => id,
        None => {
            Control::read(Path::new(DATA_DIR))
                .map_err(|error| {
                    error.hint(
                        "restore-wal runs in the data directory, as PostgreSQL does it; elsewhere \
                         give --system-id.",
                    )
                })?
                .system
        }
    };
    // A server that asks again needn't wait here, and may have its WAL from a stream meanwhile.
    let patience = match doubt_means_absent(options.strict) {
        true => Duration::ZERO,
        false => PATIENCE.min(settings.restore_wal_limit / 2),
    };
    let wanted = Wanted {
        name: options.name,
        destination: &options.destination,
        last: options.last,
        patience,
    };
    let system = repository.system(system_id)?;
    let fetched = fetch(&repository, &system, &wanted, &context.meter)?;
    Ok(RestoredWal {
        name: options.name.to_string(),
        found: fetched == Fetched::Placed,
    })
}

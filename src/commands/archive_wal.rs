//! `archive-wal`: stores one WAL file in every repository that PostgreSQL is to wait for.

use std::{io, path::Path};

use serde::Serialize;

use super::{
    context::Context,
    options::{ArchiveWalOptions, Settings},
    report::Report,
};
use crate::{
    domain::wal::{
        ahead::Limits,
        archive::{How, Wish},
        push::Pushed,
        stores::Store,
    },
    error::Result,
    postgres::lsn::SystemId,
};

/// PostgreSQL runs archive_command and restore_command in its data directory.
const DATA_DIR: &str = ".";

#[derive(Debug, Serialize)]
pub struct ArchivedWal {
    pub name: String,
    pub system_id: SystemId,
    /// None where it was given up.
    pub repositories: Vec<StoredWal>,
    /// An earlier call had stored it, which was noted and is still true.
    pub acknowledged: bool,
    /// Segments behind it that were stored in all repositories by the way.
    pub ahead: Vec<String>,
    /// Not stored: the safety valve acted.
    pub given_up: bool,
}

#[derive(Debug, Serialize)]
pub struct StoredWal {
    pub repository: String,
    /// The same bytes were there before.
    pub already_there: bool,
}

impl Report for ArchivedWal {
    /// Silent: PostgreSQL's log would have a line for every segment.
    fn text(&self, _: &mut dyn io::Write) -> io::Result<()> {
        Ok(())
    }
}

pub fn run(context: &Context, options: &ArchiveWalOptions) -> Result<ArchivedWal> {
    let settings = &context.settings;
    // Refuses where none is set.
    settings.repo()?;
    let wish = Wish {
        file: options.name,
        path: &options.path,
        data_dir: Path::new(DATA_DIR),
        cluster: &settings.cluster.name,
        stores: stores(settings),
        state: settings.state_folder(),
        ahead: Limits {
            most: settings.wal.look_ahead,
            workers: settings.cluster.jobs.count(),
            // So that the call ends well before its own limit, whatever hangs.
            time: settings.archive_wal_limit / 4,
        },
        drop_above: settings.wal.drop_above,
    };
    let archived = wish.fulfil(&context.meter)?;
    let mut report = ArchivedWal {
        name: options.name.to_string(),
        system_id: archived.system,
        repositories: Vec::new(),
        acknowledged: false,
        ahead: Vec::new(),
        given_up: false,
    };
    match archived.how {
        How::Stored(repositories, ahead) => {
            report.repositories = repositories
                .into_iter()
                .map(|(repository, pushed)| StoredWal {
                    repository,
                    already_there: pushed == Pushed::AlreadyThere,
                })
                .collect();
            report.ahead = ahead;
        }
        How::Acknowledged => {
            let there = |repository: Store| StoredWal {
                repository: repository.name,
                already_there: true,
            };
            report.repositories = wish.stores.into_iter().map(there).collect();
            report.acknowledged = true;
        }
        How::GivenUp => report.given_up = true,
    }
    Ok(report)
}

fn stores(settings: &Settings) -> Vec<Store> {
    let stores = settings.repos.iter().map(|repo| Store {
        name: repo.name.clone(),
        location: repo.location.clone(),
        compression: repo.compression,
    });
    stores.collect()
}

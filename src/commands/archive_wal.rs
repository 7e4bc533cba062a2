//! `archive-wal`: stores one WAL file in every repository that PostgreSQL is to wait for.

use std::{io, path::Path, process::Command, sync::Arc};

use serde::Serialize;

use super::{
    context::Context,
    options::{ArchiveWalOptions, Settings},
    report::Report,
};
use crate::{
    domain::wal::{
        ahead::{Limits, LookAhead, Order},
        archive::{How, Wish},
        failed::Failed,
        push::Pushed,
        stores::{OpenStore, Store},
    },
    error::{Error, Result},
    postgres::{
        lsn::SystemId,
        wal_name::{Segment, WalName},
    },
    util::{detach, fs::folder_of},
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
    /// What waits behind it is being stored in the background from now on.
    pub ahead: bool,
    /// Not stored: the safety valve acted.
    pub given_up: bool,
}

/// Nobody reads it.
#[derive(Debug, Serialize)]
pub struct StoredAhead {}

impl Report for StoredAhead {
    fn text(&self, _: &mut dyn io::Write) -> io::Result<()> {
        Ok(())
    }
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

/// `call` gives the program and the options that lead another call to the same settings.
pub fn run(
    context: &Context,
    options: &ArchiveWalOptions,
    call: &dyn Fn() -> Result<Vec<String>>,
) -> Result<ArchivedWal> {
    let settings = &context.settings;
    // Refuses where none is set.
    settings.repo()?;
    let wal = folder_of(&options.path);
    let state = settings.state_folder();
    let wish = Wish {
        file: options.name,
        path: &options.path,
        cluster: &settings.cluster.name,
        stores: stores(settings),
        ahead: LookAhead {
            state: &state,
            data_dir: Path::new(DATA_DIR),
            wal,
            limits: limits(settings),
        },
        drop_above: settings.wal.drop_above,
    };
    let start = |first: Segment, stores: &[OpenStore], lock| {
        let mut words = call()?.into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).args(["archive-wal", "--ahead"]);
        command.args(stores.iter().flat_map(|store| ["--into", &store.name]));
        detach::start(command.arg(wal.join(first.to_string())), lock)
    };
    let archived = wish.fulfil(&context.meter, &start);
    Failed::note(&state, options.name, &archived);
    let archived = archived?;
    let mut report = ArchivedWal {
        name: options.name.to_string(),
        system_id: archived.system,
        repositories: Vec::new(),
        acknowledged: false,
        ahead: archived.ahead,
        given_up: false,
    };
    match archived.how {
        How::Stored(repositories) => {
            report.repositories = repositories
                .into_iter()
                .map(|(repository, pushed)| StoredWal {
                    repository,
                    already_there: pushed == Pushed::AlreadyThere,
                })
                .collect();
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

/// What the background process does. Its standard input is its lock.
pub fn store_ahead(context: &Context, options: &ArchiveWalOptions) -> Result<StoredAhead> {
    detach::detach()?;
    let settings = &context.settings;
    let WalName::Segment(first) = options.name else {
        return Err(Error::usage("only segments are stored ahead"));
    };
    let open = |store: Store| store.open(&settings.cluster.name, &context.meter);
    let all = stores(settings);
    let is_chosen = |store: &Store| options.into.is_empty() || options.into.contains(&store.name);
    let others_away = !all.iter().all(is_chosen);
    let order = Order {
        first,
        wal: folder_of(&options.path),
        data_dir: Path::new(DATA_DIR),
        state: &settings.state_folder(),
        stores: all
            .into_iter()
            .filter(is_chosen)
            .map(open)
            .collect::<Result<_>>()?,
        others_away,
        limits: limits(settings),
    };
    order.run()?;
    Ok(StoredAhead {})
}

fn limits(settings: &Settings) -> Limits {
    Limits {
        most: settings.wal.look_ahead,
        workers: settings.cluster.jobs.count(),
        time: settings.archive_wal_limit,
    }
}

/// Those that PostgreSQL waits for.
pub(super) fn stores(settings: &Settings) -> Vec<Store> {
    let stores = settings.repos.iter().map(|repo| Store {
        name: repo.name.clone(),
        location: repo.location.clone(),
        compression: repo.compression,
        keys: Arc::clone(&repo.keys),
        state: settings.state_folder(),
    });
    stores.collect()
}

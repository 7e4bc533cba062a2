//! `archive-wal`: stores one WAL file in every repository that PostgreSQL is to wait for.

use std::{io, path::Path};

use serde::Serialize;

use super::{
    context::Context,
    options::{ArchiveWalOptions, RepoSettings},
    report::Report,
};
use crate::{
    domain::wal::{
        history,
        offered::Offered,
        push::{Pushed, push},
    },
    error::{Error, Result},
    postgres::lsn::SystemId,
    repo::repository::Repository,
};

/// PostgreSQL runs archive_command and restore_command in its data directory.
const DATA_DIR: &str = ".";

#[derive(Debug, Serialize)]
pub struct ArchivedWal {
    pub name: String,
    pub system_id: SystemId,
    pub repositories: Vec<StoredWal>,
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
    // Refuses where none is set.
    context.settings.repo()?;
    context
        .meter
        .begin(&format!("reading {}", options.path.display()), 0);
    let offered = Offered::open(&options.path, options.name, Path::new(DATA_DIR))?;
    let mut repositories = Vec::new();
    let mut errors = Vec::new();
    // In all, even if one fails: the others are then complete as soon as it is well again.
    for repo in &context.settings.repos {
        match store(context, repo, &offered) {
            Ok(pushed) => repositories.push(StoredWal {
                repository: repo.name.clone(),
                already_there: pushed == Pushed::AlreadyThere,
            }),
            Err(error) => errors.push(error.context(format!(
                "can't archive {} in repository {}",
                options.name, repo.name
            ))),
        }
    }
    match errors.len() {
        0 => Ok(ArchivedWal {
            name: options.name.to_string(),
            system_id: offered.system(),
            repositories,
        }),
        1 => Err(errors.remove(0)),
        _ => {
            let all: Vec<String> = errors.iter().map(Error::in_one_line).collect();
            Err(Error::failed(all.join("; ")))
        }
    }
}

fn store(context: &Context, repo: &RepoSettings, offered: &Offered) -> Result<Pushed> {
    let location = &repo.location;
    context
        .meter
        .begin(&format!("opening the repository {location}"), 0);
    let repository = Repository::open(location, context.settings.cluster.name.clone())?;
    let (compression, meter) = (repo.compression, &context.meter);
    history::bring_along(&repository, offered, compression, meter)?;
    push(&repository, offered, compression, meter)
}

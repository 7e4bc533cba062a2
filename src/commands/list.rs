//! `pgstow list`: the backups, and from where to where a restore is possible.

pub mod dumps;
pub mod runs;
mod text;

use serde::Serialize;

use super::{
    context::Context,
    nearest::{Reached, not_known},
    options::{ListOptions, RepoSettings},
};
use crate::{
    domain::{list::Listing, restore::measured},
    error::{Error, Kind, Result},
    postgres::lsn::{Lsn, TimelineId},
};

#[derive(Debug, Serialize)]
pub struct ListReport {
    #[serde(flatten)]
    listing: Listing,
    /// Repositories whose WAL leads further, the furthest first: a restore that names none goes there.
    further: Vec<Further>,
    #[serde(skip)]
    in_full: bool,
}

#[derive(Debug, Serialize)]
struct Further {
    repository: String,
    timeline: TimelineId,
    /// Where it ends.
    lsn: Lsn,
}

pub fn run(context: &Context, options: &ListOptions) -> Result<ListReport> {
    let restores = measured::read(&context.settings.state_folder());
    let mut read = None;
    let mut report = context.from_nearest(
        options.others.iter().map(|repo| (repo, repo)),
        |repository, instead| {
            read = instead;
            let listing = Listing::gather(repository, options.backup, &restores)?;
            if let (Some(id), true) = (options.backup, listing.backups.is_empty()) {
                return Err(Error::new(
                    Kind::NotFound,
                    format!("there is no backup {id} in {}", repository.location()),
                )
                .hint("`pgstow list` shows all backups."));
            }
            Ok(ListReport {
                listing,
                further: Vec::new(),
                in_full: options.backup.is_some(),
            })
        },
    )?;
    let is_read = |other: &&RepoSettings| read.is_some_and(|read| read.name == other.name);
    let others = context.others(options.others.iter().filter(|other| !is_read(other)));
    if let Some((system, end)) = report.listing.end().filter(|_| !report.in_full) {
        context
            .meter
            .begin("asking the other repositories how far they lead", 0);
        // A copy may be anywhere, as on a disk in a drawer.
        let unknown = |name: &str, error: &Error| {
            if context.settings.repos.iter().any(|repo| repo.name == name) {
                not_known(name, error);
            }
        };
        let own = Reached {
            system,
            end,
            is_named: false,
        };
        let further = context.further(&others, own, unknown);
        report.further = further
            .into_iter()
            .map(|(repository, (timeline, lsn))| Further {
                repository,
                timeline,
                lsn,
            })
            .collect();
    }
    Ok(report)
}

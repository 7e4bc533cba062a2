//! `pgstow list`: the backups, and from where to where a restore is possible.

pub mod dumps;
pub mod runs;
mod text;

use serde::Serialize;

use super::{context::Context, options::ListOptions};
use crate::{
    domain::{list::Listing, restore::measured},
    error::{Error, Kind, Result},
};

#[derive(Debug, Serialize)]
pub struct ListReport {
    #[serde(flatten)]
    listing: Listing,
    #[serde(skip)]
    in_full: bool,
}

pub fn run(context: &Context, options: &ListOptions) -> Result<ListReport> {
    let restores = measured::read(&context.settings.state_folder());
    context.from_nearest(
        options.others.iter().map(|repo| (repo, ())),
        |repository, _| {
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
                in_full: options.backup.is_some(),
            })
        },
    )
}

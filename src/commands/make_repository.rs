//! `pgstow init --without-server`: a repository for `sync` to fill, on the day when the server is gone.

use std::io::{self, Write};

use serde::Serialize;

use super::{context::Context, report::Report};
use crate::{
    domain::setup::init::{self, Made},
    error::Result,
};

#[derive(Debug, Serialize)]
pub struct RepositoryReport {
    cluster: String,
    repositories: Vec<Made>,
}

pub fn run(context: &Context) -> Result<RepositoryReport> {
    let settings = &context.settings;
    let cluster = &settings.cluster.name;
    // Refuses where none is set.
    settings.repo()?;
    let made = settings.repos.iter();
    let made = made.map(|repo| init::make(&repo.location, cluster, &repo.keys));
    Ok(RepositoryReport {
        cluster: cluster.to_string(),
        repositories: made.collect::<Result<_>>()?,
    })
}

impl Report for RepositoryReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        for one in &self.repositories {
            let made = if one.repository_made {
                "made"
            } else {
                "is there"
            };
            writeln!(out, "repository {} {made}", one.repository)?;
        }
        writeln!(
            out,
            "\nNo server was asked, and none is registered: `pgstow --repo NAME sync --from OTHER` registers what it copies."
        )
    }
}

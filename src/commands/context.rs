//! What every command is given beside its options.

use super::options::Settings;
use crate::{
    error::Result,
    repo::repository::Repository,
    util::{cancel::Cancel, meter::Meter},
};

#[derive(Debug)]
pub struct Context {
    pub settings: Settings,
    /// Set by SIGINT and SIGTERM.
    pub cancel: Cancel,
    /// Drawn while the command runs.
    pub meter: Meter,
}

impl Context {
    /// The first or chosen repository, opened.
    pub fn repository(&self) -> Result<Repository> {
        Repository::open(
            &self.settings.repo()?.location,
            self.settings.cluster.name.clone(),
        )
    }
}

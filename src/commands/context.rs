//! What every command is given beside its options.

use super::options::Settings;
use crate::{
    domain::setup::archive_command::{ArchiveCommand, Target},
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
        let repo = self.settings.repo()?;
        let repository = Repository::open(&repo.location, self.settings.cluster.name.clone())?;
        Ok(repository.with_keys(&repo.keys))
    }

    /// The same with what this host keeps of it, for commands that run for each segment.
    pub fn remembered_repository(&self) -> Result<Repository> {
        let (repo, state) = (self.settings.repo()?, self.settings.state_folder());
        let cluster = self.settings.cluster.name.clone();
        let repository = Repository::open_remembered(&repo.location, cluster, &state)?;
        Ok(repository.with_keys(&repo.keys))
    }

    /// As archive_command should be; `words`: the call of this program.
    pub fn archive_command(&self, words: &[String]) -> Result<ArchiveCommand> {
        let Settings { repos, cluster, .. } = &self.settings;
        let repositories = repos.iter();
        let target = Target {
            cluster: cluster.name.clone(),
            must_be_named: cluster.must_be_named,
            repositories: repositories
                .map(|repo| (repo.name.clone(), repo.location.clone()))
                .collect(),
        };
        ArchiveCommand::new(words, target)
    }
}

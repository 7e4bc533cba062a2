//! What every command is given beside its options.

use std::sync::Arc;

use super::options::{RepoSettings, Settings};
use crate::{
    domain::setup::archive_command::{ArchiveCommand, Target},
    error::Result,
    repo::{
        others::{Other, Others},
        repository::Repository,
    },
    util::{cancel::Cancel, meter::Meter},
};

#[derive(Clone, Debug)]
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
        self.open(self.settings.repo()?)
    }

    pub fn open(&self, repo: &RepoSettings) -> Result<Repository> {
        let repository = Repository::open(&repo.location, self.settings.cluster.name.clone())?;
        Ok(repository.with_keys(&repo.keys))
    }

    /// For what one of them should have and can't give.
    pub fn others<'a>(&self, repos: impl IntoIterator<Item = &'a RepoSettings>) -> Others {
        let other = |repo: &RepoSettings| {
            let cluster = self.settings.cluster.name.clone();
            let (location, keys) = (repo.location.clone(), Arc::clone(&repo.keys));
            Other::new(repo.name.clone(), location, cluster, keys)
        };
        repos.into_iter().map(other).collect()
    }

    /// The first or chosen one with what this host keeps of it, for commands that run for each segment.
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

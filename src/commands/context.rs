//! What every command is given beside its options.

use std::sync::Arc;

use tracing::{debug, warn};

use super::options::{ReadFrom, RepoSettings, Settings};
use crate::{
    domain::setup::archive_command::{ArchiveCommand, Target},
    error::{Error, Kind, Result},
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

    /// What `work` makes of the first or chosen repository; where that is away, damaged, or has not got what is needed,
    /// of the first of `others` (each with what comes with it) that does.
    pub fn from_nearest<'a, O, T>(
        &self,
        others: impl IntoIterator<Item = (&'a RepoSettings, O)>,
        mut work: impl FnMut(&Repository, Option<O>) -> Result<T>,
    ) -> Result<T> {
        let error = match self.repository() {
            Ok(repository) => match work(&repository, None) {
                Err(error) if may_be_elsewhere(&repository, &error) => error,
                other => return other,
            },
            Err(error) if matches!(error.kind(), Kind::Usage | Kind::Interrupted) => {
                return Err(error);
            }
            Err(error) => error,
        };
        for (other, with) in others {
            self.cancel.check()?;
            let done = self
                .open(other)
                .and_then(|repository| work(&repository, Some(with)));
            match done {
                Ok(done) => {
                    let why = error.in_one_line();
                    warn!("repository {} is used instead: {why}", other.name);
                    return Ok(done);
                }
                Err(error) if error.kind() == Kind::Key => warn!(
                    "repository {} can't be used instead: {}",
                    other.name,
                    error.in_one_line()
                ),
                Err(error) => debug!("repository {}: {}", other.name, error.in_one_line()),
            }
        }
        Err(error)
    }

    /// The same for what reads backups or dumps. `work` is given the flags that lead to the repository that it reads,
    /// the others for what is damaged or missing there, and whether that repository is used instead of the chosen one.
    pub fn read_nearest<T>(
        &self,
        from: &ReadFrom,
        mut work: impl FnMut(&Repository, &[String], Others, bool) -> Result<T>,
    ) -> Result<T> {
        let chosen = self.settings.repo()?;
        let others = || from.others.iter().map(|(repo, _)| repo);
        let instead = from.others.iter().filter(|_| !from.keeps_to_chosen);
        let instead = instead.map(|(repo, flags)| (repo, (repo, flags)));
        self.from_nearest(instead, |repository, instead| {
            let is_instead = instead.is_some();
            let (own, flags) = instead.unwrap_or((chosen, &from.server_flags));
            let all = [chosen].into_iter().chain(others());
            let others = self.others(all.filter(|repo| repo.name != own.name));
            work(repository, flags, others, is_instead)
        })
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

/// Whether an error may be that of this repository alone.
fn may_be_elsewhere(repository: &Repository, error: &Error) -> bool {
    match error.kind() {
        Kind::NotFound | Kind::Damaged => true,
        Kind::Usage | Kind::Interrupted => false,
        _ => repository.confirm().is_err(),
    }
}

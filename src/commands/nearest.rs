//! Which repository is read: the first or chosen one, or another one where that is away, damaged, or leads less far.

use std::{
    cmp::Reverse,
    time::{Duration, Instant},
};

use tracing::{debug, warn};

use super::{
    context::Context,
    options::{ReadFrom, RepoSettings},
};
use crate::{
    error::{Error, Kind, Result},
    postgres::lsn::{Lsn, SystemId, TimelineId},
    repo::{others::Others, repository::Repository, wal_index::WalIndex},
    util::errand::Errand,
};

/// So long another repository may take to say how far its WAL leads.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where WAL ends: of two, that of the later timeline is further.
pub type End = (TimelineId, Lsn);

impl Context {
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
        let mut was_asked = false;
        for (other, with) in others {
            self.cancel.check()?;
            was_asked = true;
            // What was asked for may be nowhere: that is to be known soon.
            let opened = match error.kind() {
                Kind::Unreachable => self.open_soon(other),
                _ => self.open(other),
            };
            let done = opened.and_then(|repository| work(&repository, Some(with)));
            match done {
                Ok(done) => {
                    let why = error.in_one_line();
                    warn!("repository {} is used instead: {why}", other.name);
                    return Ok(done);
                }
                Err(error) if matches!(error.kind(), Kind::Key | Kind::TimedOut) => warn!(
                    "repository {} can't be used instead: {}",
                    other.name,
                    error.in_one_line()
                ),
                Err(error) => debug!("repository {}: {}", other.name, error.in_one_line()),
            }
        }
        // Each may lack something else.
        const TOGETHER: &str =
            "`pgstow verify --all --wal --repair` brings together what the repositories have.";
        Err(
            match (
                was_asked && error.kind() == Kind::Damaged,
                error.hint_text(),
            ) {
                (true, Some(hint)) => {
                    let hint = format!("{hint} {TOGETHER}");
                    error.with_hint(hint)
                }
                (true, None) => error.hint(TOGETHER),
                (false, _) => error,
            },
        )
    }

    /// The same for what reads backups or dumps. `work` is given the flags that lead to the repository that it reads,
    /// the others for what is damaged or missing there, and whether that repository is used instead of the chosen one.
    pub fn read_nearest<T>(
        &self,
        from: &ReadFrom,
        mut work: impl FnMut(&Repository, &[String], Others, bool) -> Result<T>,
    ) -> Result<T> {
        let chosen = self.settings.repo()?;
        let instead = from.others.iter().filter(|_| !from.keeps_to_chosen);
        let instead = instead.map(|(repo, flags)| (repo, (repo, flags)));
        self.from_nearest(instead, |repository, instead| {
            let is_instead = instead.is_some();
            let (own, flags) = instead.unwrap_or((chosen, &from.server_flags));
            work(repository, flags, self.all_but(own, from)?, is_instead)
        })
    }

    /// The chosen repository and the others, without the one that is read.
    fn all_but(&self, own: &RepoSettings, from: &ReadFrom) -> Result<Others> {
        let others = from.others.iter().map(|(repo, _)| repo);
        let all = [self.settings.repo()?].into_iter().chain(others);
        Ok(self.others(all.filter(|repo| repo.name != own.name)))
    }

    /// The same for what leads to where the WAL ends, which `end_of` tells of a result if that is wanted: of another
    /// repository, if its WAL leads further. While one was away, WAL went to the others alone.
    pub fn read_furthest<T>(
        &self,
        from: &ReadFrom,
        end_of: impl Fn(&T) -> Option<(SystemId, End)>,
        mut work: impl FnMut(&Repository, &[String], Others, bool) -> Result<T>,
    ) -> Result<T> {
        let nearest = self.read_nearest(from, &mut work)?;
        let Some((system, end)) = end_of(&nearest).filter(|_| !from.keeps_to_chosen) else {
            return Ok(nearest);
        };
        for (index, theirs) in self.further(from, system, end) {
            self.cancel.check()?;
            let (repo, flags) = &from.others[index];
            let found = self
                .open(repo)
                .and_then(|repository| work(&repository, flags, self.all_but(repo, from)?, true));
            let why = match found {
                Ok(found) if end_of(&found).is_some_and(|(_, found)| found > end) => {
                    warn!(
                        "repository {} is used instead: its WAL leads to {}, and not to {} alone",
                        repo.name, theirs.1, end.1
                    );
                    return Ok(found);
                }
                Ok(_) => "no backup there leads to it".to_owned(),
                Err(error) => error.in_one_line(),
            };
            warn!(
                "repository {name} has WAL up to {}, and what is used ends at {}: {why}. `pgstow sync --from {name}` brings it: \
                 then try again",
                theirs.1,
                end.1,
                name = repo.name
            );
        }
        Ok(nearest)
    }

    /// The others whose WAL leads further than `end`, by their place in `from`: the furthest first.
    fn further(&self, from: &ReadFrom, system: SystemId, end: End) -> Vec<(usize, End)> {
        let ask = |(repo, _): &(RepoSettings, Vec<String>)| {
            let (context, repo) = (self.clone(), repo.clone());
            let what = format!("asking repository {} how far its WAL leads", repo.name);
            Errand::send(what, move || {
                let repository = context.open(&repo)?;
                let system = repository.system(system)?;
                Ok(WalIndex::load(&repository, &system)?.end())
            })
        };
        let asked: Vec<Errand<Option<End>>> = from.others.iter().map(ask).collect();
        let until = Instant::now() + PATIENCE;
        let answers = asked.into_iter().enumerate().filter_map(|(index, asked)| {
            let answer = asked.wait(until, &self.cancel);
            let theirs = answer.unwrap_or_else(|error| {
                warn!(
                    "whether repository {} leads further is not known: {}",
                    from.others[index].0.name,
                    error.in_one_line()
                );
                None
            });
            Some((index, theirs.filter(|theirs| *theirs > end)?))
        });
        let mut further: Vec<(usize, End)> = answers.collect();
        further.sort_by_key(|(_, end)| Reverse(*end));
        further
    }

    fn open_soon(&self, repo: &RepoSettings) -> Result<Repository> {
        let (context, repo) = (self.clone(), repo.clone());
        let what = format!("opening repository {}", repo.name);
        let opened = Errand::send(what, move || context.open(&repo));
        opened.wait(Instant::now() + PATIENCE, &self.cancel)
    }
}

/// Whether an error may be that of this repository alone.
fn may_be_elsewhere(repository: &Repository, error: &Error) -> bool {
    match error.kind() {
        // Foreign: the system isn't registered there, or no more.
        Kind::NotFound | Kind::Damaged | Kind::Unreachable | Kind::Foreign => true,
        Kind::Usage | Kind::Interrupted => false,
        _ => repository.confirm().is_err(),
    }
}

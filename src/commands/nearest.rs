//! Which repository is read: the first or chosen one, or another one where that is away, damaged, or leads less far.

use std::{cmp::Reverse, collections::BTreeSet, time::Instant};

use tracing::{debug, warn};

use super::{
    context::Context,
    options::{ReadFrom, RepoSettings},
};
use crate::{
    domain::wal::stored,
    error::{Error, Kind, Result},
    postgres::{
        lsn::{SystemId, TimelineId},
        timeline::TimelineHistory,
        wal_name::{Segment, WalName},
    },
    repo::{
        others::{Others, PATIENCE},
        repository::Repository,
        wal_index::{End, WalIndex},
    },
    util::errand::Errand,
};

/// To where WAL leads.
#[derive(Clone, Copy, Debug)]
pub struct Reached {
    pub system: SystemId,
    pub end: End,
    /// This timeline was named: others are not wanted.
    pub is_named: bool,
}

impl Context {
    /// What `work` makes of the first or chosen repository; where that is away, damaged, or has not got what is needed,
    /// of the first of `others` (each with what comes with it) that does.
    pub fn from_nearest<'a, O, T>(
        &self,
        others: impl IntoIterator<Item = (&'a RepoSettings, O)>,
        mut work: impl FnMut(&Repository, Option<O>) -> Result<T>,
    ) -> Result<T> {
        let mut others = others.into_iter().peekable();
        // One that hangs holds nobody up where there is another.
        let opened = match others.peek() {
            Some(_) => self.open_soon(self.settings.repo()?),
            None => self.repository(),
        };
        let error = match opened {
            Ok(repository) => match work(&repository, None) {
                Err(error) if may_be_elsewhere(&repository, &error) => error,
                other => return other,
            },
            Err(error) if matches!(error.kind(), Kind::Usage | Kind::Interrupted) => {
                return Err(error);
            }
            Err(error) => error,
        };
        let mut said = Vec::new();
        for (other, with) in others {
            self.cancel.check()?;
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
                Err(error) => {
                    let why = error.in_one_line();
                    match error.kind() {
                        Kind::Key | Kind::TimedOut => {
                            warn!("repository {} can't be used instead: {why}", other.name)
                        }
                        _ => debug!("repository {}: {why}", other.name),
                    }
                    said.push(format!("repository {}: {why}", other.name));
                }
            }
        }
        // Another one may lead nearer to it, or have it in WAL that no backup there leads to.
        if error.kind() == Kind::Unreachable && !said.is_empty() {
            let hint = error.hint_text().unwrap_or_default().to_owned();
            let said = said.join("; ");
            return Err(error.with_hint(format!(
                "{hint} Nor is it to be had elsewhere: {said}. `pgstow list` says which repositories lead further, `pgstow sync` brings their WAL together."
            )));
        }
        // Each may lack something else.
        const TOGETHER: &str =
            "`pgstow verify --all --wal --repair` brings together what the repositories have.";
        Err(
            match (
                !said.is_empty() && error.kind() == Kind::Damaged,
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
        let others = self.others(all.filter(|repo| repo.name != own.name));
        Ok(others.filling_holes(!from.keeps_to_chosen))
    }

    /// The same for what leads to where the WAL ends, which `reached` tells of a result if that is wanted: of another
    /// repository, if its WAL leads further. While one was away, WAL went to the others alone.
    ///
    /// # Errors
    /// Also where that WAL is another server's: which of the two is meant is not for us to say.
    pub fn read_furthest<T>(
        &self,
        from: &ReadFrom,
        reached: impl Fn(&T) -> Option<Reached>,
        mut work: impl FnMut(&Repository, &[String], Others, bool) -> Result<T>,
    ) -> Result<T> {
        let mut read = None;
        let nearest = self.read_nearest(from, |repository, flags, others, is_instead| {
            read = Some(repository.clone());
            work(repository, flags, others, is_instead)
        })?;
        let own = reached(&nearest).filter(|_| !from.keeps_to_chosen);
        let (Some(own), Some(read)) = (own, read) else {
            return Ok(nearest);
        };
        let others = self.others(from.others.iter().map(|(repo, _)| repo));
        let (mut best, mut end, mut used) = (nearest, own.end, &read);
        let mut left = Vec::new();
        let mut instead = None;
        for (name, theirs) in self.further(&others, own, not_known) {
            self.cancel.check()?;
            let Some((repo, flags)) = from.others.iter().find(|(repo, _)| repo.name == name) else {
                continue;
            };
            let repository = match self.open(repo) {
                Ok(repository) => repository,
                Err(error) => {
                    left.push((name, theirs, error.in_one_line()));
                    continue;
                }
            };
            one_server(&read, &repository, own, theirs)?;
            let others = self.all_but(repo, from)?;
            let found = match work(&repository, flags, others, true) {
                Ok(found) => found,
                Err(error) => {
                    left.push((name, theirs, error.in_one_line()));
                    continue;
                }
            };
            match reached(&found).filter(|found| found.end > end) {
                Some(found_to) => {
                    warn!(
                        "repository {name} is used instead: its WAL leads to {}, and not to {} alone",
                        theirs.1, end.1
                    );
                    (best, end) = (found, found_to.end);
                    used = instead.insert(repository);
                    break;
                }
                None => left.push((name, theirs, "no backup there leads to it".to_owned())),
            }
        }
        for (name, theirs, why) in left.into_iter().filter(|(_, theirs, _)| *theirs > end) {
            let to = self.name_of(used, from);
            warn!(
                "repository {name} has WAL up to {}, and what is used ends at {}: {why}. `pgstow {to}sync --from {name}` brings it: \
                 then try again",
                theirs.1, end.1,
            );
        }
        Ok(best)
    }

    /// The option that names a repository that is read, and a space.
    fn name_of(&self, read: &Repository, from: &ReadFrom) -> String {
        let all =
            (self.settings.repo().into_iter()).chain(from.others.iter().map(|(repo, _)| repo));
        let mut names = all.filter(|repo| repo.location == *read.location());
        let name = names.next().map(|repo| format!("--repo {} ", repo.name));
        name.unwrap_or_default()
    }

    /// Those of `others` whose WAL leads further than `own`, and to where: the furthest first. `unknown` is told of each that
    /// doesn't answer.
    pub fn further(
        &self,
        others: &Others,
        own: Reached,
        unknown: impl Fn(&str, &Error),
    ) -> Vec<(String, End)> {
        let asked = others.ask_all("how far its WAL leads", &self.cancel, move |other| {
            let index = WalIndex::load_behind(other, &other.system(own.system)?, Some(own.end))?;
            Ok(match own.is_named {
                true => index.end_on(own.end.0),
                false => index.end(),
            })
        });
        let mut further = Vec::new();
        for (name, theirs) in asked {
            match theirs {
                Ok(theirs) => {
                    let theirs = theirs.filter(|theirs| *theirs > own.end);
                    further.extend(theirs.map(|theirs| (name.to_owned(), theirs)));
                }
                Err(error) => unknown(name, &error),
            }
        }
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

/// Warns of a repository that may lead further.
pub fn not_known(name: &str, error: &Error) {
    let why = error.in_one_line();
    warn!("whether repository {name} leads further is not known: {why}");
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

/// Refuses to go on in `other`, which leads to `theirs`, behind what was reached in `read`, where the history of a timeline
/// or the last segment that both have is another one there: a server was lost, and another one restored without it gave
/// its timeline the same number.
fn one_server(read: &Repository, other: &Repository, own: Reached, theirs: End) -> Result<()> {
    let (timeline, lsn) = own.end;
    let systems = (read.system(own.system)?, other.system(own.system)?);
    let size = systems.0.segment_size;
    let differs = |name: WalName, timeline: TimelineId| {
        let what = format!(
            "{name} has other bytes in {} than in {}, whose WAL leads further: two servers used timeline {timeline}",
            read.location(),
            other.location(),
        );
        Err(Error::failed(what).hint(
            "name the repository of the server that is meant by --repo; `pgstow --repo NAME list` shows what each has.",
        ))
    };
    for timeline in BTreeSet::from([timeline, theirs.0]) {
        let name = WalName::History(timeline);
        let text = |repository: &Repository, system| {
            let object = repository.wal_object(system, name);
            repository.storage().read(&object, TimelineHistory::LIMIT)
        };
        // What one of them hasn't got, or not whole, tells nothing; nor do segments.
        if let (Ok(ours), Ok(theirs)) = (text(read, &systems.0), text(other, &systems.1))
            && ours != theirs
        {
            return differs(name, timeline);
        }
    }
    // The last one may be there in part alone.
    let behind = lsn.0.div_ceil(size.bytes());
    for number in (behind.saturating_sub(2)..behind).rev() {
        let name = WalName::Segment(Segment::nth(timeline, number, size));
        let ours = stored::hash(read, &systems.0, name);
        if let (Ok(ours), Ok(theirs)) = (ours, stored::hash(other, &systems.1, name)) {
            return match ours == theirs {
                true => Ok(()),
                false => differs(name, timeline),
            };
        }
    }
    Ok(())
}

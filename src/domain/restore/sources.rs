//! Where a restore reads: the chosen repository, and others that hold the same backups, for what is damaged or missing
//! there.

use std::{
    collections::BTreeSet,
    mem, ptr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tracing::warn;

use super::contents::Contents;
use crate::{
    error::{Error, Kind, Result},
    postgres::{lsn::Lsn, wal_name::Segment},
    repo::{
        backup::Backup,
        live::Pieces,
        others::Others,
        repository::{Repository, System},
    },
};

pub struct Sources<'a> {
    pub chosen: &'a Repository,
    others: &'a Others,
    /// The chosen one answers no more: else each request would wait for it.
    is_away: AtomicBool,
    /// What was told to come from elsewhere.
    told: Mutex<BTreeSet<String>>,
}

impl<'a> Sources<'a> {
    pub fn new(chosen: &'a Repository, others: &'a Others) -> Self {
        Self {
            chosen,
            others,
            is_away: AtomicBool::new(false),
            told: Mutex::default(),
        }
    }

    pub fn has_others(&self) -> bool {
        !self.others.is_empty()
    }

    /// What `read` makes of `backup` as the chosen repository has it, or another one where that can't give `what`. It
    /// is told whether it was called before, to no avail.
    pub fn read<T>(
        &self,
        backup: &Backup,
        what: &str,
        mut read: impl FnMut(&Repository, &Backup, bool) -> Result<T>,
    ) -> Result<T> {
        let mut was_tried = false;
        let (value, elsewhere) = self.anywhere(what, |repository| {
            let again = mem::replace(&mut was_tried, true);
            if ptr::eq(repository, self.chosen) {
                return read(repository, backup, again).map(Some);
            }
            let same = repository.backup(backup.id)?;
            match same.is_same_as(backup) {
                true => read(repository, &same, again).map(Some),
                false => Ok(None),
            }
        })?;
        if let Some(elsewhere) = elsewhere {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.insert(what.to_owned()) {
                warn!("{what} {elsewhere}");
            }
        }
        Ok(value)
    }

    /// What `read` makes of WAL of `system` as the chosen repository has it, or another one where that can't give `what`.
    pub fn read_wal<T>(
        &self,
        system: &System,
        what: &str,
        mut read: impl FnMut(&Repository, &System) -> Result<T>,
    ) -> Result<T> {
        let (value, elsewhere) = self.anywhere(what, |repository| {
            if ptr::eq(repository, self.chosen) {
                return read(repository, system).map(Some);
            }
            read(repository, &repository.system(system.system_id)?).map(Some)
        })?;
        if let Some(elsewhere) = elsewhere {
            warn!("{what} {elsewhere}");
        }
        Ok(value)
    }

    /// Gives the bytes of a segment of which there are pieces to `sink`, from its beginning on, where those of one repository
    /// end those of others: why they don't lead to `wanted`.
    pub fn read_pieces(
        &self,
        system: &System,
        segment: Segment,
        wanted: Lsn,
        mut sink: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<Option<Error>> {
        let start = segment.start(system.segment_size).0;
        let mut pieces = Pieces::of(segment);
        let is_enough = |pieces: &Pieces| start + u64::from(pieces.upto()) >= wanted.0;
        let mut ended = pieces.read(self.chosen, system, &mut sink)?;
        let what = format!("the rest of {segment}");
        while ended.is_some() || !is_enough(&pieces) {
            let before = pieces.upto();
            let mut failed = None;
            let found = self.others.find(&what, |other| {
                let theirs = other.system(system.system_id)?;
                let sink = |bytes: &[u8]| {
                    if failed.is_none() {
                        failed = sink(bytes).err();
                    }
                    Ok(())
                };
                pieces.read(other, &theirs, sink)?;
                Ok((pieces.upto() > before).then_some(()))
            });
            if let Some(error) = failed {
                return Err(error);
            }
            let Some((name, ())) = found else {
                let missing = || Error::damaged(format!("{what} is missing"));
                return Ok(Some(ended.unwrap_or_else(missing)));
            };
            warn!("{what} comes from repository {name}");
            // Behind that, this one may go on.
            ended = pieces.read(self.chosen, system, &mut sink)?;
        }
        Ok(None)
    }

    /// What `read` finds in the chosen repository, or else in another one: then with the words that tell it.
    fn anywhere<T>(
        &self,
        what: &str,
        mut read: impl FnMut(&Repository) -> Result<Option<T>>,
    ) -> Result<(T, Option<String>)> {
        if self.is_away.load(Ordering::Relaxed)
            && let Some((_, value)) = self.others.find(what, &mut read)
        {
            return Ok((value, None));
        }
        let error = match read(self.chosen) {
            Ok(Some(value)) => return Ok((value, None)),
            Ok(None) => Error::new(Kind::NotFound, format!("{what} is not there")),
            Err(error) if self.may_be_elsewhere(&error) => error,
            Err(error) => return Err(error),
        };
        let Some((name, value)) = self.others.find(what, &mut read) else {
            return Err(error);
        };
        let told = format!("comes from repository {name}: {}", error.in_one_line());
        Ok((value, Some(told)))
    }

    /// What is in `backup`, and the repository whose indexes told it.
    pub fn contents(&self, backup: &Backup) -> Result<(Contents, Repository)> {
        let what = format!("the index of backup {}", backup.id);
        self.read(backup, &what, |repository, backup, _| {
            let contents = Contents::load(repository, backup)?;
            Ok((contents, repository.clone()))
        })
    }

    fn may_be_elsewhere(&self, error: &Error) -> bool {
        let is_of_what_is_stored = match error.kind() {
            Kind::Damaged | Kind::Key | Kind::Denied => return self.has_others(),
            Kind::NotFound | Kind::TimedOut | Kind::Failed => self.has_others(),
            _ => false,
        };
        if is_of_what_is_stored && self.chosen.confirm().is_err() {
            self.is_away.store(true, Ordering::Relaxed);
        }
        is_of_what_is_stored
    }
}

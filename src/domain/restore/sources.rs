//! Where a restore reads: the chosen repository, and others that hold the same backups, for what is damaged or missing
//! there.

use std::{
    collections::BTreeSet,
    mem,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tracing::warn;

use super::contents::Contents;
use crate::{
    error::{Error, Kind, Result},
    repo::{catalog::Backup, others::Others, repository::Repository},
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
        let mut read = |repository: &Repository, backup: &Backup| {
            let again = mem::replace(&mut was_tried, true);
            read(repository, backup, again)
        };
        let elsewhere = |read: &mut dyn FnMut(&Repository, &Backup) -> Result<T>| {
            self.others.find(what, |other| {
                let same = other.backup(backup.id)?;
                match same.is_same_as(backup) {
                    true => read(other, &same).map(Some),
                    false => Ok(None),
                }
            })
        };
        if self.is_away.load(Ordering::Relaxed)
            && let Some((_, value)) = elsewhere(&mut read)
        {
            return Ok(value);
        }
        let error = match read(self.chosen, backup) {
            Err(error) if self.may_be_elsewhere(&error) => error,
            other => return other,
        };
        let Some((name, value)) = elsewhere(&mut read) else {
            return Err(error);
        };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(what.to_owned()) {
            let why = error.in_one_line();
            warn!("{what} comes from repository {name}: {why}");
        }
        Ok(value)
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

//! Where and how a backup is restored that nobody is to work with: into a scratch folder, for a server of our own.

use std::path::PathBuf;

use super::{pick::Picked, place::Place};
use crate::{
    domain::restore::{
        self, Restored,
        mark::Mark,
        plan::{self, Options},
        request::Request,
        tablespaces::{Move, Was},
    },
    error::Result,
    postgres::{
        programs::{Programs, Search},
        version::Major,
    },
    repo::{others::Others, repository::Repository, restoring::Reader},
    util::{cancel::Cancel, clock, meter::Meter},
};

#[derive(Clone, Debug)]
pub struct Ground {
    /// Where the scratch folder is made.
    pub place: PathBuf,
    pub workers: usize,
    pub bindir: Option<PathBuf>,
    /// For the server, behind our own settings.
    pub settings: Vec<(String, String)>,
    /// Roles as whom the restored server may let us in.
    pub users: Vec<String>,
    /// This program and its flags, up to and with `restore-wal`, and with `restore-done`.
    pub wal_command: Vec<String>,
    pub done_command: Vec<String>,
    /// For what of the backup is damaged or missing. None for drills, which are to find that out.
    pub others: Others,
}

impl Ground {
    pub fn programs(&self, major: Major) -> Result<Programs> {
        Search::of_this_host(self.bindir.clone()).find(Some(major))
    }

    /// What a server needs to go to the target; the mark is to be taken back when it is there.
    pub fn restore<'a>(
        &self,
        repository: &'a Repository,
        picked: &Picked,
        programs: &Programs,
        place: &Place,
        cancel: &Cancel,
        meter: &Meter,
    ) -> Result<(Restored, Mark<'a>)> {
        let options = self.options(picked, programs, place);
        let now = clock::now();
        let plan = plan::plan(repository, &options, now, cancel, meter)?;
        // What can't be deleted is over in a while, too.
        let _ = repository.forget_ended_restores();
        let reader = Reader::Process;
        restore::run_marked(repository, &options, plan, reader, now, cancel, meter)
    }

    fn options(&self, picked: &Picked, programs: &Programs, place: &Place) -> Options {
        let spaces = picked.choice.backup.tablespaces.iter();
        let outside = spaces.filter(|space| !space.in_place);
        let tablespaces = outside.map(|space| Move {
            was: Was::Oid(space.oid),
            to: place.tablespace(space.oid),
        });
        Options {
            request: Request {
                wish: picked.wish.clone(),
                data_dir: Some(place.data_dir()),
                replace: false,
                delta: None,
                tablespaces: tablespaces.collect(),
                // For good: it never writes among the original's files.
                archive: Some(false),
                offline: false,
                databases: picked.part.as_ref().map(|part| part.databases.clone()),
                prove: false,
                workers: self.workers,
                bindir: Some(programs.bindir().to_owned()),
            },
            own_data_dir: None,
            notes: None,
            others: self.others.clone(),
            received: None,
            wal_command: place.with_own_state(&self.wal_command),
            archive_command: Vec::new(),
            done_command: place.with_own_state(&self.done_command),
        }
    }
}

//! What of a plan needs the files of the folders that are used again.

use super::{
    contents::Contents, delta::Update, forecast::forecast, measured::Measured, plan::Plan,
};
use crate::{
    error::Result,
    repo::repository::Repository,
    util::{cancel::Cancel, host, meter::Meter},
};

impl Plan {
    /// What is compared where the folders are used again.
    pub fn update<'a>(
        &'a self,
        contents: &'a Contents,
        workers: usize,
        cancel: &'a Cancel,
        meter: &'a Meter,
    ) -> Update<'a> {
        Update {
            backup: &self.choice.backup,
            contents,
            data_dir: &self.data_dir,
            tablespaces: &self.tablespaces,
            owner: self.owner,
            trust_times: self.again.is_some_and(|delta| delta.trust_times),
            workers,
            cancel,
            meter,
        }
    }

    /// Says how long it will take, by what drills and the `restores` of this host took. Nobody who restores is to be stopped
    /// by what cannot be told.
    pub fn foresee(&mut self, repository: &Repository, restores: &[Measured]) {
        let drills = repository.drills().unwrap_or_default();
        self.forecast = forecast(&drills, restores, &host::name(), self.load);
    }

    /// Says what `--delta` would do, by reading all files that may stay.
    pub fn look(
        &mut self,
        repository: &Repository,
        workers: usize,
        cancel: &Cancel,
        meter: &Meter,
    ) -> Result<()> {
        if self.again.is_some() {
            let contents = Contents::load(repository, &self.choice.backup)?;
            let update = self.update(&contents, workers, cancel, meter);
            self.delta = Some(update.outlook()?);
        }
        Ok(())
    }
}

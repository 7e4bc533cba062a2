//! What archive-wal does with one file, in this order:
//! 1. where too much waits, the safety valve gives it up ([`super::gaps`]), before any repository
//!    is touched, which may hang;
//! 2. the repositories are opened, and learn of gaps that were noted;
//! 3. an acknowledgement that is true is enough ([`super::acks`]);
//! 4. else the file is stored in every repository, while workers store what waits behind it
//!    ([`super::ahead`]).
//!
//! A crash anywhere leaves objects that the next call finds equal.

use std::{path::Path, path::PathBuf};

use super::{
    acks::acknowledged,
    ahead::{Ahead, Limits},
    gaps,
    offered::Offered,
    push::Pushed,
    stores::{OpenStore, Store},
};
use crate::{
    error::{Error, Result},
    postgres::{lsn::SystemId, wal_name::WalName},
    repo::layout::ClusterName,
    util::meter::Meter,
};

/// PostgreSQL's wish.
#[derive(Debug)]
pub struct Wish<'a> {
    pub file: WalName,
    pub path: &'a Path,
    pub data_dir: &'a Path,
    pub cluster: &'a ClusterName,
    /// All must have it.
    pub stores: Vec<Store>,
    /// The cluster's folder for notes of this host.
    pub state: PathBuf,
    pub ahead: Limits,
    /// Bytes of WAL that may wait; None: without limit.
    pub drop_above: Option<u64>,
}

#[derive(Debug)]
pub struct Archived {
    pub system: SystemId,
    pub how: How,
}

#[derive(Debug)]
pub enum How {
    /// By the name of each repository, and what was stored ahead.
    Stored(Vec<(String, Pushed)>, Vec<String>),
    /// An earlier call had stored it in all repositories.
    Acknowledged,
    /// Not stored at all.
    GivenUp,
}

impl Wish<'_> {
    pub fn fulfil(&self, meter: &Meter) -> Result<Archived> {
        if let Some(system) = self.give_up()? {
            let how = How::GivenUp;
            return Ok(Archived { system, how });
        }
        let mut errors = Vec::new();
        let mut stores = Vec::new();
        for store in &self.stores {
            match store.open(self.cluster, meter) {
                Ok(open) => stores.push(open),
                Err(error) => errors.push(store.blame(self.file, error)),
            }
        }
        if errors.is_empty() {
            meter.begin("looking at what is noted", 0);
            gaps::publish(&self.state, &stores)?;
            let known = acknowledged(&self.state, self.file, self.path, self.data_dir, &stores);
            if let Some(system) = known {
                let how = How::Acknowledged;
                return Ok(Archived { system, how });
            }
        }
        self.store(&stores, errors, meter)
    }

    fn give_up(&self) -> Result<Option<SystemId>> {
        self.drop_above.map_or(Ok(None), |most| {
            gaps::give_up(&self.state, self.file, self.path, self.data_dir, most)
        })
    }

    /// In all of them, even if one fails: the others are then complete as soon as it is well again.
    fn store(
        &self,
        stores: &[OpenStore],
        mut errors: Vec<Error>,
        meter: &Meter,
    ) -> Result<Archived> {
        meter.begin(&format!("reading {}", self.path.display()), 0);
        let offered = Offered::open(self.path, self.file, self.data_dir)?;
        let mut good = Vec::new();
        for store in stores {
            match store.bring_history(&offered, meter) {
                Ok(()) => good.push(store),
                Err(error) => errors.push(error),
            }
        }
        let start = || {
            let (state, data_dir) = (&self.state, self.data_dir);
            Ahead::start(state, self.path, &offered, data_dir, stores, self.ahead)
        };
        let ahead = errors.is_empty().then(start).flatten();
        let mut stored = Vec::new();
        for store in good {
            match store.push(&offered, meter, &|| Ok(())) {
                Ok(pushed) => stored.push((store.name.clone(), pushed)),
                Err(error) => errors.push(error),
            }
        }
        meter.begin("storing what waits behind it", 0);
        let ahead = ahead.map(|ahead| ahead.finish(errors.is_empty()));
        match errors.len() {
            0 => Ok(Archived {
                system: offered.system(),
                how: How::Stored(stored, ahead.unwrap_or_default()),
            }),
            1 => Err(errors.remove(0)),
            _ => {
                let all: Vec<String> = errors.iter().map(Error::in_one_line).collect();
                Err(Error::failed(all.join("; ")))
            }
        }
    }
}

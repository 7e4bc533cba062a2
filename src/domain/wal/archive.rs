//! What archive-wal does with one file, in this order:
//! 1. where too much waits and storing has just hung, the safety valve gives it up
//!    ([`super::valve`]), before any repository is touched;
//! 2. the repositories are opened, and learn of gaps that were noted;
//! 3. an acknowledgement that is true is enough ([`super::acks`]);
//! 4. else the file is stored in every repository; where that fails as the time before, and too much waits, the
//!    safety valve gives it up;
//! 5. what waits behind it is stored ahead, if anything does ([`super::ahead`]).
//!
//! A crash anywhere leaves objects that the next call finds equal.

use std::{path::Path, time::Instant};

use super::{
    ahead::LookAhead,
    gaps,
    offered::Offered,
    push::Pushed,
    stores::{OpenStore, Store},
    valve::{Decision, Valve},
};
use crate::{
    error::{Error, Result},
    postgres::{
        lsn::SystemId,
        wal_name::{Segment, WalName},
    },
    repo::layout::ClusterName,
    util::meter::Meter,
};

/// PostgreSQL's wish.
pub struct Wish<'a> {
    pub file: WalName,
    pub path: &'a Path,
    pub cluster: &'a ClusterName,
    /// All must have it.
    pub stores: Vec<Store>,
    pub ahead: LookAhead<'a>,
    /// Bytes of WAL that may wait; None: without limit.
    pub drop_above: Option<u64>,
}

#[derive(Debug)]
pub struct Archived {
    pub system: SystemId,
    pub how: How,
    /// A process was started, which stores what waits behind it.
    pub ahead: bool,
}

#[derive(Debug)]
pub enum How {
    /// By the name of each repository.
    Stored(Vec<(String, Pushed)>),
    /// An earlier call had stored it in all repositories.
    Acknowledged,
    /// Not stored at all.
    GivenUp,
}

impl Wish<'_> {
    pub fn fulfil(&self, meter: &Meter) -> Result<Archived> {
        let valve = Valve {
            state: self.ahead.state,
            data_dir: self.ahead.data_dir,
            most: self.drop_above,
            time_limit: self.ahead.limits.time,
        };
        let give_up = |reason: &str| {
            Ok(Archived {
                system: gaps::give_up(valve.state, self.file, valve.data_dir, reason)?,
                how: How::GivenUp,
                ahead: false,
            })
        };
        let decision = valve.decide(self.file, self.path);
        if let Decision::GiveUp(reason) = &decision {
            return give_up(reason);
        }
        let begun = Instant::now();
        let (stores, errors) = self.open(meter);
        let stored = self.have_it_stored(&stores, errors, meter);
        if let Decision::TryToStore(otherwise) = &decision {
            valve.tried(stored.is_ok(), begun.elapsed());
            if let (Err(error), Some(reason)) = (&stored, otherwise) {
                return give_up(&format!("{reason}: {}", error.in_one_line()));
            }
        }
        let (system, how) = stored?;
        let go_on = |segment| self.ahead.go_on(segment, &stores);
        let ahead = self.segment().is_some_and(go_on);
        Ok(Archived { system, how, ahead })
    }

    /// A whole one: nothing else is stored ahead.
    fn segment(&self) -> Option<Segment> {
        match self.file {
            WalName::Segment(segment) => Some(segment),
            _ => None,
        }
    }

    fn open(&self, meter: &Meter) -> (Vec<OpenStore>, Vec<Error>) {
        let mut errors = Vec::new();
        let mut stores = Vec::new();
        for store in &self.stores {
            match store.open(self.cluster, meter) {
                Ok(open) => stores.push(open),
                Err(error) => errors.push(store.blame(self.file, error)),
            }
        }
        (stores, errors)
    }

    fn have_it_stored(
        &self,
        stores: &[OpenStore],
        errors: Vec<Error>,
        meter: &Meter,
    ) -> Result<(SystemId, How)> {
        if errors.is_empty() {
            meter.begin("looking at what is noted", 0);
            gaps::publish(self.ahead.state, stores)?;
            let stored = |segment| self.ahead.stored(segment, self.path, stores);
            if let Some(system) = self.segment().and_then(stored) {
                return Ok((system, How::Acknowledged));
            }
        }
        self.store(stores, errors, meter)
    }

    /// In all of them, even if one fails: the others are then complete as soon as it is well again.
    fn store(
        &self,
        stores: &[OpenStore],
        mut errors: Vec<Error>,
        meter: &Meter,
    ) -> Result<(SystemId, How)> {
        meter.begin(&format!("reading {}", self.path.display()), 0);
        let offered = Offered::open(self.path, self.file, self.ahead.data_dir)?;
        let mut stored = Vec::new();
        for store in stores {
            let pushed = store
                .bring_history(&offered, meter)
                .and_then(|()| store.push(&offered, meter, &|| Ok(())));
            match pushed {
                Ok(pushed) => stored.push((store.name.clone(), pushed)),
                Err(error) => errors.push(error),
            }
        }
        match errors.len() {
            0 => Ok((offered.system(), How::Stored(stored))),
            1 => Err(errors.remove(0)),
            _ => {
                let all: Vec<String> = errors.iter().map(Error::in_one_line).collect();
                Err(Error::failed(all.join("; ")))
            }
        }
    }
}

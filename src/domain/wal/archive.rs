//! What archive-wal does with one file, in this order:
//! 1. where too much waits and storing has just hung, the safety valve gives it up
//!    ([`super::valve`]), before any repository is touched;
//! 2. each repository is opened, and learns of gaps that were noted;
//! 3. an acknowledgement that is true for it is enough ([`super::acks`]);
//! 4. else the file is stored there; where that fails as the time before, and too much waits, the safety valve gives
//!    it up;
//! 5. once all have it, what waits behind it is stored ahead, if anything does ([`super::ahead`]); where some have it and
//!    others fail or hang, in those that have it.
//!
//! Several repositories are served at once: one that is away, and hangs until the time limit, holds up no other, which
//! then has all WAL although PostgreSQL is told that none is archived.
//!
//! A crash anywhere leaves objects that the next call finds equal.

use std::{
    path::Path,
    slice::from_ref,
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use super::{
    ahead::{LookAhead, Start},
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

/// How long those that have a file wait for others before they get what follows it.
const PATIENCE: Duration = Duration::from_secs(5);

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
    /// `start` has what waits behind it stored.
    pub fn fulfil(&self, meter: &Meter, start: Start<'_>) -> Result<Archived> {
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
        let (stores, stored) = self.have_it_stored(meter, start);
        if stored.is_err() {
            self.ahead.go_on_without(self.file, &stores, start);
        }
        if let Decision::TryToStore(otherwise) = &decision {
            valve.tried(stored.is_ok(), begun.elapsed());
            if let (Err(error), Some(reason)) = (&stored, otherwise) {
                return give_up(&format!("{reason}: {}", error.in_one_line()));
            }
        }
        let (system, how) = stored?;
        let go_on = |segment| self.ahead.go_on(segment, &stores, start);
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

    /// In all of them, even if one fails: the others are then complete as soon as it is well again. Those that have it.
    fn have_it_stored(
        &self,
        meter: &Meter,
        start: Start<'_>,
    ) -> (Vec<OpenStore>, Result<(SystemId, How)>) {
        let results = match &self.stores[..] {
            // Thousands of times a day, without a thread.
            [one] => vec![self.in_one(one, meter)],
            all => self.in_each(all, meter, start),
        };
        let (mut stores, mut pushed, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        let (mut system, mut told_gaps, mut acknowledged) = (None, false, true);
        for (store, result) in self.stores.iter().zip(results) {
            match result {
                Ok(had) => {
                    system = Some(had.system);
                    told_gaps |= had.told_gaps;
                    acknowledged &= had.pushed.is_none();
                    let how = had.pushed.unwrap_or(Pushed::AlreadyThere);
                    pushed.push((store.name.clone(), how));
                    stores.push(had.store);
                }
                Err(error) => errors.push(error),
            }
        }
        let done = all_of(errors).and_then(|()| {
            if told_gaps {
                gaps::published(self.ahead.state)?;
            }
            let how = match acknowledged {
                true => How::Acknowledged,
                false => How::Stored(pushed),
            };
            let system = system.ok_or_else(|| Error::failed("no repository is named"))?;
            Ok((system, how))
        });
        (stores, done)
    }

    fn in_each(&self, stores: &[Store], meter: &Meter, start: Start<'_>) -> Vec<Result<Had>> {
        let mut results: Vec<Option<Result<Had>>> = stores.iter().map(|_| None).collect();
        thread::scope(|scope| {
            let (sender, ended) = channel();
            for (number, store) in stores.iter().enumerate() {
                let (part, sender) = (meter.part(), sender.clone());
                // Listened to until all have ended.
                scope.spawn(move || sender.send((number, self.in_one(store, &part))).is_ok());
            }
            drop(sender);
            let mut patience = PATIENCE;
            loop {
                match ended.recv_timeout(patience) {
                    Ok((number, result)) => results[number] = Some(result),
                    // The time limit may end this call with those that hang.
                    Err(RecvTimeoutError::Timeout) => {
                        let had = results.iter().flatten().flatten();
                        let had: Vec<OpenStore> = had.map(|had| had.store.clone()).collect();
                        self.ahead.go_on_without(self.file, &had, start);
                        patience = self.ahead.limits.time;
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        });
        let lost = || Err(Error::failed("a worker came to a sudden end"));
        let results = results.into_iter();
        results.map(|result| result.unwrap_or_else(lost)).collect()
    }

    fn in_one(&self, store: &Store, meter: &Meter) -> Result<Had> {
        let opened = store.open(self.cluster, meter);
        let store = opened.map_err(|error| store.blame(self.file, error))?;
        meter.begin("looking at what is noted", 0);
        let told_gaps = gaps::publish(self.ahead.state, &store)?;
        let stored = |segment| self.ahead.stored(segment, self.path, from_ref(&store));
        if let Some(system) = self.segment().and_then(stored) {
            return Ok(Had {
                store,
                system,
                told_gaps,
                pushed: None,
            });
        }
        meter.begin(&format!("reading {}", self.path.display()), 0);
        let offered = Offered::open(self.path, self.file, self.ahead.data_dir)?;
        store.bring_history(&offered, meter)?;
        let pushed = store.push(&offered, meter, &|| Ok(()))?;
        Ok(Had {
            store,
            system: offered.system(),
            told_gaps,
            pushed: Some(pushed),
        })
    }
}

/// A repository that has the file.
struct Had {
    store: OpenStore,
    system: SystemId,
    /// It heard of WAL that was given up.
    told_gaps: bool,
    /// None: it is acknowledged.
    pushed: Option<Pushed>,
}

/// The errors of several repositories as one.
fn all_of(mut errors: Vec<Error>) -> Result<()> {
    match errors.len() {
        0 => Ok(()),
        1 => Err(errors.remove(0)),
        _ => {
            let all: Vec<String> = errors.iter().map(Error::in_one_line).collect();
            Err(Error::failed(all.join("; ")))
        }
    }
}

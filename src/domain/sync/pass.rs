//! One source into one target: what all parts of that work share.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    sync::{Arc, Mutex},
};

use super::tally::Tally;
use crate::{
    error::{Error, Kind, Result},
    postgres::lsn::TimelineId,
    repo::repository::{Repository, System},
    util::{
        cancel::Cancel,
        meter::{Meter, Watched},
        pace::Pace,
    },
};

/// A repository, and what the settings call it.
#[derive(Clone, Debug)]
pub struct Peer {
    pub name: String,
    pub repository: Repository,
}

impl Peer {
    /// What to do about what is damaged in it.
    pub fn mending(&self) -> String {
        format!(
            "heal it by `pgstow --repo {} verify --all --wal --repair`, or delete it there: then the next sync brings it once \
             more.",
            self.name
        )
    }
}

/// How a system is registered in both.
#[derive(Clone, Debug)]
pub struct Pair {
    pub source: System,
    pub target: System,
    /// Of timelines that were looked at, whether both have one server's WAL.
    pub alike: Arc<Mutex<BTreeMap<TimelineId, bool>>>,
}

#[derive(Clone, Copy)]
pub struct Pass<'a> {
    pub source: &'a Peer,
    pub target: &'a Peer,
    /// Read again what was stored.
    pub verify: bool,
    pub workers: usize,
    /// Only count.
    pub dry_run: bool,
    pub pace: &'a Pace,
    pub cancel: &'a Cancel,
    pub meter: &'a Meter,
    pub tally: &'a Tally,
}

/// On which side something went wrong: what is damaged in the source is told of and passed over, a target that
/// takes nothing ends the work.
#[derive(Debug)]
pub enum Trouble {
    Source(Error),
    Target(Error),
}

pub fn of_source(error: Error) -> Trouble {
    Trouble::Source(error)
}

pub fn of_target(error: Error) -> Trouble {
    Trouble::Target(error)
}

impl Pass<'_> {
    /// The source's bytes on their way: counted, no faster than they may be, and stopped where that is asked for.
    pub fn paced<R: Read>(&self, inner: R) -> Paced<'_, R> {
        Paced {
            inner: Watched {
                inner,
                meter: self.meter,
                cancel: self.cancel,
            },
            pace: self.pace,
        }
    }

    /// How a system of the target is registered in both, if the one can heal the other.
    pub fn pair(&self, system: &System) -> Result<Pair> {
        let source = self.source.repository.system(system.system_id)?;
        if (source.wal_codec, source.segment_size) != (system.wal_codec, system.segment_size) {
            let what = format!("its WAL is stored as {}", source.wal_codec);
            return Err(Error::failed(what));
        }
        Ok(Pair {
            source,
            target: system.clone(),
            alike: Arc::default(),
        })
    }

    /// Notes what is the matter with one object or backup, and goes on; an error where it is more than that. False if
    /// nothing is wrong: the source has deleted it meanwhile.
    pub fn pass_over(&self, what: &str, trouble: Trouble) -> Result<bool> {
        // It passes as an error of the object that was read.
        self.cancel.check()?;
        let (peer, error, passes) = match trouble {
            Trouble::Source(error) if error.kind() == Kind::NotFound => {
                self.source.repository.confirm()?;
                return Ok(false);
            }
            Trouble::Source(error) => {
                let of_object = self.source.repository.is_of_object(&error);
                let passes = of_object || error.kind() == Kind::Key;
                (self.source, error, passes)
            }
            Trouble::Target(error) => {
                let passes = matches!(
                    error.kind(),
                    Kind::AlreadyExists | Kind::Damaged | Kind::Denied
                );
                (self.target, error, passes)
            }
        };
        if !passes {
            return Err(error);
        }
        self.tally.find(&peer.name, what, &error);
        Ok(true)
    }
}

pub struct Paced<'a, R> {
    inner: Watched<'a, R>,
    pace: &'a Pace,
}

impl<R: Read> Read for Paced<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.pace.wait(count as u64)?;
        Ok(count)
    }
}

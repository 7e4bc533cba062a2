//! What was received from the folder into the repositories, beside the receiving: a repository that is away holds
//! nothing up but its own share. Whole segments first, oldest first; then, where that is wanted, what there is of the
//! one in progress, which is of use only behind them.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use tracing::warn;

use super::{
    super::{
        offered::Offered,
        stores::{OpenStore, Store},
    },
    files::{self, Progress},
    live::{Live, Pieces},
};
use crate::{
    error::{IoContext, Kind, Result},
    postgres::wal_name::{Segment, WalName},
    repo::layout::ClusterName,
    util::{cancel::Cancel, meter::Meter},
};

/// Before another try where one failed.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

pub struct HandOver<'a> {
    pub folder: &'a Path,
    pub cluster: &'a ClusterName,
    pub shares: Vec<Share<'a>>,
    /// None: whole segments alone.
    pub live: Option<Live>,
    pub stop: &'a Cancel,
}

/// A repository, and what it has of what is in the folder.
pub struct Share<'a> {
    store: &'a Store,
    whole: BTreeSet<Segment>,
    pieces: Pieces,
    /// After a failure, before which it is not tried again; it grows.
    rest: Option<Instant>,
    pause: Duration,
}

impl<'a> Share<'a> {
    pub fn of(stores: &'a [Store]) -> Vec<Self> {
        let share = |store| Self {
            store,
            whole: BTreeSet::new(),
            pieces: Pieces::default(),
            rest: None,
            pause: PAUSE,
        };
        stores.iter().map(share).collect()
    }

    fn rests(&self) -> Duration {
        let rest = self
            .rest
            .map(|rest| rest.saturating_duration_since(Instant::now()));
        rest.unwrap_or_default()
    }

    /// How long it rests now.
    fn note(&mut self, failed: bool) {
        (self.rest, self.pause) = match failed {
            true => {
                let pause = (self.pause * 2).min(LONGEST_PAUSE);
                (Some(Instant::now() + pause), pause)
            }
            false => (None, PAUSE),
        };
    }
}

impl HandOver<'_> {
    /// Until the sender of `wakes`, which has a word for each new segment, is gone.
    pub fn run(mut self, wakes: &Receiver<()>) {
        loop {
            let due = self.live.as_mut().and_then(Live::due);
            if let Err(error) = self.round(due) {
                warn!("{}", error.in_one_line());
            }
            if let Err(RecvTimeoutError::Disconnected) = wakes.recv_timeout(self.wait()) {
                self.leave();
                return;
            }
        }
    }

    /// Until something is to be done that nobody tells of.
    fn wait(&self) -> Duration {
        let failed = self.shares.iter().filter(|share| share.rest.is_some());
        let rests = failed.map(|share| share.rests().max(PAUSE));
        let next = self.live.as_ref().map(Live::next);
        rests
            .chain(next)
            .min()
            .map_or(LONGEST_PAUSE, |wait| wait.min(LONGEST_PAUSE))
    }

    /// The last word of a receiver that is stopped in good order: its host may be on its way down.
    fn leave(&mut self) {
        let progress = self.live.as_ref().and_then(Live::progress);
        if let Err(error) = self.round(progress) {
            warn!("{}", error.in_one_line());
        }
    }

    /// Errors of a repository are told here.
    fn round(&mut self, progress: Option<Progress>) -> Result<()> {
        let whole = files::whole(self.folder)?;
        let round = Round {
            folder: self.folder,
            whole: &whole,
            progress,
            in_pieces: self.live.is_some(),
            stop: self.stop,
            // Of its own: nobody draws what goes on in the background.
            meter: Meter::default(),
        };
        for share in &mut self.shares {
            if !round.is_lacking(share) || !share.rests().is_zero() {
                continue;
            }
            let opened = share.store.open(self.cluster, &round.meter);
            let brought = opened.and_then(|store| round.bring(share, &store));
            share.note(brought.is_err());
            if let Err(error) = brought {
                warn!(
                    "{}; it waits in {}",
                    error.in_one_line(),
                    self.folder.display()
                );
            }
        }
        for segment in whole {
            if self
                .shares
                .iter()
                .all(|share| share.whole.contains(&segment))
            {
                let path = self.folder.join(segment.to_string());
                fs::remove_file(&path).at("remove", &path)?;
                for share in &mut self.shares {
                    share.whole.remove(&segment);
                }
            }
        }
        Ok(())
    }
}

struct Round<'a> {
    folder: &'a Path,
    whole: &'a BTreeSet<Segment>,
    /// Of the segment that is being received, where a piece of it is due.
    progress: Option<Progress>,
    in_pieces: bool,
    stop: &'a Cancel,
    meter: Meter,
}

impl Round<'_> {
    fn is_lacking(&self, share: &Share<'_>) -> bool {
        let begun = self.progress.as_ref();
        !self.whole.is_subset(&share.whole) || begun.is_some_and(|begun| share.pieces.lacks(begun))
    }

    /// All that `share` lacks, unless a stop is asked for.
    fn bring(&self, share: &mut Share<'_>, store: &OpenStore) -> Result<()> {
        for segment in self.whole.difference(&share.whole.clone()) {
            if self.stop.is_set() {
                return Ok(());
            }
            self.one(*segment, store)?;
            share.whole.insert(*segment);
        }
        match self.progress {
            Some(progress) => share
                .pieces
                .bring(progress, self.folder, store, &self.meter),
            None => Ok(()),
        }
    }

    fn one(&self, segment: Segment, store: &OpenStore) -> Result<()> {
        let path = self.folder.join(segment.to_string());
        let offered = Offered::open(&path, WalName::Segment(segment), self.folder)?;
        store.bring_history(&offered, &self.meter)?;
        store.push(&offered, &self.meter, &|| Ok(()))?;
        if !self.in_pieces {
            return Ok(());
        }
        match store.delete_pieces(&offered, segment) {
            // Where a host may only add, cleanup does it from elsewhere.
            Err(error) if error.kind() != Kind::Denied => warn!(
                "pieces of {segment} stay in repository {} until `pgstow cleanup` removes them: {}",
                store.name,
                error.in_one_line()
            ),
            _ => {}
        }
        Ok(())
    }
}

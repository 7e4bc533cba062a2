//! What was received from the folder into the repositories, beside the receiving: a repository that is away holds
//! nothing up but its own share. Whole segments first, oldest first; then, where that is wanted, what there is of the
//! one in progress, which is of use only behind them.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Duration,
};

use tracing::warn;

use super::{
    super::{
        offered::Offered,
        stores::{OpenStore, Store, all_of},
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
}

impl<'a> Share<'a> {
    pub fn of(stores: &'a [Store]) -> Vec<Self> {
        let share = |store| Self {
            store,
            whole: BTreeSet::new(),
            pieces: Pieces::default(),
        };
        stores.iter().map(share).collect()
    }
}

impl HandOver<'_> {
    /// Until the sender of `wakes`, which has a word for each new segment, is gone.
    pub fn run(mut self, wakes: &Receiver<()>) {
        let mut pause = PAUSE;
        loop {
            let due = self.live.as_mut().and_then(Live::due);
            let done = self.round(due);
            let wait = match &done {
                Ok(()) => {
                    pause = PAUSE;
                    let next = self.live.as_ref().map(Live::next);
                    next.map_or(LONGEST_PAUSE, |next| next.min(LONGEST_PAUSE))
                }
                Err(error) => {
                    warn!(
                        "{}; it waits in {}",
                        error.in_one_line(),
                        self.folder.display()
                    );
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    pause
                }
            };
            if let Err(RecvTimeoutError::Disconnected) = wakes.recv_timeout(wait) {
                if done.is_ok() {
                    self.leave();
                }
                return;
            }
        }
    }

    /// The last word of a receiver that is stopped in good order: this host may be on its way down.
    fn leave(&mut self) {
        let progress = self.live.as_ref().and_then(Live::progress);
        if progress.is_some()
            && let Err(error) = self.round(progress)
        {
            warn!("{}", error.in_one_line());
        }
    }

    fn round(&mut self, progress: Option<Progress>) -> Result<()> {
        let whole = files::whole(self.folder)?;
        let lacks =
            |progress: &Progress| self.shares.iter().any(|share| share.pieces.lacks(progress));
        let progress = progress.filter(lacks);
        if whole.is_empty() && progress.is_none() {
            return Ok(());
        }
        let round = Round {
            folder: self.folder,
            whole: &whole,
            progress,
            in_pieces: self.live.is_some(),
            stop: self.stop,
            // Of its own: nobody draws what goes on in the background.
            meter: Meter::default(),
        };
        let mut errors = Vec::new();
        for share in &mut self.shares {
            let opened = share.store.open(self.cluster, &round.meter);
            errors.extend(opened.and_then(|store| round.bring(share, &store)).err());
        }
        for segment in &whole {
            if self
                .shares
                .iter()
                .all(|share| share.whole.contains(segment))
            {
                let path = self.folder.join(segment.to_string());
                fs::remove_file(&path).at("remove", &path)?;
            }
        }
        for share in &mut self.shares {
            share
                .whole
                .retain(|segment| self.folder.join(segment.to_string()).exists());
        }
        all_of(errors)
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

//! What there is of the segment in progress into the repositories, in pieces: of what came later than the last of
//! them alone nothing is there when the server and this host are lost together.
//!
//! Only what is synced here goes: the server never writes other bytes in its place. A receiver that was killed has
//! forgotten what it stored, and stores it again from the segment's beginning.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use super::{
    super::{offered::Offered, stores::OpenStore},
    files::{Progress, Reached},
};
use crate::{
    error::{Kind, Result},
    postgres::wal_name::{Segment, WalName},
    util::meter::Meter,
};

/// A piece has no more: it is held in memory, by who reads it, too.
const MOST: u32 = 16 << 20;

pub struct Live {
    every: Duration,
    reached: Reached,
    last: Option<Instant>,
    /// What the repository was given of the segment in progress.
    given: Option<Progress>,
}

impl Live {
    pub fn new(every: Duration, reached: Reached) -> Self {
        Self {
            every,
            reached,
            last: None,
            given: None,
        }
    }

    /// How far the segment in progress came, where the repository has not got all of that.
    pub fn progress(&self) -> Option<Progress> {
        let progress = self.reached.get()?;
        (self.given_of(progress.segment) < progress.bytes).then_some(progress)
    }

    fn given_of(&self, segment: Segment) -> u32 {
        let given = self.given.filter(|given| given.segment == segment);
        given.map_or(0, |given| given.bytes)
    }

    /// The same where it is time for a piece.
    pub fn due(&mut self) -> Option<Progress> {
        if self.next() > Duration::ZERO {
            return None;
        }
        self.last = Some(Instant::now());
        self.progress()
    }

    /// When the next one is.
    pub fn next(&self) -> Duration {
        let since = self.last.map(|last| last.elapsed());
        since.map_or(Duration::ZERO, |since| self.every.saturating_sub(since))
    }

    /// Stores what came since the last piece.
    pub fn bring(
        &mut self,
        progress: Progress,
        folder: &Path,
        store: &OpenStore,
        meter: &Meter,
    ) -> Result<()> {
        let Progress { segment, bytes } = progress;
        let path = folder.join(WalName::Partial(segment).to_string());
        // As the segment that it is going to be, with its whole length.
        let offered = match Offered::open(&path, WalName::Segment(segment), folder) {
            // It is whole meanwhile.
            Err(error) if error.kind() == Kind::NotFound => return Ok(()),
            other => other?,
        };
        let mut from = self.given_of(segment);
        if from == 0 {
            store.bring_history(&offered, meter)?;
        }
        while from < bytes {
            let to = bytes.min(from.saturating_add(MOST));
            store.push_piece(&offered, segment, from..to)?;
            self.given = Some(Progress { segment, bytes: to });
            from = to;
        }
        Ok(())
    }
}

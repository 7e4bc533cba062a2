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

/// When a piece is due.
pub struct Live {
    every: Duration,
    reached: Reached,
    last: Option<Instant>,
}

impl Live {
    pub fn new(every: Duration, reached: Reached) -> Self {
        Self {
            every,
            reached,
            last: None,
        }
    }

    /// How far the segment in progress came; None before anything did.
    pub fn progress(&self) -> Option<Progress> {
        self.reached.get()
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
        self.last.map_or(Duration::ZERO, |last| {
            self.every.saturating_sub(last.elapsed())
        })
    }
}

/// What a repository was given of the segment in progress.
#[derive(Debug, Default)]
pub struct Pieces {
    upto: Option<(Segment, u32)>,
}

impl Pieces {
    /// Whether something came since the last piece.
    pub fn lacks(&self, progress: &Progress) -> bool {
        self.known(progress.segment) < progress.bytes
    }

    fn known(&self, segment: Segment) -> u32 {
        let of_this = self.upto.filter(|(known, _)| *known == segment);
        of_this.map_or(0, |(_, upto)| upto)
    }

    /// Stores what came since the last piece, if anything did.
    pub fn bring(
        &mut self,
        progress: Progress,
        folder: &Path,
        store: &OpenStore,
        meter: &Meter,
    ) -> Result<()> {
        if !self.lacks(&progress) {
            return Ok(());
        }
        let Progress { segment, bytes } = progress;
        let mut from = self.known(segment);
        let path = folder.join(WalName::Partial(segment).to_string());
        // As the segment that it is going to be, with its whole length.
        let offered = match Offered::open(&path, WalName::Segment(segment), folder) {
            // It is whole meanwhile.
            Err(error) if error.kind() == Kind::NotFound => return Ok(()),
            other => other?,
        };
        if from == 0 {
            store.bring_history(&offered, meter)?;
        }
        while from < bytes {
            let to = bytes.min(from.saturating_add(MOST));
            store.push_piece(&offered, segment, from..to)?;
            self.upto = Some((segment, to));
            from = to;
        }
        Ok(())
    }
}

//! Prefetch: while recovery replays a segment, the next ones are fetched and unpacked into the
//! spool ([`super::spool`]) by a process of its own, since restore-wal ends with each segment.
//!
//! The prefetcher fetches one range and ends; who is served the half of it starts the next one. So
//! nothing stays behind when recovery ends but what it fetched, which `restore-done` removes,
//! and at the archive's end, where a standby asks again and again, none is started.
//!
//! It is never relied on: what is not in the spool, and not about to be, is fetched as ever, and
//! only that says what is absent. Killed at any moment it leaves whole segments and a lock that is free.

use std::{
    fs::File,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tracing::debug;

use super::{
    fetch::{Fetched, spool_one},
    spool::Spool,
};
use crate::{
    error::{Kind, Result},
    postgres::wal_name::{Segment, WalName},
    repo::{
        repository::{Repository, System},
        storage::ObjectInfo,
    },
};

/// Between two looks for a segment that is being fetched.
const PAUSE: Duration = Duration::from_millis(1);

/// How long one is waited for: after that the store is asked again, which will say what is wrong.
const PATIENCE: Duration = Duration::from_secs(5);

/// Starts a prefetcher: of the segments from the first to the last, into the folder, with the lock.
pub type Start<'a> = &'a dyn Fn(Segment, Segment, &Path, File) -> Result<()>;

pub struct Prefetch<'a> {
    pub repository: &'a Repository,
    pub system: &'a System,
    pub spool: Spool,
    /// How many segments are fetched ahead; not 0.
    pub depth: u64,
    /// The last one that is needed.
    pub last: Option<Segment>,
    pub start: Start<'a>,
}

impl Prefetch<'_> {
    /// Serves a segment from the spool, or has it fetched by `fetch`.
    pub fn serve(
        &self,
        wanted: Segment,
        destination: &Path,
        fetch: impl FnOnce() -> Result<Fetched>,
    ) -> Result<Fetched> {
        match self.take(wanted, destination) {
            Ok(true) => {
                self.attempt(self.go_on(wanted));
                return Ok(Fetched::Placed);
            }
            Ok(false) => {}
            // Whether that of the store or of the spool: the fetch will tell, if it meets it too.
            Err(error) => debug!("can't use the spool: {}", error.in_one_line()),
        }
        // Before the fetch, beside which it runs.
        self.attempt(self.begin(wanted));
        fetch()
    }

    /// What goes wrong ahead costs time and nothing else.
    fn attempt(&self, result: Result<()>) {
        if let Err(error) = result {
            debug!("fetched nothing ahead: {}", error.in_one_line());
        }
    }

    fn take(&self, wanted: Segment, destination: &Path) -> Result<bool> {
        let Some(object) = self.head(wanted)? else {
            return Ok(false);
        };
        let begin = Instant::now();
        loop {
            // Asked first, so that what it finished before it ended is found.
            let seen = self.spool.running().look();
            let coming = seen.is_some_and(|seen| seen.lives && seen.segments.contains(&wanted));
            let taken = self.spool.take(wanted, self.system, &object, destination)?;
            if taken || !coming || begin.elapsed() > PATIENCE {
                return Ok(taken);
            }
            thread::sleep(PAUSE);
        }
    }

    fn begin(&self, wanted: Segment) -> Result<()> {
        let first = self.behind(wanted, 1);
        self.fetch_from(first, first)
    }

    /// Once half of what was fetched is used up.
    fn go_on(&self, taken: Segment) -> Result<()> {
        let size = self.system.segment_size;
        let seen = self.spool.running().look();
        let Some(last) = seen.and_then(|seen| (!seen.lives).then(|| *seen.segments.end())) else {
            return Ok(());
        };
        let left = last.number(size).saturating_sub(taken.number(size));
        if last.timeline != taken.timeline || left > self.depth / 2 {
            return Ok(());
        }
        self.fetch_from(self.behind(taken, 1), self.behind(last, 1))
    }

    /// If `needed` is stored: else there is nothing new to fetch.
    fn fetch_from(&self, first: Segment, needed: Segment) -> Result<()> {
        let end = self.behind(first, self.depth - 1);
        let last = self.last.filter(|last| last.timeline == end.timeline);
        let end = last.map_or(end, |last| end.min(last));
        if needed > end || self.head(needed)?.is_none() {
            return Ok(());
        }
        match self.spool.lock(first, end)? {
            Some(lock) => (self.start)(first, end, self.spool.folder(), lock),
            None => Ok(()),
        }
    }

    fn behind(&self, segment: Segment, count: u64) -> Segment {
        let size = self.system.segment_size;
        Segment::nth(segment.timeline, segment.number(size) + count, size)
    }

    fn head(&self, segment: Segment) -> Result<Option<ObjectInfo>> {
        head(self.repository, self.system, segment)
    }
}

fn head(repository: &Repository, system: &System, segment: Segment) -> Result<Option<ObjectInfo>> {
    let object = repository.wal_object(system, WalName::Segment(segment));
    match repository.storage().head(&object) {
        Ok(info) => Ok(Some(info)),
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a prefetcher does: fetches the segments from `first` to `last`, in order, by `workers` at
/// once, up to the first that is absent or fails.
pub fn fill(
    repository: &Repository,
    system: &System,
    spool: &Spool,
    first: Segment,
    last: Segment,
    workers: usize,
) -> Result<()> {
    spool.tidy(first, last)?;
    let size = system.segment_size;
    let next = Mutex::new(first.number(size));
    let stop = AtomicBool::new(false);
    let take = || {
        let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
        let segment = Segment::nth(first.timeline, *next, size);
        *next += 1;
        (segment <= last && !stop.load(Ordering::Relaxed)).then_some(segment)
    };
    let work = || {
        while let Some(segment) = take() {
            if let Err(error) = fill_one(repository, system, spool, segment) {
                stop.store(true, Ordering::Relaxed);
                debug!("fetched nothing further: {}", error.in_one_line());
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(work);
        }
        work();
    });
    Ok(())
}

fn fill_one(
    repository: &Repository,
    system: &System,
    spool: &Spool,
    segment: Segment,
) -> Result<()> {
    let path = spool.path(segment);
    if path.exists() {
        return Ok(());
    }
    let file = WalName::Segment(segment);
    let object = repository.wal_object(system, file);
    // Before its bytes: should it be exchanged meanwhile, they are not served.
    let made = repository.storage().head(&object)?.modified;
    spool_one(repository, system, file, &path, made)
}

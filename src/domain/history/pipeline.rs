//! Reads many segments at once, fetched ahead, and hands over in order what each of them holds.
//!
//! So many segments at most lie in the scratch folder, or wait to be handed over: it bounds disk and memory. One
//! stays until the segment before it has been read too, whose last record may end in it.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use super::segments::{Read, Segments};
use crate::{
    error::{Error, Result},
    util::meter::Meter,
};

/// Threads that fetch and unpack: each of them feeds several of those that read.
const FETCHERS: usize = 2;

/// What lies in the scratch folder at the same time, where segments are so large that it matters.
const BYTES: u64 = 1 << 30;

/// How soon a stop that was asked for is seen.
const TICK: Duration = Duration::from_millis(200);

pub struct Pipeline<'a> {
    pub segments: Segments<'a>,
    /// Places on the way.
    pub range: Range<usize>,
    pub workers: usize,
    pub meter: &'a Meter,
}

/// How far all of it has come; places are those of the way.
struct Progress {
    to_fetch: usize,
    to_read: usize,
    /// All before it were handed over.
    handed: usize,
    /// Why a segment could not be fetched.
    fetched: BTreeMap<usize, Result<(), String>>,
    read: BTreeMap<usize, Read>,
    failure: Option<Error>,
    over: bool,
}

struct Shared<'a> {
    pipeline: &'a Pipeline<'a>,
    progress: Mutex<Progress>,
    changed: Condvar,
    /// How many segments there may be at the same time.
    depth: usize,
}

impl Pipeline<'_> {
    /// Gives what each segment holds to `take`, in the order of the way.
    pub fn run(&self, mut take: impl FnMut(usize, Read)) -> Result<()> {
        if self.range.is_empty() {
            return Ok(());
        }
        let size = self.segments.system.segment_size.bytes();
        let depth = (BYTES / size).clamp(3, self.workers as u64 + 4) as usize;
        let shared = Shared {
            pipeline: self,
            progress: Mutex::new(Progress {
                to_fetch: self.range.start,
                to_read: self.range.start,
                handed: self.range.start,
                fetched: BTreeMap::new(),
                read: BTreeMap::new(),
                failure: None,
                over: false,
            }),
            changed: Condvar::new(),
            depth,
        };
        self.meter
            .begin("reading WAL", self.range.len() as u64 * size);
        thread::scope(|scope| {
            for _ in 0..FETCHERS {
                scope.spawn(|| shared.work(Shared::fetch));
            }
            for _ in 0..self.workers.max(1).min(depth - 1) {
                scope.spawn(|| shared.work(Shared::read));
            }
            let mut handed = || -> Result<()> {
                for place in self.range.clone() {
                    let read = shared.hand_over(place)?;
                    take(place, read);
                    self.meter.add(size);
                }
                Ok(())
            };
            let result = handed();
            shared.lock().over = true;
            shared.changed.notify_all();
            result
        })
    }

    /// The places that are needed: of the one behind the last the beginning alone.
    fn fetched_until(&self) -> usize {
        match self.segments.way.goes_on(self.range.end.saturating_sub(1)) {
            true => self.range.end + 1,
            false => self.range.end,
        }
    }
}

impl Shared<'_> {
    /// A worker that panicked has left nothing half-done behind this lock.
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on until all is done; the first failure ends all.
    fn work(&self, one: impl Fn(&Self) -> Result<bool>) {
        loop {
            match one(self) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    let mut progress = self.lock();
                    progress.failure.get_or_insert(error);
                    progress.over = true;
                    self.changed.notify_all();
                    return;
                }
            }
        }
    }

    /// Waits until `ready` gives something; None once all is over.
    fn wait<T>(&self, ready: impl Fn(&mut Progress) -> Option<T>) -> Result<Option<T>> {
        let mut progress = self.lock();
        loop {
            if progress.over {
                return Ok(None);
            }
            if let Some(found) = ready(&mut progress) {
                return Ok(Some(found));
            }
            self.pipeline.segments.cancel.check()?;
            let waited = self.changed.wait_timeout(progress, TICK);
            progress = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn fetch(&self) -> Result<bool> {
        let until = self.pipeline.fetched_until();
        let place = self.wait(|progress| {
            let place = progress.to_fetch;
            let is_next = place < until && place < progress.handed + self.depth;
            is_next.then(|| {
                progress.to_fetch += 1;
                place
            })
        })?;
        let Some(place) = place else {
            return Ok(false);
        };
        let fetched = self.pipeline.segments.fetch(place)?;
        self.lock().fetched.insert(place, fetched);
        self.changed.notify_all();
        Ok(true)
    }

    fn read(&self) -> Result<bool> {
        let until = self.pipeline.fetched_until();
        let chosen = self.wait(|progress| {
            let place = progress.to_read;
            let has = |place| progress.fetched.contains_key(&place);
            let has_next = place + 1 >= until || has(place + 1);
            let is_ready = place < self.pipeline.range.end && has(place) && has_next;
            is_ready.then(|| {
                let trouble = progress
                    .fetched
                    .get(&place)
                    .and_then(|one| one.clone().err());
                let has_next = progress.fetched.get(&(place + 1)) == Some(&Ok(()));
                progress.to_read += 1;
                (place, trouble, has_next)
            })
        })?;
        let Some((place, trouble, has_next)) = chosen else {
            return Ok(false);
        };
        let read = match trouble {
            Some(trouble) => Read::nothing(trouble),
            None => self.pipeline.segments.read(place, has_next)?,
        };
        self.lock().read.insert(place, read);
        self.changed.notify_all();
        Ok(true)
    }

    fn hand_over(&self, place: usize) -> Result<Read> {
        let read = self.wait(|progress| progress.read.remove(&place))?;
        let Some(read) = read else {
            let failure = self.lock().failure.take();
            return Err(
                failure.unwrap_or_else(|| Error::failed("reading WAL came to a sudden end"))
            );
        };
        // Neither it nor the one before is read any more.
        self.pipeline.segments.remove(place);
        let mut progress = self.lock();
        progress.fetched.remove(&place);
        progress.handed = place + 1;
        self.changed.notify_all();
        Ok(read)
    }
}

//! Reads several segments at once, and hands over in order what each of them holds.
//!
//! So many segments at most are read, or wait to be handed over: it bounds memory.

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

/// Threads that read, however few processors there are: who waits for a store lets another one work.
const READERS: usize = 2;

/// Segments that may be ahead of the one that is handed over, beside one for each thread.
const AHEAD: usize = 4;

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
    to_read: usize,
    /// All before it were handed over.
    handed: usize,
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
        let size = self.segments.system.segment_size.bytes();
        let workers = self.workers.max(READERS);
        let shared = Shared {
            pipeline: self,
            progress: Mutex::new(Progress {
                to_read: self.range.start,
                handed: self.range.start,
                read: BTreeMap::new(),
                failure: None,
                over: false,
            }),
            changed: Condvar::new(),
            depth: workers + AHEAD,
        };
        self.meter
            .begin("reading WAL", self.range.len() as u64 * size);
        thread::scope(|scope| {
            for _ in 0..workers.min(self.range.len()) {
                scope.spawn(|| shared.work());
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
}

impl Shared<'_> {
    /// A worker that panicked has left nothing half-done behind this lock.
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on until all is done; the first failure ends all.
    fn work(&self) {
        loop {
            match self.read() {
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

    /// Reads the next one; false: all of them were taken.
    fn read(&self) -> Result<bool> {
        let end = self.pipeline.range.end;
        let place = self.wait(|progress| {
            let place = progress.to_read;
            if place >= end {
                return Some(None);
            }
            (place < progress.handed + self.depth).then(|| {
                progress.to_read += 1;
                Some(place)
            })
        })?;
        let Some(place) = place.flatten() else {
            return Ok(false);
        };
        let read = self.pipeline.segments.read(place)?;
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
        self.lock().handed = place + 1;
        self.changed.notify_all();
        Ok(read)
    }
}

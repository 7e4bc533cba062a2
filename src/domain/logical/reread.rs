//! Reads what is stored once more before it counts: on a thread behind the writer where the store can, so that
//! little is left to read in the end; else when it is whole.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    error::{Error, Result},
    repo::{
        dump::StoredDump,
        layout::ObjectName,
        storage::{Storage, Trail},
    },
    util::{
        cancel::Cancel,
        hash::{Sha256, Sha256Writer},
        meter::{Meter, Watched},
    },
};

/// How far the reader lets the writer go on: each time it follows, the disk is synced.
const BEHIND: u64 = 16 << 20;

/// Between two looks at how far the writer is.
const PAUSE: Duration = Duration::from_millis(100);

/// Hash and length of what was read.
type Found = (Sha256, u64);

/// A reader behind a writer. It stops when this is dropped.
pub struct Follower {
    /// Set when nothing more comes.
    whole: Arc<AtomicBool>,
    stop: Cancel,
    reader: Option<JoinHandle<Result<Found>>>,
}

impl Follower {
    pub fn start(trail: Box<dyn Trail>, cancel: &Cancel) -> Self {
        let (whole, stop) = (Arc::default(), cancel.part());
        let (is_whole, stops) = (Arc::clone(&whole), stop.clone());
        let reader = thread::spawn(move || follow(trail, &is_whole, &stops));
        Self {
            whole,
            stop,
            reader: Some(reader),
        }
    }

    /// For the writer, which need not go on for hours when this fails.
    pub fn check(&mut self) -> Result<()> {
        match &self.reader {
            Some(reader) if reader.is_finished() => self.join().map(drop),
            _ => Ok(()),
        }
    }

    /// What all of it is; the object is whole.
    pub fn finish(mut self) -> Result<Found> {
        self.whole.store(true, Ordering::Release);
        self.join()
    }

    fn join(&mut self) -> Result<Found> {
        let ended = || Error::failed("the thread that reads again ended early");
        let reader = self.reader.take().ok_or_else(ended)?;
        reader.thread().unpark();
        reader.join().map_err(|_| ended())?
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.set();
    }
}

fn follow(mut trail: Box<dyn Trail>, whole: &AtomicBool, stop: &Cancel) -> Result<Found> {
    let sum = Sha256Writer::new(io::sink());
    let mut sum = Stoppable { inner: sum, stop };
    loop {
        stop.check()?;
        let is_whole = whole.load(Ordering::Acquire);
        trail.follow(if is_whole { 0 } else { BEHIND }, &mut sum)?;
        if is_whole {
            let length = sum.inner.length();
            return Ok((sum.inner.finish().1, length));
        }
        thread::park_timeout(PAUSE);
    }
}

/// Takes what is written until a stop is asked for.
struct Stoppable<'a, W> {
    inner: W,
    stop: &'a Cancel,
}

impl<W: Write> Write for Stoppable<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stop.check()?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Reads an object that is whole.
pub fn read(
    storage: &dyn Storage,
    object: &ObjectName,
    meter: &Meter,
    cancel: &Cancel,
) -> Result<Found> {
    let found = Sha256::of_reader(Watched {
        inner: storage.get(object, None)?,
        meter,
        cancel,
    });
    found.map_err(|error| Error::passed(error, |error| storage.failed("read", object, error)))
}

/// An error of kind `Damaged` unless what was read is what was written. `place`: for messages.
pub fn compare((sha256, length): Found, data: &StoredDump, place: &str) -> Result<()> {
    if (sha256, length) == (data.sha256, data.stored_bytes) {
        return Ok(());
    }
    Err(Error::damaged(format!(
        "{place} is not what was written: {length} bytes with SHA-256 {sha256} instead of {} with {}",
        data.stored_bytes, data.sha256
    ))
    .hint(
        "the disk or the memory of this host fails: look at the kernel's log, and dump to another disk.",
    ))
}

//! How far long work has come: counters that workers add to and `cli/progress` draws.

use std::{
    io::{self, Read},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::cancel::Cancel;

/// Bytes done of bytes expected, and the name of the present phase.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    phase: Mutex<String>,
    done: AtomicU64,
    total: AtomicU64,
}

impl Meter {
    /// Begins a phase such as "copying": `total` bytes, 0 when unknown.
    pub fn begin(&self, phase: &str, total: u64) {
        *self.0.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase.to_owned();
        self.0.done.store(0, Ordering::Relaxed);
        self.0.total.store(total, Ordering::Relaxed);
    }

    pub fn add(&self, bytes: u64) {
        self.0.done.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn phase(&self) -> String {
        self.0
            .phase
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Bytes done, bytes expected (0: unknown).
    pub fn read(&self) -> (u64, u64) {
        (
            self.0.done.load(Ordering::Relaxed),
            self.0.total.load(Ordering::Relaxed),
        )
    }
}

/// Counts what is read, and stops where that is asked for.
pub struct Watched<'a, R> {
    pub inner: R,
    pub meter: &'a Meter,
    pub cancel: &'a Cancel,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.cancel.check()?;
        let count = self.inner.read(buffer)?;
        self.meter.add(count as u64);
        Ok(count)
    }
}

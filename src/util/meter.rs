//! How far long work has come: counters that workers add to and `cli/progress` draws.

use std::{
    io::{self, Read},
    sync::{
        Arc, Mutex, PoisonError, Weak,
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
    parts: Mutex<Vec<Weak<Counters>>>,
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

    /// One for work that goes on beside other work: while it lives its phase is told.
    pub fn part(&self) -> Self {
        let part = Self::default();
        let mut parts = self.0.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.push(Arc::downgrade(&part.0));
        part
    }

    pub fn phase(&self) -> String {
        let own = |counters: &Counters| {
            let phase = counters.phase.lock();
            phase.unwrap_or_else(PoisonError::into_inner).clone()
        };
        let parts = self.0.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let parts: Vec<String> = parts
            .iter()
            .filter_map(|part| part.upgrade().map(|part| own(&part)))
            .collect();
        match parts.is_empty() {
            true => own(&self.0),
            false => parts.join(" and "),
        }
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

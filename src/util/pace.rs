//! No more bytes a second than were asked for, whoever reads them.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::cancel::Cancel;
use crate::error::Result;

/// How long a pause may be before a stop is looked for.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub struct Pace {
    /// Bytes a second.
    rate: Option<f64>,
    begun: Instant,
    read: AtomicU64,
    cancel: Cancel,
}

impl Pace {
    /// Begins now; `rate` in bytes a second, without one nobody waits.
    pub fn new(rate: Option<u64>, cancel: &Cancel) -> Self {
        Self {
            rate: rate.map(|rate| rate as f64),
            begun: Instant::now(),
            read: AtomicU64::new(0),
            cancel: cancel.clone(),
        }
    }

    /// Waits until so many bytes more may be read; an error once a stop was asked for.
    pub fn wait(&self, bytes: u64) -> Result<()> {
        self.cancel.check()?;
        let Some(rate) = self.rate else {
            return Ok(());
        };
        let before = self.read.fetch_add(bytes, Ordering::Relaxed);
        let due = Duration::from_secs_f64(before as f64 / rate);
        while let Some(early) = due.checked_sub(self.begun.elapsed()) {
            self.cancel.check()?;
            thread::sleep(early.min(PAUSE));
        }
        Ok(())
    }
}

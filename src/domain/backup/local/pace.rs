//! No more bytes a second than were asked for, whoever reads them.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{error::Result, util::cancel::Cancel};

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
    /// Begins now; without a rate nobody waits.
    pub fn new(max_rate_kb: Option<u32>, cancel: &Cancel) -> Self {
        Self {
            rate: max_rate_kb.map(|rate| f64::from(rate) * 1024.0),
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

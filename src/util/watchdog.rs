//! A time limit for a process that may hang in a system call, as on a dead NFS server: the thread
//! that hangs can't tell, so another one does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use crate::error::{Error, Result};

/// Calls its action at the time limit, unless it was dropped before.
#[derive(Debug)]
pub struct Watchdog {
    called_off: Arc<AtomicBool>,
    thread: Thread,
}

impl Watchdog {
    /// `expired` runs on a thread of its own; it will say what hangs, and exit the process.
    pub fn start(limit: Duration, expired: impl FnOnce() + Send + 'static) -> Result<Self> {
        let begin = Instant::now();
        let called_off = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&called_off);
        let watch = move || {
            // Parking may end early for no reason.
            loop {
                if seen.load(Ordering::Acquire) {
                    return;
                }
                match limit.checked_sub(begin.elapsed()) {
                    Some(left) if !left.is_zero() => thread::park_timeout(left),
                    _ => return expired(),
                }
            }
        };
        let thread = thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(watch)
            .map_err(|error| Error::failed("can't start a thread").because(error))?;
        Ok(Self {
            called_off,
            thread: thread.thread().clone(),
        })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.called_off.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc::{RecvTimeoutError, channel};

    use super::*;

    #[test]
    fn barks_at_the_limit_and_only_then() {
        let (send, receive) = channel();
        let begin = Instant::now();
        let limit = Duration::from_millis(50);
        let watchdog = Watchdog::start(limit, move || send.send(begin.elapsed()).unwrap()).unwrap();
        assert!(receive.recv().unwrap() >= limit);
        drop(watchdog);
    }

    #[test]
    fn is_silent_once_it_was_dropped() {
        let (send, receive) = channel::<()>();
        let limit = Duration::from_secs(3600);
        drop(Watchdog::start(limit, move || send.send(()).unwrap()).unwrap());
        // The thread ends, and the sender with it, long before the limit.
        let ended = receive.recv_timeout(Duration::from_secs(60));
        assert_eq!(ended, Err(RecvTimeoutError::Disconnected));
    }
}

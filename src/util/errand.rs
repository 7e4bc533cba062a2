//! Work that may hang in a system call, as on a dead NFS server: it goes to a thread of its own,
//! which is left behind at the time limit. It ends with the process.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use super::cancel::Cancel;
use crate::error::{Error, Kind, Result};

/// How soon a stop that was asked for is seen.
const TICK: Duration = Duration::from_millis(100);

/// What will bring a `T`.
#[derive(Debug)]
pub struct Errand<T> {
    what: String,
    begun: Instant,
    answer: Receiver<Result<T>>,
}

impl<T: Send + 'static> Errand<T> {
    /// `what`: for the error of one that doesn't come back, such as "looking at /mnt".
    pub fn send(
        what: impl Into<String>,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Self {
        let (send, answer) = channel();
        let work = move || {
            // Nobody may wait for it any more.
            let _ = send.send(work());
        };
        // Without a thread the sender is gone, which `wait` reports.
        let _ = thread::Builder::new().name("errand".to_owned()).spawn(work);
        Self {
            what: what.into(),
            begun: Instant::now(),
            answer,
        }
    }

    /// An error of kind `TimedOut` if nothing came until then.
    pub fn wait(self, until: Instant, cancel: &Cancel) -> Result<T> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.answer.recv_timeout(left.min(TICK)) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Disconnected) => {
                    let what = format!("{} came to a sudden end", self.what);
                    return Err(Error::failed(what));
                }
                Err(RecvTimeoutError::Timeout) if left.is_zero() => {
                    let after = super::units::duration(self.begun.elapsed());
                    return Err(Error::new(
                        Kind::TimedOut,
                        format!("{}: no answer after {after}", self.what),
                    )
                    .hint("see whether the host or the file system behind it answers."));
                }
                Err(RecvTimeoutError::Timeout) => cancel.check()?,
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_left_behind_and_what_answers_is_heard() {
        let soon = || Instant::now() + Duration::from_millis(30);
        let never = Cancel::default();
        let good = Errand::send("a", || Ok(7));
        let late = Instant::now() + Duration::from_secs(60);
        assert_eq!(good.wait(late, &never).unwrap(), 7);
        let hangs = Errand::send("looking", || -> Result<()> {
            loop {
                thread::park();
            }
        });
        let error = hangs.wait(soon(), &never).unwrap_err();
        assert_eq!(error.kind(), Kind::TimedOut);
        assert!(error.message().starts_with("looking: no answer"), "{error}");
        let panics = Errand::send("b", || -> Result<()> {
            std::panic::panic_any("on purpose")
        });
        assert_eq!(
            panics.wait(late, &never).unwrap_err().message(),
            "b came to a sudden end"
        );
        let asked = Cancel::default();
        asked.set();
        let parked = Errand::send("c", || -> Result<()> {
            loop {
                thread::park();
            }
        });
        assert_eq!(
            parked.wait(late, &asked).unwrap_err().kind(),
            Kind::Interrupted
        );
    }
}

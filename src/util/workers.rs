//! The same work on several threads.

use std::thread;

use crate::error::{Error, Kind, Result};

/// Has `count` threads, at least one, do `work`, and waits for all; what each brought. An error if one
/// failed: the first that is no interruption, since the others only stop because of it.
pub fn run<T: Send>(count: usize, work: impl Fn() -> Result<T> + Sync) -> Result<Vec<T>> {
    let panicked = |_| Err(Error::failed("a worker came to a sudden end"));
    let results: Vec<Result<T>> = thread::scope(|scope| {
        let running: Vec<_> = (0..count.max(1)).map(|_| scope.spawn(&work)).collect();
        let ended = running.into_iter().map(|worker| worker.join());
        ended
            .map(|result| result.unwrap_or_else(panicked))
            .collect()
    });
    let mut brought = Vec::with_capacity(results.len());
    let mut failure: Option<Error> = None;
    for result in results {
        match (result, &failure) {
            (Ok(one), _) => brought.push(one),
            (Err(error), None) => failure = Some(error),
            (Err(error), Some(first)) if first.kind() == Kind::Interrupted => {
                failure = Some(error);
            }
            (Err(_), Some(_)) => {}
        }
    }
    failure.map_or(Ok(brought), Err)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn the_cause_is_told_and_not_its_consequence() {
        let next = AtomicUsize::new(0);
        let turn = || next.fetch_add(1, Ordering::Relaxed);
        let mut all = run(3, || Ok(turn())).unwrap();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2]);
        assert_eq!(run(0, || Ok(())).unwrap().len(), 1);
        let failed = run(4, || -> Result<()> {
            match turn() {
                5 => Err(Error::damaged("the cause")),
                _ => Err(Error::new(Kind::Interrupted, "interrupted")),
            }
        });
        assert_eq!(failed.unwrap_err().message(), "the cause");
    }
}

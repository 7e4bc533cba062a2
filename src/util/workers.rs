//! The same work on several threads.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::sync_channel,
    },
    thread,
};

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

/// Has `count` threads do `work` with each thing that `list` hands out, of which few wait for their turn. Once one
/// has failed nothing more is done, and `list` is told so by an error.
pub fn fed<T: Send>(
    count: usize,
    list: impl FnOnce(&mut dyn FnMut(T) -> Result<()>) -> Result<()> + Send,
    work: impl Fn(T) -> Result<()> + Sync,
) -> Result<()> {
    let failed = AtomicBool::new(false);
    let has_failed = || failed.load(Ordering::Relaxed);
    thread::scope(|scope| {
        let (send, receive) = sync_channel(2 * count.max(1));
        let receive = Mutex::new(receive);
        // Moved in, so that the channel ends with the list.
        let listing = scope.spawn(move || {
            list(
                &mut |thing| match has_failed() || send.send(thing).is_err() {
                    true => Err(Error::new(Kind::Interrupted, "a worker failed")),
                    false => Ok(()),
                },
            )
        });
        let worked = run(count, || {
            let mut failure = None;
            loop {
                // Bound by itself, so that the lock is free while there is work.
                let next = receive
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .recv();
                let Ok(thing) = next else {
                    return failure.map_or(Ok(()), Err);
                };
                // To its end all the same: who lists may wait for room.
                if !has_failed()
                    && let Err(error) = work(thing)
                {
                    failed.store(true, Ordering::Relaxed);
                    failure = Some(error);
                }
            }
        });
        // Else who lists would wait for room for ever, if workers came to a sudden end.
        drop(receive);
        let listed = listing.join();
        worked?;
        listed.unwrap_or_else(|_| Err(Error::failed("a listing came to a sudden end")))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::AtomicUsize;

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

    #[test]
    fn all_that_is_listed_is_done_until_something_fails() {
        let sum = AtomicUsize::new(0);
        let add = |number| {
            sum.fetch_add(number, Ordering::Relaxed);
            Ok(())
        };
        fed(3, |each| (1..=100).try_for_each(each), add).unwrap();
        assert_eq!(sum.into_inner(), 5050);
        let done = AtomicUsize::new(0);
        let fails = |number| match done.fetch_add(1, Ordering::Relaxed) {
            _ if number == 7 => Err(Error::damaged("the seventh")),
            _ => Ok(()),
        };
        let error = fed(2, |each| (1..1_000_000).try_for_each(each), fails).unwrap_err();
        assert_eq!(error.message(), "the seventh");
        assert!(done.into_inner() < 100);
        let listing = |_: &mut dyn FnMut(u8) -> Result<()>| Err(Error::failed("no list"));
        assert_eq!(
            fed(2, listing, |_| Ok(())).unwrap_err().message(),
            "no list"
        );
    }
}

//! The lease of who copies, held while work goes on: renewed in the background, since one object may take longer than
//! it holds. Who loses it stops.

use std::{
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use crate::{
    error::{Error, Result},
    repo::{lease, repository::Repository},
    util::cancel::Cancel,
};

/// How often it is looked after; it is renewed when half of its ten minutes are over.
const LOOK: Duration = Duration::from_secs(60);

/// Does `work`, which stops when the given flag is set, while nobody else copies into the repository.
pub fn while_held<T>(
    repository: &Repository,
    cancel: &Cancel,
    work: impl FnOnce(&Cancel) -> Result<T>,
) -> Result<T> {
    let mut lease = repository.take_lease(lease::SYNC)?;
    let part = cancel.part();
    let (stop, stopped) = channel::<()>();
    let (done, held) = thread::scope(|scope| {
        let (lease, flag) = (&mut lease, part.clone());
        let keeper = scope.spawn(move || -> Result<()> {
            while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = lease.look_again() {
                    flag.set();
                    return Err(error);
                }
            }
            Ok(())
        });
        let done = work(&part);
        drop(stop);
        (done, keeper.join())
    });
    // Why it was lost is the cause of how the work ended.
    held.unwrap_or_else(|_| Err(Error::failed("the lease's keeper came to a sudden end")))?;
    let released = lease.release();
    let done = done?;
    released?;
    Ok(done)
}

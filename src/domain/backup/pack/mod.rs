//! Files to parts: tar, compress, hash and store, in one pass.
//!
//! The caller hands over members in one row: with their bytes, or as loads, which workers read
//! themselves. They are laid into tar archives (parts), cut into frames; workers fill and
//! compress frames, one writer puts them in order, hashes and stores them, and one finisher
//! makes whole parts durable and re-reads them, so that nobody waits for the disk's sync. All
//! queues are bounded: memory is `2 * workers + 3` frames, plain and compressed, whatever the
//! size of the database.
//!
//! A crash leaves parts of an id that has no `backup.json`: remains, which the next run clears.

mod load;
mod packer;
mod stages;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, Mutex, mpsc::sync_channel},
    thread,
};

use crate::{
    error::{Error, Result},
    postgres::file_checksum::Algorithm,
    repo::backup::{Part, StoredObject},
};
pub use load::{Ended, Filling, Laid, Load, Piece};
pub use packer::{FRAME, Packer};
pub use stages::Destination;
use stages::{Pool, finish, stopped, work, write};

/// What was stored.
#[derive(Debug)]
pub struct Packed {
    pub parts: Vec<Part>,
    pub index: StoredObject,
}

/// Runs `fill`, which hands all members to the packer, and stores them. `each` gets the members
/// in the order of the index, on a thread of its own, with checksums of kind `checksums`. `check`
/// judges the result by the stored index, while the last parts are still being made durable and
/// re-read.
///
/// When anything fails, what was stored already belongs to no backup.
pub fn pack<T>(
    to: Destination<'_>,
    checksums: Algorithm,
    each: &mut (dyn FnMut(&Ended) -> Result<()> + Send),
    fill: impl FnOnce(&mut Packer<'_>) -> Result<T>,
    check: impl FnOnce(&T) -> Result<()>,
) -> Result<(Packed, T)> {
    let workers = to.workers.max(1);
    let pool = Pool::default();
    let (jobs, queue) = sync_channel(workers);
    let (order, ordered) = sync_channel(workers + 2);
    let (written, parts) = sync_channel(1);
    thread::scope(|scope| {
        let pool = &pool;
        // Shared by the workers alone: when the last of them ends, so does the queue.
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..workers {
            let queue = Arc::clone(&queue);
            scope.spawn(move || work(to.compression, &queue, pool));
        }
        drop(queue);
        let writer = scope.spawn(move || write(to, &ordered, &written, pool, each));
        let finisher = scope.spawn(move || finish(to, &parts));
        let mut packer = Packer::new(to.part_size, checksums, jobs, order, pool);
        let filled = fill(&mut packer).and_then(|value| packer.finish().map(|()| value));
        let index = joined(writer);
        let checked = match (&index, &filled) {
            (Ok(Some(_)), Ok(value)) => check(value),
            _ => Ok(()),
        };
        // Who fails drops its queue, and the one before it fails for that reason alone: the
        // cause is the error nearest to the store.
        let parts = joined(finisher)?;
        let index = index?;
        let value = filled?;
        checked?;
        let index = index.ok_or_else(stopped)?;
        Ok((Packed { parts, index }, value))
    })
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread
        .join()
        .unwrap_or_else(|_| Err(Error::failed("a thread of the backup panicked")))
}

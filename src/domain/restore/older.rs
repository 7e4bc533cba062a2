//! Unpacks what an incremental backup builds on.
//!
//! The full backup comes first, then the blocks of each incremental one on top, oldest first:
//! every part is read once and in its order, nothing is kept elsewhere meanwhile, and of older backups
//! only what the newest one is made of. Their indexes pass by and are never held. What a crash leaves
//! is what any unpacking leaves: a folder without pg_control, which comes from the newest backup as
//! its last file.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError, mpsc::sync_channel},
    thread,
};

use super::{
    chain::Chain,
    index::{self, Found, Member},
    jobs::{Cutter, Job},
    unpack::{Unpack, Work},
};
use crate::{
    error::{Error, Result},
    repo::backup::Backup,
};

/// Has `unpack`, which is that of the newest backup, write what that builds on. How many bytes
/// were written.
pub fn unpack(chain: &Chain, unpack: &Unpack<'_>) -> Result<u64> {
    let mut written = 0;
    for (number, backup) in chain.older.iter().enumerate().rev() {
        let what = format!("unpacking backup {}", backup.id);
        unpack.meter.begin(&what, 0);
        // Read ahead by as much as the workers do meanwhile.
        let (sender, receiver) = sync_channel(unpack.workers);
        written += thread::scope(|scope| {
            let reader = scope.spawn(move || {
                work(chain, unpack, number as u16, backup, |work| {
                    let stopped = |_| Error::failed("unpacking was stopped");
                    sender.send(work).map_err(stopped)
                })
            });
            let receiver = Mutex::new(receiver);
            let next = || {
                let receiver = receiver.lock().unwrap_or_else(PoisonError::into_inner);
                receiver.recv().ok()
            };
            let written = unpack.work(backup, next);
            // The reader must not wait for those who take no more.
            drop(receiver);
            let read = reader.join();
            let panicked = |_| Err(Error::failed("reading an index panicked"));
            let written = written?;
            read.unwrap_or_else(panicked).map(|()| written)
        })?;
    }
    Ok(written)
}

/// What there is to do of the older backup `number`, in the order of its parts.
fn work(
    chain: &Chain,
    unpack: &Unpack<'_>,
    number: u16,
    backup: &Backup,
    mut send: impl FnMut(Work<'static>) -> Result<()>,
) -> Result<()> {
    let mut cutter = Cutter::default();
    let mut seen = Seen::default();
    let newest = &unpack.contents.members;
    index::read(unpack.indexes, backup, |mut member, _| {
        let wanted = chain.wanted(newest, number, &member);
        let found = wanted.map_or(Found::Same, |wanted| unpack.found[wanted]);
        if let Some(wanted) = wanted {
            // The newest one has nothing to write where no block has changed since.
            (member.mode, member.mtime) = (newest[wanted].mode, newest[wanted].mtime);
        }
        cutter.push(&member, found != Found::Same);
        seen.members.push_back((member, found));
        while let Some(job) = cutter.next() {
            send(seen.take(job))?;
        }
        seen.forget(cutter.first());
        Ok(())
    })?;
    cutter.finish().try_for_each(|job| send(seen.take(job)))
}

/// Members that jobs to come may hold.
#[derive(Default)]
struct Seen {
    members: VecDeque<(Member, Found)>,
    /// The number of the first of them.
    first: usize,
}

impl Seen {
    fn take(&mut self, job: Job) -> Work<'static> {
        self.forget(job.members.start);
        let count = job.members.len();
        self.first += count;
        let (members, found): (Vec<Member>, Vec<Found>) = self.members.drain(..count).unzip();
        Work {
            job,
            members: members.into(),
            found,
        }
    }

    fn forget(&mut self, before: usize) {
        let count = before.saturating_sub(self.first);
        self.members.drain(..count);
        self.first += count;
    }
}

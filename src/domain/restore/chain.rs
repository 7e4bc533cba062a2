//! An incremental backup's files, put together with those of the backups that it builds on.
//!
//! The full backup comes first, then the blocks of each incremental one on top, oldest first:
//! every part is read once and in its order, nothing is kept elsewhere meanwhile, and of older backups
//! only what the newest one is made of. Their indexes are read twice, to know what is needed and to
//! unpack it, and never held. What a crash leaves is what any unpacking leaves: a folder
//! without pg_control, which comes from the newest backup as its last file.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError, mpsc::sync_channel},
    thread,
};

use super::{
    contents::{self, ByPath, Found, Member},
    jobs::{Cutter, Job},
    unpack::{Unpack, Work},
};
use crate::{
    error::{Error, Result},
    postgres::incremental::STUB,
    repo::{backup_id::BackupId, catalog::Backup, file_index::FileEntry, repository::Repository},
};

/// The backups that one builds on.
#[derive(Debug)]
pub struct Chain {
    /// Newest first; the last one is a full one.
    older: Vec<Backup>,
    /// By the numbers of the newest backup's members.
    built: Vec<Built>,
    by_path: ByPath,
}

/// How a file is put together.
#[derive(Clone, Copy, Debug)]
pub struct Built {
    /// Bytes in the end; where no index tells, those of the file that blocks are put on.
    pub size: u64,
    /// In the end; None where blocks are put on top of a file.
    pub crc32c: Option<u32>,
    /// The backup that has it whole, as a place in `older`.
    whole: Option<u16>,
}

impl Built {
    /// Of an entry of the newest backup, as long as no older one was looked into.
    pub fn of(entry: &FileEntry) -> Self {
        let size = entry.facts.map(|facts| facts.size);
        Self {
            size: size.unwrap_or_default(),
            // Only where the length is known a stub can be told from a file that was cut.
            crc32c: (entry.size == STUB && size.is_some()).then_some(0),
            whole: None,
        }
    }

    /// `member` is that of an older backup.
    fn look_at(&mut self, member: &Member, number: u16) {
        if member.blocks {
            self.crc32c = self.crc32c.filter(|_| member.size == STUB);
        } else {
            self.whole = Some(number);
            let same_length = self.size == member.size;
            self.crc32c = self.crc32c.and(same_length.then_some(member.crc32c));
            if self.size == 0 {
                self.size = member.size;
            }
        }
    }
}

impl Chain {
    /// Finds out what `newest` is made of, which builds on `parent` and has these members. An error
    /// if anything that it needs is not there.
    pub fn load(
        repository: &Repository,
        newest: &Backup,
        mut parent: BackupId,
        members: &[Member],
        built: Vec<Built>,
    ) -> Result<Self> {
        let mut chain = Self {
            older: Vec::new(),
            built,
            by_path: ByPath::of(members),
        };
        let mut lacking = members.iter().filter(|member| member.blocks).count();
        loop {
            let backup = repository.backup(parent)?;
            let ring = chain.older.iter().any(|known| known.id == backup.id);
            let number = u16::try_from(chain.older.len()).ok();
            let alike =
                (backup.system_id, backup.block_size) == (newest.system_id, newest.block_size);
            let Some(number) = number.filter(|_| alike && !ring) else {
                return Err(Error::damaged(format!(
                    "backup {} can't build on backup {}",
                    newest.id, backup.id
                )));
            };
            let wanted = lacking;
            let mut seen = 0;
            contents::read(repository, &backup, |member, _| {
                if let Some(known) = chain.by_path.find(members, &member.path.0)
                    && members[known].blocks
                    && chain.built[known].whole.is_none()
                    && !member.folder
                {
                    seen += 1;
                    lacking -= usize::from(!member.blocks);
                    chain.built[known].look_at(&member, number);
                }
                Ok(())
            })?;
            if seen != wanted {
                return Err(Error::damaged(format!(
                    "backup {} lacks {} files that backup {} builds on",
                    backup.id,
                    wanted - seen,
                    newest.id
                )));
            }
            let next = backup.parent;
            chain.older.push(backup);
            match next {
                _ if lacking == 0 => return Ok(chain),
                Some(next) => parent = next,
                None => {
                    return Err(Error::damaged(format!(
                        "{lacking} files of backup {} are whole in none of the backups that it builds on",
                        newest.id
                    )));
                }
            }
        }
    }

    /// How the file of the newest backup's member `number` is put together.
    pub fn built(&self, number: usize) -> &Built {
        &self.built[number]
    }

    /// The number of the newest backup's member at `path`.
    pub fn find(&self, members: &[Member], path: &[u8]) -> Option<usize> {
        self.by_path.find(members, path)
    }

    /// Unpacks what the newest backup's files are built on; `unpack` is that of the newest one, and
    /// has the rest to do. How many bytes were written.
    pub fn unpack(&self, unpack: &Unpack<'_>) -> Result<u64> {
        let mut written = 0;
        for (number, backup) in self.older.iter().enumerate().rev() {
            let what = format!("unpacking backup {}", backup.id);
            unpack.meter.begin(&what, 0);
            // Read ahead by as much as the workers do meanwhile.
            let (sender, receiver) = sync_channel(unpack.workers);
            written += thread::scope(|scope| {
                let reader = scope.spawn(move || {
                    self.work(unpack, number as u16, backup, |work| {
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
        &self,
        unpack: &Unpack<'_>,
        number: u16,
        backup: &Backup,
        mut send: impl FnMut(Work<'static>) -> Result<()>,
    ) -> Result<()> {
        let members = &unpack.contents.members;
        let mut cutter = Cutter::default();
        let mut seen = Seen::default();
        contents::read(unpack.repository, backup, |member, _| {
            let wanted = self.find(members, &member.path.0).filter(|known| {
                let whole = self.built[*known].whole;
                let is_needed = match member.blocks {
                    false => whole == Some(number),
                    // On top of what an older one has.
                    true => whole > Some(number),
                };
                members[*known].blocks && !member.folder && is_needed
            });
            let found = wanted.map_or(Found::Same, |known| unpack.found[known]);
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
            found: found.into(),
        }
    }

    fn forget(&mut self, before: usize) {
        let count = before.saturating_sub(self.first);
        self.members.drain(..count);
        self.first += count;
    }
}

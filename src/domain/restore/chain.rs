//! Which of the backups that an incremental one builds on have what of its files.

use super::index::{self, ByPath, Member};
use crate::{
    error::{Error, Result},
    postgres::incremental::STUB,
    repo::{backup::Backup, backup_id::BackupId, file_index::FileEntry, repository::Repository},
};

/// The backups that one builds on.
#[derive(Debug)]
pub struct Chain {
    /// Newest first; the last one is a full one.
    pub older: Vec<Backup>,
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
            index::read(repository, &backup, |member, _| {
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

    /// The newest backup's member for which `member` of the older backup `number` is unpacked.
    pub fn wanted(&self, members: &[Member], number: u16, member: &Member) -> Option<usize> {
        let known = self.find(members, &member.path.0)?;
        let whole = self.built[known].whole;
        let is_needed = match member.blocks {
            false => whole == Some(number),
            // On top of what an older one has; one without blocks adds nothing: what lies beyond the
            // end of a file that was cut is in the next one that has it again (rule of PostgreSQL's
            // pg_combinebackup, reconstruct.c, which asks the newest alone for the length).
            true => whole > Some(number) && member.size != STUB,
        };
        (members[known].blocks && !member.folder && is_needed).then_some(known)
    }
}

//! All that a backup's parts hold; of an incremental backup also what it builds on, which costs some
//! 20 bytes a file.

use std::{collections::BTreeMap, path::Path};

use super::{
    chain::{Built, Chain},
    index::{self, Member},
    tablespaces::Tablespace,
};
use crate::{
    error::{Error, Result},
    postgres::control,
    repo::{backup::Backup, repository::Repository},
};

/// All members, in the order in which the parts hold them.
#[derive(Debug)]
pub struct Contents {
    pub members: Vec<Member>,
    /// What the blocks of an incremental backup are put on.
    pub chain: Option<Chain>,
}

impl Contents {
    /// Reads the index of `backup`, and those of the backups that it builds on. An error if anything
    /// that a restore needs is not there.
    pub fn load(repository: &Repository, backup: &Backup) -> Result<Self> {
        let mut members = Vec::with_capacity(usize::try_from(backup.files).unwrap_or_default());
        let mut built = Vec::new();
        index::read(repository, backup, |member, entry| {
            if backup.parent.is_some() {
                built.push(Built::of(entry));
            }
            members.push(member);
            Ok(())
        })?;
        let ordered = members
            .windows(2)
            .all(|pair| place(&pair[0]) <= place(&pair[1]));
        if !ordered
            || members
                .last()
                .is_none_or(|last| last.path.as_path() != Path::new(control::PATH))
        {
            return Err(Error::damaged(format!(
                "the index of backup {} doesn't list the files as the parts hold them, {} last",
                backup.id,
                control::PATH
            )));
        }
        let chain = match backup.parent {
            Some(parent) => Some(Chain::load(repository, backup, parent, &members, built)?),
            None => None,
        };
        Ok(Self { members, chain })
    }

    /// Bytes of a member's file once it is restored; an estimate where nobody knows before that.
    pub fn size(&self, number: usize) -> u64 {
        match self.built(number) {
            Some(built) => built.size,
            None => self.members[number].size,
        }
    }

    /// Bytes of the files that count, by tablespace; None is the data directory.
    pub fn by_place(
        &self,
        tablespaces: &[Tablespace],
        counts: impl Fn(&Member) -> bool,
    ) -> BTreeMap<Option<u32>, u64> {
        let mut bytes = BTreeMap::new();
        let members = self.members.iter().enumerate();
        for (number, member) in members.filter(|(_, member)| !member.folder && counts(member)) {
            let place = tablespaces.iter().find(|space| {
                let folder = format!("pg_tblspc/{}", space.oid);
                member.path.as_path().starts_with(folder)
            });
            *bytes.entry(place.map(|space| space.oid)).or_default() += self.size(number);
        }
        bytes
    }

    /// The checksum of a member's file once it is restored, where the repository knows it.
    pub fn crc32c(&self, number: usize) -> Option<u32> {
        match self.built(number) {
            Some(built) => built.crc32c,
            None => Some(self.members[number].crc32c),
        }
    }

    /// Whether an older backup has all that a member's file will hold: this one adds no block and
    /// cuts nothing.
    pub fn is_older(&self, number: usize) -> bool {
        self.built(number)
            .is_some_and(|built| built.crc32c.is_some())
    }

    fn built(&self, number: usize) -> Option<&Built> {
        let chain = self
            .chain
            .as_ref()
            .filter(|_| self.members[number].blocks)?;
        Some(chain.built(number))
    }

    /// 0600, or 0640 where the cluster allows its group to read.
    pub fn file_mode(&self) -> u32 {
        0o600 | (self.folder_mode() & 0o040)
    }

    /// 0700, or 0750 where the cluster allows its group to read.
    pub fn folder_mode(&self) -> u32 {
        let is_global = |member: &&Member| member.folder && &*member.path.0 == b"global";
        match self.members.iter().find(is_global) {
            Some(global) if global.mode & 0o050 == 0o050 => 0o750,
            _ => 0o700,
        }
    }
}

fn place(member: &Member) -> (u32, u64, u32) {
    (member.part, member.frame, member.offset)
}

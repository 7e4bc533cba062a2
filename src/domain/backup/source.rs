//! Where the files of a backup come from: the server's stream, or its data directory.

use super::{
    contents::Contents,
    options::Options,
    pack::{Destination, Packed},
    parent::Parent,
};
use crate::{
    error::Result,
    postgres::{
        lsn::{Lsn, TimelineId},
        page_failures::PageFailure,
        wal_name::WalName,
    },
    repo::{
        backup::{Method, StoredObject},
        layout::BackupObject,
        object_writer::{LISTS, ObjectWriter},
    },
    util::{cancel::Cancel, meter::Meter},
};

/// Called once, as soon as it is known where the backup starts.
pub type Started<'a> = dyn FnMut(Lsn, TimelineId) -> Result<()> + 'a;

/// Called once, when the backup has ended on the server, while what is stored becomes durable.
pub type Stopped<'a> = dyn FnMut() -> Result<()> + 'a;

/// One server's files.
pub trait Source {
    fn method(&self) -> Method;

    /// Starts a backup on the server, stores all files, and ends the backup; or why the server
    /// can't make an incremental one, when nothing was started.
    fn copy(
        &mut self,
        order: &Order<'_>,
        started: &mut Started<'_>,
        stopped: &mut Stopped<'_>,
    ) -> Result<Result<Copied, String>>;

    /// The history file of a timeline that the server knows.
    fn history(&mut self, timeline: TimelineId) -> Result<Vec<u8>>;

    /// The notes of backups that lie in pg_wal; None where the role may not look.
    fn backup_notes(&self) -> Result<Option<Vec<WalName>>>;
}

/// What to copy, and where to.
pub struct Order<'a> {
    pub to: Destination<'a>,
    pub options: &'a Options,
    /// What an incremental backup builds on.
    pub parent: Option<&'a Parent>,
    pub meter: &'a Meter,
    pub cancel: &'a Cancel,
}

/// What the copy brought.
#[derive(Debug)]
pub struct Copied {
    pub packed: Packed,
    pub contents: Contents,
    pub manifest: StoredObject,
    pub stop: Stop,
}

/// How the backup ended on the server.
#[derive(Debug)]
pub struct Stop {
    pub lsn: Lsn,
    pub timeline: TimelineId,
    /// Pages with a wrong checksum were met: those that are known by name.
    pub page_failures: Vec<PageFailure>,
    /// The same, where no page is known by name.
    pub checksum_failures: bool,
}

impl<'a> Order<'a> {
    /// Begins a list of the backup.
    pub fn object(&self, object: BackupObject) -> Result<ObjectWriter<'a>> {
        let repository = self.to.repository;
        let name = repository.layout().backup_object(&self.to.id, object);
        ObjectWriter::begin(repository, name, LISTS, false)
    }
}

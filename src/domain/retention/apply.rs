//! Does what the plan says: the only file of retention that deletes. Before each batch the lease is
//! looked at again.

use std::collections::BTreeSet;

use super::{facts::Known, gather::Gathered, plan::Plan, wal::WalKeeps};
use crate::{
    error::{Error, Kind, Result},
    postgres::{
        lsn::SystemId,
        wal_name::{Segment, WalName},
    },
    repo::{
        backup_id::{BackupId, BackupKind},
        catalog::Removed,
        layout::{BackupObject, ObjectName},
        lease::Lease,
        repository::Repository,
        storage::ObjectInfo,
    },
    util::{cancel::Cancel, meter::Meter},
};

/// WAL that is deleted between two looks at the lease: seconds of work.
const BATCH: usize = 256;

/// What was deleted; of a dry run, what would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    pub backups: Removed,
    pub wal: Removed,
}

/// A backup that should have been deleted, and why it could not be.
#[derive(Debug)]
pub struct Undeleted {
    pub id: BackupId,
    pub error: Error,
}

/// What came of the plan.
#[derive(Debug)]
pub struct Applied {
    pub deleted: Deleted,
    /// Newest first.
    pub undeleted: Vec<Undeleted>,
    /// As the plan's, and what those need.
    pub wal: Vec<WalKeeps>,
}

pub struct Apply<'a> {
    pub repository: &'a Repository,
    pub gathered: &'a Gathered,
    pub plan: &'a Plan,
    pub cancel: &'a Cancel,
    pub meter: &'a Meter,
}

impl Apply<'_> {
    /// Deletes the backups that go, then the WAL. A backup that can't be deleted keeps nobody else from
    /// going, but for what it needs as long as it counts.
    pub fn run(&self, lease: &mut Lease<'_>) -> Result<Applied> {
        let mut applied = Applied {
            deleted: Deleted::default(),
            undeleted: Vec::new(),
            wal: self.plan.wal.clone(),
        };
        self.meter.begin("deleting backups", 0);
        let mut goes = self.goes();
        let mut stays: Vec<&Known> = Vec::new();
        // What builds on another has the higher id.
        for id in goes.iter().rev() {
            self.look_again(lease)?;
            self.refuse_new_children(&goes)?;
            let removed = match stays.iter().find(|child| child.parent == Some(*id)) {
                Some(child) => Err(Error::failed(format!("{} builds on it", child.id))),
                None => self.repository.remove_backup(*id),
            };
            let deleted = &mut applied.deleted.backups;
            let error = match removed {
                Ok(removed) => {
                    deleted.objects += removed.objects;
                    deleted.bytes += removed.bytes;
                    continue;
                }
                Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                Err(error) => error,
            };
            let counts = self.counts(*id);
            applied.undeleted.push(Undeleted { id: *id, error });
            match self.gathered.facts.backups.get(id) {
                _ if !counts => {}
                Some(backup) => stays.push(backup),
                // A pending one that was given up: what it builds on and which WAL it needs is not known here.
                None => return Ok(applied),
            }
        }
        goes.retain(|id| !applied.undeleted.iter().any(|one| one.id == *id));
        for keeps in &mut applied.wal {
            let system = keeps.system;
            let own = stays.iter().filter(|one| one.system == system);
            keeps.keep_for(own.copied());
        }
        self.look_again(lease)?;
        // Those of the backups above too: nobody could unpin them.
        let words = self.repository.words_on(|id| goes.contains(&id))?;
        let stale = self.gathered.stale.iter().cloned().chain(words);
        let stale: Vec<ObjectName> = stale.collect();
        self.repository.storage().delete_all(&stale)?;
        self.meter.begin("deleting WAL", 0);
        self.note_wal_from(lease, &applied.wal)?;
        for keeps in &applied.wal {
            let mut batch: Vec<ObjectName> = Vec::with_capacity(BATCH);
            applied.deleted.wal = self.each_that_goes(keeps, applied.deleted.wal, |info| {
                batch.push(info.name.clone());
                match batch.len() {
                    BATCH => self.delete(lease, &mut batch),
                    _ => Ok(()),
                }
            })?;
            self.delete(lease, &mut batch)?;
        }
        Ok(applied)
    }

    /// Whether the catalog still has it, or may have.
    fn counts(&self, id: BackupId) -> bool {
        let is_gone = |object| {
            let name = self.repository.layout().backup_object(&id, object);
            let looked = self.repository.storage().head(&name);
            looked.is_err_and(|error| error.kind() == Kind::NotFound)
        };
        ![BackupObject::Backup, BackupObject::Pending]
            .into_iter()
            .all(is_gone)
    }

    /// What would be deleted.
    pub fn count(&self) -> Result<Applied> {
        let mut deleted = Deleted::default();
        for id in self.goes() {
            let prefix = self.repository.layout().backup(&id);
            for info in self.repository.storage().list(&prefix, None)? {
                deleted.backups.add(&info?);
            }
        }
        for keeps in &self.plan.wal {
            deleted.wal = self.each_that_goes(keeps, deleted.wal, |_| Ok(()))?;
        }
        Ok(Applied {
            deleted,
            undeleted: Vec::new(),
            wal: self.plan.wal.clone(),
        })
    }

    fn goes(&self) -> BTreeSet<BackupId> {
        let goes = self.plan.backups.iter().filter(|decision| !decision.keep);
        goes.map(|decision| decision.id).collect()
    }

    fn look_again(&self, lease: &mut Lease<'_>) -> Result<()> {
        self.cancel.check()?;
        lease.look_again()?;
        self.refuse_new_restores()
    }

    /// A restore that began after the plan was made may read what goes.
    fn refuse_new_restores(&self) -> Result<()> {
        match self.repository.restore_has_begun(&self.gathered.restores)? {
            false => Ok(()),
            true => Err(Error::failed(
                "a restore has begun meanwhile, and may read what was about to be deleted",
            )
            .hint("run the cleanup again: it leaves alone what the restore reads.")),
        }
    }

    /// A backup that began after the plan was made may build on one that goes.
    fn refuse_new_children(&self, goes: &BTreeSet<BackupId>) -> Result<()> {
        for (id, started) in self.repository.begun_after(self.gathered.newest)? {
            let child = match started {
                Some(started) => started.parent.is_some_and(|parent| goes.contains(&parent)),
                None => id.kind() == BackupKind::Incremental,
            };
            if child {
                return Err(Error::failed(format!(
                    "backup {id} has begun meanwhile, and builds on one that was about to be deleted"
                ))
                .hint("run the cleanup again."));
            }
        }
        Ok(())
    }

    fn note_wal_from(&self, lease: &mut Lease<'_>, wal: &[WalKeeps]) -> Result<()> {
        let systems = self.gathered.facts.systems.iter();
        let of_each = systems
            .zip(wal)
            .flat_map(|(system, keeps)| keeps.wal_from(system));
        let wal_from: Vec<_> = of_each.collect();
        match wal_from.is_empty() {
            true => Ok(()),
            false => lease.note_wal_from(wal_from),
        }
    }

    /// Hands out the WAL of a system that goes, and adds it to `removed`. What is no WAL stays.
    fn each_that_goes(
        &self,
        keeps: &WalKeeps,
        mut removed: Removed,
        mut each: impl FnMut(&ObjectInfo) -> Result<()>,
    ) -> Result<Removed> {
        if keeps.all.is_some() {
            return Ok(removed);
        }
        let layout = self.repository.layout();
        for info in self
            .repository
            .storage()
            .list(&layout.wal(keeps.system), None)?
        {
            self.cancel.check()?;
            let info = info?;
            let stays = match layout.read_wal_file(keeps.system, &info.name) {
                Some((WalName::History(_), _)) => true,
                Some((
                    WalName::Segment(segment)
                    | WalName::Partial(segment)
                    | WalName::BackupHistory(segment, _),
                    _,
                )) => keeps.keeps(segment),
                None => self.keeps_note(keeps, &info.name),
            };
            if !stays {
                each(&info)?;
                removed.add(&info);
            }
        }
        Ok(removed)
    }

    /// Whether an object beside the WAL files stays.
    fn keeps_note(&self, keeps: &WalKeeps, name: &ObjectName) -> bool {
        let layout = self.repository.layout();
        if let Some((timeline, position)) = layout.read_minimal(keeps.system, name) {
            return keeps.keeps_position(timeline, position);
        }
        if let Some((piece, _)) = layout.read_piece(keeps.system, name) {
            return keeps.keeps(piece.segment) && !self.is_passed(keeps.system, piece.segment);
        }
        let gap = layout.read_gap(keeps.system, name);
        gap.is_none_or(|gap| keeps.keeps_gap(gap))
    }

    /// Whether the segment, or a later one of its timeline, is there: its pieces are what a receiver left that was killed.
    fn is_passed(&self, system: SystemId, segment: Segment) -> bool {
        let mut systems = self.gathered.facts.systems.iter();
        let wal = systems.find(|one| one.id == system).map(|one| &one.wal);
        wal.is_some_and(|wal| {
            let last = wal.last(segment.timeline);
            last.is_some_and(|last| last >= segment.number(wal.size()))
        })
    }

    fn delete(&self, lease: &mut Lease<'_>, batch: &mut Vec<ObjectName>) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        self.look_again(lease)?;
        self.repository.storage().delete_all(batch)?;
        batch.clear();
        Ok(())
    }
}

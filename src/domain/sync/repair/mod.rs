//! Heals what `verify` found damaged or missing by what another repository has of the same bytes.
//!
//! The new object is whole and checked before it takes the place of the old one, which is there until that moment, at once or
//! by the description that names it: a crash leaves one or the other. What no repository has whole stays as it is.

mod backup;
mod dump;
mod report;
mod system;
mod wal;

use std::collections::BTreeSet;

pub use self::report::Repair;
use super::{
    hold,
    pass::{Pass, Peer},
    tally::Tally,
};
use crate::{
    error::{Error, Kind, Result},
    postgres::{lsn::SystemId, wal_name::WalName},
    repo::{
        backup::Backup,
        backup_id::BackupId,
        dump::Dump,
        dump_name::DumpName,
        lease,
        repository::{Repository, System},
    },
    util::{cancel::Cancel, meter::Meter, pace::Pace},
};

pub struct Order<'a> {
    /// The repository that is healed.
    pub target: &'a Peer,
    /// In turn.
    pub sources: &'a [Peer],
    pub workers: usize,
}

/// What is to be healed.
#[derive(Debug, Default)]
pub struct Damaged {
    /// With their descriptions, where these can be read.
    pub backups: Vec<(BackupId, Option<Backup>)>,
    /// Whose registrations are lost, or can't be read.
    pub systems: Vec<SystemId>,
    pub wal: Vec<(System, BTreeSet<WalName>)>,
    /// Dumps, with their descriptions, where these can be read.
    pub dumps: Vec<(DumpName, Option<Dump>)>,
    /// What may be backups and dumps that have lost their descriptions: they are none, unless another repository has
    /// them.
    pub lost: Lost,
}

#[derive(Debug, Default)]
pub struct Lost {
    pub backups: Vec<BackupId>,
    pub dumps: Vec<DumpName>,
}

impl Damaged {
    pub fn is_empty(&self) -> bool {
        let lost = &self.lost;
        self.wal.iter().all(|(_, files)| files.is_empty())
            && self.systems.is_empty()
            && (self.backups.is_empty() && self.dumps.is_empty())
            && (lost.backups.is_empty() && lost.dumps.is_empty())
    }
}

pub fn run(
    order: &Order<'_>,
    damaged: &Damaged,
    cancel: &Cancel,
    meter: &Meter,
) -> Result<Vec<Repair>> {
    let target = &order.target.repository;
    hold::while_held(target, cancel, |cancel| {
        if let Some(held) = target.lease_in_force(lease::CLEANUP)? {
            let what = format!("a cleanup is running there ({})", held.holder());
            return Err(Error::new(Kind::Busy, what).hint("run it again when that is over."));
        }
        let (pace, tally) = (Pace::new(None, cancel), Tally::default());
        let pass = |source| Pass {
            source,
            target: order.target,
            verify: true,
            workers: order.workers,
            dry_run: false,
            pace: &pace,
            cancel,
            meter,
            tally: &tally,
        };
        // What has lost its description is nothing, unless another repository has it.
        let is_anywhere = |has: &dyn Fn(&Repository) -> bool| {
            let mut sources = order.sources.iter();
            sources.any(|source| has(&source.repository))
        };
        let mut repairs = Vec::new();
        for id in &damaged.systems {
            repairs.extend(system::heal(order.sources, order.target, *id)?);
        }
        for id in &damaged.lost.backups {
            if is_anywhere(&|source| source.backup(*id).is_ok()) {
                repairs.extend(backup::heal(order.sources, &pass, *id, None)?);
            }
        }
        for (id, own) in &damaged.backups {
            repairs.extend(backup::heal(order.sources, &pass, *id, own.clone())?);
        }
        for (system, files) in &damaged.wal {
            for file in files {
                cancel.check()?;
                repairs.extend(wal::heal(order.sources, &pass, system, *file)?);
            }
        }
        for (name, own) in &damaged.dumps {
            repairs.extend(dump::heal(order.sources, &pass, name, own.as_ref())?);
        }
        for name in &damaged.lost.dumps {
            if is_anywhere(&|source| source.dump(name).is_ok()) {
                repairs.extend(dump::heal(order.sources, &pass, name, None)?);
            }
        }
        Ok(repairs)
    })
}

//! A run of `cleanup`: takes the lease, looks, decides, deletes.

use chrono::TimeDelta;
use tracing::{info, warn};

use super::{
    apply::{Applied, Apply, Deleted, Undeleted},
    facts::{Facts, What},
    gather::{Gathered, gather, look_elsewhere},
    plan::{Plan, plan},
    policy::Policy,
};
use crate::{
    error::{Error, Kind, Result},
    repo::{backup_id::BackupId, lease, location::Location, repository::Repository},
    util::{cancel::Cancel, clock, meter::Meter},
};

/// An upload that goes on for longer is none: a dump of days on a slow line is.
const UNFINISHED: TimeDelta = TimeDelta::days(7);

#[derive(Clone, Debug)]
pub struct Order {
    pub policy: Policy,
    /// Only say what would go.
    pub dry_run: bool,
    /// A pending backup that is given up.
    pub drop_pending: Option<BackupId>,
    /// Names and places of repositories that `sync` fills from this one: what they lack stays.
    pub synced: Vec<(String, Location)>,
}

impl Order {
    /// What is left of `synced` for the repository `name`: nothing is filled from one that is filled itself.
    pub fn filled_from(name: &str, synced: &[(String, Location)]) -> Vec<(String, Location)> {
        match synced.iter().any(|(filled, _)| filled == name) {
            true => Vec::new(),
            false => synced.to_vec(),
        }
    }
}

/// What was decided, about what, and what came of it.
#[derive(Debug)]
pub struct Outcome {
    pub facts: Facts,
    /// Its WAL as it was carried out.
    pub plan: Plan,
    pub deleted: Deleted,
    /// Backups that could not be deleted.
    pub undeleted: Vec<Undeleted>,
}

pub fn run(
    repository: &Repository,
    order: &Order,
    cancel: &Cancel,
    meter: &Meter,
) -> Result<Outcome> {
    let carry_out = |stored_now, act: &mut dyn FnMut(&Apply<'_>) -> Result<Applied>| {
        let (gathered, plan) = decide(repository, order, stored_now, meter)?;
        let applied = act(&Apply {
            repository,
            gathered: &gathered,
            plan: &plan,
            cancel,
            meter,
        })?;
        Ok(Outcome {
            facts: gathered.facts,
            plan: Plan {
                wal: applied.wal,
                ..plan
            },
            deleted: applied.deleted,
            undeleted: applied.undeleted,
        })
    };
    if order.dry_run {
        return carry_out(clock::now(), &mut |apply| apply.count());
    }
    // Whoever pins a backup from now on sees that a cleanup is running.
    let mut lease = repository.take_lease(lease::CLEANUP)?;
    let stored_now = lease.store_time();
    let done = stored_now.and_then(|now| {
        let outcome = carry_out(now, &mut |apply| apply.run(&mut lease))?;
        forget_unfinished(repository, now);
        Ok(outcome)
    });
    let released = lease.release();
    let outcome = done?;
    released?;
    Ok(outcome)
}

/// What killed processes began and nobody finishes. Who can't do that has cleaned up all the same.
fn forget_unfinished(repository: &Repository, stored_now: clock::Time) {
    let (all, before) = (repository.layout().all(), stored_now - UNFINISHED);
    match repository.storage().forget_unfinished(&all, Some(before)) {
        Ok(0) => {}
        Ok(count) => info!("had the store forget {count} unfinished uploads"),
        Err(error) => warn!("unfinished uploads may be left: {}", error.in_one_line()),
    }
}

fn decide(
    repository: &Repository,
    order: &Order,
    stored_now: clock::Time,
    meter: &Meter,
) -> Result<(Gathered, Plan)> {
    meter.begin("looking", 0);
    let mut gathered = gather(repository, clock::now(), stored_now, order.drop_pending)?;
    let cluster = repository.layout().cluster();
    let synced = order.synced.iter();
    gathered.facts.elsewhere = synced
        .map(|(name, location)| look_elsewhere(name, location, cluster))
        .collect();
    if let Some(id) = order.drop_pending {
        let dropped = gathered.facts.others.iter().find(|other| other.id == id);
        if !dropped.is_some_and(|other| other.what == What::Dropped) {
            return Err(
                Error::new(Kind::NotFound, format!("there is no pending backup {id}"))
                    .hint("`pgstow list` shows all backups."),
            );
        }
        if gathered
            .facts
            .pins
            .get(&id)
            .is_some_and(|pin| pin.holds(clock::now()))
        {
            return Err(Error::failed(format!("pending backup {id} is pinned"))
                .hint(format!("if it may go: `pgstow unpin {id}` first.")));
        }
    }
    if !order.policy.has_rule() {
        // Nothing goes where nobody asked for it.
        gathered.stale.clear();
    }
    let plan = plan(&gathered.facts, &order.policy);
    Ok((gathered, plan))
}

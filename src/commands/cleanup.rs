//! `pgstow cleanup`: applies the rules of retention, and tells the reason of every line.

mod text;

use serde::Serialize;

use super::{context::Context, options::CleanupOptions};
use crate::{
    domain::{
        logical::cleanup as dumps,
        retention::run::{self, Order},
    },
    error::{Kind, Result},
    postgres::{
        lsn::{SystemId, TimelineId},
        wal_name::Segment,
    },
    repo::{backup_id::BackupId, catalog::Removed, dump_name::DumpName, repository::Repository},
    util::clock::Time,
};

#[derive(Debug, Serialize)]
pub struct CleanupReport {
    repository: String,
    cluster: String,
    dry_run: bool,
    window: Window,
    backups: Vec<BackupLine>,
    wal: Vec<WalLine>,
    dumps: Vec<DumpLine>,
    /// What was deleted; in a dry run, what would be.
    deleted: DeletedSums,
    /// Why backups could not be deleted that should have been.
    undeleted: Vec<UndeletedLine>,
    warnings: Vec<String>,
}

/// Of which all that can be restored stays: where WAL is missing, no rule brings it back.
#[derive(Debug, Serialize)]
struct Window {
    from: Option<Time>,
    what: String,
}

#[derive(Debug, Serialize)]
struct DeletedSums {
    backups: Removed,
    wal: Removed,
    dumps: Removed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Keep,
    Delete,
    /// It should have been deleted, and could not be.
    Failed,
}

#[derive(Debug, Serialize)]
struct UndeletedLine {
    id: BackupId,
    error: String,
    /// What to do; None where nothing but the others has to be mended.
    hint: Option<String>,
}

#[derive(Debug, Serialize)]
struct BackupLine {
    id: BackupId,
    action: Action,
    reasons: Vec<String>,
    stored_bytes: u64,
}

#[derive(Debug, Serialize)]
struct DumpLine {
    name: DumpName,
    action: Action,
    reasons: Vec<String>,
    stored_bytes: u64,
}

/// Segments of one timeline that are there and have the same fate.
#[derive(Debug, Serialize)]
struct WalLine {
    system_id: SystemId,
    timeline: TimelineId,
    first_segment: String,
    last_segment: String,
    segments: u64,
    action: Action,
    reason: String,
}

/// What a run did.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Ran {
    Cleaned(Box<CleanupReport>),
    /// Another one does the same.
    Skipped {
        skipped: String,
    },
}

pub fn run(context: &Context, options: &CleanupOptions) -> Result<Ran> {
    match clean(context, &context.repository()?, options) {
        // A backup that is named would not be gone.
        Err(error) if error.kind() == Kind::Busy && options.drop_pending.is_none() => {
            let skipped = error.in_one_line();
            Ok(Ran::Skipped { skipped })
        }
        report => Ok(Ran::Cleaned(Box::new(report?))),
    }
}

/// The same in a repository that is open.
pub(super) fn clean(
    context: &Context,
    repository: &Repository,
    options: &CleanupOptions,
) -> Result<CleanupReport> {
    let settings = &context.settings;
    let own = settings.repo()?;
    let synced = match options.force_unsynced {
        true => Vec::new(),
        false => Order::filled_from(&own.name, &settings.synced),
    };
    let order = Order {
        policy: own.retention.clone(),
        synced,
        dry_run: options.dry_run,
        drop_pending: options.drop_pending,
    };
    let (meter, cancel) = (&context.meter, &context.cancel);
    let done = run::run(repository, &order, cancel, meter)?;
    let order = dumps::Order {
        rules: &options.dumps,
        dry_run: options.dry_run,
        elsewhere: &done.facts.elsewhere,
    };
    let dumps = dumps::run(repository, order, meter, cancel)?;
    let action = |keep| if keep { Action::Keep } else { Action::Delete };
    let is_there = |id| done.undeleted.iter().any(|one| one.id == id);
    let backups = done.plan.backups.into_iter().map(|decision| BackupLine {
        id: decision.id,
        action: match is_there(decision.id) {
            true => Action::Failed,
            false => action(decision.keep),
        },
        reasons: decision.reasons,
        stored_bytes: decision.stored_bytes,
    });
    let mut wal = Vec::new();
    for (system, keeps) in done.facts.systems.iter().zip(&done.plan.wal) {
        let size = system.wal.size();
        wal.extend(keeps.rows(system).into_iter().map(|row| WalLine {
            system_id: system.id,
            timeline: row.timeline,
            first_segment: Segment::nth(row.timeline, *row.numbers.start(), size).to_string(),
            last_segment: Segment::nth(row.timeline, *row.numbers.end(), size).to_string(),
            segments: row.numbers.end() - row.numbers.start() + 1,
            action: action(row.keep),
            reason: row.reason,
        }));
    }
    Ok(CleanupReport {
        repository: repository.location().to_string(),
        cluster: repository.layout().cluster().to_string(),
        dry_run: options.dry_run,
        window: Window {
            from: done.plan.window.from,
            what: done.plan.window.what,
        },
        backups: backups.collect(),
        wal,
        dumps: dumps
            .decisions
            .into_iter()
            .map(|decision| DumpLine {
                name: decision.name,
                action: action(decision.keep),
                reasons: decision.reasons,
                stored_bytes: decision.stored_bytes,
            })
            .collect(),
        deleted: DeletedSums {
            backups: done.deleted.backups,
            wal: done.deleted.wal,
            dumps: dumps.removed,
        },
        undeleted: done
            .undeleted
            .iter()
            .map(|one| UndeletedLine {
                id: one.id,
                error: one.error.in_one_line(),
                hint: one.error.hint_text().map(str::to_owned),
            })
            .collect(),
        warnings: [done.plan.warnings, dumps.warnings].concat(),
    })
}

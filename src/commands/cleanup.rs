//! `pgstow cleanup`: applies the rules of retention, and tells the reason of every line.

use std::io::{self, Write};

use serde::Serialize;

use super::{
    context::Context,
    options::CleanupOptions,
    report::{Outcome, Report},
    table::{Align, Table},
};
use crate::{
    domain::{
        logical::cleanup as dumps,
        monitor::runs::Told,
        retention::run::{self, Order},
    },
    error::Result,
    postgres::{
        lsn::{SystemId, TimelineId},
        wal_name::Segment,
    },
    repo::{backup_id::BackupId, catalog::Removed, dump_name::DumpName, repository::Repository},
    util::{
        clock::{Time, readable},
        units,
    },
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

pub fn run(context: &Context, options: &CleanupOptions) -> Result<CleanupReport> {
    clean(context, &context.repository()?, options)
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
    let dumps = dumps::run(repository, &options.dumps, options.dry_run, meter, cancel)?;
    let action = |keep| if keep { Action::Keep } else { Action::Delete };
    let backups = done.plan.backups.into_iter().map(|decision| BackupLine {
        id: decision.id,
        action: action(decision.keep),
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
        warnings: done.plan.warnings,
    })
}

impl Action {
    fn word(self, dry_run: bool) -> String {
        match (self, dry_run) {
            (Action::Keep, _) => "keep",
            (Action::Delete, true) => "would delete",
            (Action::Delete, false) => "deleted",
        }
        .to_owned()
    }
}

impl CleanupReport {
    fn backups(&self) -> Table {
        let columns = [
            ("", Align::Left),
            ("backup", Align::Left),
            ("stored", Align::Right),
            ("because", Align::Left),
        ];
        let mut table = Table::new(&columns);
        for line in &self.backups {
            table.row([
                line.action.word(self.dry_run),
                line.id.to_string(),
                units::bytes(line.stored_bytes),
                line.reasons.join("; "),
            ]);
        }
        table
    }

    fn dumps(&self) -> Table {
        let columns = [
            ("", Align::Left),
            ("dump", Align::Left),
            ("stored", Align::Right),
            ("because", Align::Left),
        ];
        let mut table = Table::new(&columns);
        for line in &self.dumps {
            table.row([
                line.action.word(self.dry_run),
                line.name.stem().to_owned(),
                units::bytes(line.stored_bytes),
                line.reasons.join("; "),
            ]);
        }
        table
    }

    fn wal(&self) -> Table {
        let columns = [
            ("", Align::Left),
            ("WAL from", Align::Left),
            ("to", Align::Left),
            ("segments", Align::Right),
            ("because", Align::Left),
        ];
        let mut table = Table::new(&columns);
        let first = self.wal.first().map(|line| line.system_id);
        let one = self.wal.iter().all(|line| Some(line.system_id) == first);
        for line in &self.wal {
            let of_system = match one {
                true => String::new(),
                false => format!(" (system {})", line.system_id),
            };
            table.row([
                line.action.word(self.dry_run),
                line.first_segment.clone(),
                line.last_segment.clone(),
                line.segments.to_string(),
                format!("{}{of_system}", line.reason),
            ]);
        }
        table
    }
}

impl Report for CleanupReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "cluster {} in {}", self.cluster, self.repository)?;
        let from = self
            .window
            .from
            .map(|from| format!(", from {}", readable(from)));
        let from = from.unwrap_or_default();
        writeln!(
            out,
            "all that can be restored stays of: {}{from}",
            self.window.what
        )?;
        for table in [self.backups(), self.wal(), self.dumps()]
            .into_iter()
            .filter(|table| !table.is_empty())
        {
            writeln!(out)?;
            table.write(out)?;
        }
        for warning in &self.warnings {
            writeln!(out, "\nwarning: {warning}")?;
        }
        let DeletedSums {
            backups,
            wal,
            dumps,
        } = &self.deleted;
        let verb = if self.dry_run {
            "would be deleted"
        } else {
            "deleted"
        };
        let of = |what, removed: &Removed| {
            let objects = units::count(removed.objects, "object");
            format!("{objects} of {what} ({})", units::bytes(removed.bytes))
        };
        write!(
            out,
            "\n{verb}: {}, {}",
            of("backups", backups),
            of("WAL", wal)
        )?;
        // Many make none.
        if !self.dumps.is_empty() {
            write!(out, ", {}", of("dumps", dumps))?;
        }
        writeln!(out)
    }

    fn told(&self) -> Told {
        let DeletedSums {
            backups,
            wal,
            dumps,
        } = &self.deleted;
        Told {
            bytes: Some(backups.bytes + wal.bytes + dumps.bytes),
            backup: None,
        }
    }

    fn outcome(&self) -> Outcome {
        match self.warnings.is_empty() {
            true => Outcome::Done,
            false => Outcome::Findings,
        }
    }

    fn is_good_news(&self) -> bool {
        self.outcome() == Outcome::Done
    }
}

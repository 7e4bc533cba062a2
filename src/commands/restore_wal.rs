//! `restore-wal`: fetches one WAL file from the repository to where PostgreSQL wants it.

use std::{
    env, io,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use serde::Serialize;
use tracing::warn;

use super::{
    context::Context,
    options::RestoreWalOptions,
    report::{Outcome, Report},
};
use crate::{
    domain::wal::{
        absence::Absence,
        fetch::{Fetched, Wanted, fetch, is_recoverys_own},
        prefetch::{Prefetch, fill},
        spool::Spool,
        standby::asks_again,
    },
    error::{Error, IoContext, Kind, Result},
    postgres::{
        control::Control,
        lsn::SystemId,
        wal_name::{Segment, WalName},
    },
    repo::repository::System,
    util::{detach, errand::Errand},
};

/// PostgreSQL runs archive_command and restore_command in its data directory.
const DATA_DIR: &str = ".";

/// How long a hole may take to close. Pushes run one after another on each host, so that the
/// segment before one that is there comes within seconds, or not by itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// Of the time limit: so long the chosen repository may take where another one may have the file, too.
const PART: u32 = 4;

#[derive(Debug, Serialize)]
pub struct RestoredWal {
    pub name: String,
    /// False: certainly not in the archive, and nothing follows it.
    pub found: bool,
}

impl Report for RestoredWal {
    /// Silent: PostgreSQL's log would have a line for every segment.
    fn text(&self, _: &mut dyn io::Write) -> io::Result<()> {
        Ok(())
    }

    fn outcome(&self) -> Outcome {
        match self.found {
            true => Outcome::Done,
            false => Outcome::Absent,
        }
    }
}

/// Whether the server that called must be told "absent" where we are in doubt.
pub fn doubt_means_absent(strict: bool) -> bool {
    !strict && asks_again(Path::new(DATA_DIR))
}

pub fn run(context: &Context, options: &RestoreWalOptions) -> Result<RestoredWal> {
    if options.prefetch {
        return prefetch(context, options);
    }
    let system_id = match options.system_id {
        Some(id) => id,
        None => {
            Control::read(Path::new(DATA_DIR))
                .map_err(|error| {
                    error.hint(
                        "restore-wal runs in the data directory, as PostgreSQL does it; elsewhere \
                         give --system-id.",
                    )
                })?
                .system
        }
    };
    // A server that asks again needn't wait here, and may have its WAL from a stream meanwhile.
    let patience = match doubt_means_absent(options.strict) {
        true => Duration::ZERO,
        false => PATIENCE.min(context.settings.restore_wal_limit / 2),
    };
    let fetched = match options.others.is_empty() {
        true => from_chosen(context, options, system_id, patience)?,
        false => from_any(context, options, system_id, patience)?,
    };
    Ok(RestoredWal {
        name: options.name.to_string(),
        found: fetched == Fetched::Placed,
    })
}

/// From the chosen repository, if it comes in time; else from another one, where one has it.
fn from_any(
    context: &Context,
    options: &RestoreWalOptions,
    system_id: SystemId,
    patience: Duration,
) -> Result<Fetched> {
    let absence = Absence::at(&context.settings.state_folder());
    if let Some(error) = absence.noted()
        && from_others(context, options, system_id, &error)
    {
        return Ok(Fetched::Placed);
    }
    let (owned, wanted) = (context.clone(), options.clone());
    let errand = Errand::send("asking the chosen repository", move || {
        from_chosen(&owned, &wanted, system_id, Duration::ZERO)
    });
    let until = Instant::now() + context.settings.restore_wal_limit / PART;
    match errand.wait(until, &context.cancel) {
        Err(error) => {
            if error.kind() == Kind::TimedOut {
                absence.note(&error);
            }
            match from_others(context, options, system_id, &error) {
                true => Ok(Fetched::Placed),
                // Only now it is worth waiting.
                false if !patience.is_zero() => from_chosen(context, options, system_id, patience),
                false => Err(error),
            }
        }
        Ok(Fetched::Absent) if matches!(options.name, WalName::History(_)) => {
            Ok(history_elsewhere(context, options, system_id))
        }
        fetched => fetched,
    }
}

/// A server that ends its recovery takes the first number for its timeline that no history has. The chosen repository
/// may have been away when another timeline began, of which others know: the same number would be given twice.
fn history_elsewhere(
    context: &Context,
    options: &RestoreWalOptions,
    system_id: SystemId,
) -> Fetched {
    // A standby looks for new timelines again and again, and can only follow those whose WAL it gets.
    if asks_again(Path::new(DATA_DIR)) {
        return Fetched::Absent;
    }
    let (owned, wanted) = (context.clone(), options.clone());
    let errand = Errand::send("asking the other repositories", move || {
        let why = Error::new(Kind::NotFound, "the chosen one has no such history");
        Ok(from_others(&owned, &wanted, system_id, &why))
    });
    let until = Instant::now() + context.settings.restore_wal_limit / PART;
    match errand.wait(until, &context.cancel) {
        Ok(true) => Fetched::Placed,
        Ok(false) => Fetched::Absent,
        Err(error) => {
            warn!(
                "whether {} is in another repository is not known: {}",
                options.name,
                error.in_one_line()
            );
            Fetched::Absent
        }
    }
}

fn from_chosen(
    context: &Context,
    options: &RestoreWalOptions,
    system_id: SystemId,
    patience: Duration,
) -> Result<Fetched> {
    let settings = &context.settings;
    let location = &settings.repo()?.location;
    context
        .meter
        .begin(&format!("opening the repository {location}"), 0);
    let repository = context.remembered_repository()?;
    let wanted = Wanted {
        patience,
        ..wanted(options)
    };
    let system = repository.system(system_id)?;
    let direct = || fetch(&repository, &system, &wanted, &context.meter);
    let Some((segment, depth)) = spooled(context, options, &system) else {
        return direct();
    };
    let state = settings.state_folder();
    let prefetch = Prefetch {
        repository: &repository,
        system: &system,
        spool: Spool::of(&state, &repository, system_id, Path::new(DATA_DIR))?,
        depth,
        last: options.last,
        start: &|first, last, folder, lock| {
            let mut command = prefetcher(options, system_id)?;
            let range = [first.to_string(), "--last".to_owned(), last.to_string()];
            command.args(range).arg(folder).current_dir(folder);
            detach::start(&mut command, lock)
        },
    };
    prefetch.serve(segment, &options.destination, direct)
}

fn wanted(options: &RestoreWalOptions) -> Wanted<'_> {
    Wanted {
        name: options.name,
        destination: &options.destination,
        last: options.last,
        patience: Duration::ZERO,
    }
}

/// What the chosen repository should have and can't give (a hole, damage, a store that is away), another one may have:
/// whether one had it. That it has not says nothing: only the chosen one tells where the archive ends.
fn from_others(
    context: &Context,
    options: &RestoreWalOptions,
    system_id: SystemId,
    error: &Error,
) -> bool {
    let others = context.others(&options.others);
    let found = others.find(&options.name.to_string(), |repository| {
        let system = repository.system(system_id)?;
        let fetched = fetch(repository, &system, &wanted(options), &context.meter)?;
        Ok((fetched == Fetched::Placed).then_some(()))
    });
    if let Some((name, ())) = found {
        let why = error.in_one_line();
        warn!("{} comes from repository {name}: {why}", options.name);
    }
    found.is_some()
}

/// The segment, and how many behind it are worth fetching, where a server in recovery asks: what
/// people ask for by hand, or pg_rewind, has no order.
fn spooled(
    context: &Context,
    options: &RestoreWalOptions,
    system: &System,
) -> Option<(Segment, u64)> {
    let wal = &context.settings.wal;
    let depth = (wal.prefetch as u64).min(wal.prefetch_size / system.segment_size.bytes());
    match options.name {
        WalName::Segment(segment) if depth > 0 && is_recoverys_own(&options.destination) => {
            Some((segment, depth))
        }
        _ => None,
    }
}

/// This program as a prefetcher, without its range and folder.
fn prefetcher(options: &RestoreWalOptions, system: SystemId) -> Result<Command> {
    let program = env::current_exe().at("find", "this program")?;
    let mut command = Command::new(program);
    command
        .args(&options.server_flags)
        .args(["restore-wal", "--prefetch", "--system-id"])
        .arg(system.to_string());
    Ok(command)
}

/// What the background process does. Its standard input is the spool's lock.
fn prefetch(context: &Context, options: &RestoreWalOptions) -> Result<RestoredWal> {
    detach::detach()?;
    let settings = &context.settings;
    let repository = context.remembered_repository()?;
    let (Some(id), Some(last), WalName::Segment(first)) =
        (options.system_id, options.last, options.name)
    else {
        return Err(Error::usage("a prefetcher needs a system and two segments"));
    };
    let system = repository.system(id)?;
    let spool = Spool::at(&options.destination);
    let workers = settings.cluster.jobs.count();
    fill(&repository, &system, &spool, first, last, workers)?;
    Ok(RestoredWal {
        name: options.name.to_string(),
        found: true,
    })
}

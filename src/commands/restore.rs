//! `pgstow restore`: plans a restore, and does it unless only the plan is wanted.

use std::{
    env,
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;
use tracing::warn;

use super::{
    context::Context,
    nearest::Reached,
    options::RestoreOptions,
    report::{Outcome, Report},
};
use crate::{
    domain::{
        restore::{
            self, Restored, keys, measured,
            plan::{self, Options, Plan},
            request::Request,
            target::Target,
        },
        wal::{receive, spool},
    },
    error::{IoContext, Result},
    repo::{others::Others, repository::Repository},
    util::clock,
};

/// The plan, or what was done.
#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RestoreReport {
    Planned(Box<Plan>),
    Restored(Box<Restored>),
}

impl Report for RestoreReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            RestoreReport::Planned(plan) => write!(out, "{plan}"),
            RestoreReport::Restored(restored) => write!(out, "{restored}"),
        }
    }

    /// Of a plan that of the restore: who asks beforehand must not read success.
    fn outcome(&self) -> Outcome {
        match self {
            RestoreReport::Planned(plan) if plan.refused.is_some() => Outcome::Failed,
            _ => Outcome::Done,
        }
    }
}

pub fn run(context: &Context, options: RestoreOptions) -> Result<RestoreReport> {
    let (cancel, meter) = (&context.cancel, &context.meter);
    let now = clock::now();
    let RestoreOptions {
        request,
        plan: only_plan,
        from,
    } = options;
    let (repository, options, mut plan) =
        context.read_furthest(&from, reached, |repository, flags, others, is_instead| {
            let options = wanted(context, request.clone(), flags, others)?;
            let mut plan = plan::plan(repository, &options, now, cancel, meter)?;
            let unknown = keys::of_environment(repository, &plan.system);
            plan.warnings.extend(unknown);
            if is_instead {
                keys::check(repository, &plan.system, &plan.choice)?;
            }
            Ok((repository.clone(), options, plan))
        })?;
    let restores = measured::read(&context.settings.state_folder());
    plan.foresee(&repository, &restores);
    if only_plan {
        plan.look(&repository, options.request.workers, cancel, meter)?;
        return Ok(RestoreReport::Planned(Box::new(plan)));
    }
    plan.learn_timelines(&repository, &options.others, cancel)?;
    // Of a server whose folder this may become.
    let cleared = spool::clear(&context.settings.state_folder(), None);
    if let Err(error) = cleared {
        warn!(
            "can't remove what was fetched ahead: {}",
            error.in_one_line()
        );
    }
    let restored = restore::run(&repository, &options, plan, now, cancel, meter)?;
    Ok(RestoreReport::Restored(Box::new(restored)))
}

/// Where the WAL ends that a restore follows to its end.
fn reached((_, _, plan): &(Repository, Options, Plan)) -> Option<Reached> {
    let to_the_end = plan.target == Target::Latest && !plan.offline;
    to_the_end.then_some(Reached {
        system: plan.system_id,
        end: (plan.timeline, plan.wal_end),
        is_named: plan.timeline_wish.is_named(),
    })
}

/// With what the surroundings are; `flags` lead the server to the repository.
fn wanted(
    context: &Context,
    mut request: Request,
    flags: &[String],
    others: Others,
) -> Result<Options> {
    let settings = &context.settings;
    let program = env::current_exe().at("find", "this program")?;
    let call = |command: &str| {
        let own = [program.to_string_lossy().into_owned(), command.to_owned()];
        own.into_iter().chain(flags.iter().cloned()).collect()
    };
    let state = settings.state_folder();
    request.data_dir = request.data_dir.as_deref().map(absolute).transpose()?;
    Ok(Options {
        request,
        own_data_dir: settings.cluster.data_dir.clone(),
        notes: Some(state.join(measured::FOLDER)),
        others,
        received: Some(state.join(receive::FOLDER)),
        wal_command: call("restore-wal"),
        archive_command: call("archive-wal"),
        done_command: call("restore-done"),
    })
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).at("find", path)
}

//! Restores a data directory to any moment: plans first, then does what the plan says.
//!
//! The order, and what a crash leaves behind each step:
//! 1. a folder with a marker takes the place of what is in the way, which is renamed aside (the old
//!    cluster, whole, under another name, which the marker knows);
//! 2. tablespaces get their links, files their contents, the server its recovery settings (an
//!    unfinished folder without `global/pg_control`: no server starts it, and the next restore
//!    clears it);
//! 3. all is synced, and pg_control gets its name (a whole cluster);
//! 4. the marker goes (the same, without a stray file).

mod again;
pub mod archive;
pub mod aside;
pub mod auto_conf;
mod behind;
mod chain;
pub mod choice;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod choice_tests;
pub mod config_files;
mod configuration;
pub mod contents;
pub mod delta;
mod fill;
pub mod folders;
pub mod forecast;
mod guard;
pub mod histories;
pub mod hollow;
mod index;
mod jobs;
pub mod keys;
pub mod load;
mod look;
pub mod lost;
mod lower;
mod manifest_file;
pub mod mark;
pub mod marker;
pub mod measured;
pub mod member;
mod older;
mod patch;
pub mod path;
pub mod places;
pub mod plan;
mod ports;
mod possible;
pub mod proof;
pub mod prove;
mod ready;
pub mod recovery;
mod report;
pub mod request;
pub mod rescue;
mod search;
pub mod segments;
mod shown;
pub mod sources;
pub mod start;
pub mod tablespaces;
mod taken;
pub mod target;
pub mod timelines;
pub mod unpack;
pub mod windows;

use std::{path::PathBuf, time::Instant};

use serde::Serialize;

use crate::{
    error::{Error, Result},
    repo::{
        drill::Phase, read_meter::ReadMeter, repository::Repository, restoring::Reader,
        stopwatch::Stopwatch,
    },
    util::{cancel::Cancel, clock::Time, fs::write_over, meter::Meter},
};
use fill::Run;
use folders::{give, make_for_notes};
use mark::Mark;
use measured::Measured;
use plan::{Options, Plan};
use ports::Instead;
use ready::Ready;
use sources::Sources;
use target::Action;

/// What a restore did.
#[derive(Debug, Serialize)]
pub struct Restored {
    #[serde(flatten)]
    pub plan: Plan,
    pub finished: Time,
    pub seconds: f64,
    /// Fetching, and the rest of the work.
    pub phases: Vec<Phase>,
    /// Where what was there before lies now: data directory first.
    #[serde(serialize_with = "shown::all")]
    pub aside: Vec<PathBuf>,
    /// Where configuration files from outside the data directory were put.
    pub config: Option<PathBuf>,
    /// Where those of an earlier restore lie now, in which something had been changed.
    pub config_aside: Option<PathBuf>,
    /// Settings of the original that were written as empty.
    pub emptied: Vec<&'static str>,
    /// What the start command has in the place of the port that is taken on this host.
    pub port: Option<Instead>,
    /// Starts the server.
    pub start_command: String,
}

/// Does what `plan` says. What fails leaves a folder that can't be started.
pub fn run(
    repository: &Repository,
    options: &Options,
    plan: Plan,
    now: Time,
    cancel: &Cancel,
    meter: &Meter,
) -> Result<Restored> {
    let (mut restored, mark) = run_marked(
        repository,
        options,
        plan,
        Reader::Server,
        now,
        cancel,
        meter,
    )?;
    restored.plan.warnings.extend(mark.warnings());
    Ok(restored)
}

/// As [`run`], for who knows when the restored server needs no WAL any more.
pub fn run_marked<'a>(
    repository: &'a Repository,
    options: &Options,
    plan: Plan,
    reader: Reader,
    now: Time,
    cancel: &Cancel,
    meter: &Meter,
) -> Result<(Restored, Mark<'a>)> {
    cancel.check()?;
    plan::refuse_running(&plan.data_dir, plan.old_data_dir.as_deref())?;
    keys::check(repository, &plan.system, &plan.choice)?;
    let mark = Mark::leave(repository, &plan.choice.backup, reader);
    match carry_out(repository, options, plan, now, cancel, meter) {
        Ok(restored) => Ok((restored, mark)),
        Err(error) => {
            mark.take_back();
            Err(error)
        }
    }
}

fn carry_out(
    repository: &Repository,
    options: &Options,
    plan: Plan,
    now: Time,
    cancel: &Cancel,
    meter: &Meter,
) -> Result<Restored> {
    let began = Instant::now();
    let (watch, read) = (Stopwatch::start(), ReadMeter::default());
    let repository = &repository.counted_by(&read);
    // Read first: a damaged index must not cost the old cluster its name.
    let sources = Sources::new(repository, &options.others);
    let backup = &plan.choice.backup;
    let (contents, indexes) = sources.contents(backup)?;
    let replaced = plan.replaced();
    let run = Run {
        sources: &sources,
        indexes: &indexes,
        options,
        plan: &plan,
        contents: &contents,
        rescued_from: options.rescued_from(replaced.as_deref()),
        replaced,
        now,
        cancel,
        meter,
    };
    let marker = run.take()?;
    let aside = run.rename().map_err(|error| run.explain(error))?;
    let filled = run.fill(marker).map_err(|error| run.explain(error))?;
    let finished = now + began.elapsed();
    let (config, config_aside) = match filled.config {
        Some(config) => (Some(config.folder), config.aside),
        None => (None, None),
    };
    let ready = Ready {
        plan: &plan,
        config: config.as_deref(),
        cancel,
    };
    let outlook = filled.outlook;
    let start_command = ready.start_command(outlook.port);
    let mut plan = plan;
    plan.warnings.extend(filled.warnings);
    plan.correct(filled.live);
    plan.warnings.extend(outlook.warnings);
    plan.delta = filled.delta;
    // Both are done at the same time: of each the part that it took.
    let workers = u32::try_from(options.request.workers.max(1)).unwrap_or(1);
    let phases = watch.split(
        ("fetch", read.waited() / workers, read.bytes()),
        ("unpack", plan.backup_bytes),
    );
    let mut restored = Restored {
        start_command,
        phases: phases.into(),
        seconds: began.elapsed().as_secs_f64(),
        plan,
        finished,
        aside,
        config,
        config_aside,
        emptied: filled.emptied,
        port: outlook.port,
    };
    // The restore itself is done.
    if let Err(error) = restored.note(options) {
        let error = error.context("no note of this restore is left");
        restored.plan.warnings.push(error.in_one_line());
    }
    Ok(restored)
}

impl Restored {
    /// Leaves a note of what was done in the state folder.
    fn note(&self, options: &Options) -> Result<()> {
        let Some(folder) = &options.notes else {
            return Ok(());
        };
        let path = folder.join(format!(
            "restore-{}.json",
            self.finished.format("%Y%m%dT%H%M%SZ")
        ));
        let json = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::failed("can't note the restore").because(error))?;
        make_for_notes(folder, self.plan.owner)?;
        write_over(&path, 0o640, &json)?;
        give(&path, self.plan.owner)?;
        match self.measured() {
            Some(measured) => measured::note(folder, measured, self.plan.owner),
            None => Ok(()),
        }
    }

    /// None of one that tells nothing of others: of what was there already, or whose server comes to no end by itself.
    fn measured(&self) -> Option<Measured> {
        let plan = &self.plan;
        let tells = plan.again.is_none() && !plan.standby && plan.action == Action::Promote;
        tells.then(|| Measured {
            time: self.finished,
            system_id: plan.system_id,
            data_dir: plan.data_dir.clone(),
            wal: plan.load.wal,
            phases: self.phases.clone(),
            forecast: plan.forecast.clone(),
        })
    }
}

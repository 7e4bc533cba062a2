//! `pgstow systemd`: sets up, removes and shows what runs pgstow for a cluster again and again.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{
    context::Context,
    options::{RemoveOptions, SystemdAction, SystemdOptions},
    report::{Outcome, Report},
    table::{Align, Table},
};
use crate::{
    domain::{
        monitor::runs,
        systemd::{
            Place, Scheduler, Wanted,
            file::Action,
            install::{check_calendars, install},
            jobs::Job,
            remove::{clusters, remove},
            status::{self, JobStatus, LastResult},
        },
    },
    error::{Error, Kind, Result},
    repo::layout::ClusterName,
    util::cancel::Cancel,
};

#[derive(Debug, Serialize)]
pub struct SystemdReport {
    cluster: String,
    #[serde(flatten)]
    did: Did,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Did {
    /// What would be written.
    Print {
        files: Vec<Shown>,
        #[serde(flatten)]
        reach: Reach,
    },
    Install {
        #[serde(flatten)]
        changes: Changes,
        #[serde(flatten)]
        reach: Reach,
    },
    Remove(Changes),
    Jobs(Vec<JobStatus>),
}

/// What the jobs work for.
#[derive(Debug, Serialize)]
struct Reach {
    repository: String,
    /// Others that WAL is pushed to.
    others: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Shown {
    path: PathBuf,
    text: String,
}

#[derive(Debug, Serialize)]
struct Changes {
    files: Vec<Changed>,
    /// Folders of drop-ins that stay.
    left: Vec<PathBuf>,
    /// Services that go on to their end.
    running: Vec<String>,
    /// Whether timers of this host were started or stopped.
    #[serde(skip)]
    live: bool,
    #[serde(skip)]
    cron: bool,
}

#[derive(Debug, Serialize)]
struct Changed {
    path: PathBuf,
    action: Action,
}

pub fn run(context: &Context, options: SystemdOptions) -> Result<SystemdReport> {
    let cluster = &context.settings.cluster.name;
    let (place, cancel) = (&options.place, &context.cancel);
    let did = match options.action {
        SystemdAction::Install {
            call,
            user,
            calendars,
            dumps,
            syncs,
            drills,
            log,
            print,
            force,
        } => {
            let wanted = Wanted {
                cluster: cluster.clone(),
                call,
                user,
                state_folder: context.settings.state_folder(),
                writes: in_units(writes(context, drills)?)?,
                log: in_units(log.into_iter().collect())?.pop(),
                calendars,
                dumps,
                syncs,
            };
            check_calendars(place, &wanted, cancel)?;
            let own = context.settings.repo()?.name.clone();
            let names = context.settings.repos.iter().map(|repo| repo.name.clone());
            let reach = Reach {
                others: names.filter(|name| *name != own).collect(),
                repository: own,
            };
            match print {
                true => Did::Print {
                    files: shown(place, &wanted),
                    reach,
                },
                false => Did::Install {
                    changes: changes(place, install(place, &wanted, force, cancel)?),
                    reach,
                },
            }
        }
        SystemdAction::Status => {
            let mut jobs = status::gather(cluster.as_str(), cancel)?;
            note_findings(&mut jobs, &context.settings.state_folder());
            Did::Jobs(jobs)
        }
    };
    Ok(SystemdReport {
        cluster: cluster.to_string(),
        did,
    })
}

/// A unit with several commands ends with the status of the last one; of what one before it found the history knows.
fn note_findings(jobs: &mut [JobStatus], state: &Path) {
    let runs = runs::read(state).unwrap_or_default();
    for job in jobs.iter_mut().filter(|job| job.result == LastResult::Done) {
        let (Ok(known), Some(invocation)) = (Job::named(job.job), &job.invocation) else {
            continue;
        };
        if runs
            .iter()
            .any(|run| run.is_found_by(known.command, invocation))
        {
            job.result = LastResult::Findings;
        }
    }
}

/// Removes what is there of a cluster, whatever its settings say now, or none do; `cluster`: the one that is named, or
/// that the settings name. Without any, the only one of which something is there.
pub fn run_remove(
    cluster: Option<String>,
    options: &RemoveOptions,
    cancel: &Cancel,
) -> Result<SystemdReport> {
    let place = &options.place;
    let cluster = match cluster {
        // What is no name is no part of a path either.
        Some(cluster) => cluster.parse::<ClusterName>()?.to_string(),
        None => only_cluster(place)?,
    };
    let removed = remove(place, &cluster, options.force, cancel)?;
    Ok(SystemdReport {
        cluster,
        did: Did::Remove(Changes {
            left: removed.left,
            running: removed.running,
            ..changes(place, removed.files)
        }),
    })
}

fn only_cluster(place: &Place) -> Result<String> {
    let there = clusters(place)?;
    match there.as_slice() {
        [only] => Ok(only.clone()),
        [] => {
            let what = format!("no cluster has jobs in {}", place.folder.display());
            Err(Error::new(Kind::NotFound, what).hint("--cron and --into name other places."))
        }
        several => {
            let what = format!("there are jobs of several clusters: {}", several.join(", "));
            Err(Error::usage(what).hint("name one by --cluster."))
        }
    }
}

/// The folders that jobs write in, beside the one that systemd makes for them.
fn writes(context: &Context, drills: Option<PathBuf>) -> Result<Vec<PathBuf>> {
    let settings = &context.settings;
    // Refuses where none is set.
    settings.repo()?;
    let folders = settings
        .repos
        .iter()
        .filter_map(|repo| repo.location.folder());
    let filled = settings.synced.iter();
    let folders = folders.chain(filled.filter_map(|(_, location)| location.folder()));
    let mut writes: Vec<PathBuf> = folders.map(Path::to_owned).collect();
    writes.push(settings.state_dir.clone());
    writes.extend(drills);
    Ok(writes)
}

/// What can stand in a unit.
fn in_units(writes: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    match writes.iter().find(|path| path.to_str().is_none()) {
        None => Ok(writes),
        Some(path) => Err(Error::usage(format!("{} is not in UTF-8", path.display()))
            .hint("use another path: this one can't stand in a unit.")),
    }
}

fn shown(place: &Place, wanted: &Wanted) -> Vec<Shown> {
    let files = place.files(wanted).into_iter();
    files
        .map(|file| Shown {
            path: place.folder.join(file.name),
            text: file.text,
        })
        .collect()
}

fn changes(place: &Place, files: Vec<(String, Action)>) -> Changes {
    let files = files.into_iter().map(|(name, action)| Changed {
        path: place.folder.join(name),
        action,
    });
    Changes {
        files: files.collect(),
        left: Vec::new(),
        running: Vec::new(),
        live: place.live,
        cron: place.scheduler == Scheduler::Cron,
    }
}

impl Report for SystemdReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        match &self.did {
            Did::Print { files, reach } => {
                for (number, file) in files.iter().enumerate() {
                    let gap = if number == 0 { "" } else { "\n" };
                    writeln!(out, "{gap}# {}", file.path.display())?;
                    write!(out, "{}", file.text)?;
                }
                reach.text("\n# ", out)
            }
            Did::Install { changes, reach } => {
                changes.list(out)?;
                reach.text("", out)?;
                match (changes.live, changes.cron) {
                    (true, false) => writeln!(
                        out,
                        "The timers run; `pgstow systemd status` shows them, `systemctl start pgstow-base@{}` \
                         does not wait for one.",
                        self.cluster
                    ),
                    (true, true) => writeln!(out, "cron reads it within a minute."),
                    (false, _) => writeln!(out, "Nothing was started."),
                }
            }
            Did::Remove(changes) if changes.files.is_empty() => {
                writeln!(out, "nothing of cluster {} is there", self.cluster)
            }
            Did::Remove(changes) => changes.list(out),
            Did::Jobs(jobs) => jobs_text(jobs, out),
        }
    }

    fn outcome(&self) -> Outcome {
        match &self.did {
            Did::Jobs(jobs) if !jobs.iter().all(JobStatus::is_good) => Outcome::Findings,
            _ => Outcome::Done,
        }
    }

    fn is_good_news(&self) -> bool {
        matches!(self.did, Did::Install { .. } | Did::Remove(_))
    }
}

impl Reach {
    /// Which repositories have no jobs, if there are such.
    fn text(&self, before: &str, out: &mut dyn Write) -> io::Result<()> {
        if self.others.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "{before}Backups, cleanup and verification are those of repository {} alone; \
             docs/systemd.md (a second repository) shows how {} gets its own.",
            self.repository,
            self.others.join(", ")
        )
    }
}

impl Changes {
    fn list(&self, out: &mut dyn Write) -> io::Result<()> {
        for file in &self.files {
            let action = match file.action {
                Action::Written => "written",
                Action::Replaced => "replaced",
                Action::Unchanged => "unchanged",
                Action::Removed => "removed",
            };
            writeln!(out, "{action:9} {}", file.path.display())?;
        }
        for folder in &self.left {
            writeln!(out, "left, for they are your own: {}", folder.display())?;
        }
        for service in &self.running {
            writeln!(out, "{service} is running, and goes on to its end")?;
        }
        Ok(())
    }
}

fn jobs_text(jobs: &[JobStatus], out: &mut dyn Write) -> io::Result<()> {
    let columns = ["job", "next run", "last run", "result"].map(|name| (name, Align::Left));
    let mut table = Table::new(&columns);
    for job in jobs {
        let next = match (&job.next_run, job.active, job.timer.as_str()) {
            (_, _, "missing") => "no timer",
            (_, false, _) => "the timer does not run",
            (None, true, _) => "when it is due",
            (Some(next), true, "enabled") => next,
            (Some(next), true, _) => {
                &format!("{next} (not after a restart: the timer is not enabled)")
            }
        };
        let last = job
            .last_run
            .as_deref()
            .unwrap_or("not since the host was started");
        table.row([job.job, next, last, &result(job)].map(str::to_owned));
    }
    table.write(out)?;
    for job in jobs.iter().filter(|job| !job.log.is_empty()) {
        writeln!(out, "\n{}:", job.job)?;
        for line in &job.log {
            writeln!(out, "  {line}")?;
        }
    }
    Ok(())
}

fn result(job: &JobStatus) -> String {
    match (job.result, job.exit_code) {
        (LastResult::None, _) => String::new(),
        (LastResult::Running, _) => "running".to_owned(),
        (LastResult::Done, _) => "done".to_owned(),
        (LastResult::Findings, _) => "findings".to_owned(),
        (LastResult::Failed, Some(code)) => format!("FAILED ({code})"),
        (LastResult::Failed, None) => "FAILED".to_owned(),
    }
}

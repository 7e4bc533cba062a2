//! Arguments of `systemd`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::domain::systemd::jobs::Job;

/// Has systemd (or cron) run backups, cleanup, verification and drills of a cluster
///
/// Each job has a timer and a service of its own. The units are written for this program, this
/// configuration file and the folders that stand in it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pgstow systemd install
  pgstow systemd install --on-calendar base='Sat 23:00' --on-calendar cleanup=04:30
  pgstow systemd install --print
  pgstow systemd install --cron
  pgstow systemd status
  pgstow systemd remove")]
pub struct SystemdArgs {
    #[command(subcommand)]
    pub action: SystemdAction,
}

#[derive(Debug, Subcommand)]
pub enum SystemdAction {
    Install(InstallArgs),
    Remove(RemoveArgs),
    Status(StatusArgs),
}

/// Writes the units of a cluster and starts its timers
///
/// Can be run again: what is right stays, what an older pgstow wrote is replaced. A unit that somebody
/// changed is not overwritten.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pgstow systemd install
  pgstow systemd install --print --on-calendar incremental='*-*-* 00/6:00'
  pgstow systemd install --cron --on-calendar base='30 1 * * 6'")]
pub struct InstallArgs {
    /// When a job (base, incremental, dump, sync, cleanup, verify, drill, monitor) runs: as OnCalendar= of systemd has it,
    /// with --cron as the five fields of a crontab; may be repeated
    #[arg(long, value_name = "JOB=EXPR", value_parser = calendar)]
    pub on_calendar: Vec<(&'static str, String)>,
    /// User whom the jobs run as: that of the server
    #[arg(long, value_name = "NAME", default_value = "postgres", value_parser = user_name)]
    pub user: String,
    /// Only print what would be written
    #[arg(long)]
    pub print: bool,
    /// Overwrite files that somebody changed
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// Stops the timers of a cluster and removes its units
#[derive(Debug, Args)]
#[command(after_help = "Example:
  pgstow systemd remove")]
pub struct RemoveArgs {
    /// Remove files that somebody changed
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// Shows each job's next run, last result and last log lines
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pgstow systemd status
  pgstow systemd status --json")]
pub struct StatusArgs {}

#[derive(Debug, Default, Args)]
pub struct PlaceArgs {
    /// A file for /etc/cron.d in the place of units, for a host without systemd
    #[arg(long)]
    pub cron: bool,
    /// Folder of the files in the place of /etc/systemd/system or /etc/cron.d; nothing is started
    #[arg(long, value_name = "DIR")]
    pub into: Option<PathBuf>,
}

fn calendar(text: &str) -> Result<(&'static str, String), String> {
    let (job, expression) = text.split_once('=').ok_or("it must be JOB=EXPR")?;
    let job = Job::named(job).map_err(|error| {
        let hint = error.hint_text().unwrap_or_default();
        format!("{}; {hint}", error.message())
    })?;
    match expression.trim().is_empty() || expression.contains(char::is_control) {
        true => Err("the time must be one line that is not empty".to_owned()),
        false => Ok((job.name, expression.trim().to_owned())),
    }
}

fn user_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => Ok(text.to_owned()),
        false => Err("not a user's name".to_owned()),
    }
}

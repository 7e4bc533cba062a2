//! What was typed: the command line as clap reads it. No I/O, no defaults of settings.

mod backup;
mod drill;
mod dump;
mod find_target;
mod inspect;
mod monitor;
mod restore;
mod restore_dump;
mod retention;
mod setup;
mod sync;
mod systemd;
mod wal;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub use backup::BaseArgs;
pub use drill::DrillArgs;
pub use dump::DumpArgs;
pub use find_target::FindTargetArgs;
pub use inspect::{ListArgs, VerifyArgs};
pub use monitor::MonitorArgs;
pub use restore::{RestoreArgs, RestoreDoneArgs};
pub use restore_dump::RestoreDumpArgs;
pub use retention::{CleanupArgs, PinArgs, UnpinArgs};
pub use setup::{CheckArgs, DemoArgs, InitArgs};
pub use sync::SyncArgs;
pub use systemd::{InstallArgs, PlaceArgs, RemoveArgs, SystemdAction, SystemdArgs};
pub use wal::{ArchiveWalArgs, ReceiveWalArgs, RestoreWalArgs};

use super::exit;

/// Backs up PostgreSQL and brings it back to any moment
#[derive(Debug, Parser)]
#[command(
    name = "pgstow",
    version,
    after_help = exit::TABLE,
    after_long_help = exit::TABLE,
    disable_help_subcommand = true,
    propagate_version = true
)]
pub struct Cli {
    #[command(flatten)]
    pub global: GlobalArgs,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// Configuration file (default: /etc/pgstow/pgstow.toml)
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// File of variables of older scripts (default: /etc/postgresql-backup.env)
    #[arg(long, global = true, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
    /// Cluster to work on (default: the only one)
    #[arg(long, global = true, value_name = "NAME")]
    pub cluster: Option<String>,
    /// Repository to use (default: the first in the file)
    #[arg(long, global = true, value_name = "NAME")]
    pub repo: Option<String>,
    /// Repository to use, by its place, such as /var/backups/postgresql: needs no file
    #[arg(long, global = true, value_name = "URL")]
    pub repo_url: Option<String>,
    /// Print the result as one JSON document
    #[arg(long, global = true)]
    pub json: bool,
    /// Say more; twice: everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Say only warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Show no progress while working
    #[arg(long, global = true)]
    pub no_progress: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Demo(DemoArgs),
    Init(InitArgs),
    Check(CheckArgs),
    Base(BaseArgs),
    Dump(Box<DumpArgs>),
    ArchiveWal(ArchiveWalArgs),
    RestoreWal(RestoreWalArgs),
    ReceiveWal(ReceiveWalArgs),
    Restore(Box<RestoreArgs>),
    RestoreDone(RestoreDoneArgs),
    RestoreDump(Box<RestoreDumpArgs>),
    List(ListArgs),
    FindTarget(FindTargetArgs),
    Verify(VerifyArgs),
    Drill(DrillArgs),
    Cleanup(CleanupArgs),
    Pin(PinArgs),
    Unpin(UnpinArgs),
    Sync(SyncArgs),
    Monitor(MonitorArgs),
    Systemd(SystemdArgs),
}

/// Shown in tables; a backup's label also in a line of backup_label.
fn one_line(text: &str) -> Result<String, String> {
    match text.contains(char::is_control) {
        true => Err("line breaks and other control characters can't be in it".to_owned()),
        false => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_has_a_description_and_examples() {
        let mut cli = Cli::command();
        cli.build();
        cli.clone().debug_assert();
        for command in cli.get_subcommands() {
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name}");
            let after = command.get_after_help().map(ToString::to_string);
            let example = after.filter(|text| text.starts_with("Example"));
            let shown = example.is_some_and(|text| text.contains(name));
            assert!(shown, "{name} has no example");
        }
    }
}

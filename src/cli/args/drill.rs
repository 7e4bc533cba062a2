//! Arguments of `drill`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

/// Proves a backup: restores it for real into a scratch folder, starts its server, and looks at what came of it
///
/// The server replays the archived WAL to the target, is reached by nobody else, and never archives. The folder goes
/// at the end, whatever happens; the report stays in the repository. Exit code 3: something is wrong with what is
/// stored. A dump is restored and checked as by `verify`.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("to").args(["what", "target_time", "random"]),
    after_help = "Examples:
  pgstow drill
  pgstow drill --target-time '2026-11-21 02:00:00+00'
  pgstow drill --random --scratch /mnt/large/drills
  pgstow drill shop
  pgstow drill --json"
)]
pub struct DrillArgs {
    /// latest: a backup, to the end of the archive, which is the default; or a dump: its name, or a database, whose
    /// newest it is (one called latest: '"latest"')
    #[arg(value_name = "latest|DUMP")]
    pub what: Option<String>,
    /// To this time, with its zone
    #[arg(long, value_name = "TIME")]
    pub target_time: Option<String>,
    /// To a random place in the WAL behind any backup: in the long run to all of them
    #[arg(long)]
    pub random: bool,
    /// Make the folder of the drill in this one (default: drill.scratch, else below the state folder)
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    /// Workers that unpack and check (default: auto)
    #[arg(long, value_name = "N")]
    pub jobs: Option<String>,
    /// Folder of PostgreSQL's programs (default: those of the backup's version on this host)
    #[arg(long, value_name = "DIR")]
    pub bindir: Option<String>,
}

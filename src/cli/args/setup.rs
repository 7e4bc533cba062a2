//! Arguments of `demo`, `init` and `check`.

use std::path::PathBuf;

use clap::Args;

/// Shows a backup and a point-in-time restore in a scratch folder
///
/// Makes a small cluster, archives its WAL, backs it up, drops a table "by mistake" and restores
/// to just before. Needs PostgreSQL's server programs and nothing else; touches no other cluster.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pgstow demo
  pgstow demo --bindir /usr/lib/postgresql/17/bin --keep")]
pub struct DemoArgs {
    /// Folder of PostgreSQL's programs (default: the newest installed)
    #[arg(long, value_name = "DIR")]
    pub bindir: Option<PathBuf>,
    /// Keep the scratch folder, with its servers stopped
    #[arg(long)]
    pub keep: bool,
}

/// Creates the repository and registers the cluster
///
/// Prints the lines for postgresql.conf, or sets them with --apply; never restarts the server.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pgstow init
  pgstow init --apply
  pgstow init --new-system        # after pg_upgrade
  pgstow init --make-key /root/pgstow-identity.txt
  pgstow --repo usb init --without-server")]
pub struct InitArgs {
    /// Register the new system identifier that pg_upgrade or initdb made
    #[arg(long)]
    pub new_system: bool,
    /// Set the server's settings by ALTER SYSTEM (as a superuser), instead of printing them
    #[arg(long)]
    pub apply: bool,
    /// Only make a pair of keys for encryption, the private one in a new file, and tell what to do with them
    #[arg(long, value_name = "FILE", conflicts_with_all = ["new_system", "apply", "without_server"])]
    pub make_key: Option<PathBuf>,
    /// Only make the repository, for `sync` to fill: no server is asked, and none is registered
    #[arg(long, conflicts_with_all = ["new_system", "apply"])]
    pub without_server: bool,
}

/// Proves the set-up end to end
///
/// Connection, rights, version, settings, a WAL switch that must arrive in the repository, and
/// space for the next backup. With --repo NAME: tries out that repository alone.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pgstow check
  pgstow check --repo local
  pgstow check --show-settings --json")]
pub struct CheckArgs {
    /// Show every setting with its source, and stop
    #[arg(long)]
    pub show_settings: bool,
    /// How long a WAL segment may take to arrive in the repository, such as 2min
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub wal_timeout: String,
}

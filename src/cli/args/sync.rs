//! Arguments of `sync`.

use clap::Args;

/// Copies what is missing to the repositories with wal_mode = "sync"
///
/// Nothing is compressed anew. What the source has plain is encrypted on the way where the other repository has
/// recipients. Can be interrupted and run again at any time. Exit code 3: something could not be copied, since it is
/// damaged.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pgstow sync
  pgstow sync --status
  pgstow --repo offsite sync --rate-limit 20MB
  pgstow sync --from local --dry-run
  pgstow --repo usb sync --only 20261121T020000Z-full
  pgstow --repo local sync --from offsite --only main_shop_20261121T010000Z_daily")]
pub struct SyncArgs {
    /// Copy from this repository alone (default: those that WAL is pushed to, in the order of the file)
    #[arg(long, value_name = "NAME")]
    pub from: Option<String>,
    /// Copy this backup, with what it builds on and the WAL that it needs, or this dump, and nothing else; may be repeated
    #[arg(long, value_name = "BACKUP|DUMP", conflicts_with = "status")]
    pub only: Vec<String>,
    /// Only say what would be copied
    #[arg(long)]
    pub dry_run: bool,
    /// Show what is complete, pending or damaged there, and copy nothing
    #[arg(long, conflicts_with = "dry_run")]
    pub status: bool,
    /// Copy at most so many bytes a second, such as 20MB
    #[arg(long, value_name = "RATE")]
    pub rate_limit: Option<String>,
    /// Workers that copy (default: auto)
    #[arg(long, value_name = "N")]
    pub jobs: Option<String>,
}

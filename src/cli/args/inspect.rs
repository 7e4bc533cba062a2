//! Arguments of `list` and `verify`.

use clap::Args;

use crate::repo::backup_id::BackupId;

/// Lists backups and what each can be restored to
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pgstow list
  pgstow list 20261121T020000Z-full
  pgstow list --runs
  pgstow list --json")]
pub struct ListArgs {
    /// Show this backup in full
    pub backup: Option<BackupId>,
    /// Show the runs of base and verify on this host, and how they ended
    #[arg(long, conflicts_with = "backup")]
    pub runs: bool,
}

/// Reads stored backups and WAL again and checks them
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pgstow verify
  pgstow verify 20261121T020000Z-full
  pgstow verify --all --wal")]
pub struct VerifyArgs {
    /// The backup to check (default: the newest)
    pub backup: Option<BackupId>,
    /// Check all backups
    #[arg(long, conflicts_with = "backup")]
    pub all: bool,
    /// Check the WAL too: what each file holds, and that none is missing
    #[arg(long)]
    pub wal: bool,
    /// Workers that read and check (default: auto)
    #[arg(long, value_name = "N")]
    pub jobs: Option<String>,
}

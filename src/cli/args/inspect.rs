//! Arguments of `list` and `verify`.

use clap::Args;

use crate::repo::{backup_id::BackupId, dump_name::Class};

/// Lists backups and what each can be restored to, or dumps
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pgstow list
  pgstow list 20261121T020000Z-full
  pgstow list --dumps
  pgstow list --runs
  pgstow list --json")]
pub struct ListArgs {
    /// Show this backup in full
    pub backup: Option<BackupId>,
    /// Show the runs of base, dump and others on this host, and how they ended
    #[arg(long, conflicts_with = "backup")]
    pub runs: bool,
    /// Show the dumps, and those that are being made
    #[arg(long, conflicts_with_all = ["backup", "runs"])]
    pub dumps: bool,
    /// Only dumps of this class: daily, weekly, monthly, yearly or manual
    #[arg(long, value_name = "CLASS", requires = "dumps")]
    pub class: Option<Class>,
    /// Only dumps of this database
    #[arg(long, value_name = "NAME", requires = "dumps")]
    pub database: Option<String>,
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

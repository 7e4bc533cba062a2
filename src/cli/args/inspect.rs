//! Arguments of `list` and `verify`.

use std::path::PathBuf;

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

/// Reads stored backups and WAL again and checks them, or restores dumps and checks what came of it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pgstow verify
  pgstow verify 20261121T020000Z-full
  pgstow verify --all --wal
  pgstow verify --all --wal --repair
  pgstow verify shop
  pgstow verify --dumps
  pgstow verify --from /mnt/usb/shop.dump")]
pub struct VerifyArgs {
    /// A backup; or a dump: its name, or a database, whose newest it is (default: the newest backup)
    #[arg(value_name = "BACKUP|DUMP")]
    pub what: Option<String>,
    /// Check all backups, and read all dumps; WAL only with --wal
    #[arg(long, conflicts_with = "what")]
    pub all: bool,
    /// Restore and check the newest dump of each database
    #[arg(long, conflicts_with_all = ["what", "all", "wal"])]
    pub dumps: bool,
    /// Restore and check a dump file (or pg_dump's folder) that need not be in a repository
    #[arg(long, value_name = "FILE", conflicts_with_all = ["what", "all", "wal", "dumps"])]
    pub from: Option<PathBuf>,
    /// Check the WAL too: what each file holds, and that none is missing
    #[arg(long)]
    pub wal: bool,
    /// Heal what is damaged or missing by what another repository has of the same
    #[arg(long, conflicts_with_all = ["dumps", "from"])]
    pub repair: bool,
    /// Workers that read and check, or restore a dump (default: auto)
    #[arg(long, value_name = "N")]
    pub jobs: Option<String>,
    /// PostgreSQL's programs, to restore dumps with (default: those that fit)
    #[arg(long, value_name = "DIR")]
    pub bindir: Option<String>,
}

//! Arguments of `base`.

use clap::Args;

use super::one_line;
use crate::repo::backup_id::BackupId;

/// Makes a base backup
///
/// The stored parts are read again and checked, and all WAL that the backup needs must have
/// arrived, before the backup counts.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pgstow base
  pgstow base --incremental
  pgstow base --checkpoint fast --annotate reason='before the upgrade'
  pgstow --repo-url /mnt/usb base --standalone
  pgstow base --finish 20261121T020000Z-full")]
pub struct BaseArgs {
    /// Make a full backup, whatever full_every says
    #[arg(long, conflicts_with = "incremental")]
    pub full: bool,
    /// Store what changed since the newest backup, whatever full_every says; a full backup is made
    /// where that can't be told
    #[arg(long)]
    pub incremental: bool,
    /// How files are read: local from the data directory, on the server's host; stream by the
    /// server's replication protocol; auto takes local where that can be done
    #[arg(long, value_parser = ["auto", "local", "stream"], default_value = "auto")]
    pub method: String,
    /// Put the WAL that the backup needs into it: for a server without archiving
    #[arg(long)]
    pub standalone: bool,
    /// Finish this pending backup, whose WAL came late, and make no new one
    #[arg(long, value_name = "ID", conflicts_with_all = ["full", "incremental", "standalone", "annotate", "label"])]
    pub finish: Option<BackupId>,
    /// Note something in the backup, for `pgstow list`; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = annotation)]
    pub annotate: Vec<(String, String)>,
    /// After a success, run `pgstow cleanup`
    #[arg(long)]
    pub cleanup: bool,
    /// Don't read the stored parts again to check them
    #[arg(long)]
    pub no_verify: bool,
    /// The checkpoint that a backup begins with: at once (fast), or spread over minutes to spare
    /// the server
    #[arg(long, value_name = "HOW", value_parser = ["fast", "spread"])]
    pub checkpoint: Option<String>,
    /// Copy at most so many bytes a second, such as 20MB (32kB to 1GB)
    #[arg(long, value_name = "RATE")]
    pub max_rate: Option<String>,
    /// Label of the backup, for PostgreSQL's backup_label
    #[arg(long, value_name = "TEXT", value_parser = one_line)]
    pub label: Option<String>,
    /// Workers that read and compress (default: auto)
    #[arg(long, value_name = "N")]
    pub jobs: Option<String>,
    /// Checksums of files in PostgreSQL's backup manifest
    #[arg(long, value_name = "ALGORITHM", value_parser = ["crc32c", "sha224", "sha256", "sha384", "sha512"])]
    pub manifest_checksums: Option<String>,
    /// How long to wait for the WAL that the backup needs, such as 10min
    #[arg(long, value_name = "TIME")]
    pub wal_timeout: Option<String>,
}

fn annotation(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((one_line(key)?, one_line(value)?)),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

//! Arguments of `cleanup`, `pin` and `unpin`.

use clap::Args;

use super::one_line;
use crate::repo::backup_id::BackupId;

/// Deletes backups and WAL that no rule of retention wants
///
/// What stays and what goes is told with the reason. Nothing goes in a repository that has no rule; the
/// first of the file has days = 7 where nothing else is set.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pgstow cleanup --dry-run
  pgstow cleanup
  pgstow --repo offsite cleanup
  pgstow cleanup --drop-pending 20261121T020000Z-full")]
pub struct CleanupArgs {
    /// Only say what would be deleted, and why
    #[arg(long)]
    pub dry_run: bool,
    /// Delete this pending backup too, whose WAL will never come
    #[arg(long, value_name = "ID")]
    pub drop_pending: Option<BackupId>,
    /// Delete also what a repository that sync fills (wal_mode = "sync") has not got yet
    #[arg(long)]
    pub force_unsynced: bool,
}

/// Keeps a backup, and what it builds on, whatever retention says
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pgstow pin 20261121T020000Z-full --reason 'before the upgrade'
  pgstow pin 20261121T020000Z-full --until 2027-12-31
  pgstow pin 20261121T020000Z-full --until '2027-12-31 18:00:00 Europe/Berlin'")]
pub struct PinArgs {
    /// The backup to keep
    pub backup: BackupId,
    /// Why, for whoever finds it, in at most 200 characters
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub reason: Option<String>,
    /// Until when (default: until it is unpinned): a day, which is over at its end, or a time; without a zone in that
    /// of this host
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}

/// Lets a pinned backup follow the rules of retention again
#[derive(Debug, Args)]
#[command(after_help = "Example:
  pgstow unpin 20261121T020000Z-full")]
pub struct UnpinArgs {
    /// The backup that was pinned
    pub backup: BackupId,
}

/// Longer ones would be in every line of `list` and `cleanup`.
const LONGEST_REASON: usize = 200;

fn reason(text: &str) -> Result<String, String> {
    let text = one_line(text)?;
    match text.chars().count() {
        0..=LONGEST_REASON => Ok(text),
        length => Err(format!(
            "it has {length} characters, more than {LONGEST_REASON}"
        )),
    }
}

//! Arguments of `archive-wal`, `restore-wal` and `receive-wal`.

use std::path::PathBuf;

use clap::Args;

use crate::postgres::{
    lsn::SystemId,
    wal_name::{Segment, WalName},
};

/// Stores one WAL file; for archive_command
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  archive_command = 'pgstow archive-wal %p'
  archive_command = '/usr/libexec/pgstow/archive-wal --cluster main %p'

Exits 0 when the file is stored durably. Every failure is 1, so that PostgreSQL tries again.")]
pub struct ArchiveWalArgs {
    /// The file, as %p gives it
    pub path: PathBuf,
    /// Its name, as %f gives it (default: that of PATH)
    pub name: Option<WalName>,
    /// Store the segments from PATH on that wait, in the background
    #[arg(long, hide = true)]
    pub ahead: bool,
    /// With --ahead, into this repository; may be repeated
    #[arg(long, hide = true, value_name = "NAME")]
    pub into: Vec<String>,
}

/// Streams WAL through a replication slot, for a recovery point of about zero
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pgstow receive-wal --create-slot
  pgstow receive-wal
  synchronous_standby_names = 'pgstow'     in postgresql.conf: no commit before it is received

Runs until it is stopped (SIGTERM), over restarts of the server. What it received is synced in
the state folder before the server hears of it; whole segments go into the repositories, with
receive_wal.live = \"10s\" in pgstow.toml the one in progress too, in pieces.")]
pub struct ReceiveWalArgs {
    /// The replication slot (default: receive_wal.slot, pgstow)
    #[arg(long, value_name = "NAME")]
    pub slot: Option<String>,
    /// Make the slot, unless it is there, and do nothing else
    #[arg(long)]
    pub create_slot: bool,
}

/// Fetches one WAL file; for restore_command
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  restore_command = 'pgstow restore-wal %f %p'

Exits 0 when the file is in place, 1 when it is certainly not in the archive and nothing follows
it, 126 for everything else: PostgreSQL takes 1 as the end of the archive.")]
pub struct RestoreWalArgs {
    /// The file's name, as %f gives it
    pub name: WalName,
    /// Where to put it, as %p gives it
    #[arg(value_name = "DEST")]
    pub destination: PathBuf,
    /// Whose WAL it is (default: that of global/pg_control in the current folder)
    #[arg(long, value_name = "ID")]
    pub system_id: Option<SystemId>,
    /// The last segment that is needed: one behind it may be absent
    #[arg(long, value_name = "SEGMENT")]
    pub last: Option<Segment>,
    /// Exit with 126 in a standby too when in doubt
    #[arg(long)]
    pub strict: bool,
    /// Look into no other repository for what the chosen one should have and can't give
    #[arg(long)]
    pub no_fallback: bool,
    /// Fetch the segments from NAME to that of --last into the folder DEST, in the background
    #[arg(long, hide = true, requires = "last", requires = "system_id")]
    pub prefetch: bool,
}

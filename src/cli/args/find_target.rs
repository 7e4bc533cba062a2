//! Arguments of `find-target`.

use clap::{ArgGroup, Args};

use super::restore::timeline;
use crate::domain::restore::target::TimelineWish;

/// Lists what happened around a time, by the archived WAL, to choose the moment to restore to
///
/// What was lost comes first: dropped and truncated tables, dropped databases, large deletes and
/// updates. Each line ends with the restore to just before it. A time needs a zone.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("when").required(true).args(["around", "since"]),
    after_help = "Examples:
  pgstow find-target --around '2026-11-21 14:30:00 Europe/Berlin'
  pgstow find-target --around '2026-11-21 14:30:00+00' --window 2h --table public.orders
  pgstow find-target --since '2026-11-21 00:00:00+00' --until '2026-11-21 06:00:00+00' --json
  pgstow find-target --since '2026-11-21 14:00:00+00' --xid 731"
)]
pub struct FindTargetArgs {
    /// Look around this time
    #[arg(long, value_name = "TIME")]
    pub around: Option<String>,
    /// How far before and behind it
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "15min",
        conflicts_with = "since"
    )]
    pub window: String,
    /// Look from this time on
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Up to this time (default: now)
    #[arg(long, value_name = "TIME", requires = "since")]
    pub until: Option<String>,
    /// Only transactions that touched this table, however little: table, schema.table or
    /// database.schema.table; and drops of tables that nobody knows the names of
    #[arg(long, value_name = "NAME")]
    pub table: Option<String>,
    /// Only this transaction
    #[arg(long, value_name = "XID", conflicts_with = "table")]
    pub xid: Option<u64>,
    /// Show every transaction
    #[arg(long)]
    pub all: bool,
    /// Show transactions that deleted or updated so many rows
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u64).range(1..))]
    pub min_rows: u64,
    /// Timeline to look along: latest, or a number (decimal, or hexadecimal with 0x)
    #[arg(long, value_name = "TIMELINE", value_parser = timeline, default_value = "latest")]
    pub timeline: TimelineWish,
    /// Segments that are read at once, two at least (default: auto)
    #[arg(long, value_name = "N")]
    pub jobs: Option<String>,
}

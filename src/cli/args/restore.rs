//! Arguments of `restore` and `restore-done`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use crate::{
    domain::restore::{
        tablespaces::{Move, Was},
        target::TimelineWish,
    },
    postgres::lsn::{Lsn, TimelineId},
};

/// Heads what brings a part of a backup back.
const PART: &str = "A lost table or database";

/// Restores a data directory to any moment
///
/// Plans first and says why a restore can't succeed before a byte is written. Without a target
/// it goes to the end of the archive. A time needs a zone: "2026-11-21 02:00:00+00".
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("target").args(["time", "target_time", "target_lsn", "target_xid",
        "target_name", "target_immediate"]),
    group = ArgGroup::new("part").args(["table", "database"]),
    group = ArgGroup::new("destination").args(["to_database", "to_file"]),
    group = ArgGroup::new("in_whole").multiple(true).args(["data_dir", "replace", "delta", "tablespace", "standby",
        "archive", "offline", "prove"]),
    after_help = "Examples:
  pgstow restore
  pgstow restore --target-time '2026-11-21 02:00:00+00' --plan
  pgstow restore 20261121T020000Z-full '2026-11-21 09:30:00 Europe/Berlin'
  pgstow restore --target-lsn 0/3000148 --data-dir /var/lib/postgresql/restored
  pgstow restore --standby --replace
  pgstow restore --delta --plan
  pgstow restore '2026-11-21 14:28:00+00' --table shop.public.orders -d shop
  pgstow restore '2026-11-21 14:28:00+00' --table shop.public.orders -d shop --to-schema before
  pgstow restore '2026-11-21 14:28:00+00' --database shop --to-file shop.sql"
)]
pub struct RestoreArgs {
    /// The backup to begin with (default: the newest before the target)
    pub backup: Option<String>,
    /// Short for --target-time
    pub time: Option<String>,
    /// Restore to this time, with its zone
    #[arg(long, value_name = "TIME")]
    pub target_time: Option<String>,
    /// Restore to this position in the WAL
    #[arg(long, value_name = "LSN")]
    pub target_lsn: Option<Lsn>,
    /// Restore to the commit of this transaction
    #[arg(long, value_name = "XID")]
    pub target_xid: Option<u64>,
    /// Restore to this restore point (pg_create_restore_point)
    #[arg(long, value_name = "NAME")]
    pub target_name: Option<String>,
    /// Restore to the end of the backup: the earliest moment that it can be used at
    #[arg(long)]
    pub target_immediate: bool,
    /// Stop just before the target, not just after it
    #[arg(long, conflicts_with_all = ["target_name", "target_immediate"])]
    pub target_exclusive: bool,
    /// Timeline to follow: latest, current (the backup's), or a number (decimal, or hexadecimal
    /// with 0x)
    #[arg(long, value_name = "TIMELINE", value_parser = timeline, default_value = "latest")]
    pub target_timeline: TimelineWish,
    /// What the server does at the target: promote takes writes from then on
    #[arg(long, value_name = "ACTION", value_parser = ["pause", "promote", "shutdown"], default_value = "promote")]
    pub target_action: String,
    /// Where to restore to (default: the cluster's data directory)
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Rename a data directory that is in the way, instead of refusing
    #[arg(long)]
    pub replace: bool,
    /// Use what is there again: only what differs is fetched and written, extra files are removed
    #[arg(long, conflicts_with = "replace")]
    pub delta: bool,
    /// With --delta: don't read files whose size and time are those of the backup
    #[arg(long, requires = "delta")]
    pub trust_times: bool,
    /// With --delta: also where it can't be told that the folders are this cluster's
    #[arg(long, requires = "delta")]
    pub force: bool,
    /// Put a tablespace, named by its oid or old folder, elsewhere; may be repeated
    #[arg(long, value_name = "OID=DIR", value_parser = tablespace)]
    pub tablespace: Vec<Move>,
    /// Make a standby, which goes on following the archive
    #[arg(long, conflicts_with_all = ["target", "target_exclusive"])]
    pub standby: bool,
    /// Bring back only these tables, views or sequences, separated by commas, or all of a schema (`*`), beside what is there; needs --to-database or --to-file
    #[arg(
        long,
        value_name = "DATABASE.SCHEMA.TABLE",
        help_heading = PART,
        requires = "destination",
        conflicts_with_all = ["database", "in_whole"]
    )]
    pub table: Vec<String>,
    /// Bring back only this database, beside what is there
    #[arg(
        long,
        value_name = "NAME",
        help_heading = PART,
        requires = "destination",
        conflicts_with = "in_whole"
    )]
    pub database: Option<String>,
    /// Load it into this database of the living server, which is made if it is not there
    #[arg(short = 'd', long, value_name = "NAME", help_heading = PART, requires = "part")]
    pub to_database: Option<String>,
    /// Put the tables into this schema, which must not be there yet
    #[arg(long, value_name = "NAME", help_heading = PART, requires = "table", conflicts_with = "database")]
    pub to_schema: Option<String>,
    /// Write it as SQL to this new file
    #[arg(long, value_name = "FILE", help_heading = PART, requires = "part")]
    pub to_file: Option<PathBuf>,
    /// Leave out owners and rights
    #[arg(long, help_heading = PART, requires = "part", conflicts_with = "to_file")]
    pub no_owner: bool,
    /// Restore into a folder in this one for that (default: drill.scratch, else below the state folder)
    #[arg(long, value_name = "DIR", help_heading = PART, requires = "part")]
    pub scratch: Option<PathBuf>,
    /// Whether the restored server archives (default: only in the cluster's own place)
    #[arg(long, value_name = "ON_OFF", value_parser = ["on", "off"])]
    pub archive: Option<String>,
    /// The restored server can't reach the repository: use the WAL in the backup alone
    #[arg(long, conflicts_with = "prove")]
    pub offline: bool,
    /// Only show what would be done, and whether it can succeed
    #[arg(long)]
    pub plan: bool,
    /// Before anything is written, look in the archived WAL whether the target is there
    #[arg(long)]
    pub prove: bool,
    /// Workers that unpack (default: auto)
    #[arg(long, value_name = "N")]
    pub jobs: Option<String>,
    /// Folder of PostgreSQL's programs (default: those of the backup's version on this host)
    #[arg(long, value_name = "DIR")]
    pub bindir: Option<String>,
}

impl RestoreArgs {
    /// Whether single tables or a database are wanted.
    pub fn is_of_a_part(&self) -> bool {
        self.database.is_some() || !self.table.is_empty()
    }
}

/// Removes what restore wrote; for recovery_end_command
#[derive(Debug, Args)]
#[command(after_help = "Example:
  recovery_end_command = 'pgstow restore-done'     # as restore writes it")]
pub struct RestoreDoneArgs {}

/// PostgreSQL reads recovery_target_timeline as C does: decimal, or hexadecimal with `0x`.
pub(super) fn timeline(text: &str) -> Result<TimelineWish, String> {
    let number = match text {
        "latest" => return Ok(TimelineWish::Latest),
        "current" => return Ok(TimelineWish::Current),
        text => match text.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => text.parse(),
        },
    };
    number
        .ok()
        .and_then(TimelineId::new)
        .map(TimelineWish::Number)
        .ok_or_else(|| "write latest, current, or a timeline's number such as 2 or 0x2".to_owned())
}

/// `OID=DIR` or `OLD=NEW`; `\=` is a `=` in the old folder's name, as in pg_basebackup.
fn tablespace(text: &str) -> Result<Move, String> {
    let wrong = || "write OID=DIR or OLD=NEW, with absolute folders".to_owned();
    let at = text
        .match_indices('=')
        .map(|(at, _)| at)
        .find(|at| !text[..*at].ends_with('\\'))
        .ok_or_else(wrong)?;
    let (was, to) = (text[..at].replace("\\=", "="), &text[at + 1..]);
    let was = match was.parse() {
        Ok(oid) => Was::Oid(oid),
        Err(_) if was.starts_with('/') => Was::At(was.into()),
        Err(_) => return Err(wrong()),
    };
    let to = to.replace("\\=", "=");
    match to.starts_with('/') {
        true => Ok(Move { was, to: to.into() }),
        false => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timelines() {
        let number = |n| TimelineId::new(n).map(TimelineWish::Number);
        for (text, expected) in [
            ("latest", Some(TimelineWish::Latest)),
            ("current", Some(TimelineWish::Current)),
            ("11", number(11)),
            ("0x11", number(17)),
            ("0", None),
            ("", None),
            ("newest", None),
        ] {
            assert_eq!(timeline(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn tablespaces() {
        let made = |was, to: &str| Some(Move { was, to: to.into() });
        for (text, expected) in [
            ("16384=/new", made(Was::Oid(16384), "/new")),
            ("/old=/new", made(Was::At("/old".into()), "/new")),
            ("/o\\=ld=/n\\=w", made(Was::At("/o=ld".into()), "/n=w")),
            ("/old", None),
            ("old=/new", None),
            ("1=new", None),
        ] {
            assert_eq!(tablespace(text).ok(), expected, "{text}");
        }
    }
}

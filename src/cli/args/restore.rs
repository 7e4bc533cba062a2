//! Arguments of `restore` and `restore-done`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use crate::{
    commands::options::{TablespaceMove, TablespaceWas, TargetTimeline},
    postgres::lsn::{Lsn, TimelineId},
};

/// Restores a data directory to any moment
///
/// Plans first and says why a restore can't succeed before a byte is written. Without a target
/// it goes to the end of the archive. A time needs a zone: "2026-11-21 02:00:00+00".
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("target").args(["time", "target_time", "target_lsn", "target_xid",
        "target_name", "target_immediate"]),
    after_help = "Examples:
  pgstow restore
  pgstow restore --target-time '2026-11-21 02:00:00+00' --plan
  pgstow restore 20261121T020000Z-full '2026-11-21 09:30:00 Europe/Berlin'
  pgstow restore --target-lsn 0/3000148 --data-dir /var/lib/postgresql/restored
  pgstow restore --standby --replace"
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
    /// Restore to the end of the backup
    #[arg(long)]
    pub target_immediate: bool,
    /// Stop just before the target
    #[arg(long, conflicts_with_all = ["target_name", "target_immediate"])]
    pub target_exclusive: bool,
    /// latest, current, or a number (decimal, or hexadecimal with 0x)
    #[arg(long, value_name = "TIMELINE", value_parser = timeline, default_value = "latest")]
    pub target_timeline: TargetTimeline,
    /// What the server does at the target
    #[arg(long, value_parser = ["pause", "promote", "shutdown"], default_value = "promote")]
    pub target_action: String,
    /// Where to restore to (default: the cluster's data directory)
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Rename what is there, instead of refusing
    #[arg(long)]
    pub replace: bool,
    /// Put a tablespace, named by its oid or old folder, elsewhere; may be repeated
    #[arg(long, value_name = "OID=DIR", value_parser = tablespace)]
    pub tablespace: Vec<TablespaceMove>,
    /// Make a standby
    #[arg(long, conflicts_with_all = ["target", "target_exclusive"])]
    pub standby: bool,
    /// Whether the restored server archives (default: only in the cluster's own place)
    #[arg(long, value_parser = ["on", "off"])]
    pub archive: Option<String>,
    /// The restored server can't reach the repository: use the WAL in the backup alone
    #[arg(long, conflicts_with = "prove")]
    pub offline: bool,
    /// Only show what would be done
    #[arg(long)]
    pub plan: bool,
    /// Look for the target in the WAL first
    #[arg(long)]
    pub prove: bool,
    /// Workers that unpack (default: auto)
    #[arg(long, value_name = "N")]
    pub jobs: Option<String>,
    /// Folder of PostgreSQL's programs
    #[arg(long, value_name = "DIR")]
    pub bindir: Option<String>,
}

/// Removes what restore wrote; for recovery_end_command
#[derive(Debug, Args)]
#[command(after_help = "Example:
  recovery_end_command = 'pgstow restore-done'     # as restore writes it")]
pub struct RestoreDoneArgs {}

/// PostgreSQL reads recovery_target_timeline as C does: decimal, or hexadecimal with `0x`.
fn timeline(text: &str) -> Result<TargetTimeline, String> {
    let number = match text {
        "latest" => return Ok(TargetTimeline::Latest),
        "current" => return Ok(TargetTimeline::Current),
        text => match text.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => text.parse(),
        },
    };
    number
        .ok()
        .and_then(TimelineId::new)
        .map(TargetTimeline::Number)
        .ok_or_else(|| "write latest, current, or a timeline's number such as 2 or 0x2".to_owned())
}

/// `OID=DIR` or `OLD=NEW`; `\=` is a `=` in the old folder's name, as in pg_basebackup.
fn tablespace(text: &str) -> Result<TablespaceMove, String> {
    let wrong = || "write OID=DIR or OLD=NEW, with absolute folders".to_owned();
    let at = text
        .match_indices('=')
        .map(|(at, _)| at)
        .find(|at| !text[..*at].ends_with('\\'))
        .ok_or_else(wrong)?;
    let (was, to) = (text[..at].replace("\\=", "="), &text[at + 1..]);
    let was = match was.parse() {
        Ok(oid) => TablespaceWas::Oid(oid),
        Err(_) if was.starts_with('/') => TablespaceWas::At(was.into()),
        Err(_) => return Err(wrong()),
    };
    let to = to.replace("\\=", "=");
    match to.starts_with('/') {
        true => Ok(TablespaceMove { was, to: to.into() }),
        false => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timelines() {
        let number = |n| TimelineId::new(n).map(TargetTimeline::Number);
        for (text, expected) in [
            ("latest", Some(TargetTimeline::Latest)),
            ("current", Some(TargetTimeline::Current)),
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
        let made = |was, to: &str| Some(TablespaceMove { was, to: to.into() });
        for (text, expected) in [
            ("16384=/new", made(TablespaceWas::Oid(16384), "/new")),
            ("/old=/new", made(TablespaceWas::At("/old".into()), "/new")),
            (
                "/o\\=ld=/n\\=w",
                made(TablespaceWas::At("/o=ld".into()), "/n=w"),
            ),
            ("/old", None),
            ("old=/new", None),
            ("1=new", None),
        ] {
            assert_eq!(tablespace(text).ok(), expected, "{text}");
        }
    }
}

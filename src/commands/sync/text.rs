//! What `sync` says to people.

use std::io::{self, Write};

use super::{
    super::{
        report::{Outcome, Report, found},
        table::{Align, Table},
    },
    CopiedInto, StatusOf, SyncReport,
};
use crate::{
    domain::{
        monitor::runs::Told,
        sync::status::{Group, Status, Where},
    },
    error::Error,
    repo::verified_wal::WalRange,
    util::{clock::readable, units},
};

impl Report for SyncReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            SyncReport::Status(all) => {
                for (number, status) in all.iter().enumerate() {
                    if number > 0 {
                        writeln!(out)?;
                    }
                    match status {
                        StatusOf::Known(status) => write_status(status, out)?,
                        StatusOf::Failed {
                            target,
                            error,
                            hint,
                        } => write_failed(target, error, hint.as_deref(), out)?,
                    }
                }
            }
            SyncReport::Copied(all) => {
                for one in all {
                    write_copied(one, out)?;
                }
            }
        }
        Ok(())
    }

    fn outcome(&self) -> Outcome {
        match self {
            SyncReport::Status(all) => {
                let failed = |one: &StatusOf| matches!(one, StatusOf::Failed { .. });
                let damaged =
                    |one: &StatusOf| matches!(one, StatusOf::Known(one) if one.has_damage());
                match (all.iter().any(failed), all.iter().any(damaged)) {
                    (true, _) => Outcome::Failed,
                    (_, true) => Outcome::Findings,
                    _ => Outcome::Done,
                }
            }
            SyncReport::Copied(all) if all.iter().any(|one| one.error.is_some()) => Outcome::Failed,
            SyncReport::Copied(all) if all.iter().any(CopiedInto::has_findings) => {
                Outcome::Findings
            }
            SyncReport::Copied(_) => Outcome::Done,
        }
    }

    fn failure(&self) -> Option<Error> {
        let SyncReport::Copied(all) = self else {
            return None;
        };
        let failed = all.iter().find_map(|one| {
            let error = one.error.as_ref()?;
            Some(Error::failed(format!("{}: {error}", one.repository)))
        });
        let findings = all.iter().flat_map(|one| &one.copied.findings);
        let findings =
            findings.map(|one| format!("{} in {}: {}", one.object, one.repository, one.what));
        failed.or_else(|| found(findings))
    }

    fn told(&self) -> Told {
        Told {
            bytes: match self {
                SyncReport::Copied(all) => Some(all.iter().map(|one| one.copied.bytes).sum()),
                SyncReport::Status(_) => None,
            },
            ..Told::default()
        }
    }

    fn is_good_news(&self) -> bool {
        matches!(self, SyncReport::Copied(_)) && self.outcome() == Outcome::Done
    }
}

impl CopiedInto {
    fn has_findings(&self) -> bool {
        !self.copied.findings.is_empty() || self.copied.more_findings > 0
    }
}

fn write_copied(one: &CopiedInto, out: &mut dyn Write) -> io::Result<()> {
    let (name, from) = (&one.repository, one.sources.join(", "));
    if let Some(why) = &one.skipped {
        return writeln!(out, "repository {name}: left alone, {why}");
    }
    let copied = &one.copied;
    let what = [
        (copied.backups.len() as u64, "backup"),
        (copied.wal.objects, "WAL file"),
        (copied.dumps.len() as u64, "dump"),
        (copied.pins, "pin"),
    ];
    let what = what.into_iter().filter(|(count, _)| *count > 0);
    let what: Vec<String> = what
        .map(|(count, noun)| units::count(count, noun))
        .collect();
    let did = if one.dry_run {
        "would be copied"
    } else {
        "copied"
    };
    match (what.is_empty(), &one.error) {
        (true, None) if one.has_findings() => writeln!(out, "repository {name}: nothing {did}")?,
        (true, None) => writeln!(out, "repository {name} has all that there is in {from}")?,
        (true, Some(_)) => {}
        (false, _) => writeln!(
            out,
            "repository {name}: {} {did} from {from}, {}",
            what.join(", "),
            units::bytes(copied.bytes)
        )?,
    }
    for backup in &copied.backups {
        writeln!(
            out,
            "  backup {}, {}",
            backup.id,
            units::bytes(backup.bytes)
        )?;
    }
    for dump in &copied.dumps {
        writeln!(out, "  dump {}, {}", dump.name, units::bytes(dump.bytes))?;
    }
    for why in &copied.postponed {
        writeln!(out, "  left for the next run: {why}")?;
    }
    for finding in &copied.findings {
        let (object, place) = (&finding.object, &finding.repository);
        writeln!(
            out,
            "  NOT COPIED: {object} (repository {place}): {}",
            finding.what
        )?;
        if let Some(hint) = &finding.hint {
            writeln!(out, "    {hint}")?;
        }
    }
    if copied.more_findings > 0 {
        writeln!(out, "  and {} more", copied.more_findings)?;
    }
    match &one.error {
        Some(error) => write_failed(name, error, one.hint.as_deref(), out),
        None => Ok(()),
    }
}

fn write_failed(
    name: &str,
    error: &str,
    hint: Option<&str>,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out, "repository {name}: FAILED: {error}")?;
    match hint {
        Some(hint) => writeln!(out, "    {hint}"),
        None => Ok(()),
    }
}

fn write_status(status: &Status, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "repository {}, filled from {}",
        status.target, status.source
    )?;
    let columns = [
        ("", Align::Left),
        ("", Align::Left),
        ("SIZE", Align::Right),
        ("SINCE", Align::Left),
        ("", Align::Left),
    ];
    let mut table = Table::new(&columns);
    for group in &status.backups {
        table.row(row(group, "backup"));
    }
    for wal in &status.wal {
        let about = |is: Where, bytes: u64, what: String| {
            let since = wal.since.filter(|_| is == Where::Pending);
            [
                format!("WAL of timeline {}", wal.timeline),
                word(is).to_owned(),
                units::bytes(bytes),
                since.map_or(String::new(), readable),
                what,
            ]
        };
        let segments = |count| units::count(count, "segment");
        if wal.complete.objects > 0 || wal.pending.objects == 0 {
            let complete = wal.complete;
            table.row(about(
                Where::Complete,
                complete.bytes,
                segments(complete.objects),
            ));
        }
        if let (Some(first), Some(last)) = (wal.first_pending, wal.last_pending) {
            let what = format!("{}, {first} to {last}", segments(wal.pending.objects));
            table.row(about(Where::Pending, wal.pending.bytes, what));
        }
        for WalRange { first, last } in &wal.damaged {
            table.row(about(Where::Damaged, 0, format!("{first} to {last}")));
        }
    }
    for group in &status.dumps {
        table.row(row(group, "dump"));
    }
    match table.is_empty() {
        true => writeln!(out, "  there is nothing in either"),
        false => table.write(out),
    }
}

fn row<N: ToString>(group: &Group<N>, kind: &str) -> [String; 5] {
    [
        format!("{kind} {}", group.name.to_string()),
        word(group.is).to_owned(),
        units::bytes(group.bytes),
        group.since.map_or(String::new(), readable),
        group.what.clone().unwrap_or_default(),
    ]
}

fn word(is: Where) -> &'static str {
    match is {
        Where::Complete => "complete",
        Where::Pending => "pending",
        Where::Copying => "being copied",
        Where::Damaged => "DAMAGED",
        Where::Expired => "deleted there",
    }
}

//! `pgstow verify`: re-reads what is stored and says what is damaged, and what that means.

use std::io;

use serde::Serialize;

use super::{
    context::Context,
    options::VerifyOptions,
    report::{Outcome, Report},
};
use crate::{
    domain::{
        backup::verify::{self, Finding},
        wal::verify::{self as wal, WalChecked},
    },
    error::{Error, Kind, Result},
    repo::{
        backup_id::BackupId,
        catalog::{Backup, Entry, State},
        layout::BackupObject,
        repository::Repository,
    },
    util::units,
};

#[derive(Debug, Serialize)]
pub struct VerifyReport {
    repository: String,
    backups: Vec<CheckedBackup>,
    /// One for each system whose WAL was read.
    wal: Vec<CheckedWal>,
}

#[derive(Debug, Serialize)]
struct CheckedBackup {
    backup: BackupId,
    stored_bytes: u64,
    files: u64,
    findings: Vec<Finding>,
}

#[derive(Debug, Serialize)]
struct CheckedWal {
    system_id: crate::postgres::lsn::SystemId,
    #[serde(flatten)]
    checked: WalChecked,
    /// Backups that can't be restored to all that came after them.
    affected: Vec<String>,
}

pub fn run(context: &Context, options: VerifyOptions) -> Result<VerifyReport> {
    let repository = context.repository()?;
    let mut report = VerifyReport {
        repository: repository.location().to_string(),
        backups: Vec::new(),
        wal: Vec::new(),
    };
    for Entry { id, state } in chosen(&repository, &options)? {
        let checked = match state {
            State::Complete(backup) | State::Pending(backup) => CheckedBackup {
                backup: id,
                stored_bytes: backup.stored_bytes,
                files: backup.files,
                findings: verify::verify(
                    &repository,
                    &backup,
                    options.jobs,
                    &context.meter,
                    &context.cancel,
                )?,
            },
            State::Unreadable(problem) => unreadable(&repository, id, problem),
            State::Unfinished(_) => continue,
        };
        report.backups.push(checked);
    }
    if options.wal || options.all {
        let all = complete(&repository)?;
        for system in repository.systems()? {
            let checked = wal::verify(
                &repository,
                &system,
                options.jobs,
                &context.cancel,
                &context.meter,
            )?;
            let affected = all
                .iter()
                .filter(|backup| backup.system_id == system.system_id)
                .filter_map(|backup| consequence(backup, &checked))
                .collect();
            report.wal.push(CheckedWal {
                system_id: system.system_id,
                checked,
                affected,
            });
        }
    }
    Ok(report)
}

/// Without its description nothing else of a backup can be judged.
fn unreadable(repository: &Repository, id: BackupId, problem: String) -> CheckedBackup {
    let name = repository.layout().backup_object(&id, BackupObject::Backup);
    CheckedBackup {
        backup: id,
        stored_bytes: 0,
        files: 0,
        findings: vec![Finding {
            object: repository.storage().place(&name),
            file: None,
            problem,
        }],
    }
}

fn complete(repository: &Repository) -> Result<Vec<Backup>> {
    let entries = repository.backups()?.into_iter();
    Ok(entries
        .filter_map(|entry| match entry.state {
            State::Complete(backup) => Some(*backup),
            State::Pending(_) | State::Unfinished(_) | State::Unreadable(_) => None,
        })
        .collect())
}

fn chosen(repository: &Repository, options: &VerifyOptions) -> Result<Vec<Entry>> {
    let mut entries = repository.backups()?;
    if let Some(id) = options.backup {
        entries.retain(|entry| entry.id == id && !matches!(entry.state, State::Unfinished(_)));
        if entries.is_empty() {
            return Err(Error::new(
                Kind::NotFound,
                format!("there is no backup {id} in {}", repository.location()),
            )
            .hint("`pgstow list` shows all backups."));
        }
        return Ok(entries);
    }
    let counts = |state: &State| matches!(state, State::Complete(_) | State::Unreadable(_));
    entries.retain(|entry| counts(&entry.state));
    if !options.all {
        // The newest one; `--wal` alone reads WAL alone.
        entries = match options.wal {
            true => Vec::new(),
            false => entries.pop().into_iter().collect(),
        };
    }
    if entries.is_empty() && !options.wal {
        return Err(Error::failed(format!(
            "there is no backup to verify in {}",
            repository.location()
        ))
        .hint("take one with `pgstow base`."));
    }
    Ok(entries)
}

/// What the first damage behind a backup means for its restores.
fn consequence(backup: &Backup, checked: &WalChecked) -> Option<String> {
    if backup.standalone {
        return None;
    }
    let needed = backup.needed_segments();
    let lost = checked.findings.iter().filter_map(|finding| finding.lost);
    let first = lost
        .filter(|lost| lost.timeline >= backup.timeline && lost.last >= *needed.start())
        .min_by_key(|lost| (lost.timeline, lost.first))?;
    let id = backup.id;
    let name = first.describe(backup.segment_size);
    Some(
        if first.timeline == backup.timeline && first.first <= *needed.end() {
            format!("{id} can't be restored at all: it needs {name}")
        } else {
            format!("{id} can be restored to any moment before {name}, and to none after it")
        },
    )
}

impl VerifyReport {
    fn findings(&self) -> usize {
        let backups = self.backups.iter().map(|checked| checked.findings.len());
        backups
            .chain(self.wal.iter().map(|wal| wal.checked.findings.len()))
            .sum()
    }
}

impl Report for VerifyReport {
    fn text(&self, out: &mut dyn io::Write) -> io::Result<()> {
        for CheckedBackup {
            backup,
            stored_bytes,
            files,
            findings,
        } in &self.backups
        {
            let stored = units::bytes(*stored_bytes);
            if findings.is_empty() {
                writeln!(out, "{backup}: all right ({files} files, {stored} stored)")?;
                continue;
            }
            writeln!(out, "{backup}: DAMAGED, {} findings", findings.len())?;
            for Finding {
                object,
                file,
                problem,
            } in findings
            {
                match file {
                    Some(file) => writeln!(out, "  {file}: {problem} (in {object})")?,
                    None => writeln!(out, "  {object}: {problem}")?,
                }
            }
            writeln!(
                out,
                "  A restore of this backup would stop at the damage. Restore from another one, and take a new full backup now."
            )?;
        }
        for CheckedWal {
            system_id,
            checked,
            affected,
        } in &self.wal
        {
            let stored = units::bytes(checked.bytes);
            if checked.findings.is_empty() {
                writeln!(
                    out,
                    "WAL of system {system_id}: all right ({} files, {stored} stored)",
                    checked.objects
                )?;
                continue;
            }
            writeln!(
                out,
                "WAL of system {system_id}: DAMAGED, {} findings",
                checked.findings.len()
            )?;
            for finding in &checked.findings {
                writeln!(out, "  {}: {}", finding.object, finding.what)?;
            }
            if checked.more > 0 {
                writeln!(out, "  and {} more", checked.more)?;
            }
            for affected in affected {
                writeln!(out, "  {affected}")?;
            }
        }
        Ok(())
    }

    fn outcome(&self) -> Outcome {
        if self.findings() == 0 {
            Outcome::Done
        } else {
            Outcome::Findings
        }
    }
}

//! `pgstow verify`: re-reads what is stored and says what is damaged, and what that means.

pub mod dumps;
mod keep;
mod minimal;
mod repair;
mod stored_dumps;
mod text;
mod wal;

use std::{collections::BTreeSet, path::Path};

use serde::Serialize;
use tracing::warn;

use self::{
    repair::Healer,
    stored_dumps::{ReadDump, ReadDumps},
    wal::CheckedWal,
};
use super::{
    context::Context,
    options::{Settings, VerifyOptions},
};
use crate::{
    domain::{
        backup::{
            extra, needed,
            verify::{self, Finding},
        },
        sync::repair::Repair,
    },
    error::{Error, Kind, Result},
    repo::{
        backup::Backup,
        backup_id::BackupId,
        catalog::{Entry, State},
        layout::{BackupObject, ObjectName},
        repository::Repository,
        verified::{Verified as Words, VerifiedBackup, VerifiedDump},
    },
};

#[derive(Debug, Serialize)]
pub struct VerifyReport {
    repository: String,
    backups: Vec<CheckedBackup>,
    /// One for each system whose WAL was read.
    wal: Vec<CheckedWal>,
    /// What belongs to no backup and to no system's WAL.
    strays: Vec<Stray>,
    /// With `--all`: of all that are there the data was read.
    dumps: Vec<ReadDump>,
    /// With `--repair`: what was healed, and what could not be. The findings are those that are left.
    repairs: Vec<Repair>,
    /// How to heal what is damaged, where another repository may have it and that was not tried.
    #[serde(skip)]
    mending: Option<String>,
}

/// What a run verified.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Verified {
    Backups(VerifyReport),
    Dumps(dumps::VerifyDumpsReport),
}

#[derive(Debug, Serialize)]
struct Stray {
    object: String,
    what: String,
}

#[derive(Debug, Serialize)]
struct CheckedBackup {
    backup: BackupId,
    /// What an incremental one builds on; it was read, too.
    parent: Option<BackupId>,
    stored_bytes: u64,
    files: u64,
    /// Pages that were damaged before the backup was taken.
    page_failures: usize,
    /// Whether a restore can do without what is damaged.
    restorable: bool,
    findings: Vec<Finding>,
    /// Why only the hashes of what is stored were checked; null: all was.
    sealed: Option<String>,
    /// It, or what it builds on, could not be judged: no word on it is kept.
    #[serde(skip)]
    unjudged: bool,
}

pub fn run(context: &Context, options: VerifyOptions) -> Result<VerifyReport> {
    let repository = context.repository()?;
    let keys = repository.keys();
    // Who set one wants it to be used.
    if keys.can_decrypt()
        && let Err(error) = keys.check_identity()
    {
        warn!("what is encrypted is not checked: {}", error.in_one_line());
    }
    let mut report = VerifyReport {
        repository: repository.location().to_string(),
        backups: Vec::new(),
        wal: Vec::new(),
        strays: Vec::new(),
        dumps: Vec::new(),
        repairs: Vec::new(),
        mending: mending(&context.settings, options.repair_from.is_some())?,
    };
    let healer = options.repair_from.as_ref().map(|others| Healer {
        context,
        repository: &repository,
        others,
        jobs: options.jobs,
    });
    if let Some(healer) = &healer {
        let is_asked = |id| match options.backup {
            Some(named) => id == named,
            None => options.all || !options.wal,
        };
        // Without it nothing else of a system can be healed.
        let of_systems = healer.systems()?;
        report.repairs = healer.lost(is_asked, options.all)?;
        let left = report.repairs.iter().filter(|one| !one.is_done());
        report.strays = left
            .map(|one| Stray {
                object: one.object.clone(),
                what: "it has lost its description, and restores don't use it".to_owned(),
            })
            .collect();
        report.repairs.splice(..0, of_systems);
    }
    let entries = chosen(&repository, &options)?;
    report.backups = check_all(context, &repository, &options, entries.clone())?;
    let mut healed = BTreeSet::new();
    if let Some(healer) = &healer {
        let bad = report.backups.iter().filter(|one| !one.findings.is_empty());
        let bad: BTreeSet<BackupId> = bad.map(|one| one.backup).collect();
        let repairs = healer.backups(&entries, &bad)?;
        let has_healed = repair::has_healed(&repairs);
        report.repairs.extend(repairs);
        if has_healed {
            let mut entries = repository.backups()?;
            entries.retain(|entry| bad.contains(&entry.id));
            let again = check_all(context, &repository, &options, entries)?;
            let whole = again.iter().filter(|one| one.findings.is_empty());
            healed.extend(whole.map(|one| one.backup));
            report.backups.retain(|one| !bad.contains(&one.backup));
            report.backups.extend(again);
            report.backups.sort_by_key(|one| one.backup);
        }
    }
    judge_chains(&mut report.backups);
    for checked in &report.backups {
        let of_healed = checked
            .parent
            .is_some_and(|parent| healed.contains(&parent));
        if of_healed && checked.findings.is_empty() {
            healed.insert(checked.backup);
        }
    }
    let of_dumps = match options.all {
        true => {
            let repairs = &mut report.repairs;
            stored_dumps::read_and_heal(context, &repository, healer.as_ref(), repairs)
        }
        false => Ok(ReadDumps::default()),
    };
    // What was found of backups counts whatever became of that.
    let words = of_dumps.as_ref().map_or(&[][..], |read| &read.words);
    keep_results(&repository, &report.backups, &healed, words.to_vec());
    report.dumps = of_dumps?.dumps;
    if options.wal {
        let all = complete(&repository)?;
        // That others can't be read is a finding of its own.
        for system in repository.registrations()?.0 {
            let own = all.iter().filter(|one| one.system_id == system.system_id);
            let check = |own| wal::check(context, &repository, &system, own, options.jobs);
            let own: Vec<Backup> = own.cloned().collect();
            let mut checked = check(own.clone())?;
            if let Some(healer) = &healer {
                let repairs = healer.wal(&system, &checked)?;
                if repair::has_healed(&repairs) {
                    wal::settle(&repository, &system, &checked, &repairs)?;
                    checked = check(own)?;
                }
                report.repairs.extend(repairs);
            }
            report.wal.push(checked);
        }
    }
    if options.wal || options.all {
        let entries = repository.backups()?;
        let lost = repository.unregistered(&entries)?;
        report.wal.extend(lost.into_iter().map(wal::unregistered));
        let stray = |what: &'static str| {
            let storage = repository.storage();
            move |name: ObjectName| Stray {
                object: storage.place(&name),
                what: format!("{what}; restores don't use it"),
            }
        };
        if options.wal {
            let wal = repository.strays_in_wal()?.into_iter();
            report.strays.extend(wal.map(stray("is no system's WAL")));
        }
        if options.all {
            let base = repository.strays_in_base(&entries)?.into_iter();
            report.strays.extend(base.map(stray("is no backup")));
        }
    }
    Ok(report)
}

fn mending(settings: &Settings, is_tried: bool) -> Result<Option<String>> {
    let has_others = settings.named.len() > 1 && !is_tried;
    let own = &settings.repo()?.name;
    Ok(has_others.then(|| format!("pgstow --repo {own} verify --all --wal --repair")))
}

fn check_all(
    context: &Context,
    repository: &Repository,
    options: &VerifyOptions,
    entries: Vec<Entry>,
) -> Result<Vec<CheckedBackup>> {
    let mut all = Vec::new();
    for Entry { id, state } in entries {
        all.push(match state {
            State::Complete(backup) | State::Damaged(backup, _) | State::Pending(backup) => {
                check(context, repository, options, *backup)?
            }
            State::Unreadable(found) => unreadable(repository, id, found.why),
            State::Unfinished(_) => continue,
        });
    }
    Ok(all)
}

/// What was found of backups is stored beside them: a damaged one no longer counts. A repository that
/// can't be written can be verified all the same.
fn keep_results(
    repository: &Repository,
    backups: &[CheckedBackup],
    healed: &BTreeSet<BackupId>,
    dumps: Vec<VerifiedDump>,
) {
    let judged = backups.iter().filter(|checked| !checked.unjudged);
    let words = judged.map(|checked| VerifiedBackup {
        backup: checked.backup,
        restorable: checked.restorable,
        findings: checked.findings.len() as u64,
        sealed: checked.sealed.is_some(),
        healed: healed.contains(&checked.backup),
    });
    let words = Words {
        backups: words.collect(),
        dumps,
        ..Words::now()
    };
    if !words.backups.is_empty() || !words.dumps.is_empty() {
        keep::keep(repository, &words);
    }
}

/// An incremental backup is as good as what it builds on, whose ids are older.
fn judge_chains(backups: &mut [CheckedBackup]) {
    for number in 0..backups.len() {
        let Some(parent) = backups[number].parent else {
            continue;
        };
        let below = backups.iter().find(|other| other.backup == parent);
        let (problem, unjudged) = match below {
            Some(below) if below.restorable => continue,
            Some(below) => ("can't be restored", below.unjudged),
            None => ("is gone", true),
        };
        let checked = &mut backups[number];
        checked.restorable = false;
        checked.unjudged = unjudged;
        checked.findings.push(Finding {
            object: format!("backup {parent}"),
            file: None,
            problem: format!("{problem}, and backup {} builds on it", checked.backup),
        });
    }
}

/// A backup's own objects, and the WAL without which they are worth nothing.
fn check(
    context: &Context,
    repository: &Repository,
    options: &VerifyOptions,
    backup: Backup,
) -> Result<CheckedBackup> {
    let (meter, cancel) = (&context.meter, &context.cancel);
    let verify::Checked {
        mut findings,
        sealed,
    } = verify::verify(repository, &backup, options.jobs, meter, cancel)?;
    let lost_wal = needed::verify(repository, &backup)?;
    let restorable = lost_wal.is_empty() && !findings.iter().any(stops_a_restore);
    findings.extend(lost_wal);
    findings.extend(extra::verify(repository, &backup)?);
    Ok(CheckedBackup {
        backup: backup.id,
        parent: backup.parent,
        stored_bytes: backup.stored_bytes,
        files: backup.files,
        page_failures: backup.page_failures.len(),
        restorable,
        findings,
        sealed,
        unjudged: false,
    })
}

/// Manifest, configuration files, names and sums are a loss, but the server can do without.
fn stops_a_restore(finding: &Finding) -> bool {
    let name = Path::new(&finding.object).file_name();
    let object = name.and_then(|name| BackupObject::read(name.to_str()?));
    matches!(object, Some(BackupObject::Part(..) | BackupObject::Index))
}

/// Without its description nothing else of a backup can be judged.
fn unreadable(repository: &Repository, id: BackupId, problem: String) -> CheckedBackup {
    let name = repository.layout().backup_object(&id, BackupObject::Backup);
    CheckedBackup {
        backup: id,
        parent: None,
        stored_bytes: 0,
        files: 0,
        page_failures: 0,
        restorable: false,
        findings: vec![Finding {
            object: repository.storage().place(&name),
            file: None,
            problem,
        }],
        sealed: None,
        unjudged: true,
    }
}

fn complete(repository: &Repository) -> Result<Vec<Backup>> {
    let entries = repository.backups()?.into_iter();
    Ok(entries
        .filter_map(|entry| match entry.state {
            State::Complete(backup) => Some(*backup),
            State::Damaged(..)
            | State::Pending(_)
            | State::Unfinished(_)
            | State::Unreadable(_) => None,
        })
        .collect())
}

fn chosen(repository: &Repository, options: &VerifyOptions) -> Result<Vec<Entry>> {
    let all = repository.backups()?;
    let mut entries = all.clone();
    if let Some(id) = options.backup {
        entries.retain(|entry| entry.id == id && !matches!(entry.state, State::Unfinished(_)));
        if entries.is_empty() {
            return Err(Error::new(
                Kind::NotFound,
                format!("there is no backup {id} in {}", repository.location()),
            )
            .hint("`pgstow list` shows all backups."));
        }
        return Ok(with_parents(entries, &all));
    }
    let counts = |state: &State| match state {
        State::Complete(_) | State::Damaged(..) | State::Unreadable(_) => true,
        State::Pending(_) | State::Unfinished(_) => false,
    };
    entries.retain(|entry| counts(&entry.state));
    if !options.all {
        // The newest one; `--wal` alone reads WAL alone.
        entries = match options.wal {
            true => Vec::new(),
            false => entries.pop().into_iter().collect(),
        };
    }
    let has_dumps = || Ok::<_, Error>(options.all && repository.has_dumps()?);
    if entries.is_empty() && !options.wal && !has_dumps()? {
        return Err(Error::failed(format!(
            "there is no backup to verify in {}",
            repository.location()
        ))
        .hint("take one with `pgstow base`."));
    }
    Ok(with_parents(entries, &all))
}

/// What incremental backups build on is read with them. Oldest first.
fn with_parents(mut entries: Vec<Entry>, all: &[Entry]) -> Vec<Entry> {
    let mut next = 0;
    while let Some(entry) = entries.get(next) {
        next += 1;
        let parent = match &entry.state {
            State::Complete(backup) | State::Damaged(backup, _) | State::Pending(backup) => {
                backup.parent
            }
            State::Unfinished(_) | State::Unreadable(_) => None,
        };
        let known = |entry: &&Entry| Some(entry.id) == parent;
        if !entries.iter().any(|entry| known(&entry)) {
            entries.extend(all.iter().find(known).cloned());
        }
    }
    entries.sort_by_key(|entry| entry.id);
    entries
}

impl VerifyReport {
    fn findings(&self) -> usize {
        let backups = self.backups.iter().map(|checked| checked.findings.len());
        let wal = self.wal.iter().map(|wal| wal.checked.findings.len());
        let dumps = self.dumps.iter().filter(|one| one.problem.is_some());
        backups.chain(wal).sum::<usize>() + self.strays.len() + dumps.count()
    }
}

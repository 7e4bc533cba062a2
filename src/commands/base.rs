//! `pgstow base`: takes a base backup, or seals a pending one.

use std::io::{self, Write};

use serde::Serialize;

use super::{
    cleanup_behind::Cleanup,
    context::Context,
    options::{BaseOptions, Checkpoint, CleanupOptions, Settings},
    report::{self, Outcome, Report},
};
use crate::{
    domain::{
        backup::{self, seal},
        monitor::runs::Told,
    },
    error::{Error, Result},
    repo::{
        backup::{Backup, Method},
        backup_id::Turn,
        repository::Repository,
    },
    util::{
        clock::{self, readable},
        units,
    },
};

/// The backup that now counts.
#[derive(Debug, Serialize)]
pub struct BaseReport {
    repository: String,
    backup: Box<Backup>,
    /// Of `--cleanup`.
    #[serde(skip_serializing_if = "Option::is_none")]
    cleanup: Option<Cleanup>,
}

pub fn run(context: &Context, options: BaseOptions) -> Result<BaseReport> {
    refuse_filled(&context.settings)?;
    let repository = context.repository()?;
    let cleanup = options.cleanup;
    let backup = match options.finish {
        Some(id) => Box::new(seal::finish_pending(&repository, id)?),
        None => take(context, &repository, options)?,
    };
    let cleanup = cleanup.map(|options| clean(context, &repository, &backup, &options));
    Ok(BaseReport {
        repository: repository.location().to_string(),
        backup,
        cleanup,
    })
}

/// Its WAL comes later, and so do its backups.
fn refuse_filled(settings: &Settings) -> Result<()> {
    let repo = settings.repo()?;
    if !settings.synced.iter().any(|(name, _)| *name == repo.name) {
        return Ok(());
    }
    let pushed = settings.named.first().map_or("local", String::as_str);
    Err(Error::usage(format!(
        "no backup is made into repository {}: its WAL is not pushed there, but copied later (wal_mode = \"sync\")",
        repo.name
    ))
    .hint(format!(
        "make it in the one that WAL is pushed to, `pgstow --repo {pushed} base`; then `pgstow sync` copies it."
    )))
}

/// Of the repositories that backups are made into.
fn turn(settings: &Settings) -> Result<Turn> {
    let own = &settings.repo()?.name;
    let is_filled = |name: &String| settings.synced.iter().any(|(filled, _)| filled == name);
    let made_into: Vec<&String> = (settings.named.iter())
        .filter(|name| !is_filled(name))
        .collect();
    let number = made_into.iter().position(|name| *name == own);
    Ok(number.map_or_else(Turn::default, |number| Turn {
        number: number as i64,
        of: made_into.len() as i64,
    }))
}

fn clean(
    context: &Context,
    repository: &Repository,
    backup: &Backup,
    options: &CleanupOptions,
) -> Cleanup {
    if !backup.page_failures.is_empty() {
        let why = "pages of the server are damaged: nothing is deleted before somebody looked";
        return Cleanup::Skipped(why.to_owned());
    }
    Cleanup::run(context, repository, options)
}

fn take(context: &Context, repository: &Repository, options: BaseOptions) -> Result<Box<Backup>> {
    let settings = &context.settings;
    let info = settings.cluster.connection.resolve()?;
    let options = backup::Options {
        method: options.method,
        chain: options.chain,
        data_dir: settings.cluster.data_dir.clone(),
        label: options
            .label
            .unwrap_or_else(|| format!("pgstow {}", readable(clock::now()))),
        checkpoint_fast: options.checkpoint == Checkpoint::Fast,
        // PostgreSQL counts in kibibytes.
        max_rate_kb: options
            .max_rate
            .map(|rate| u32::try_from(rate / 1024).unwrap_or(u32::MAX)),
        manifest_checksums: options.manifest_checksums,
        standalone: options.standalone,
        verify: options.verify,
        compression: settings.repo()?.compression,
        part_size: settings.repo()?.part_size,
        workers: options.jobs,
        wal_limit: options.wal_timeout,
        slot: options.slot,
        state_folder: settings.state_folder(),
        annotations: options.annotations,
        turn: turn(settings)?,
        primary: settings.cluster.primary(&info)?,
    };
    match backup::run(repository, &info, &options, &context.meter, &context.cancel)? {
        backup::Outcome::Sealed(backup) => Ok(backup),
        backup::Outcome::Pending {
            backup,
            lacks,
            why,
        } => {
            Err(Error::failed(format!(
                "backup {} is not restorable yet: after {} at most, {lacks}",
                backup.id,
                units::duration(options.wal_limit),
            ))
            .because(Error::failed(why))
            .hint(format!(
                "the copy is kept. Mend archiving; then `pgstow base --finish {}`, or the next base backup, makes it count.",
                backup.id
            )))
        }
    }
}

impl Report for BaseReport {
    fn text(&self, out: &mut dyn io::Write) -> io::Result<()> {
        let backup = &self.backup;
        writeln!(
            out,
            "backup {} is complete in {}",
            backup.id, self.repository
        )?;
        writeln!(
            out,
            "  restorable from  {} (LSN {} on timeline {})",
            readable(backup.stop_time),
            backup.stop_lsn,
            backup.timeline
        )?;
        let percent = backup.stored_bytes * 100 / backup.bytes.max(1);
        writeln!(
            out,
            "  size             {} in {}, stored as {} ({percent} %) in {}",
            units::bytes(backup.bytes),
            units::count(backup.files, "file"),
            units::bytes(backup.stored_bytes),
            units::count(backup.parts.len() as u64, "part")
        )?;
        writeln!(
            out,
            "  took             {}",
            units::duration(backup.duration())
        )?;
        let checked = if backup.verified {
            "re-read after writing"
        } else {
            "not re-read (--no-verify)"
        };
        writeln!(out, "  parts            {checked}")?;
        let read = match backup.method {
            Method::Local => format!("from {}", backup.data_directory),
            Method::Stream => "from the server, by its replication protocol".to_owned(),
        };
        writeln!(out, "  read             {read}")?;
        for missing in &backup.config_missing {
            writeln!(out, "  not included     {missing}")?;
        }
        write_page_failures(backup, out)?;
        Cleanup::text(self.cleanup.as_ref(), "backup", out)
    }

    fn failure(&self) -> Option<Error> {
        Cleanup::failure(self.cleanup.as_ref()).or_else(|| report::found(self.damaged_pages()))
    }

    fn told(&self) -> Told {
        let cleanup = Cleanup::failure(self.cleanup.as_ref()).into_iter();
        let cleanup = cleanup.map(|error| error.in_one_line());
        Told {
            bytes: Some(self.backup.stored_bytes),
            backup: Some(self.backup.id),
            found: cleanup
                .chain(self.damaged_pages())
                .take(report::NOTED)
                .collect(),
        }
    }

    fn is_good_news(&self) -> bool {
        self.outcome() == Outcome::Done
    }

    fn outcome(&self) -> Outcome {
        match Cleanup::outcome(self.cleanup.as_ref()) {
            Outcome::Done if !self.backup.page_failures.is_empty() => Outcome::Findings,
            other => other,
        }
    }
}

impl BaseReport {
    /// In a line each.
    fn damaged_pages(&self) -> impl Iterator<Item = String> {
        let pages = self.backup.page_failures.iter();
        pages.map(|one| match one.block {
            Some(block) => format!("damaged page in the server: {}, block {block}", one.file),
            None => format!("more damaged pages in the server: {}", one.file),
        })
    }
}

/// Pages that the server found damaged while it read them.
pub(super) fn write_page_failures(backup: &Backup, out: &mut dyn Write) -> io::Result<()> {
    for failure in &backup.page_failures {
        match failure.block {
            Some(block) => writeln!(out, "  damaged page     {}, block {block}", failure.file)?,
            None => writeln!(out, "  damaged pages    {}, more of them", failure.file)?,
        }
    }
    if !backup.page_failures.is_empty() {
        writeln!(
            out,
            "  These pages are damaged in the server itself. Keep older backups, and find out with pg_amcheck what is affected."
        )?;
    }
    Ok(())
}

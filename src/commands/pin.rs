//! `pgstow pin`: keeps a backup whatever the rules of retention say.
//!
//! The pin is stored first, then the lease of `cleanup` is looked at. A cleanup looks at pins after it has
//! taken the lease: so it sees the pin, or is seen here and waited for.

use std::{
    io::{self, Write},
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;
use tracing::warn;

use super::{context::Context, options::PinOptions, report::Report};
use crate::{
    error::{Error, Kind, Result},
    repo::{
        backup::Backup,
        backup_id::BackupId,
        catalog::{Entry, State},
        document::FORMAT,
        good,
        layout::BackupObject,
        lease::CLEANUP,
        pins::Pin,
        repository::Repository,
    },
    util::{
        cancel::Cancel,
        clock::{self, Time, readable},
        host,
    },
};

/// How long a cleanup that is under way is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Serialize)]
pub struct PinReport {
    repository: String,
    pub(super) backup: BackupId,
    pub(super) pinned: bool,
    reason: Option<String>,
    until: Option<Time>,
}

pub fn run(context: &Context, options: PinOptions) -> Result<PinReport> {
    let now = clock::now();
    if options.until.is_some_and(|until| until <= now) {
        return Err(Error::usage("--until is over already").hint("name a time to come."));
    }
    let report = say(context, options, true)?;
    let repository = context.repository()?;
    wait_for_cleanup(&repository, report.backup, &context.cancel)?;
    check_exists(&repository, report.backup)
        .map_err(|error| error.context("a cleanup that had begun before deleted the backup"))?;
    Ok(report)
}

/// Stores a word on a backup that is there.
pub(super) fn say(context: &Context, options: PinOptions, pinned: bool) -> Result<PinReport> {
    let repository = context.repository()?;
    check_exists(&repository, options.backup)?;
    let pin = Pin {
        format: FORMAT,
        backup: options.backup,
        pinned,
        reason: options.reason,
        until: options.until,
        time: clock::now(),
        host: host::name(),
    };
    repository.add_pin(&pin)?;
    if pinned {
        warn_of_damage(&repository, pin.backup);
    }
    Ok(PinReport {
        repository: repository.location().to_string(),
        backup: pin.backup,
        pinned,
        reason: pin.reason,
        until: pin.until,
    })
}

/// Whoever pins a backup relies on it. That it is pinned stands, whatever can be found out.
fn warn_of_damage(repository: &Repository, id: BackupId) {
    let look = || {
        let is_complete = |entry: Entry| match entry.state {
            State::Complete(backup) => Some(*backup),
            _ => None,
        };
        let complete: Vec<Backup> = repository
            .backups()?
            .into_iter()
            .filter_map(is_complete)
            .collect();
        let verdicts = repository.verdicts(|_| true)?;
        Ok::<_, Error>(good::flawed_of(&complete, &verdicts).remove(&id))
    };
    match look() {
        Ok(None) => {}
        Ok(Some(why)) => {
            warn!("backup {id} is pinned, but it is not good: {why}; pin another one, too")
        }
        Err(error) => warn!(
            "whether backup {id} is good is not known: {}",
            error.in_one_line()
        ),
    }
}

fn check_exists(repository: &Repository, id: BackupId) -> Result<()> {
    for object in [BackupObject::Backup, BackupObject::Pending] {
        let name = repository.layout().backup_object(&id, object);
        match repository.storage().head(&name) {
            Err(error) if error.kind() == Kind::NotFound => {}
            other => return other.map(drop),
        }
    }
    let what = format!("there is no backup {id} in {}", repository.location());
    Err(Error::new(Kind::NotFound, what).hint("`pgstow list` shows all backups."))
}

fn wait_for_cleanup(repository: &Repository, id: BackupId, cancel: &Cancel) -> Result<()> {
    let begun = Instant::now();
    while let Some(held) = repository.lease_in_force(CLEANUP)? {
        cancel.check()?;
        if begun.elapsed() > PATIENCE {
            return Err(Error::new(
                Kind::TimedOut,
                format!("{id} is pinned, but a cleanup that runs may have chosen it before ({})", held.holder()),
            )
            .hint("run the same again when the cleanup has ended: it says whether the backup is still there."));
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

impl Report for PinReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        if !self.pinned {
            return writeln!(
                out,
                "backup {} follows the rules of retention again",
                self.backup
            );
        }
        let until = self
            .until
            .map(|until| format!(" until {}", readable(until)));
        writeln!(
            out,
            "backup {} stays{}, with what it builds on and the WAL that it needs",
            self.backup,
            until.unwrap_or_default()
        )
    }

    fn is_good_news(&self) -> bool {
        true
    }
}

//! Fills the folders of a plan, step by step.

use std::{
    ffi::OsStr,
    fs::{self, Permissions},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    thread,
};

use super::{
    aside,
    config_files::{Beside, ConfigFiles},
    contents::Contents,
    delta::{self, outlook::Outlook},
    folders::{State, give, link_target, make},
    hollow::{self, is_hollow},
    index::{Found, Member},
    manifest_file::{self, ManifestFile},
    marker::{Marker, Notes, remove},
    older,
    plan::{Options, Plan},
    ready::{self, Ready},
    recovery::{Recovery, WalSource},
    rescue,
    segments::Segments,
    sources::Sources,
    unpack::{Unpack, publish},
};
use crate::{
    error::{Error, IoContext, Kind, Result},
    postgres::lsn::Lsn,
    repo::repository::Repository,
    util::{cancel::Cancel, clock::Time, fs::link_new, meter::Meter},
};

pub struct Run<'a> {
    pub sources: &'a Sources<'a>,
    /// Whose indexes `contents` was made of.
    pub indexes: &'a Repository,
    pub options: &'a Options,
    pub plan: &'a Plan,
    pub contents: &'a Contents,
    /// Where the cluster that was here before lies now.
    pub replaced: Option<PathBuf>,
    /// The folders in which rescued segments lie.
    pub rescued_from: Vec<PathBuf>,
    pub now: Time,
    pub cancel: &'a Cancel,
    pub meter: &'a Meter,
}

/// What a restore has made.
pub struct Filled {
    pub config: Option<Beside>,
    /// Settings that are empty in the copy.
    pub emptied: Vec<&'static str>,
    /// What its start will meet.
    pub outlook: ready::Outlook,
    /// What was used again.
    pub delta: Option<Outlook>,
    /// Up to where pieces of a segment led.
    pub live: Option<Lsn>,
    /// What did not work but is no reason to stop: on the worst day the data counts.
    pub warnings: Vec<String>,
}

impl Run<'_> {
    /// Makes the data directory ours: marked, and empty but for what is used again.
    pub fn take(&self) -> Result<Marker> {
        let (plan, data_dir) = (self.plan, self.plan.data_dir.as_path());
        let notes = Notes {
            cluster: plan.cluster.clone(),
            backup: plan.backup,
            replaced: self.replaced.clone(),
        };
        let folder = plan.folders.first();
        let marker = match folder.map(|folder| (&folder.aside, &folder.facts.state)) {
            _ if plan.again.is_some() => {
                if let Some(kept) = plan
                    .kept_wal
                    .as_ref()
                    .filter(|_| !plan.unarchived.is_empty())
                {
                    delta::wal::keep(&data_dir.join("pg_wal"), &plan.unarchived, kept, plan.owner)?;
                }
                delta::begin(data_dir, &notes)?
            }
            Some((Some(aside), _)) => aside::replace(data_dir, aside, plan.owner, &notes)?,
            Some((None, State::Unfinished(_))) => {
                self.take_over(data_dir, &notes)
                    .map_err(|error| match error.kind() {
                        // The folder is another restore's, which may succeed.
                        Kind::AlreadyExists => error,
                        _ => self.explain(error),
                    })?
            }
            _ => {
                make(data_dir, 0o700, plan.owner)?;
                Marker::set(data_dir, &notes)?
            }
        };
        aside::sweep(data_dir);
        Ok(marker)
    }

    /// Where what was there before lies now: the data directory, then tablespaces.
    pub fn rename(&self) -> Result<Vec<PathBuf>> {
        let Some(old) = self
            .replaced
            .as_ref()
            .filter(|_| self.plan.kept_wal.is_none())
        else {
            return Ok(Vec::new());
        };
        let tablespaces = aside::tablespaces(&self.plan.folders, old)?;
        Ok([vec![old.clone()], tablespaces].concat())
    }

    pub fn fill(&self, marker: Marker) -> Result<Filled> {
        let (plan, data_dir) = (self.plan, self.plan.data_dir.as_path());
        let backup = &plan.choice.backup;
        let mut warnings = Vec::from_iter(self.archive_rescued()?);
        let (found, mut delta) = self.find()?;
        let unpack = Unpack {
            sources: self.sources,
            indexes: self.indexes,
            contents: self.contents,
            found: &found,
            data_dir,
            owner: plan.owner,
            settled: backup.settled_before(),
            workers: self.options.request.workers,
            cancel: self.cancel,
            meter: self.meter,
        };
        let written = unpack.run(backup, || match &self.contents.chain {
            Some(chain) => older::unpack(chain, &unpack),
            None => Ok(0),
        })?;
        if let Some(databases) = &self.options.request.databases {
            hollow::make(self.contents, databases, data_dir, plan.owner)?;
        }
        if self.contents.chain.is_some() {
            manifest_file::put_label(data_dir, self.contents.file_mode(), plan.owner)?;
        }
        if let Some(delta) = &mut delta {
            delta.written_bytes = Some(written);
        }
        self.meter.begin("setting up recovery", 0);
        // It knows no hollow files.
        if self.options.request.databases.is_none() {
            let what = format!("the manifest of backup {}", backup.id);
            let manifest = self.sources.read(backup, &what, |repository, backup, _| {
                let file = ManifestFile {
                    repository,
                    backup,
                    contents: self.contents,
                    data_dir,
                    owner: plan.owner,
                    workers: self.options.request.workers,
                    cancel: self.cancel,
                };
                file.put()
            });
            let lost = "the manifest is not restored, so pg_verifybackup can't judge the copy";
            lose(manifest, lost, &mut warnings)?;
        }
        let segments = Segments {
            sources: self.sources,
            system: &plan.system,
            choice: &plan.choice,
            rescued_from: &self.rescued_from,
        };
        let pg_wal = data_dir.join("pg_wal");
        let live = rescue::put(&segments, &pg_wal, plan.owner)?;
        for history in &plan.histories {
            history.put(&pg_wal, plan.owner)?;
        }
        let what = format!("the configuration in backup {}", backup.id);
        let config = self.sources.read(backup, &what, |repository, backup, _| {
            let files = ConfigFiles {
                repository,
                backup,
                data_dir,
                owner: plan.owner,
                now: self.now,
            };
            files.restore()
        });
        let lost = "the configuration files from outside the data directory are not all restored";
        let config = lose(config, lost, &mut warnings)?.flatten();
        let ready = Ready {
            plan,
            config: config.as_ref().map(|config| config.folder.as_path()),
            cancel: self.cancel,
        };
        let emptied = ready.emptied();
        for path in self.recovery(&emptied).write(data_dir)? {
            give(&path, plan.owner)?;
        }
        fs::set_permissions(
            data_dir,
            Permissions::from_mode(self.contents.folder_mode()),
        )
        .at("give its mode to", data_dir)?;
        self.cancel.check()?;
        let tablespaces: Vec<PathBuf> = plan
            .tablespaces
            .iter()
            .map(|space| space.path.clone())
            .collect();
        // The server's program is asked while the disk is busy.
        let outlook = thread::scope(|scope| {
            let outlook = scope.spawn(|| ready.look());
            publish(data_dir, &tablespaces, self.meter)?;
            let panicked = |_| Error::failed("asking the server's program panicked");
            outlook.join().map_err(panicked)
        })?;
        marker.remove()?;
        Ok(Filled {
            config,
            emptied,
            outlook,
            delta,
            live,
            warnings,
        })
    }

    /// Clears the way for the backup's files, and says which of them are there.
    fn find(&self) -> Result<(Vec<Found>, Option<Outlook>)> {
        if self.plan.again.is_none() {
            self.link_tablespaces()?;
            let databases = self.options.request.databases.as_ref();
            let found = |member: &Member| match databases {
                // Its file is made apart.
                Some(databases) if is_hollow(member, databases) => Found::Same,
                _ => Found::Nothing,
            };
            return Ok((self.contents.members.iter().map(found).collect(), None));
        }
        let workers = self.options.request.workers;
        let update = self
            .plan
            .update(self.contents, workers, self.cancel, self.meter);
        let (found, outlook) = update.clear(|| self.link_tablespaces())?;
        Ok((found, Some(outlook)))
    }

    fn archive_rescued(&self) -> Result<Option<String>> {
        match &self.replaced {
            // A copy leaves the archive alone.
            Some(old) if self.plan.archive != Some(false) => rescue::archive(
                &self.plan.choice,
                &self.options.archive_command,
                old,
                self.plan.owner,
                self.cancel,
            ),
            _ => Ok(None),
        }
    }

    /// Tablespaces first, which the links in the data directory lead to; and only once nobody else
    /// is at work in them.
    fn take_over(&self, data_dir: &Path, notes: &Notes) -> Result<Marker> {
        Marker::take_over(data_dir, notes, || self.clear_tablespaces())
    }

    /// What an interrupted restore left in tablespaces. Only what the backup has there, too: other
    /// versions of PostgreSQL may have their own beside it.
    fn clear_tablespaces(&self) -> Result<()> {
        for folder in &self.plan.folders {
            if let (Some(oid), State::Unfinished(_)) = (folder.tablespace, &folder.facts.state) {
                for name in delta::names_in(self.contents, oid) {
                    remove(&folder.facts.path.join(OsStr::from_bytes(name)))?;
                }
            }
        }
        Ok(())
    }

    fn link_tablespaces(&self) -> Result<()> {
        let links = self.plan.data_dir.join("pg_tblspc");
        make(&links, 0o700, self.plan.owner)?;
        // As the server itself sets it (create_tablespace_directories in
        // `src/backend/commands/tablespace.c`).
        let mode = self.contents.folder_mode();
        for space in &self.plan.tablespaces {
            make(&space.path, mode, self.plan.owner)?;
            fs::set_permissions(&space.path, Permissions::from_mode(mode))
                .at("give its mode to", &space.path)?;
            if link_target(&self.plan.data_dir, space.oid).as_ref() == Some(&space.path) {
                continue;
            }
            let link = links.join(space.oid.to_string());
            let owner = self.plan.owner.map(|owner| (owner.user, owner.group));
            link_new(&space.path, &link, owner)?;
        }
        Ok(())
    }

    fn recovery(&self, emptied: &[&'static str]) -> Recovery {
        let plan = self.plan;
        let mut words = self.options.wal_command.clone();
        words.extend(["--system-id".to_owned(), plan.system_id.to_string()]);
        Recovery {
            target: plan.target.clone(),
            exclusive: plan.exclusive,
            timeline: (!plan.follows_latest()).then_some(plan.timeline),
            action: plan.action,
            standby: plan.standby,
            wal: match plan.offline {
                true => WalSource::Nowhere,
                false => WalSource::Command(words),
            },
            last: plan.last_needed.as_ref().and_then(|last| last.parse().ok()),
            done: self.options.done_command.clone(),
            archive: plan.archive,
            emptied: emptied.to_vec(),
        }
    }

    /// Says what a failed restore left, and how to return.
    pub fn explain(&self, error: Error) -> Error {
        let data_dir = self.plan.data_dir.display();
        let back = match (&self.plan.kept_wal, &self.replaced) {
            (Some(kept), _) => format!(
                "; WAL that the repository has not lies in {}",
                kept.display()
            ),
            (None, Some(old)) => format!("; what was there before lies in {}", old.display()),
            (None, None) => String::new(),
        };
        let what = format!("{data_dir} is not restored and can't be started{back}");
        let kind = error.kind();
        let explained = match kind {
            Kind::Interrupted => Error::new(kind, format!("interrupted: {what}")),
            _ => error.context(what),
        };
        explained.hint(match kind {
            // The same again would end the same way.
            Kind::Damaged | Kind::NotFound => format!(
                "restore an older backup to the same place, which clears what this one left: `pgstow list`. \
                 `pgstow verify {}` names all that is damaged.",
                self.plan.backup
            ),
            _ if self.plan.again.is_some() => {
                "run the restore again: it goes on from what this one left.".to_owned()
            }
            _ => "run the restore again: it clears what this one left.".to_owned(),
        })
    }
}

/// What is missing or damaged in the repository, and the server can do without, is only told.
fn lose<T>(result: Result<T>, lost: &str, warnings: &mut Vec<String>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Damaged) => {
            warnings.push(format!("{lost}: {}", error.in_one_line()));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

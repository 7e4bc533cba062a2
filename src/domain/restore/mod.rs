//! Restores a data directory to any moment: plans first, then does what the plan says.
//!
//! The order, and what a crash leaves behind each step:
//! 1. what is in the way is renamed aside (the old cluster, whole, under another name);
//! 2. the folder gets its marker, tablespaces their links, files their contents, the server its
//!    recovery settings (an unfinished folder without `global/pg_control`: no server starts it,
//!    and the next restore clears it);
//! 3. all is synced, and pg_control gets its name (a whole cluster);
//! 4. the marker goes (the same, without a stray file).

pub mod archive;
pub mod aside;
pub mod auto_conf;
pub mod choice;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod choice_tests;
pub mod config_files;
pub mod contents;
pub mod folders;
pub mod load;
pub mod member;
pub mod path;
pub mod plan;
mod possible;
pub mod prove;
pub mod recovery;
mod report;
mod rescue;
pub mod start;
pub mod tablespaces;
pub mod target;
pub mod unpack;
pub mod windows;

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{PermissionsExt, lchown, symlink},
    path::{Path, PathBuf},
    time::Instant,
};

use serde::Serialize;

use crate::{
    error::{Error, IoContext, Kind, Result},
    repo::{layout::BackupObject, repository::Repository},
    util::{
        cancel::Cancel,
        clock::Time,
        fs::{NewFile, write_over},
        hash::{Sha256Reader, copy},
        meter::Meter,
        process,
    },
};
use contents::{Contents, check_object};
use folders::{Marker, Notes, State, clear, clear_unfinished, give, make};
use plan::{Options, Plan};
use recovery::{Recovery, WalSource};
use unpack::{Unpack, publish};

/// What a restore did.
#[derive(Debug, Serialize)]
pub struct Restored {
    #[serde(flatten)]
    pub plan: Plan,
    pub finished: Time,
    pub seconds: f64,
    /// Where what was there before lies now: data directory first.
    pub aside: Vec<PathBuf>,
    /// Where configuration files from outside the data directory were put.
    pub config: Option<PathBuf>,
    /// Starts the server.
    pub start_command: String,
}

/// Does what `plan` says. What fails leaves a folder that can't be started.
pub fn run(
    repository: &Repository,
    options: &Options,
    plan: Plan,
    now: Time,
    cancel: &Cancel,
    meter: &Meter,
) -> Result<Restored> {
    let began = Instant::now();
    cancel.check()?;
    // Read first: a damaged index must not cost the old cluster its name.
    let contents = Contents::load(repository, &plan.choice.backup)?;
    let aside = aside::rename(&plan)?;
    let replaced = aside.first().or(plan.old_data_dir.as_ref()).cloned();
    let run = Run {
        repository,
        options,
        plan: &plan,
        contents: &contents,
        old_wal: replaced.as_ref().map(|old| old.join("pg_wal")),
        replaced,
        cancel,
        meter,
    };
    let (config, warning) = run.fill().map_err(|error| run.explain(error))?;
    let finished = now + began.elapsed();
    let start_command = run.start_command(config.as_deref());
    let mut plan = plan;
    plan.warnings.extend(warning);
    let mut restored = Restored {
        start_command,
        seconds: began.elapsed().as_secs_f64(),
        plan,
        finished,
        aside,
        config,
    };
    // The restore itself is done.
    if let Err(error) = restored.note(options) {
        restored.plan.warnings.push(error.in_one_line());
    }
    Ok(restored)
}

struct Run<'a> {
    repository: &'a Repository,
    options: &'a Options,
    plan: &'a Plan,
    contents: &'a Contents,
    /// Where the cluster that was here before lies now.
    replaced: Option<PathBuf>,
    old_wal: Option<PathBuf>,
    cancel: &'a Cancel,
    meter: &'a Meter,
}

impl Run<'_> {
    /// Where configuration files were put, and what did not work but is no reason to stop.
    fn fill(&self) -> Result<(Option<PathBuf>, Option<String>)> {
        let (plan, data_dir) = (self.plan, self.plan.data_dir.as_path());
        let backup = &plan.choice.backup;
        self.clear_unfinished()?;
        make(data_dir, 0o700, plan.owner)?;
        let marker = Marker::set(
            data_dir,
            &Notes {
                cluster: plan.cluster.clone(),
                backup: plan.backup,
                replaced: self.replaced.clone(),
            },
        )?;
        let warning = self.archive_rescued()?;
        self.link_tablespaces()?;
        let unpack = Unpack {
            repository: self.repository,
            backup,
            contents: self.contents,
            data_dir,
            owner: plan.owner,
            workers: self.options.workers,
            cancel: self.cancel,
            meter: self.meter,
        };
        unpack.run()?;
        self.meter.begin("setting up recovery", 0);
        self.put_manifest()?;
        rescue::put(
            &plan.choice,
            self.repository,
            &plan.system,
            self.old_wal.as_deref(),
            &data_dir.join("pg_wal"),
            plan.owner,
        )?;
        let config = config_files::restore(self.repository, backup, data_dir, plan.owner)?;
        for path in self.recovery().write(data_dir)? {
            give(&path, plan.owner)?;
        }
        fs::set_permissions(data_dir, Permissions::from_mode(unpack.folder_mode()))
            .at("give its mode to", data_dir)?;
        self.cancel.check()?;
        let tablespaces: Vec<PathBuf> = plan
            .tablespaces
            .iter()
            .map(|space| space.path.clone())
            .collect();
        publish(data_dir, &tablespaces, self.meter)?;
        marker.remove()?;
        Ok((config, warning))
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

    /// What an interrupted restore left, in the order that keeps it known as such.
    fn clear_unfinished(&self) -> Result<()> {
        let unfinished =
            |folder: &&plan::Folder| matches!(folder.facts.state, State::Unfinished(_));
        for folder in self.plan.folders.iter().filter(unfinished) {
            if folder.tablespace.is_some() {
                clear(&folder.facts.path, None)?;
            }
        }
        match self.plan.folders.first().filter(unfinished) {
            Some(folder) => clear_unfinished(&folder.facts.path),
            None => Ok(()),
        }
    }

    fn link_tablespaces(&self) -> Result<()> {
        let links = self.plan.data_dir.join("pg_tblspc");
        make(&links, 0o700, self.plan.owner)?;
        for space in &self.plan.tablespaces {
            make(&space.path, 0o700, self.plan.owner)?;
            fs::set_permissions(&space.path, Permissions::from_mode(0o700))
                .at("give its mode to", &space.path)?;
            let link = links.join(space.oid.to_string());
            symlink(&space.path, &link).at("create link", &link)?;
            if let Some(owner) = self.plan.owner {
                lchown(&link, Some(owner.user), Some(owner.group))
                    .at("give its owner to", &link)?;
            }
        }
        Ok(())
    }

    /// So that pg_verifybackup can judge the folder; a server takes no notice of it.
    fn put_manifest(&self) -> Result<()> {
        let backup = &self.plan.choice.backup;
        let name = self
            .repository
            .layout()
            .backup_object(&backup.id, BackupObject::Manifest);
        let storage = self.repository.storage();
        let failed = |error| storage.failed("read", &name, error);
        let path = self.plan.data_dir.join("backup_manifest");
        let mut stored = Sha256Reader::new(storage.get(&name, None)?);
        let mut file = NewFile::create(&path, 0o600)?;
        {
            let mut plain = crate::repo::codec::Codec::Zstd
                .decoder(&mut stored)
                .map_err(failed)?;
            copy(&mut plain, &mut file).map_err(failed)?;
        }
        copy(&mut stored, &mut io::sink()).map_err(failed)?;
        check_object(backup, BackupObject::Manifest, stored.finish())
            .map_err(|error| error.context(format!("can't restore {}", storage.place(&name))))?;
        file.publish_over()?;
        give(&path, self.plan.owner)
    }

    fn recovery(&self) -> Recovery {
        let plan = self.plan;
        let mut words = self.options.wal_command.clone();
        words.extend(["--system-id".to_owned(), plan.system_id.to_string()]);
        Recovery {
            target: plan.target.clone(),
            exclusive: plan.exclusive,
            timeline: plan.timeline,
            action: plan.action,
            standby: plan.standby,
            wal: match self.options.without_repository {
                true => WalSource::Nowhere,
                false => WalSource::Command(words),
            },
            last: plan.last_needed.as_ref().and_then(|last| last.parse().ok()),
            done: self.options.done_command.clone(),
            archive: plan.archive,
        }
    }

    /// Says what a failed restore left, and how to return.
    fn explain(&self, error: Error) -> Error {
        let data_dir = self.plan.data_dir.display();
        let back = match &self.replaced {
            Some(old) => format!("; what was there before lies in {}", old.display()),
            None => String::new(),
        };
        let what = format!("{data_dir} is not restored and can't be started{back}");
        let kind = error.kind();
        let explained = match kind {
            Kind::Interrupted => Error::new(kind, format!("interrupted: {what}")),
            _ => error.context(what),
        };
        explained.hint("run the restore again: it clears what this one left.")
    }

    fn start_command(&self, config: Option<&Path>) -> String {
        let plan = self.plan;
        let config_file = plan
            .choice
            .backup
            .config_files
            .iter()
            .find(|path| path.ends_with("/postgresql.conf"));
        let config_file = config
            .zip(config_file)
            .map(|(folder, file)| folder.join(file.trim_start_matches('/')));
        let folders = std::env::var_os("PATH");
        let folders = folders.iter().flat_map(std::env::split_paths);
        start::command(
            &plan.data_dir,
            start::Host {
                major: plan.choice.backup.major(),
                bindir: plan.programs.as_ref().map(|programs| programs.bindir()),
                has_ctlcluster: process::find("pg_ctlcluster", folders).is_some(),
                root: rustix::process::geteuid().is_root(),
                config,
                config_file: config_file.as_deref(),
            },
        )
    }
}

impl Restored {
    /// Leaves a note of what was done in the state folder.
    fn note(&self, options: &Options) -> Result<()> {
        let Some(folder) = &options.notes else {
            return Ok(());
        };
        let path = folder.join(format!(
            "restore-{}.json",
            self.finished.format("%Y%m%dT%H%M%SZ")
        ));
        let json = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::failed("can't note the restore").because(error))?;
        make(folder, 0o750, self.plan.owner)?;
        write_over(&path, 0o640, &json)?;
        give(&path, self.plan.owner)
    }
}

//! Unpacks a backup's parts into prepared folders, several workers at a time.
//!
//! `global/pg_control` is left under [`CONTROL`]: without it no server starts, and [`publish`]
//! gives it its name after all else is durable. A crash before leaves a folder that can't be
//! started; one after leaves a whole one.

use std::{
    borrow::Cow,
    fs::{self, File, Permissions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use rustix::fs::syncfs;

use super::{
    contents::Contents,
    folders::{Owner, give},
    index::{FOLDERS, Found, Member},
    jobs::{self, Job},
    member::{Place, Writer},
    sources::Sources,
};
use crate::{
    error::{Error, IoContext, Kind, Result},
    postgres::control,
    repo::{backup::Backup, repository::Repository},
    util::{
        cancel::Cancel,
        fs::{create_new_folder, folder_of, rename_new, sync_file, sync_folder},
        meter::Meter,
        workers,
    },
};

/// Where pg_control waits for the rest to be durable.
pub const CONTROL: &str = "global/pg_control.pgstow";

pub struct Unpack<'a> {
    pub sources: &'a Sources<'a>,
    /// Whose indexes `contents` was made of.
    pub indexes: &'a Repository,
    pub contents: &'a Contents,
    /// What is there of each member.
    pub found: &'a [Found],
    /// Made, with its links of tablespaces in `pg_tblspc`.
    pub data_dir: &'a Path,
    pub owner: Option<Owner>,
    /// [`Backup::settled_before`] of the backup that is restored.
    pub settled: i64,
    pub workers: usize,
    pub cancel: &'a Cancel,
    pub meter: &'a Meter,
}

/// A job, its members, and what is there of each.
pub struct Work<'a> {
    pub job: Job,
    pub members: Cow<'a, [Member]>,
    pub found: Vec<Found>,
}

impl Unpack<'_> {
    /// Unpacks `backup`, whose contents these are. How many bytes were written. `below` unpacks what
    /// it builds on, once all folders are there.
    pub fn run(&self, backup: &Backup, below: impl FnOnce() -> Result<u64>) -> Result<u64> {
        self.make_folders()?;
        let mut written = below()?;
        let found = |number: usize| match self.contents.is_older(number) {
            true => Found::Same,
            false => self.found[number],
        };
        let needed = |number: usize| found(number) != Found::Same;
        let jobs = jobs::largest_first(&self.contents.members, needed);
        self.meter
            .begin("unpacking", jobs.iter().map(|job| job.bytes).sum());
        let jobs = Mutex::new(jobs.into_iter());
        written += self.work(backup, || {
            let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).next()?;
            Some(Work {
                members: self.contents.members[job.members.clone()].into(),
                found: job.members.clone().map(found).collect(),
                job,
            })
        })?;
        self.set_folder_modes()?;
        Ok(written)
    }

    /// Unpacks files of `backup` into folders that are there, until there is no more to do.
    pub fn work<'w>(
        &self,
        backup: &Backup,
        next: impl Fn() -> Option<Work<'w>> + Sync,
    ) -> Result<u64> {
        let written = workers::run(self.workers, || {
            let mut writer = Writer::new(self.owner, self.settled, self.cancel, self.meter);
            while let Some(work) = next() {
                self.job(backup, &mut writer, &work)
                    .inspect_err(|_| self.cancel.set())?;
            }
            Ok(writer.written)
        });
        Ok(written?.into_iter().sum())
    }

    fn job(&self, backup: &Backup, writer: &mut Writer<'_>, work: &Work<'_>) -> Result<()> {
        let what = format!("part {} of backup {}", work.job.part, backup.id);
        let adds_blocks = (work.members.iter().zip(&work.found))
            .any(|(member, found)| member.blocks && *found != Found::Same);
        if !adds_blocks || !self.sources.has_others() {
            return self
                .sources
                .read(backup, &what, |repository, backup, again| {
                    self.extract(repository, backup, writer, work, |number, member| {
                        self.place(member, work.found[number], backup, again)
                    })
                });
        }
        // Blocks go into files that are there: what a damaged list of them overwrites no other part brings back.
        let meter = Meter::default();
        let mut judge = Writer::new(None, 0, self.cancel, &meter);
        let (repository, backup) = self.sources.read(backup, &what, |repository, backup, _| {
            let nowhere = |_: usize, _: &Member| Place::Nowhere;
            self.extract(repository, backup, &mut judge, work, nowhere)?;
            Ok((repository.clone(), backup.clone()))
        })?;
        self.extract(&repository, &backup, writer, work, |number, member| {
            self.place(member, work.found[number], &backup, false)
        })
    }

    fn extract(
        &self,
        repository: &Repository,
        backup: &Backup,
        writer: &mut Writer<'_>,
        work: &Work<'_>,
        place: impl Fn(usize, &Member) -> Place,
    ) -> Result<()> {
        let (job, members) = (&work.job, &*work.members);
        let part = backup.parts.iter().find(|part| part.number == job.part);
        let (Some(part), Some(first)) = (part, members.first()) else {
            return Err(Error::damaged(format!(
                "backup.json of {} lists no part {}",
                backup.id, job.part
            )));
        };
        let name = repository.part(backup.id, part)?;
        let storage = repository.storage();
        let read = || -> Result<()> {
            let mut plain = repository.read_frames(
                &name,
                backup.coding(),
                part.stored_bytes,
                job.from,
                job.to,
            )?;
            io::copy(
                &mut plain.by_ref().take(first.offset.into()),
                &mut io::sink(),
            )
            .map_err(|error| storage.failed("read", &name, error))?;
            writer.extract(plain, members, place)
        };
        read().map_err(|error| match error.kind() {
            Kind::Interrupted => error,
            _ => error.context(format!("can't unpack {}", storage.place(&name))),
        })
    }

    /// `again`: what an attempt before this one left is there.
    fn place(&self, member: &Member, found: Found, backup: &Backup, again: bool) -> Place {
        let path = member.path.as_path();
        let new = |path: PathBuf| match again && path.exists() {
            true => Place::Over(path),
            false => Place::File(path),
        };
        match found {
            Found::Same => Place::Stays,
            _ if member.blocks => {
                Place::Blocks(self.data_dir.join(path), backup.block_size as usize)
            }
            _ if member.is_left_out() => Place::Nowhere,
            _ if path == Path::new(control::PATH) => new(self.data_dir.join(CONTROL)),
            Found::Nothing => new(self.data_dir.join(path)),
            Found::Other | Found::Unread => Place::Over(self.data_dir.join(path)),
        }
    }

    /// All folders first, so that workers needn't agree who makes them; writable for us until the end.
    fn make_folders(&self) -> Result<()> {
        let mode = self.contents.folder_mode();
        for member in self.contents.members.iter().filter(|member| member.folder) {
            self.make_folder(
                &self.data_dir.join(member.path.as_path()),
                member.mode | 0o700,
            )?;
        }
        for name in FOLDERS {
            let path = self.data_dir.join(name);
            // With the mode of the backup, if that has it.
            if !path.is_dir() {
                self.make_folder(&path, mode)?;
            }
        }
        Ok(())
    }

    fn make_folder(&self, path: &Path, mode: u32) -> Result<()> {
        match create_new_folder(path, mode) {
            Err(error) if error.kind() == Kind::NotFound => {
                self.make_folder(folder_of(path), mode)?;
                return self.make_folder(path, mode);
            }
            // A folder, not a link to one: only those of tablespaces were made, and they aren't members.
            Err(error) if error.kind() == Kind::AlreadyExists => {
                let found = fs::symlink_metadata(path).at("look at", path)?;
                if !found.is_dir() {
                    return Err(error);
                }
            }
            other => other?,
        }
        // Not by `create`, whose mode the umask narrows.
        fs::set_permissions(path, Permissions::from_mode(mode)).at("give its mode to", path)?;
        give(path, self.owner)
    }

    fn set_folder_modes(&self) -> Result<()> {
        let narrow = |member: &&Member| member.folder && member.mode & 0o700 != 0o700;
        for member in self.contents.members.iter().filter(narrow) {
            let path = self.data_dir.join(member.path.as_path());
            fs::set_permissions(&path, Permissions::from_mode(member.mode))
                .at("give its mode to", &path)?;
        }
        Ok(())
    }
}

/// Makes all that was written durable, then gives pg_control its name.
pub fn publish(data_dir: &Path, tablespaces: &[PathBuf], meter: &Meter) -> Result<()> {
    meter.begin("syncing", 0);
    let mut synced = Vec::new();
    for folder in [data_dir]
        .into_iter()
        .chain(tablespaces.iter().map(PathBuf::as_path))
    {
        let file = File::open(folder).at("open", folder)?;
        let device = file.metadata().at("look at", folder)?.dev();
        // One call for each file system is much cheaper than one for each of a million files.
        if !synced.contains(&device) {
            syncfs(&file).at("sync the file system of", folder)?;
            synced.push(device);
        }
        sync_folder(folder_of(folder))?;
    }
    let waiting = data_dir.join(CONTROL);
    // syncfs tells of failed writes since Linux 5.8; of this file we want to know in any case.
    sync_file(&waiting)?;
    let named = data_dir.join(control::PATH);
    rename_new(&waiting, &named)
}

//! The spool: segments that were fetched before recovery asked for them.
//!
//! A folder for each data directory that recovers, below the state folder: neither in pg_wal, which
//! PostgreSQL cleans, nor anywhere that pg_rewind copies. Its name binds it to the system, the
//! repository, the data directory (by its inode) and the start of this host: so what is in it
//! needn't be synced, since after a crash of the host nobody looks there any more.
//!
//! A segment gets its name there once it is whole and checked, and the time of the object that it
//! was made from. It is served only while that object is there with that time, and if it has the
//! length and header that its name calls for; so neither half a file, nor one of another
//! timeline or system, nor of an archive that was exchanged, reaches a server. Served, it is moved.
//!
//! `running` is locked by the prefetcher for as long as it lives ([`super::running`]).

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::running::Running;
use crate::{
    error::{IoContext, Kind, Result},
    postgres::{lsn::SystemId, wal_header::WalHeader, wal_name::Segment},
    repo::{
        repository::{Repository, System},
        storage::ObjectInfo,
    },
    util::{
        fs::{create_folders, move_over},
        host,
    },
};

const FOLDER: &str = "spool";
const RUNNING: &str = "running";
const FOLDER_MODE: u32 = 0o750;

#[derive(Clone, Debug)]
pub struct Spool {
    folder: PathBuf,
}

impl Spool {
    /// The spool of `data_dir`; made by [`Spool::lock`].
    pub fn of(
        state: &Path,
        repository: &Repository,
        system: SystemId,
        data_dir: &Path,
    ) -> Result<Self> {
        let name = format!(
            "{system}-{}-{}-{}",
            repository.id(),
            host::boot_id(),
            place_of(data_dir)?
        );
        Ok(Self {
            folder: state.join(FOLDER).join(name),
        })
    }

    /// One that is there already.
    pub fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn path(&self, segment: Segment) -> PathBuf {
        self.folder.join(segment.to_string())
    }

    /// Moves a segment to `destination`, if it is here and made from `object`, as that is now.
    pub fn take(
        &self,
        segment: Segment,
        system: &System,
        object: &ObjectInfo,
        destination: &Path,
    ) -> Result<bool> {
        let path = self.path(segment);
        match is_right(&path, segment, system, object) {
            Ok(true) => move_over(&path, destination).map(|()| true),
            Err(error) if error.kind() == Kind::NotFound => Ok(false),
            // It would be in the way of the right one.
            Ok(false) | Err(_) => fs::remove_file(&path).at("remove", &path).map(|()| false),
        }
    }

    /// The lock of a prefetcher, unless one is running. Its file is to be given to the process
    /// that will fetch the segments from `first` to `last`.
    pub fn lock(&self, first: Segment, last: Segment) -> Result<Option<File>> {
        create_folders(&self.folder, FOLDER_MODE, None)?;
        self.running().lock(first, last)
    }

    /// The lock of the prefetcher.
    pub fn running(&self) -> Running {
        Running::at(self.folder.join(RUNNING))
    }

    /// Removes all but the segments from `first` to `last`, and the spools of earlier starts of
    /// this host.
    pub fn tidy(&self, first: Segment, last: Segment) -> Result<()> {
        for path in entries(&self.folder)? {
            let name = path.file_name().and_then(|name| name.to_str());
            let wanted = name.is_some_and(|name| {
                let segment = name.parse::<Segment>();
                name == RUNNING || segment.is_ok_and(|name| (first..=last).contains(&name))
            });
            if !wanted {
                let _ = fs::remove_file(path);
            }
        }
        let Some(all) = self.folder.parent() else {
            return Ok(());
        };
        let boot = host::boot_id();
        remove(all, |name| !name.contains(&boot))
    }
}

/// Removes the spools below a state folder that belong to `data_dir`, or all of them.
pub fn clear(state: &Path, data_dir: Option<&Path>) -> Result<()> {
    let place = data_dir.map(place_of).transpose()?;
    remove(&state.join(FOLDER), |name| {
        place
            .as_ref()
            .is_none_or(|place| name.ends_with(&format!("-{place}")))
    })
}

fn remove(all: &Path, which: impl Fn(&str) -> bool) -> Result<()> {
    for folder in entries(all)? {
        let name = folder.file_name().and_then(|name| name.to_str());
        if name.is_some_and(&which) {
            // A prefetcher that is about to name one more makes the first try fail.
            fs::remove_dir_all(&folder)
                .or_else(|_| fs::remove_dir_all(&folder))
                .at("remove", &folder)?;
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    match folder.read_dir().at("list", folder) {
        Err(error) if error.kind() == Kind::NotFound => Ok(Vec::new()),
        entries => entries?
            .map(|entry| Ok(entry.at("list", folder)?.path()))
            .collect(),
    }
}

/// What tells a data directory from the others of this host.
fn place_of(data_dir: &Path) -> Result<String> {
    let found = fs::metadata(data_dir).at("read", data_dir)?;
    Ok(format!("{}-{}", found.dev(), found.ino()))
}

fn is_right(path: &Path, segment: Segment, system: &System, object: &ObjectInfo) -> Result<bool> {
    let mut file = File::open(path).at("read", path)?;
    let found = file.metadata().at("read", path)?;
    let made = found.modified().at("read", path)?;
    if found.len() != system.segment_size.bytes() || made != object.modified.into() {
        return Ok(false);
    }
    let header = WalHeader::read(&mut file, path)?;
    header.check(segment, found.len())?;
    Ok(header.system == system.system_id)
}

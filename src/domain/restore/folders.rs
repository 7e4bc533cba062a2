//! The folders that are restored into: what is there before, whose they are, how much fits.
//!
//! A folder in which a restore is at work, or was interrupted, carries [`MARKER`] and no
//! `global/pg_control`, so it can't be started, and the next restore may clear it.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
};

use rustix::fs::{Access, FlockOperation, access, flock, statvfs};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, IoContext, Kind, Result},
    postgres::{control, postmaster::Postmaster},
    repo::backup_id::BackupId,
    util::{
        account::Account,
        fs::{create_folders, folder_of, sync_folder, write_over},
    },
};

/// Notes of a restore that isn't finished, in the folder that it fills.
pub const MARKER: &str = "pgstow-restore.json";

/// To whom restored files belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Owner {
    pub user: u32,
    pub group: u32,
}

impl Owner {
    /// None where files simply are ours. For root: the owner of the folder that is there, else
    /// the user `postgres`, since a server refuses to run as root.
    pub fn choose(data_dir: &Facts) -> Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        if data_dir.state != State::Missing && data_dir.owner.user != 0 {
            return Ok(Some(data_dir.owner));
        }
        let account = Account::named("postgres")
            .map_err(|error| error.hint("run restore as the user that the server will run as."))?;
        Ok(Some(Self {
            user: account.uid,
            group: account.gid,
        }))
    }
}

/// What [`MARKER`] holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes {
    pub cluster: String,
    pub backup: BackupId,
    /// Where the cluster that was here before lies now.
    pub replaced: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Missing,
    Empty,
    /// An interrupted restore: can't be started, and holds nothing of its own.
    Unfinished(Option<PathBuf>),
    /// Something is in it.
    Occupied,
}

/// What is known of a folder before anything is written.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    pub path: PathBuf,
    pub state: State,
    /// Which file system it is on, or will be.
    pub device: u64,
    pub free_bytes: u64,
    /// The owner of the folder, or of the nearest one above that is there.
    pub owner: Owner,
    /// Whether we can make it, or write into it.
    pub writable: bool,
    /// A file system of its own can't be renamed.
    pub mount_point: bool,
}

impl Facts {
    /// Looks at a folder; an error if a server runs there.
    pub fn of(path: &Path) -> Result<Self> {
        let state = state(path)?;
        if state == State::Occupied {
            Postmaster::refuse_running(path)?;
        }
        let mut there = path;
        while !there.exists() {
            there = folder_of(there);
        }
        let meta = fs::metadata(there).at("look at", there)?;
        let room = statvfs(there).at("look at the file system of", there)?;
        let above = fs::metadata(folder_of(there)).at("look at", folder_of(there))?;
        Ok(Self {
            path: path.to_owned(),
            state,
            device: meta.dev(),
            free_bytes: room.f_bavail.saturating_mul(room.f_frsize),
            owner: Owner {
                user: meta.uid(),
                group: meta.gid(),
            },
            writable: access(there, Access::WRITE_OK | Access::EXEC_OK).is_ok(),
            mount_point: there == path && above.dev() != meta.dev(),
        })
    }
}

fn state(path: &Path) -> Result<State> {
    let mut names = match fs::read_dir(path) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::Missing),
        other => other.at("read", path)?,
    };
    if names.next().is_none() {
        return Ok(State::Empty);
    }
    Ok(match notes(path)? {
        Some(notes) => State::Unfinished(notes.replaced),
        None => State::Occupied,
    })
}

/// The notes of an interrupted restore; None where there was none, or where it came to its end.
pub fn notes(path: &Path) -> Result<Option<Notes>> {
    if path.join(control::PATH).symlink_metadata().is_ok() {
        return Ok(None);
    }
    let marker = path.join(MARKER);
    match fs::read(&marker) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).at("read", &marker),
        Ok(json) => Ok(serde_json::from_slice(&json).ok()),
    }
}

/// Marks the folder as being restored into, for as long as the value lives: by the file across
/// a crash, by its lock against a second restore.
#[derive(Debug)]
pub struct Marker {
    path: PathBuf,
    _locked: File,
}

impl Marker {
    pub fn set(folder: &Path, notes: &Notes) -> Result<Self> {
        let path = folder.join(MARKER);
        let json = serde_json::to_vec_pretty(notes)
            .map_err(|error| Error::failed("can't note the restore").because(error))?;
        write_over(&path, 0o600, &json)?;
        let file = File::open(&path).at("open", &path)?;
        lock(&file, folder)?;
        Ok(Self {
            path,
            _locked: file,
        })
    }

    /// The folder is whole.
    pub fn remove(self) -> Result<()> {
        fs::remove_file(&self.path).at("remove", &self.path)?;
        sync_folder(folder_of(&self.path))
    }
}

fn lock(file: &File, folder: &Path) -> Result<()> {
    flock(file, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
        Error::failed(format!(
            "another restore is at work in {}",
            folder.display()
        ))
        .because(io::Error::from(error))
        .hint("wait for it, or stop it.")
    })
}

/// Clears what an interrupted restore left in a folder. The marker goes last.
pub fn clear_unfinished(folder: &Path) -> Result<()> {
    let marker = folder.join(MARKER);
    let file = File::open(&marker).at("open", &marker)?;
    lock(&file, folder)?;
    clear(folder, Some(MARKER))?;
    fs::remove_file(&marker).at("remove", &marker)
}

/// Removes all that is in a folder, but not the folder, which may be a mount point; links are
/// removed, never followed.
pub fn clear(folder: &Path, but: Option<&str>) -> Result<()> {
    for entry in fs::read_dir(folder).at("read", folder)? {
        let entry = entry.at("read", folder)?;
        let path = entry.path();
        if but.is_some_and(|name| entry.file_name() == name) {
            continue;
        }
        match entry.file_type().at("look at", &path)?.is_dir() {
            true => fs::remove_dir_all(&path),
            false => fs::remove_file(&path),
        }
        .at("remove", &path)?;
    }
    Ok(())
}

/// Where an unfinished restore's link of that tablespace points to.
pub fn link_target(data_dir: &Path, oid: u32) -> Option<PathBuf> {
    fs::read_link(data_dir.join("pg_tblspc").join(oid.to_string())).ok()
}

/// Makes a folder that is missing, and those above it, of the right owner.
pub fn make(path: &Path, mode: u32, owner: Option<Owner>) -> Result<()> {
    let mut missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
    missing.reverse();
    for folder in missing {
        // Those above only lead to it.
        create_folders(folder, if folder == path { mode } else { 0o755 }, None)?;
        give(folder, owner)?;
    }
    if !path.is_dir() {
        return Err(Error::new(
            Kind::Failed,
            format!("{} is not a folder", path.display()),
        ));
    }
    give(path, owner)
}

/// Gives a file or folder its owner, where it isn't ours to keep.
pub fn give(path: &Path, owner: Option<Owner>) -> Result<()> {
    match owner {
        Some(owner) => {
            chown(path, Some(owner.user), Some(owner.group)).at("give its owner to", path)
        }
        None => Ok(()),
    }
}

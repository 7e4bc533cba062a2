//! The folders that are restored into: what is there before, whose they are, how much fits.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access, statvfs};
use serde::Serialize;

use super::{marker::notes, shown};
use crate::{
    error::{Error, IoContext, Kind, Result},
    util::{
        account::Account,
        fs::{create_folders, folder_of},
    },
};

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
    #[serde(serialize_with = "shown::path")]
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
    pub fn of(path: &Path) -> Result<Self> {
        let state = state(path)?;
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

/// Where a data directory's link of that tablespace points to.
pub fn link_target(data_dir: &Path, oid: u32) -> Option<PathBuf> {
    fs::read_link(data_dir.join("pg_tblspc").join(oid.to_string())).ok()
}

/// Makes a folder that is missing, and those above it, which only lead to it, of the right owner.
pub fn make(path: &Path, mode: u32, owner: Option<Owner>) -> Result<()> {
    make_all(path, mode, 0o755, owner)
}

/// The same of one for notes in the state folder, which `init` makes so, too.
pub fn make_for_notes(path: &Path, owner: Option<Owner>) -> Result<()> {
    make_all(path, 0o750, 0o750, owner)
}

fn make_all(path: &Path, mode: u32, mode_above: u32, owner: Option<Owner>) -> Result<()> {
    let mut missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
    missing.reverse();
    for folder in missing {
        let mode = if folder == path { mode } else { mode_above };
        create_folders(folder, mode, None)?;
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_leads_to_a_folder_is_open_but_not_in_the_state_folder() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |name: &str| {
            let found = folder.path().join(name).metadata().unwrap();
            found.permissions().mode() & 0o777
        };
        make(&folder.path().join("a/data"), 0o700, None).unwrap();
        assert_eq!((mode("a"), mode("a/data")), (0o755, 0o700));
        make_for_notes(&folder.path().join("state/main/restores"), None).unwrap();
        let modes = ["state", "state/main", "state/main/restores"].map(mode);
        assert_eq!(modes, [0o750; 3]);
    }
}

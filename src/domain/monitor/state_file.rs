//! Files of the state folder that several processes write: one at a time, and whoever runs the jobs
//! owns them.

use std::{
    fs::{self, File},
    os::unix::fs::{MetadataExt, chown},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::process::geteuid;
use serde::Serialize;

use crate::{
    error::{Error, IoContext, Kind, Result},
    util::{
        cancel::Cancel,
        errand::Errand,
        fs::{create_folders, open_lock, write_over},
    },
};

const FILE_MODE: u32 = 0o640;
const FOLDER_MODE: u32 = 0o750;

/// Waits for the lock `name` of the folder `state`, but not for ever. It ends with its file.
pub fn lock(state: &Path, name: &str, patience: Duration) -> Result<File> {
    create_folders(state, FOLDER_MODE, None)?;
    let path = state.join(name);
    let lock = open_lock(&path)?;
    give_to_owner(state, &path)?;
    let until = Instant::now() + patience;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(fs::TryLockError::Error(error)) => return Err(error).at("lock", &path),
            Err(fs::TryLockError::WouldBlock) if Instant::now() >= until => {
                let what = format!("another process holds {}", path.display());
                return Err(Error::new(Kind::TimedOut, what));
            }
            Err(fs::TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Leaves `value` as the file `name`, of which only a later run makes use: where that does not work in time, the
/// log alone hears of it, since the check of the state folder says what is wrong there. `what` as in "no note of
/// disks".
///
/// # Errors
/// A stop that was asked for.
pub fn note<T: Serialize + Send + 'static>(
    state: &Path,
    name: &'static str,
    what: &'static str,
    value: T,
    until: Instant,
    cancel: &Cancel,
) -> Result<()> {
    let state = state.to_owned();
    let write = Errand::send(format!("leaving a note of {what}"), move || {
        let json = serde_json::to_vec(&value)
            .map_err(|error| Error::failed(format!("can't note {what}")).because(error))?;
        self::write(&state, name, &json)
    });
    match write.wait(until, cancel) {
        Err(error) if error.kind() != Kind::Interrupted => {
            tracing::debug!("no note of {what} is left: {}", error.in_one_line());
            Ok(())
        }
        other => other,
    }
}

/// Writes the file `name` of the folder `state` anew, whole or not at all.
pub fn write(state: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    create_folders(state, FOLDER_MODE, None)?;
    let path = state.join(name);
    write_over(&path, FILE_MODE, bytes)?;
    give_to_owner(state, &path)
}

/// A file that root makes belongs to whom the folder belongs, who runs the next job.
pub fn give_to_owner(state: &Path, path: &Path) -> Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let (folder, file) = (
        fs::metadata(state).at("look at", state)?,
        fs::metadata(path).at("look at", path)?,
    );
    if folder.uid() == file.uid() {
        return Ok(());
    }
    chown(path, Some(folder.uid()), Some(folder.gid())).at("give its owner to", path)
}

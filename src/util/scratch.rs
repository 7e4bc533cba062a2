//! A private folder for passing work, gone when it is dropped. What a killed process left can be
//! told by its lock, which nobody holds any more.

use std::{
    env,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process, thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustix::process::geteuid;
use tracing::warn;

use super::fs::create_new_folder;
use crate::error::{Error, Kind, Result};

/// Longer paths leave too little room for a unix socket, whose path has at most 107 bytes.
const LONGEST: usize = 60;

#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    keep: bool,
    _locked: File,
}

impl Scratch {
    /// A new folder `<name>-<random>` in the first of TMPDIR, /tmp and /var/tmp that takes it;
    /// with `keep` it stays.
    pub fn make(name: &str, keep: bool) -> Result<Self> {
        let mut refusal = None;
        for place in places() {
            match Self::make_in(&place, name, keep) {
                Ok(scratch) => return Ok(scratch),
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        Err(refusal
            .unwrap_or_else(|| Error::failed("there is no place for a scratch folder"))
            .hint("set TMPDIR to a folder where you may write."))
    }

    /// As [`Scratch::make`], in that folder alone.
    pub fn make_in(place: &Path, name: &str, keep: bool) -> Result<Self> {
        loop {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = now.map_or(0, |time| time.subsec_nanos());
            let path = place.join(format!("{name}-{:x}{now:08x}", process::id()));
            match create_new_folder(&path, 0o700) {
                Ok(()) => {
                    // Whoever sweeps may have been faster; then another is made.
                    let opened = File::open(&path);
                    if let Ok(locked) = opened
                        && locked.try_lock().is_ok()
                        && is_same(&locked, &path)
                    {
                        return Ok(Self {
                            path,
                            keep,
                            _locked: locked,
                        });
                    }
                }
                // Never one that somebody else has made.
                Err(error) if error.kind() == Kind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes what killed processes of this user left under `name`; nobody needs it, so what
    /// can't be removed stays.
    pub fn sweep(name: &str) {
        for folder in places().flat_map(|place| Self::left_in(&place, name)) {
            let _ = fs::remove_dir_all(folder);
        }
    }

    /// What killed processes of this user left under `name` in `place`.
    pub fn left_in(place: &Path, name: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(place).into_iter().flatten().flatten();
        let named = entries.filter(|entry| is_named(&entry.file_name().to_string_lossy(), name));
        let paths = named.map(|entry| entry.path());
        paths.filter(|path| is_left_behind(path)).collect()
    }
}

/// Removes a folder, in which somebody who is on his way out may still write for a moment.
pub fn remove_folder(path: &Path) -> io::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let until = Instant::now() + PATIENCE;
    loop {
        match fs::remove_dir_all(path) {
            Err(error)
                if error.kind() == io::ErrorKind::DirectoryNotEmpty && Instant::now() < until =>
            {
                thread::sleep(Duration::from_millis(50));
            }
            result => return result,
        }
    }
}

fn places() -> impl Iterator<Item = PathBuf> {
    [env::temp_dir(), "/tmp".into(), "/var/tmp".into()]
        .into_iter()
        .filter(|place| place.as_os_str().len() <= LONGEST)
}

fn is_same(opened: &File, path: &Path) -> bool {
    let found = fs::symlink_metadata(path).and_then(|found| Ok((found, opened.metadata()?)));
    found.is_ok_and(|(one, other)| (one.dev(), one.ino()) == (other.dev(), other.ino()))
}

/// As [`Scratch::make_in`] names folders: others may have made one that only begins like these.
fn is_named(found: &str, name: &str) -> bool {
    let rest = found
        .strip_prefix(name)
        .and_then(|rest| rest.strip_prefix('-'));
    // A process id, and nanoseconds in eight digits.
    rest.is_some_and(|rest| {
        (9..=16).contains(&rest.len())
            && rest
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// A folder of ours, not a link to one, that no process holds.
fn is_left_behind(path: &Path) -> bool {
    let ours = fs::symlink_metadata(path)
        .is_ok_and(|found| found.is_dir() && found.uid() == geteuid().as_raw());
    ours && File::open(path).is_ok_and(|folder| folder.try_lock().is_ok())
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if let Err(error) = remove_folder(&self.path) {
            warn!("{} is left behind: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_new_and_go() {
        let first = Scratch::make("pgstow-scratch-test", false).unwrap();
        let second = Scratch::make("pgstow-scratch-test", true).unwrap();
        let (gone, kept) = (first.path().to_owned(), second.path().to_owned());
        assert_ne!(gone, kept);
        fs::write(gone.join("file"), "x").unwrap();
        drop(first);
        drop(second);
        assert!(!gone.exists() && kept.is_dir());
        fs::remove_dir(kept).unwrap();
    }

    #[test]
    fn only_what_nobody_holds_is_swept() {
        let name = "pgstow-sweep-test";
        let held = Scratch::make(name, false).unwrap();
        let left = Scratch::make(name, true).unwrap();
        let left_path = left.path().to_owned();
        drop(left);
        // Somebody's, who chose such a name.
        let notes = left_path.with_file_name(format!("{name}-notes"));
        fs::create_dir_all(&notes).unwrap();
        Scratch::sweep(name);
        assert!(held.path().is_dir() && !left_path.exists());
        assert!(notes.is_dir());
        fs::remove_dir(notes).unwrap();
    }
}

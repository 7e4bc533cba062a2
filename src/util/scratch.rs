//! A private folder for passing work, gone when it is dropped.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use tracing::warn;

use super::fs::create_new_folder;
use crate::error::{Error, Kind, Result};

/// Longer paths leave too little room for a unix socket, whose path has at most 107 bytes.
const LONGEST: usize = 60;

#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    keep: bool,
}

impl Scratch {
    /// A new folder `<name>-<random>` in the first of TMPDIR, /tmp and /var/tmp that takes it;
    /// with `keep` it stays.
    pub fn make(name: &str, keep: bool) -> Result<Self> {
        let places = [env::temp_dir(), "/tmp".into(), "/var/tmp".into()];
        let mut refusal = None;
        for place in places
            .iter()
            .filter(|place| place.as_os_str().len() <= LONGEST)
        {
            match Self::make_in(place, name, keep) {
                Ok(scratch) => return Ok(scratch),
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        Err(refusal
            .unwrap_or_else(|| Error::failed("there is no place for a scratch folder"))
            .hint("set TMPDIR to a folder where you may write."))
    }

    fn make_in(place: &Path, name: &str, keep: bool) -> Result<Self> {
        loop {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = now.map_or(0, |time| time.subsec_nanos());
            let path = place.join(format!("{name}-{:x}{now:08x}", process::id()));
            match create_new_folder(&path, 0o700) {
                Ok(()) => return Ok(Self { path, keep }),
                // Never one that somebody else has made.
                Err(error) if error.kind() == Kind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.path) {
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
}

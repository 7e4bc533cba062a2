//! The mark of a folder in which a restore is at work, or was interrupted: [`MARKER`], and no
//! `global/pg_control`, so that no server starts there, and the next restore may clear it.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, IoContext, Kind, Result},
    postgres::control,
    repo::backup_id::BackupId,
    util::fs::{NewFile, folder_of, read_if_there, sync_folder, write_over},
};

/// Notes of a restore that isn't finished, in the folder that it fills.
pub const MARKER: &str = "pgstow-restore.json";

/// What [`MARKER`] holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes {
    pub cluster: String,
    pub backup: BackupId,
    /// Where the cluster that was here before lies now.
    pub replaced: Option<PathBuf>,
}

/// The notes of an interrupted restore; None where there was none, or where it came to its end.
pub fn notes(folder: &Path) -> Result<Option<Notes>> {
    if folder.join(control::PATH).symlink_metadata().is_ok() {
        return Ok(None);
    }
    let json = read_if_there(&folder.join(MARKER))?;
    Ok(json.and_then(|json| serde_json::from_slice(&json).ok()))
}

/// Marks the folder as being restored into, for as long as the value lives: by the file across
/// a crash, by its lock against a second restore.
#[derive(Debug)]
pub struct Marker {
    path: PathBuf,
    _locked: File,
}

impl Marker {
    /// Marks a folder that is empty.
    pub fn set(folder: &Path, notes: &Notes) -> Result<Self> {
        let path = folder.join(MARKER);
        let mut file = NewFile::create(&path, 0o600)?;
        file.write_all(&json(notes)?).at("write", &path)?;
        file.publish_new().map_err(|error| match error.kind() {
            Kind::AlreadyExists => at_work(folder),
            _ => error,
        })?;
        Self::lock(folder)
    }

    /// Takes over the folder of an interrupted restore, and clears it, after `first`. It is marked
    /// all the time: the old notes give way to the new ones at once.
    pub fn take_over(
        folder: &Path,
        notes: &Notes,
        first: impl FnOnce() -> Result<()>,
    ) -> Result<Self> {
        let old = Self::lock(folder)?;
        first()?;
        clear(folder, Some(MARKER))?;
        write_over(&old.path, 0o600, &json(notes)?)?;
        Self::lock(folder)
    }

    /// Marks a folder as it is; what an earlier restore noted gives way.
    pub fn over(folder: &Path, notes: &Notes) -> Result<Self> {
        match Self::set(folder, notes) {
            Err(error) if error.kind() == Kind::AlreadyExists => {
                let old = Self::lock(folder)?;
                write_over(&old.path, 0o600, &json(notes)?)?;
                Self::lock(folder)
            }
            other => other,
        }
    }

    /// Locks the marker that is there.
    pub fn lock(folder: &Path) -> Result<Self> {
        let path = folder.join(MARKER);
        let file = File::open(&path).at("open", &path)?;
        file.try_lock()
            .map_err(|error| at_work(folder).because(io::Error::from(error)))?;
        // Another may have put its own there between the two.
        let (ours, there) = (
            file.metadata().at("look at", &path)?,
            fs::metadata(&path).at("look at", &path)?,
        );
        if (ours.dev(), ours.ino()) != (there.dev(), there.ino()) {
            return Err(at_work(folder));
        }
        Ok(Self {
            path,
            _locked: file,
        })
    }

    /// The folder was renamed, and its marker with it.
    pub fn moved_to(self, folder: &Path) -> Self {
        Self {
            path: folder.join(MARKER),
            ..self
        }
    }

    /// The folder is whole.
    pub fn remove(self) -> Result<()> {
        fs::remove_file(&self.path).at("remove", &self.path)?;
        sync_folder(folder_of(&self.path))
    }
}

/// Removes all that is in a folder, but not the folder, which may be a mount point; links are
/// removed, never followed.
pub fn clear(folder: &Path, but: Option<&str>) -> Result<()> {
    for entry in fs::read_dir(folder).at("read", folder)? {
        let entry = entry.at("read", folder)?;
        if but.is_none_or(|name| entry.file_name() != name) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes a file, a link, or a folder with all that is in it; nothing is fine.
pub fn remove(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        found if found.as_ref().is_ok_and(fs::Metadata::is_dir) => fs::remove_dir_all(path),
        _ => fs::remove_file(path),
    }
    .at("remove", path)
}

fn json(notes: &Notes) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(notes)
        .map_err(|error| Error::failed("can't note the restore").because(error))
}

fn at_work(folder: &Path) -> Error {
    let what = format!("another restore is at work in {}", folder.display());
    Error::new(Kind::AlreadyExists, what).hint("wait for it, or stop it.")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn noted(replaced: &str) -> Notes {
        Notes {
            cluster: "main".to_owned(),
            backup: "20261121T020000Z-full".parse().unwrap(),
            replaced: Some(replaced.into()),
        }
    }

    #[test]
    fn a_folder_has_one_restore_at_a_time_and_never_loses_its_notes() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let marker = Marker::set(folder, &noted("/old")).unwrap();
        assert_eq!(notes(folder).unwrap(), Some(noted("/old")));
        for second in [
            Marker::set(folder, &noted("/other")),
            Marker::take_over(folder, &noted("/other"), || unreachable!("not ours")),
        ] {
            assert!(second.unwrap_err().message().contains("at work"));
        }
        assert_eq!(notes(folder).unwrap(), Some(noted("/old")));
        // As a crash leaves it.
        drop(marker);
        fs::create_dir(folder.join("base")).unwrap();
        let marker = Marker::take_over(folder, &noted("/older"), || {
            assert!(
                Marker::lock(folder).is_err(),
                "locked before anything is cleared"
            );
            Ok(())
        })
        .unwrap();
        assert_eq!(notes(folder).unwrap(), Some(noted("/older")));
        assert!(Marker::lock(folder).is_err());
        assert!(!folder.join("base").exists());
        marker.remove().unwrap();
        assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_is_marked_as_it_is_but_by_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        fs::create_dir(folder.join("base")).unwrap();
        let marker = Marker::over(folder, &noted("/old")).unwrap();
        let second = Marker::over(folder, &noted("/other")).unwrap_err();
        assert!(second.message().contains("at work"));
        drop(marker);
        let _marker = Marker::over(folder, &noted("/older")).unwrap();
        assert_eq!(notes(folder).unwrap(), Some(noted("/older")));
        assert!(folder.join("base").exists());
    }
}

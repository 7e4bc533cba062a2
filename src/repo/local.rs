//! The store in a folder of this host: synchronous, a few lines on `util/fs`.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    ops::Range,
    os::unix::fs::{MetadataExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

use rustix::{io::Errno, process::geteuid};

use super::{
    layout::{ObjectName, Prefix},
    storage::{Listing, ObjectInfo, Storage, Trail, Upload},
    walk::{Entry, Folders, Walk},
};
use crate::{
    error::{Error, IoContext, Kind, Result},
    util::{
        clock::Time,
        fs::{NewFile, create_folders, folder_of, link_over, sync_file, sync_folder},
        read_behind::ReadBehind,
    },
};

/// Only the server's user and its group may see what a backup holds.
const FOLDER_MODE: u32 = 0o750;
const FILE_MODE: u32 = 0o640;

#[derive(Debug)]
pub struct LocalStorage {
    root: PathBuf,
}

impl LocalStorage {
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// Whom new files and folders are given to: root alone can give them away.
    fn owner(&self) -> Result<Option<(u32, u32)>> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        match fs::metadata(&self.root) {
            Ok(root) => Ok(Some((root.uid(), root.gid()))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).at("read", &self.root),
        }
    }

    fn path(&self, name: &ObjectName) -> PathBuf {
        self.root.join(name.as_str())
    }

    /// Makes a relative link at `link`, or leads the one there to `target`.
    pub fn link(&self, target: &ObjectName, link: &ObjectName) -> Result<()> {
        let path = self.path(link);
        create_folders(folder_of(&path), FOLDER_MODE, self.owner()?)?;
        let (mut ups, mut from, mut to) = (0, link.as_str(), target.as_str());
        while let Some((folder, rest)) = from.split_once('/') {
            match to.split_once('/') {
                Some((same, behind)) if same == folder && ups == 0 => to = behind,
                _ => ups += 1,
            }
            from = rest;
        }
        link_over(Path::new(&("../".repeat(ups) + to)), &path, self.owner()?)
    }

    /// Removes a link, if there is one.
    pub fn unlink(&self, link: &ObjectName) -> Result<()> {
        match fs::read_link(self.path(link)) {
            Ok(_) => self.delete(link),
            // Not there, or no link.
            Err(_) => Ok(()),
        }
    }

    /// Begins a file that belongs, whoever runs us, to the owner of the repository: what root
    /// stores must stay readable for the server's user, who restores WAL.
    fn begin(&self, name: &ObjectName) -> Result<NewFile> {
        let mut file = self.create(name)?;
        // Whatever the umask is: PostgreSQL's is 077, that of a shell another.
        let mode = fs::Permissions::from_mode(FILE_MODE);
        file.file()
            .set_permissions(mode)
            .at("change the mode of", self.path(name))?;
        if let Some((uid, gid)) = self.owner()? {
            fchown(file.file(), Some(uid), Some(gid)).at("change the owner of", self.path(name))?;
        }
        Ok(file)
    }

    fn create(&self, name: &ObjectName) -> Result<NewFile> {
        let path = self.path(name);
        // The folder is there nearly always, so it is made only after it was missed. A delete
        // of its last object may remove it again in between.
        for _ in 0..3 {
            match NewFile::create(&path, FILE_MODE) {
                Err(error) if error.kind() == Kind::NotFound => {
                    create_folders(folder_of(&path), FOLDER_MODE, self.owner()?)?;
                }
                other => return other,
            }
        }
        NewFile::create(&path, FILE_MODE)
    }
}

impl Storage for LocalStorage {
    fn put_new(&self, name: &ObjectName) -> Result<Box<dyn Upload>> {
        Ok(Box::new(LocalUpload {
            file: self.begin(name)?,
            path: self.path(name),
        }))
    }

    fn put_part(&self, name: &ObjectName) -> Result<Box<dyn Upload>> {
        self.put_new(name)
    }

    fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Box<dyn Read + Send>> {
        let path = self.path(name);
        let mut file = File::open(&path).at("read", &path)?;
        let Some(range) = range else {
            return Ok(Box::new(file));
        };
        let length = file.metadata().at("read", &path)?.len();
        if range.end > length {
            return Err(Error::damaged(format!(
                "{} ends at byte {length}, before byte {}",
                path.display(),
                range.end
            )));
        }
        file.seek(SeekFrom::Start(range.start)).at("read", &path)?;
        Ok(Box::new(file.take(range.end - range.start)))
    }

    fn head(&self, name: &ObjectName) -> Result<ObjectInfo> {
        let path = self.path(name);
        info(name.clone(), &path).at("read", &path)
    }

    fn list(&self, prefix: &Prefix, after: Option<&ObjectName>) -> Result<Listing<'_>> {
        let root = self.root.clone();
        let after = after.map(ObjectName::as_str);
        let walk = Walk::below(LocalFolders { root }, prefix.as_str(), after)?;
        Ok(Box::new(walk))
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        let path = self.path(name);
        fs::remove_file(&path).map_err(|error| self.undeleted(&path, error))?;
        let mut folder = folder_of(&path);
        // Folders are no objects: an empty one goes, except for the repository's own.
        while folder != self.root && fs::remove_dir(folder).is_ok() {
            folder = folder_of(folder);
        }
        sync_folder(folder)
    }

    /// The file system forgets by itself what has no name.
    fn forget_unfinished(&self, _: &Prefix, _: Option<Time>) -> Result<u64> {
        Ok(0)
    }

    fn place(&self, name: &ObjectName) -> String {
        self.path(name).display().to_string()
    }
}

impl LocalStorage {
    /// Who may delete a file is decided by its folder.
    fn undeleted(&self, path: &Path, error: io::Error) -> Error {
        let (root, folder) = (self.root.display(), folder_of(path).display());
        let hint = match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::ACCESS) => format!(
                "give this folder to whom the repository belongs, as root: chown -R --reference={root} {folder}; and let its owner write there: chmod u+w {folder}"
            ),
            Some(Errno::PERM) => format!(
                "something beside owner and mode protects it: see what `lsattr -d {folder}` says (chattr -i), and whether the folder is sticky."
            ),
            _ => return Error::io("delete", path, error),
        };
        let what = format!("can't delete {}", path.display());
        Error::failed(what).because(error).hint(hint)
    }
}

struct LocalUpload {
    file: NewFile,
    path: PathBuf,
}

impl Write for LocalUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Upload for LocalUpload {
    fn settle(&mut self) -> Result<()> {
        self.file.sync()
    }

    fn trail(&self) -> Result<Option<Box<dyn Trail>>> {
        Ok(Some(Box::new(LocalTrail {
            file: self.file.read_behind()?,
            path: self.path.clone(),
        })))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let Self { file, path } = *self;
        let published = file.publish_new();
        if let Err(error) = &published
            && error.kind() == Kind::AlreadyExists
        {
            // Who finds the object there relies on it: it must be as durable as if it were made now.
            sync_file(&path)?;
            sync_folder(folder_of(&path))?;
        }
        published
    }

    fn finish_over(self: Box<Self>) -> Result<()> {
        self.file.publish_over()
    }
}

struct LocalTrail {
    file: ReadBehind,
    path: PathBuf,
}

impl Trail for LocalTrail {
    fn follow(&mut self, least: u64, sink: &mut dyn Write) -> Result<()> {
        let followed = self.file.follow(least, sink);
        followed.map_err(|error| {
            Error::passed(error, |error| Error::io("read again", &self.path, error))
        })
    }
}

fn info(name: ObjectName, path: &Path) -> io::Result<ObjectInfo> {
    let found = fs::metadata(path)?;
    if !found.is_file() {
        return Err(ErrorKind::NotFound.into());
    }
    Ok(ObjectInfo {
        name,
        size: found.len(),
        modified: found.modified()?.into(),
    })
}

struct LocalFolders {
    root: PathBuf,
}

impl Folders for LocalFolders {
    fn entries(&self, folder: &str) -> Result<Vec<Entry>> {
        let path = self.root.join(folder);
        let entries = match fs::read_dir(&path) {
            // A folder that nobody wrote into yet, or whose last object was deleted just now.
            Err(error) if error.kind() == ErrorKind::NotFound && self.root.is_dir() => {
                return Ok(Vec::new());
            }
            entries => entries.at("list", &path)?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.at("list", &path)?;
            // Not ours: every object's name is plain text.
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let is_folder = entry.file_type().at("list", &path)?.is_dir();
            found.push(Entry {
                name: name + if is_folder { "/" } else { "" },
                known: None,
            });
        }
        Ok(found)
    }

    fn look(&self, name: &str) -> Result<ObjectInfo> {
        let path = self.root.join(name);
        info(ObjectName::listed(name.to_owned()), &path).at("list", &path)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::repo::layout;

    #[test]
    fn a_repository_that_is_not_there_is_no_empty_one() {
        let store = LocalStorage::new(Path::new("/nonexistent/pgstow"));
        assert!(store.list(&layout::probe(), None).is_err());
    }
}

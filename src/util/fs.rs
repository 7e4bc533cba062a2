//! Durable file work: what is published is whole, and survives a power cut.
//!
//! The order is always: write a temporary file in the target's folder, sync it, give it its
//! name, sync the folder. A crash before the rename leaves a `.tmp` file that no reader looks
//! at; one after it leaves the whole file. The only file of pgstow that renames or creates.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with, statvfs},
    io::Errno,
};

use crate::error::{IoContext, Result};

/// The ending of files that are still being written.
pub const TEMPORARY: &str = ".tmp";

/// A file that appears under its name whole, or not at all. Dropped unpublished, it is removed.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    published: bool,
}

impl NewFile {
    /// Begins `target` with permission bits `mode` (less the umask); its folder must exist.
    pub fn create(target: &Path, mode: u32) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let temporary =
            target.with_file_name(format!(".{name}.{}-{number}{TEMPORARY}", process::id()));
        // A process of the same id may have died here before: its leftover has no other use.
        let file = match Self::open_new(&temporary, mode) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(&temporary).at("remove", &temporary)?;
                Self::open_new(&temporary, mode)
            }
            other => other,
        }
        .at("create", &temporary)?;
        Ok(Self {
            file,
            temporary,
            target: target.to_owned(),
            published: false,
        })
    }

    fn open_new(path: &Path, mode: u32) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)
    }

    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Where the bytes lie until they are published.
    pub fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Syncs and names the file; an error of kind `AlreadyExists` if the name is taken.
    pub fn publish_new(self) -> Result<()> {
        self.publish(
            |from, to| match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
                // File systems without this flag, NFS among them, still have exclusive links.
                Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                    fs::hard_link(from, to).and_then(|()| fs::remove_file(from))
                }
                other => Ok(other?),
            },
        )
    }

    /// Syncs and names the file, in the place of one that may be there.
    pub fn publish_over(self) -> Result<()> {
        self.publish(|from, to| fs::rename(from, to))
    }

    fn publish(mut self, name: impl FnOnce(&Path, &Path) -> io::Result<()>) -> Result<()> {
        self.file.sync_all().at("sync", &self.temporary)?;
        name(&self.temporary, &self.target).at("create", &self.target)?;
        self.published = true;
        sync_folder(folder_of(&self.target))
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.published {
            // Nobody looks at a temporary file: what can't be removed does no harm.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Writes `bytes` to `path` at once and durably, in the place of what was there.
pub fn write_over(path: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
    let mut file = NewFile::create(path, mode)?;
    file.write_all(bytes).at("write", path)?;
    file.publish_over()
}

/// Makes `path` and the folders above it that are missing, each of them durable.
pub fn create_folders(path: &Path, mode: u32) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = folder_of(path);
    create_folders(above, mode)?;
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other.at("create folder", path),
    }?;
    sync_folder(above)
}

/// Makes the names in a folder durable.
pub fn sync_folder(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .at("sync folder", path)
}

/// Makes a file's bytes durable.
pub fn sync_file(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .at("sync", path)
}

/// Bytes that this user may still write on the file system of `path`.
pub fn free_bytes(path: &Path) -> Result<u64> {
    let room = statvfs(path).at("look at the file system of", path)?;
    Ok(room.f_bavail * room.f_frsize)
}

/// Renames durably within one file system; refuses a name that is taken.
pub fn rename_new(from: &Path, to: &Path) -> Result<()> {
    renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE).at("rename to", to)?;
    sync_folder(folder_of(to))?;
    if folder_of(from) != folder_of(to) {
        sync_folder(folder_of(from))
    } else {
        Ok(())
    }
}

/// The folder that holds `path`: `.` for a bare name.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn a_name_is_taken_once_and_unpublished_files_go() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a/b/object");
        create_folders(folder_of(&target), 0o750).unwrap();
        let mut first = NewFile::create(&target, 0o640).unwrap();
        first.write_all(b"first").unwrap();
        let second = NewFile::create(&target, 0o640).unwrap();
        let dropped = NewFile::create(&target, 0o640).unwrap();
        first.publish_new().unwrap();
        assert_eq!(
            second.publish_new().unwrap_err().kind(),
            Kind::AlreadyExists
        );
        drop(dropped);
        assert_eq!(fs::read(&target).unwrap(), b"first");
        write_over(&target, 0o640, b"third").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"third");
        assert_eq!(fs::read_dir(folder_of(&target)).unwrap().count(), 1);
    }
}

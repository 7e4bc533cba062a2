//! Durable file work: what is published is whole, and survives a power cut.
//!
//! The order is always: write a file without a name, sync it, give it its name, sync the
//! folder. A crash before the name leaves nothing, one after it the whole file. Where the file
//! system has no nameless files (NFS), a `.tmp` file takes their place, which no reader looks
//! at. The only file of pgstow that renames or creates.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown, lchown, symlink},
    },
    path::{Path, PathBuf},
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, linkat, open, renameat_with, statvfs},
    io::Errno,
};

use super::{early_writing::EarlyWriting, read_behind::ReadBehind};
use crate::error::{IoContext, Result};

/// The ending of files that are still being written.
pub const TEMPORARY: &str = ".tmp";

/// A file that appears under its name whole, or not at all. Dropped unpublished, it is gone.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    /// Where the file system has no files without a name.
    temporary: Option<PathBuf>,
    target: PathBuf,
    early: EarlyWriting,
    synced: bool,
}

impl NewFile {
    /// Begins `target` with permission bits `mode` (less the umask); its folder must exist.
    pub fn create(target: &Path, mode: u32) -> Result<Self> {
        let folder = folder_of(target);
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match open(folder, flags, Mode::from_raw_mode(mode)) {
            Ok(file) => {
                return Ok(Self {
                    file: file.into(),
                    temporary: None,
                    target: target.to_owned(),
                    early: EarlyWriting::default(),
                    synced: false,
                });
            }
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {}
            Err(error) => return Err(error).at("create a file in", folder),
        }
        let temporary = hidden(target);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)
            .at("create", &temporary)?;
        Ok(Self {
            file,
            temporary: Some(temporary),
            target: target.to_owned(),
            early: EarlyWriting::default(),
            synced: false,
        })
    }

    pub fn file(&mut self) -> &mut File {
        self.synced = false;
        &mut self.file
    }

    /// For who reads the content while it is still being written.
    pub fn read_behind(&self) -> Result<ReadBehind> {
        let same = self.file.try_clone().at("read", &self.target)?;
        Ok(ReadBehind::new(same))
    }

    /// Makes the content durable, so that publishing it needs no more than the name.
    pub fn sync(&mut self) -> Result<()> {
        if !self.synced {
            self.file.sync_all().at("sync", &self.target)?;
            self.synced = true;
        }
        Ok(())
    }

    /// Syncs and names the file; an error of kind `AlreadyExists` if the name is taken.
    pub fn publish_new(mut self) -> Result<()> {
        self.sync()?;
        let target = &self.target;
        match &self.temporary {
            None => self.link(target),
            Some(temporary) => {
                match renameat_with(CWD, temporary, CWD, target, RenameFlags::NOREPLACE) {
                    // Without this flag there still are exclusive links; the old name goes with `drop`.
                    Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                        fs::hard_link(temporary, target)
                    }
                    renamed => renamed.map_err(io::Error::from),
                }
            }
        }
        .at("create", target)?;
        self.remove_temporary();
        sync_folder(folder_of(&self.target))
    }

    /// Syncs and names the file, in the place of one that may be there.
    pub fn publish_over(mut self) -> Result<()> {
        self.sync()?;
        self.name_over()?;
        sync_folder(folder_of(&self.target))
    }

    /// Names the file, in the place of one that may be there. Whole for every process, but not
    /// durable: for what nobody looks at any more after a crash of the host.
    pub fn appear_over(mut self) -> Result<()> {
        self.name_over()
    }

    fn name_over(&mut self) -> Result<()> {
        if self.temporary.is_none() {
            match self.link(&self.target) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => return other.at("create", &self.target),
            }
            // Only a file with a name can take another's.
            let temporary = hidden(&self.target);
            self.link(&temporary).at("create", &temporary)?;
            self.temporary = Some(temporary);
        }
        if let Some(temporary) = &self.temporary {
            fs::rename(temporary, &self.target).at("create", &self.target)?;
        }
        self.temporary = None;
        Ok(())
    }

    /// Names a nameless file, as open(2) tells to do it without privileges.
    fn link(&self, name: &Path) -> io::Result<()> {
        let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        Ok(linkat(
            CWD,
            own.as_str(),
            CWD,
            name,
            AtFlags::SYMLINK_FOLLOW,
        )?)
    }

    fn remove_temporary(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            // Nobody looks at a temporary file: what can't be removed does no harm.
            let _ = fs::remove_file(temporary);
        }
    }
}

/// A name beside `target` that no other process and no reader uses.
fn hidden(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    target.with_file_name(format!(
        ".{name}.{}-{}{TEMPORARY}",
        process::id(),
        now.as_nanos()
    ))
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.synced = false;
        let count = self.file.write(bytes)?;
        self.early.wrote(&self.file, count);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        self.remove_temporary();
    }
}

/// Writes `bytes` to `path` at once and durably, in the place of what was there, with the permission
/// bits `mode`, whatever the umask is.
pub fn write_over(path: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
    let mut file = NewFile::create(path, mode)?;
    let permissions = fs::Permissions::from_mode(mode);
    (file.file().set_permissions(permissions)).at("change the mode of", path)?;
    file.write_all(bytes).at("write", path)?;
    file.publish_over()
}

/// Makes `path` and the folders above it that are missing, each of them durable; `owner` (user
/// and group) is given what is made.
pub fn create_folders(path: &Path, mode: u32, owner: Option<(u32, u32)>) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = folder_of(path);
    create_folders(above, mode, owner)?;
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {
            return Ok(());
        }
        other => other.at("create folder", path),
    }?;
    if let Some((user, group)) = owner {
        chown(path, Some(user), Some(group)).at("change the owner of", path)?;
    }
    // Whatever the umask is: PostgreSQL's is 077, that of a shell another.
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).at("change the mode of", path)?;
    sync_folder(above)
}

/// Makes one folder, which must not exist yet; an error of kind `AlreadyExists` if it does.
pub fn create_new_folder(path: &Path, mode: u32) -> Result<()> {
    DirBuilder::new()
        .mode(mode)
        .create(path)
        .at("create folder", path)
}

/// Makes a file that must not be there yet, readable for nobody else. Not durable: for a folder
/// that gets its name, or is synced, as a whole.
pub fn create_file(path: &Path) -> Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .at("create", path)
}

/// The bytes of a file; None where there is none.
pub fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some).at("read", path),
    }
}

/// Opens a file that is there, to read and change it; an error where the name is a link's.
pub fn open_to_patch(path: &Path) -> Result<File> {
    open_plain(path, OFlags::RDWR)
}

/// Opens a file that is there, to read it; an error where the name is a link's.
pub fn open_no_link(path: &Path) -> Result<File> {
    open_plain(path, OFlags::RDONLY)
}

fn open_plain(path: &Path, how: OFlags) -> Result<File> {
    // A pipe in the place of a file must not keep us waiting.
    let flags = how | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::empty()).at("open", path)?;
    Ok(file.into())
}

/// Gives a plain file a second name, which must not be there yet, or copies it where file systems
/// part them. Durable but for the name.
pub fn link_or_copy(from: &Path, to: &Path, mode: u32) -> Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => sync_file(to),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error).at("create", to),
        Err(_) => {
            let mut source = open_no_link(from)?;
            let mut copy = NewFile::create(to, mode)?;
            io::copy(&mut source, &mut copy).at("copy to", to)?;
            copy.publish_new()
        }
    }
}

/// Opens a file for its lock and a few bytes; makes it if it is missing.
pub fn open_lock(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .at("open", path)
}

/// Moves a file to `to`, in the place of one that may be there, also to another file system. Whole
/// for every process, but not durable.
pub fn move_over(from: &Path, to: &Path) -> Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {}
        renamed => return renamed.at("create", to),
    }
    let mut source = File::open(from).at("read", from)?;
    let mode = source.metadata().at("read", from)?.permissions().mode();
    let mut file = NewFile::create(to, mode & 0o777)?;
    io::copy(&mut source, file.file()).at("write", to)?;
    file.appear_over()?;
    fs::remove_file(from).at("remove", from)
}

/// Opens a log to write behind what is there; makes it if it is missing, not for everybody: errors name hosts and files.
pub fn open_log(path: &Path) -> Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
        .at("open", path)
}

/// Makes a link, which must not be there yet; `owner` (user and group) is given it. Not durable.
pub fn link_new(target: &Path, link: &Path, owner: Option<(u32, u32)>) -> Result<()> {
    symlink(target, link).at("create link", link)?;
    match owner {
        Some((user, group)) => lchown(link, Some(user), Some(group)).at("give its owner to", link),
        None => Ok(()),
    }
}

/// Makes a link in the place of one that may be there, durably.
pub fn link_over(target: &Path, link: &Path, owner: Option<(u32, u32)>) -> Result<()> {
    let temporary = hidden(link);
    link_new(target, &temporary, owner)?;
    fs::rename(&temporary, link).at("create link", link)?;
    sync_folder(folder_of(link))
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
    Ok(room(path)?.available)
}

/// How much a file system holds, and how much more this user may write there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub used: u64,
    pub available: u64,
}

impl Room {
    /// Of what this user could use, rounded up, as df does it.
    pub fn percent_used(&self) -> u64 {
        let usable = self.used.saturating_add(self.available).max(1);
        (u128::from(self.used) * 100).div_ceil(u128::from(usable)) as u64
    }
}

/// The room on the file system of `path`.
pub fn room(path: &Path) -> Result<Room> {
    let found = statvfs(path).at("look at the file system of", path)?;
    Ok(Room {
        used: found.f_blocks.saturating_sub(found.f_bfree) * found.f_frsize,
        available: found.f_bavail * found.f_frsize,
    })
}

/// Renames durably within one file system; refuses a name that is taken.
pub fn rename_new(from: &Path, to: &Path) -> Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Without this flag (NFS) a name that is taken at this very moment is not noticed.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => match to.symlink_metadata() {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => fs::rename(from, to),
        },
        renamed => renamed.map_err(io::Error::from),
    }
    .at("rename to", to)?;
    sync_folder(folder_of(to))?;
    if folder_of(from) != folder_of(to) {
        sync_folder(folder_of(from))
    } else {
        Ok(())
    }
}

/// Has two files or folders of one folder change names, at once and durably; false where the file
/// system can't.
pub fn exchange(one: &Path, other: &Path) -> Result<bool> {
    match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => return Ok(false),
        renamed => renamed.at("change names with", one)?,
    }
    sync_folder(folder_of(one))?;
    Ok(true)
}

/// The path without links, as far as it is there.
pub fn real(path: &Path) -> PathBuf {
    let mut there = path;
    loop {
        match (fs::canonicalize(there), there.parent()) {
            (Ok(found), _) => {
                let rest = path.strip_prefix(there).unwrap_or(Path::new(""));
                // Joined with nothing, it would end with a slash.
                return found.join(rest).components().collect();
            }
            (Err(_), Some(above)) => there = above,
            (Err(_), None) => return path.to_owned(),
        }
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
    fn nothing_is_there_before_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = NewFile::create(&folder.path().join("object"), 0o640).unwrap();
        file.write_all(b"half").unwrap();
        // On the file systems of test machines; a killed process leaves as little.
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    /// As under systemd's UMask=0027: the node exporter is another user.
    #[test]
    fn a_small_file_has_its_mode_whatever_the_umask_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics");
        let before = rustix::process::umask(rustix::fs::Mode::from(0o077));
        write_over(&path, 0o644, b"x").unwrap();
        rustix::process::umask(before);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
    }

    #[test]
    fn a_name_is_taken_once_and_unpublished_files_go() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a/b/object");
        create_folders(folder_of(&target), 0o750, None).unwrap();
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

    #[test]
    fn names_are_exchanged_and_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        create_new_folder(&one, 0o700).unwrap();
        create_file(&one.join("file")).unwrap();
        create_new_folder(&other, 0o700).unwrap();
        assert_eq!(
            rename_new(&one, &other).unwrap_err().kind(),
            Kind::AlreadyExists
        );
        assert!(exchange(&one, &other).unwrap());
        assert!(!one.join("file").exists() && other.join("file").exists());
        assert!(exchange(&one, &folder.path().join("nobody")).is_err());
    }

    #[test]
    fn links_and_files_are_made_once_and_links_are_replaced_when_told_to() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        link_new(Path::new("/first"), &link, None).unwrap();
        let taken = link_new(Path::new("/second"), &link, None).unwrap_err();
        assert_eq!(taken.kind(), Kind::AlreadyExists);
        link_over(Path::new("/second"), &link, None).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("/second"));
        let file = folder.path().join("file");
        create_file(&file).unwrap();
        assert_eq!(create_file(&file).unwrap_err().kind(), Kind::AlreadyExists);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}

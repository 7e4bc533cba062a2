//! What of a data directory belongs into a backup: a walk without reading a file.
//!
//! The rules are those of sendDir in `src/backend/backup/basebackup.c`: what vanishes meanwhile
//! was dropped, what comes later is in the WAL; no link is followed but those of tablespaces, of
//! pg_wal and of folders whose content is left out; of an unlogged relation only the init fork.

use std::{
    collections::BTreeSet,
    fs::{self, FileType, Metadata},
    io, mem,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::MetadataExt,
    },
    path::{Path, PathBuf},
    time::SystemTime,
};

use tracing::warn;

use crate::{
    error::{IoContext, Result},
    postgres::{
        conf_file::ConfigFile,
        control,
        pgdata::{self, Treatment},
        relation_file::{Fork, RelationFile},
        version::{Major, tablespace_version_folder},
    },
    repo::{
        file_index::{Facts, FilePath},
        tablespace::Tablespace,
    },
    util::fs::real,
};

/// A file or a folder that was met.
#[derive(Debug, PartialEq, Eq)]
pub struct Item {
    /// Relative to the data directory.
    pub path: FilePath,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Folder,
    /// Its bytes when it was met.
    File(u64),
}

/// All that was met, in the order of the walk: some 40 bytes each.
#[derive(Debug, Default)]
pub struct Items {
    /// One behind the other.
    paths: Vec<u8>,
    /// The end of each path in them, and the bytes of the file.
    each: Vec<(usize, u64)>,
    /// Of all files.
    pub bytes: u64,
}

/// In the place of a folder's bytes.
const FOLDER: u64 = u64::MAX;

impl Items {
    fn add(&mut self, path: &[u8], kind: Kind) {
        self.paths.extend_from_slice(path);
        let size = match kind {
            Kind::Folder => FOLDER,
            Kind::File(size) => {
                self.bytes += size;
                size
            }
        };
        self.each.push((self.paths.len(), size));
    }

    pub fn iter(&self) -> impl Iterator<Item = Item> {
        let mut begin = 0;
        self.each.iter().map(move |(end, size)| {
            let path = &self.paths[mem::replace(&mut begin, *end)..*end];
            Item {
                path: FilePath(path.into()),
                kind: match *size {
                    FOLDER => Kind::Folder,
                    size => Kind::File(size),
                },
            }
        })
    }
}

/// The data directory that is walked.
#[derive(Debug)]
pub struct Scan<'a> {
    root: &'a Path,
    /// The folder of this version in each tablespace: others may share it after pg_upgrade.
    version_folder: String,
    tablespaces: &'a [Tablespace],
    config_files: &'a [ConfigFile],
    /// Tablespaces that lie in the data directory, as they must not: they are not met twice.
    inside: Vec<PathBuf>,
    items: Items,
}

impl<'a> Scan<'a> {
    /// Walks the data directory at `root`; `global/pg_control` is left to the caller.
    pub fn run(
        root: &'a Path,
        major: Major,
        catalog_version: u32,
        tablespaces: &'a [Tablespace],
        config_files: &'a [ConfigFile],
    ) -> Result<Items> {
        let whole = real(root);
        let inside = tablespaces
            .iter()
            .filter(|space| !space.in_place)
            .filter_map(|space| Some(real(&space.location.0).strip_prefix(&whole).ok()?.into()))
            .collect();
        let mut scan = Self {
            root,
            version_folder: tablespace_version_folder(major, catalog_version),
            tablespaces,
            config_files,
            inside,
            items: Items::default(),
        };
        scan.folder(b"")?;
        Ok(scan.items)
    }

    /// Walks one folder; its path ends without a slash.
    fn folder(&mut self, path: &[u8]) -> Result<()> {
        let absolute = self.root.join(Path::new(std::ffi::OsStr::from_bytes(path)));
        let Some(entries) = there(fs::read_dir(&absolute)).at("list", &absolute)? else {
            return Ok(());
        };
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry.at("list", &absolute)?.file_name().into_vec());
        }
        // Neighbours on the disk and in the backup alike.
        names.sort_unstable();
        let unlogged = unlogged(&names);
        for name in names {
            let relation = RelationFile::parse(&name);
            if relation
                .is_some_and(|file| file.fork != Fork::Init && unlogged.contains(&file.number))
            {
                continue;
            }
            let path = match path {
                b"" => name,
                _ => [path, b"/", &name].concat(),
            };
            self.entry(path)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: Vec<u8>) -> Result<()> {
        let treatment = pgdata::treatment(&path);
        if treatment == Treatment::LeaveOut || path == control::PATH.as_bytes() {
            return Ok(());
        }
        let path = FilePath(path.into());
        let absolute = self.root.join(path.as_path());
        let Some(found) = there(fs::symlink_metadata(&absolute)).at("read", &absolute)? else {
            return Ok(());
        };
        if self.inside.iter().any(|space| space == path.as_path()) {
            return Ok(());
        }
        let kind = found.file_type();
        if treatment == Treatment::KeepEmpty {
            self.empty_folder(&path, kind);
        } else if kind.is_dir() {
            self.items.add(&path.0, Kind::Folder);
            self.folder(&path.0)?;
        } else if kind.is_file() {
            self.items.add(&path.0, Kind::File(found.size()));
        } else if path.0.starts_with(b"pg_tblspc/") {
            self.tablespace(&path)?;
        } else if self.config_files.iter().all(|file| file.path != absolute) {
            // Configuration files are kept beside the parts, whatever leads to them.
            warn!(
                "{} is neither a file nor a folder: it is not in the backup",
                absolute.display()
            );
        }
        Ok(())
    }

    /// A folder whose content is not wanted; it may be a link to elsewhere.
    fn empty_folder(&mut self, path: &FilePath, kind: FileType) {
        if kind.is_file() {
            return;
        }
        self.items.add(&path.0, Kind::Folder);
        if path.0.as_ref() == b"pg_wal" {
            // What a server expects there.
            for inner in pgdata::IN_WAL {
                if fs::metadata(
                    self.root
                        .join(Path::new(std::ffi::OsStr::from_bytes(inner))),
                )
                .is_ok()
                {
                    self.items.add(inner, Kind::Folder);
                }
            }
        }
    }

    /// A link in `pg_tblspc`: of what it leads to, only the folder of this server's version.
    fn tablespace(&mut self, link: &FilePath) -> Result<()> {
        let oid = link.0.strip_prefix(b"pg_tblspc/");
        let oid: Option<u32> = oid.and_then(|oid| str::from_utf8(oid).ok()?.parse().ok());
        let known = self.tablespaces.iter().any(|space| Some(space.oid) == oid);
        if !known {
            // One that was made meanwhile is in the WAL; another one isn't the server's.
            return Ok(());
        }
        let folder = [&*link.0, b"/", self.version_folder.as_bytes()].concat();
        let path = FilePath(folder.into());
        let absolute = self.root.join(path.as_path());
        match there(fs::metadata(&absolute)).at("read", &absolute)? {
            Some(found) if found.is_dir() => {
                self.items.add(&path.0, Kind::Folder);
                self.folder(&path.0)
            }
            _ => Ok(()),
        }
    }
}

/// The numbers of the relations in a folder that have an init fork: they are unlogged.
fn unlogged(names: &[Vec<u8>]) -> BTreeSet<u32> {
    names
        .iter()
        .filter_map(|name| RelationFile::parse(name))
        .filter(|file| file.fork == Fork::Init && file.segment == 0)
        .map(|file| file.number)
        .collect()
}

/// None for what has vanished.
pub fn there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the file system says of a file.
pub fn facts(found: &Metadata) -> Facts {
    let born = found.created().ok();
    let born = born.and_then(|born| born.duration_since(SystemTime::UNIX_EPOCH).ok());
    let nanoseconds =
        |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
    Facts {
        device: found.dev(),
        inode: found.ino(),
        born: born.and_then(|born| born.as_nanos().try_into().ok()),
        size: found.size(),
        modified: nanoseconds(found.mtime(), found.mtime_nsec()),
        changed: nanoseconds(found.ctime(), found.ctime_nsec()),
    }
}

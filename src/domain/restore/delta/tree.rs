//! What of a backup lies in folders that are there, by names, kinds and sizes; and what else does.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, Metadata, Permissions},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt, fchown},
    },
    path::{Path, PathBuf},
};

use super::{
    super::{
        contents::Contents,
        folders::Owner,
        index::{ByPath, FOLDERS, Found, Member},
        marker::MARKER,
        tablespaces::Tablespace,
    },
    outlook::Count,
};
use crate::{
    error::{Error, IoContext, Result},
    postgres::control,
    util::{cancel::Cancel, fs::open_no_link},
};

const LINKS: &str = "pg_tblspc";

/// What is done with what doesn't belong there, or has wrong rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Look,
    Clear,
}

/// What was found: one byte for each member.
pub struct Seen {
    /// By the numbers of members.
    pub found: Vec<Found>,
    /// Files that no member's file can take the place of; links count as files.
    pub extra: Count,
    /// Bytes of them by tablespace; None is the data directory.
    pub freed: BTreeMap<Option<u32>, u64>,
    /// Bytes of files that are there and will be written over.
    pub reused: BTreeMap<Option<u32>, u64>,
}

impl Seen {
    pub fn nothing(contents: &Contents) -> Self {
        let at_first = |member: &Member| match member.folder || member.is_left_out() {
            true => Found::Same,
            false => Found::Nothing,
        };
        Self {
            found: contents.members.iter().map(at_first).collect(),
            extra: Count::default(),
            freed: BTreeMap::new(),
            reused: BTreeMap::new(),
        }
    }
}

/// What belongs at a path.
enum Wanted<'a> {
    Folder,
    File(usize),
    /// Of a tablespace that lies elsewhere.
    Link(&'a Path),
    Nothing,
}

pub struct Tree<'a> {
    contents: &'a Contents,
    by_path: ByPath,
    data_dir: &'a Path,
    tablespaces: &'a [Tablespace],
    owner: Option<Owner>,
    /// Where times are trusted: those before this one.
    settled: Option<i64>,
    act: Act,
    cancel: &'a Cancel,
}

impl<'a> Tree<'a> {
    pub fn new(
        contents: &'a Contents,
        data_dir: &'a Path,
        tablespaces: &'a [Tablespace],
        owner: Option<Owner>,
        settled: Option<i64>,
        act: Act,
        cancel: &'a Cancel,
    ) -> Self {
        Self {
            contents,
            by_path: ByPath::of(&contents.members),
            data_dir,
            tablespaces,
            owner,
            settled,
            act,
            cancel,
        }
    }

    pub fn data_dir(&self, seen: &mut Seen) -> Result<()> {
        let there = fs::metadata(self.data_dir).at("look at", self.data_dir)?;
        self.folder(self.data_dir, &there, &mut Vec::new(), None, seen)
    }

    /// In each tablespace's folder, what of its names the backup has.
    pub fn tablespaces(&self, seen: &mut Seen) -> Result<()> {
        for space in self.tablespaces {
            for name in names_in(self.contents, space.oid) {
                let path = space.path.join(std::ffi::OsStr::from_bytes(name));
                let above = match fs::metadata(&space.path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    other => other.at("look at", &space.path)?,
                };
                let mut relative = [format!("{LINKS}/{}/", space.oid).as_bytes(), name].concat();
                self.entry(&path, &mut relative, above.dev(), Some(space.oid), seen)?;
            }
        }
        Ok(())
    }

    fn folder(
        &self,
        path: &Path,
        there: &Metadata,
        relative: &mut Vec<u8>,
        place: Option<u32>,
        seen: &mut Seen,
    ) -> Result<()> {
        self.open_up(path, there)?;
        let entries = match fs::read_dir(path) {
            // Of a server at work: only a plan looks there.
            Err(error) if gone(&error) && self.act == Act::Look => return Ok(()),
            other => other.at("read", path)?,
        };
        for entry in entries {
            self.cancel.check()?;
            let entry = entry.at("read", path)?;
            let length = relative.len();
            if length > 0 {
                relative.push(b'/');
            }
            relative.extend(entry.file_name().as_bytes());
            self.entry(&entry.path(), relative, there.dev(), place, seen)?;
            relative.truncate(length);
        }
        Ok(())
    }

    fn entry(
        &self,
        path: &Path,
        relative: &mut Vec<u8>,
        device: u64,
        place: Option<u32>,
        seen: &mut Seen,
    ) -> Result<()> {
        let there = match fs::symlink_metadata(path) {
            Err(error) if gone(&error) => return Ok(()),
            other => other.at("look at", path)?,
        };
        // Ours, and what is written anew in any case.
        let apart = [MARKER, control::PATH].map(str::as_bytes);
        if apart.contains(&relative.as_slice()) && !there.is_dir() {
            return Ok(());
        }
        match self.wanted(relative) {
            Wanted::Folder if there.is_dir() => self.folder(path, &there, relative, place, seen),
            Wanted::Link(target) if fs::read_link(path).is_ok_and(|to| to == target) => Ok(()),
            Wanted::File(number) if there.is_file() && self.is_ours_alone(&there) => {
                seen.found[number] = self.judge(&there, number);
                let reused = there.len().min(self.contents.size(number));
                *seen.reused.entry(place).or_default() += reused;
                self.set_rights(path, &there, self.contents.members[number].mode)
            }
            _ => self.extra(path, &there, device, place, seen),
        }
    }

    fn wanted(&self, relative: &[u8]) -> Wanted<'_> {
        if let Some(space) = self.linked(relative) {
            return Wanted::Link(&space.path);
        }
        let members = &self.contents.members;
        match self.by_path.find(members, relative) {
            Some(number) if members[number].folder => Wanted::Folder,
            Some(number) if members[number].is_left_out() => Wanted::Nothing,
            Some(number) => Wanted::File(number),
            None if self.by_path.leads_on(members, relative) => Wanted::Folder,
            None if FOLDERS.iter().any(|name| name.as_bytes() == relative) => Wanted::Folder,
            None => Wanted::Nothing,
        }
    }

    /// The tablespace whose link belongs at this path.
    fn linked(&self, relative: &[u8]) -> Option<&Tablespace> {
        let name = relative
            .strip_prefix(LINKS.as_bytes())?
            .strip_prefix(b"/")?;
        let mut spaces = self.tablespaces.iter();
        spaces.find(|space| space.oid.to_string().as_bytes() == name)
    }

    /// Another name of the same file would change with it: a snapshot by links, the old cluster of
    /// `pg_upgrade --link`, or a file that has nothing to do with PostgreSQL.
    fn is_ours_alone(&self, there: &Metadata) -> bool {
        let owned = self.owner.is_some() || there.uid() == rustix::process::geteuid().as_raw();
        owned && there.nlink() == 1
    }

    fn judge(&self, there: &Metadata, number: usize) -> Found {
        let size = self.contents.size(number);
        if there.len() != size {
            return Found::Other;
        }
        let time = self.contents.members[number].mtime;
        let trusted = self.settled.is_some_and(|settled| time < settled) && there.mtime() == time;
        match trusted || size == 0 {
            true => Found::Same,
            false => Found::Unread,
        }
    }

    /// Folders are written in: a plan refuses those of another user, who alone can change their modes.
    fn open_up(&self, path: &Path, there: &Metadata) -> Result<()> {
        if self.owner.is_some() {
            return Ok(());
        }
        if there.uid() != rustix::process::geteuid().as_raw() {
            return Err(Error::failed(format!(
                "{} belongs to another user (id {}), and the restore has to write in it",
                path.display(),
                there.uid()
            ))
            .hint(
                "give it to the user that runs the restore (chown), or run the restore as root.",
            ));
        }
        match self.act {
            Act::Look => Ok(()),
            Act::Clear => open_up(path, there),
        }
    }

    fn set_rights(&self, path: &Path, there: &Metadata, mode: u32) -> Result<()> {
        if self.act == Act::Look {
            return Ok(());
        }
        let is_owner = |owner: Owner| (owner.user, owner.group) == (there.uid(), there.gid());
        let owner = self.owner.filter(|owner| !is_owner(*owner));
        let right_mode = there.mode() & 0o7777 == mode;
        if owner.is_none() && right_mode {
            return Ok(());
        }
        let mode = Permissions::from_mode(mode);
        match self.owner {
            None => fs::set_permissions(path, mode),
            // As root, never by a name, which may have become a link's meanwhile.
            Some(owner) => {
                let file = open_no_link(path)?;
                fchown(&file, Some(owner.user), Some(owner.group))
                    .and_then(|()| file.set_permissions(mode))
            }
        }
        .at("give owner and mode to", path)
    }

    /// What belongs to no member, or stands in the way of one.
    fn extra(
        &self,
        path: &Path,
        there: &Metadata,
        device: u64,
        place: Option<u32>,
        seen: &mut Seen,
    ) -> Result<()> {
        let before = seen.extra.bytes;
        self.count(path, there, device, seen)?;
        *seen.freed.entry(place).or_default() += seen.extra.bytes - before;
        if self.act == Act::Look {
            return Ok(());
        }
        match there.is_dir() {
            // Follows no link, also not one that comes while it works.
            true => fs::remove_dir_all(path),
            false => fs::remove_file(path),
        }
        .at("remove", path)
    }

    fn count(&self, path: &Path, there: &Metadata, device: u64, seen: &mut Seen) -> Result<()> {
        if !there.is_dir() {
            seen.extra.files += 1;
            // Another name keeps the bytes.
            if there.is_file() && there.nlink() == 1 {
                seen.extra.bytes += there.len();
            }
            return Ok(());
        }
        if there.dev() != device {
            return Err(mounted(path));
        }
        self.open_up(path, there)?;
        for entry in fs::read_dir(path).at("read", path)? {
            self.cancel.check()?;
            let path = entry.at("read", path)?.path();
            match fs::symlink_metadata(&path) {
                Err(error) if gone(&error) => {}
                other => self.count(&path, &other.at("look at", &path)?, device, seen)?,
            }
        }
        Ok(())
    }
}

/// Makes a folder writable for its owner; those of the backup get their own modes at the end.
pub fn open_up(path: &Path, there: &Metadata) -> Result<()> {
    let mode = there.mode() & 0o7777;
    match mode & 0o700 {
        0o700 => Ok(()),
        _ => fs::set_permissions(path, Permissions::from_mode(mode | 0o700))
            .at("make writable", path),
    }
}

/// Names directly below a tablespace that lies elsewhere, as the backup has them: one, that of the
/// server's version.
pub fn names_in(contents: &Contents, oid: u32) -> BTreeSet<&[u8]> {
    let above = PathBuf::from(format!("{LINKS}/{oid}/"));
    let above = above.as_os_str().as_bytes();
    let below = |member: &Member| -> Option<usize> {
        let rest = member.path.0.strip_prefix(above)?;
        Some(rest.split(|byte| *byte == b'/').next()?.len())
    };
    let names = contents.members.iter();
    names
        .filter_map(|member| Some(&member.path.0[above.len()..above.len() + below(member)?]))
        .collect()
}

fn gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// A file system of its own in a folder that the backup has not: not ours to empty.
fn mounted(path: &Path) -> Error {
    Error::failed(format!(
        "{} is a mount point, and the backup has nothing there",
        path.display()
    ))
    .hint("unmount it, and run the restore again.")
}

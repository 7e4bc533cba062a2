//! The folders that a restore will fill: whether each may be, what is renamed aside, whether the
//! room suffices.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{
    choice::Choice,
    folders::{Facts, State, link_target},
    request::Delta,
    shown,
    tablespaces::Tablespace,
};
use crate::{
    error::{Error, Kind, Result},
    postgres::postmaster::Postmaster,
    util::{clock::Time, fs::folder_of, units},
};

/// A folder that will be filled.
#[derive(Clone, Debug, Serialize)]
pub struct Folder {
    /// None for the data directory.
    pub tablespace: Option<u32>,
    #[serde(flatten)]
    pub facts: Facts,
    pub needed_bytes: u64,
    /// Where what is there goes first.
    #[serde(serialize_with = "shown::optional")]
    pub aside: Option<PathBuf>,
}

/// What goes where.
pub struct Wanted<'a> {
    pub choice: &'a Choice,
    pub data_dir: Facts,
    /// Where the old cluster lies now: there, or where an interrupted restore has put it.
    pub old_data_dir: Option<&'a Path>,
    pub tablespaces: &'a [Tablespace],
    /// Rename what is in the way.
    pub replace: bool,
    /// Use what is there again: what of `--delta` holds for it.
    pub again: Option<Delta>,
    /// By tablespace; None is the data directory, without its WAL. Where not all of the backup is written.
    pub needed_bytes: Option<BTreeMap<Option<u32>, u64>>,
    pub now: Time,
}

impl Wanted<'_> {
    /// The data directory, then each tablespace outside it; or why one can't be filled.
    pub fn folders(self) -> Result<Vec<Folder>> {
        let occupied_here = self.data_dir.state == State::Occupied;
        if occupied_here && !self.replace && self.again.is_none() {
            return Err(occupied(&self.data_dir.path).hint(
                "give an empty folder by --data-dir, rename what is there aside with --replace, or write \
                 over what differs with --delta.",
            ));
        }
        let needed_bytes = self.needed(None, self.choice.backup.base_bytes) + self.wal_bytes();
        let mut folders = Vec::new();
        for space in self.tablespaces {
            folders.push(self.tablespace(space)?);
        }
        let data_dir = Folder {
            tablespace: None,
            needed_bytes,
            aside: (occupied_here && self.replace).then(|| aside(&self.data_dir.path, self.now)),
            facts: self.data_dir,
        };
        folders.insert(0, data_dir);
        fits(&folders)?;
        Ok(folders)
    }

    fn tablespace(&self, space: &Tablespace) -> Result<Folder> {
        let mut facts = Facts::of(&space.path)?;
        // An unfinished restore's own tablespace is no obstacle.
        let unfinished = matches!(self.data_dir.state, State::Unfinished(_));
        let own = link_target(&self.data_dir.path, space.oid);
        if facts.state == State::Occupied && unfinished && own.as_ref() == Some(&space.path) {
            facts.state = State::Unfinished(None);
        }
        if facts.state == State::Occupied && self.again.is_some() {
            self.refuse_anothers(space)?;
        }
        let aside = match (&facts.state, &self.again) {
            (State::Occupied, None) => Some(self.aside_of(space)?),
            (State::Occupied, Some(again)) if own.as_ref() != Some(&space.path) && !again.force => {
                return Err(occupied(&space.path).hint(format!(
                    "no link in {} says that it is this cluster's: give tablespace {} another folder by \
                     --tablespace {}=DIR, or say by --force that what is there may be lost.",
                    self.data_dir.path.join("pg_tblspc").display(),
                    space.oid,
                    space.oid
                )));
            }
            _ => None,
        };
        Ok(Folder {
            tablespace: Some(space.oid),
            needed_bytes: self.needed(Some(space.oid), space.bytes),
            aside,
            facts,
        })
    }

    /// A copy of a data directory has links to the tablespaces of the server that it is a copy of.
    fn refuse_anothers(&self, space: &Tablespace) -> Result<()> {
        let ours = [Some(self.data_dir.path.as_path()), self.old_data_dir];
        let ours: Vec<PathBuf> = ours
            .into_iter()
            .flatten()
            .filter_map(|path| path.canonicalize().ok())
            .collect();
        let others = Postmaster::folders_at_work();
        for server in others.iter().filter(|server| !ours.contains(server)) {
            if has_tablespace_at(server, &space.path) {
                return Err(Error::failed(format!(
                    "{} is a tablespace of the server that runs on {}",
                    space.path.display(),
                    server.display()
                ))
                .hint(format!(
                    "stop that server first, or give tablespace {} another folder: --tablespace {}=DIR.",
                    space.oid, space.oid
                )));
            }
        }
        Ok(())
    }

    /// What a folder needs, `all` if nothing is there.
    fn needed(&self, tablespace: Option<u32>, all: u64) -> u64 {
        let needed = self.needed_bytes.as_ref();
        needed.map_or(all, |needed| needed.get(&tablespace).copied().unwrap_or(0))
    }

    /// The new name of what lies where a tablespace goes, if that is the old cluster's.
    fn aside_of(&self, space: &Tablespace) -> Result<PathBuf> {
        let link = self
            .old_data_dir
            .and_then(|old| link_target(old, space.oid));
        let aside = link.and_then(|link| {
            if link == space.path {
                return Some(aside(&space.path, self.now));
            }
            // A restore was killed between the link and the name that it leads to.
            let begun = is_aside(&link, &space.path) && link.symlink_metadata().is_err();
            begun.then_some(link)
        });
        match aside {
            Some(aside) if self.replace => Ok(aside),
            Some(_) => Err(occupied(&space.path).hint(
                "it belongs to the cluster that was here before: rename it aside with --replace.",
            )),
            None => Err(occupied(&space.path).hint(format!(
                "give tablespace {} an empty folder: --tablespace {}=DIR.",
                space.oid, space.oid
            ))),
        }
    }

    /// What will lie in pg_wal: two segments while the server recovers, and what is put there.
    fn wal_bytes(&self) -> u64 {
        let Choice {
            backup,
            rescued,
            partial,
            live,
            ..
        } = self.choice;
        let own = match backup.standalone {
            true => backup.needed_segments().count(),
            false => 0,
        };
        let put = rescued.len() + partial.iter().chain(live).count();
        (2 + own as u64 + put as u64) * backup.segment_size.bytes()
    }
}

/// Where what is in `path` goes at `now`: with a number behind it if that name is taken, as by an
/// earlier restore of the same second.
pub fn aside(path: &Path, now: Time) -> PathBuf {
    let mut name = stem(path);
    name.push(now.format("%Y%m%dT%H%M%SZ").to_string());
    free_name(name.into())
}

/// `path`, or the first of `path-2`, `path-3` ... of which nothing is there.
pub fn free_name(path: PathBuf) -> PathBuf {
    let mut free = path.clone();
    let mut number = 1;
    while free.symlink_metadata().is_ok() {
        number += 1;
        let mut numbered = path.clone().into_os_string();
        numbered.push(format!("-{number}"));
        free = numbered.into();
    }
    free
}

/// Whether [`aside`] gives such a name for `path`.
pub fn is_aside(name: &Path, path: &Path) -> bool {
    let stem = stem(path);
    name.as_os_str().as_bytes().starts_with(stem.as_bytes())
        && folder_of(name) == folder_of(Path::new(&stem))
}

fn stem(path: &Path) -> OsString {
    // Without a slash at its end, behind which it would be a name in the folder.
    let mut stem = path.components().as_path().as_os_str().to_owned();
    stem.push(".old-");
    stem
}

fn has_tablespace_at(data_dir: &Path, path: &Path) -> bool {
    let (Ok(links), Ok(path)) = (data_dir.join("pg_tblspc").read_dir(), path.canonicalize()) else {
        return false;
    };
    links
        .flatten()
        .any(|link| link.path().canonicalize().is_ok_and(|to| to == path))
}

fn occupied(path: &Path) -> Error {
    Error::new(
        Kind::AlreadyExists,
        format!("{} is not empty", path.display()),
    )
}

/// Whether we may write everywhere, rename what must be renamed, and have the room.
fn fits(folders: &[Folder]) -> Result<()> {
    for folder in folders {
        let path = folder.facts.path.display();
        if !folder.facts.writable {
            return Err(Error::failed(format!("{path} can't be written to by this user"))
                .hint("run restore as root or as the user that the server runs as, or make the folder for that user first."));
        }
        if folder.aside.is_some() && folder.facts.mount_point {
            return Err(Error::failed(format!(
                "{path} is a mount point, which can't be renamed aside"
            ))
            .hint("move what is in it elsewhere, and restore into the empty folder."));
        }
        let same = folders
            .iter()
            .filter(|other| other.facts.device == folder.facts.device);
        let needed: u64 = same.map(|other| other.needed_bytes).sum();
        if needed > folder.facts.free_bytes {
            return Err(Error::failed(format!(
                "not enough space on the file system of {path}: {} are needed, {} are free",
                units::bytes(needed),
                units::bytes(folder.facts.free_bytes)
            ))
            .hint("free space there, or restore to another place by --data-dir or --tablespace."));
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_beside_and_is_known_again() {
        let now = chrono::DateTime::from_timestamp(1_795_226_400, 0).unwrap();
        for data_dir in ["/pg/data", "/pg/data/"] {
            let name = aside(Path::new(data_dir), now);
            assert_eq!(name, Path::new("/pg/data.old-20261121T020000Z"));
            assert!(is_aside(&name, Path::new(data_dir)));
            assert!(!is_aside(&name, Path::new("/pg/dat")));
            assert!(!is_aside(&name.join("x"), Path::new(data_dir)));
        }
    }

    #[test]
    fn two_of_one_second_have_two_names() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        let now = chrono::DateTime::from_timestamp(1_795_226_400, 0).unwrap();
        for end in ["", "-2", "-3"] {
            let name = aside(&data_dir, now);
            let wanted = format!("data.old-20261121T020000Z{end}");
            assert_eq!(name, folder.path().join(wanted));
            assert!(is_aside(&name, &data_dir));
            std::fs::create_dir(name).unwrap();
        }
    }
}

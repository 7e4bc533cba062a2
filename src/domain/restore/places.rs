//! The folders that a restore will fill: whether each may be, what is renamed aside, whether the
//! room suffices.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{
    choice::Choice,
    folders::{Facts, State, link_target},
    tablespaces::Tablespace,
};
use crate::{
    error::{Error, Kind, Result},
    util::{clock::Time, units},
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
    pub aside: Option<PathBuf>,
}

/// What goes where.
pub struct Wanted<'a> {
    pub choice: &'a Choice,
    pub data_dir: Facts,
    pub tablespaces: &'a [Tablespace],
    /// Rename what is in the way.
    pub replace: bool,
    pub now: Time,
}

impl Wanted<'_> {
    /// The data directory, then each tablespace outside it; or why one can't be filled.
    pub fn folders(self) -> Result<Vec<Folder>> {
        let occupied_here = self.data_dir.state == State::Occupied;
        if occupied_here && !self.replace {
            return Err(occupied(&self.data_dir.path).hint(
                "give an empty folder by --data-dir, or rename what is there aside with --replace.",
            ));
        }
        let needed_bytes = self.choice.backup.base_bytes + self.wal_bytes();
        let mut folders = Vec::new();
        for space in self.tablespaces {
            folders.push(self.tablespace(space)?);
        }
        let data_dir = Folder {
            tablespace: None,
            needed_bytes,
            aside: occupied_here.then(|| aside(&self.data_dir.path, self.now)),
            facts: self.data_dir,
        };
        folders.insert(0, data_dir);
        fits(&folders)?;
        Ok(folders)
    }

    fn tablespace(&self, space: &Tablespace) -> Result<Folder> {
        let mut facts = Facts::of(&space.path)?;
        let ours =
            link_target(&self.data_dir.path, space.oid).is_some_and(|target| target == space.path);
        // An unfinished restore's own tablespace is no obstacle.
        let unfinished = matches!(self.data_dir.state, State::Unfinished(_));
        if facts.state == State::Occupied && ours && unfinished {
            facts.state = State::Unfinished(None);
        }
        let in_the_way = facts.state == State::Occupied;
        if in_the_way && !(ours && self.data_dir.state == State::Occupied) {
            return Err(occupied(&space.path).hint(format!(
                "give tablespace {} an empty folder: --tablespace {}=DIR.",
                space.oid, space.oid
            )));
        }
        Ok(Folder {
            tablespace: Some(space.oid),
            needed_bytes: space.bytes,
            aside: in_the_way.then(|| aside(&space.path, self.now)),
            facts,
        })
    }

    /// What will lie in pg_wal: two segments while the server recovers, and what is put there.
    fn wal_bytes(&self) -> u64 {
        let Choice {
            backup,
            rescued,
            partial,
            ..
        } = self.choice;
        let own = match backup.standalone {
            true => backup.needed_segments().count(),
            false => 0,
        };
        let put = rescued.len() + usize::from(partial.is_some());
        (2 + own as u64 + put as u64) * backup.segment_size.bytes()
    }
}

fn aside(path: &Path, now: Time) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".old-{}", now.format("%Y%m%dT%H%M%SZ")));
    name.into()
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

//! Where each tablespace goes: where it lay, unless it is mapped. Pure.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::{
    error::{Error, Result},
    repo::backup::Backup,
};

/// A tablespace, named by its oid or by where it lay, goes to `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    pub was: Was,
    pub to: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Was {
    Oid(u32),
    At(PathBuf),
}

/// A tablespace outside the data directory, and its new place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tablespace {
    pub oid: u32,
    pub was: PathBuf,
    pub path: PathBuf,
    pub bytes: u64,
}

/// Maps the backup's tablespaces. A copy elsewhere needs a place for each: the original ones
/// belong to the original cluster.
pub fn place(
    backup: &Backup,
    data_dir: &Path,
    own: bool,
    moves: &[Move],
) -> Result<Vec<Tablespace>> {
    let outside = || backup.tablespaces.iter().filter(|space| !space.in_place);
    let matches = |was: &Was, oid: u32, location: &Path| match was {
        Was::Oid(wanted) => *wanted == oid,
        Was::At(path) => path == location,
    };
    for wanted in moves {
        if !outside().any(|space| matches(&wanted.was, space.oid, &space.location.0)) {
            let known: Vec<String> = outside()
                .map(|space| format!("{} ({})", space.oid, space.location.0.display()))
                .collect();
            let what = match &wanted.was {
                Was::Oid(oid) => oid.to_string(),
                Was::At(path) => path.display().to_string(),
            };
            let known = if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            };
            return Err(
                Error::usage(format!("backup {} has no tablespace {what}", backup.id)).hint(
                    format!("its tablespaces outside the data directory: {known}."),
                ),
            );
        }
    }
    let (mut placed, mut unmapped) = (Vec::new(), Vec::new());
    for space in outside() {
        let mapped = moves
            .iter()
            .find(|wanted| matches(&wanted.was, space.oid, &space.location.0));
        let path = match mapped {
            Some(wanted) => wanted.to.clone(),
            None if own => space.location.0.clone(),
            None => {
                unmapped.push(format!(
                    "--tablespace {}=DIR (was {})",
                    space.oid,
                    space.location.0.display()
                ));
                continue;
            }
        };
        placed.push(Tablespace {
            oid: space.oid,
            was: space.location.0.clone(),
            path,
            bytes: space.bytes,
        });
    }
    if !unmapped.is_empty() {
        return Err(Error::usage(format!(
            "backup {} has tablespaces, whose places belong to {}",
            backup.id, backup.data_directory
        ))
        .hint(format!("say where they go: {}.", unmapped.join(" "))));
    }
    apart(data_dir, &placed)?;
    Ok(placed)
}

/// No folder may lie in another: the server would take one's files for the other's.
fn apart(data_dir: &Path, placed: &[Tablespace]) -> Result<()> {
    let mut paths: Vec<&Path> = vec![data_dir];
    for space in placed {
        let path = space.path.as_path();
        if !path.is_absolute() {
            return Err(Error::usage(format!(
                "the place of tablespace {} must be absolute: {}",
                space.oid,
                path.display()
            ))
            .hint("give a path that begins with a slash."));
        }
        if let Some(other) = paths
            .iter()
            .find(|other| path.starts_with(other) || other.starts_with(path))
        {
            return Err(Error::usage(format!(
                "the place of tablespace {} overlaps another folder: {} and {}",
                space.oid,
                path.display(),
                other.display()
            ))
            .hint(format!(
                "give it a folder of its own: --tablespace {}=DIR.",
                space.oid
            )));
        }
        paths.push(path);
    }
    Ok(())
}

//! `--replace`: what is in the way is renamed, never removed.
//!
//! The new data directory is made beside the old one, marked, under the name that the old one will
//! get; then the two names are exchanged at once. A crash before leaves a folder beside that holds
//! nothing but its marker, which the next restore removes; one after leaves the new folder in its
//! place, whose marker says where the old cluster lies, so that its last WAL is found again.
//!
//! The old cluster keeps its tablespaces: each is renamed too, and its link leads to the new name
//! before, so that the old folder, started by mistake, can't write into the new tablespaces. A
//! crash between the two leaves a link that leads nowhere; the next restore renames what it means.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{
    folders::{Owner, give},
    marker::{MARKER, Marker, Notes, notes},
    places::{Folder, is_aside},
};
use crate::{
    error::{IoContext, Result},
    util::fs::{create_new_folder, exchange, folder_of, link_over, rename_new},
};

/// Puts a new folder with `notes` in the place of `data_dir`, which gets the name `aside`.
pub fn replace(
    data_dir: &Path,
    aside: &Path,
    owner: Option<Owner>,
    notes: &Notes,
) -> Result<Marker> {
    create_new_folder(aside, 0o700).map_err(|error| {
        error.hint("another restore took this name just now: wait for it, then run this one again if it failed.")
    })?;
    give(aside, owner)?;
    let marker = Marker::set(aside, notes)?;
    if !exchange(data_dir, aside)? {
        in_turn(data_dir, aside)?;
    }
    Ok(marker.moved_to(data_dir))
}

/// The same on a file system that can't exchange names, such as NFS. A crash behind the second
/// step leaves no data directory; the new one beside still says where the old one lies, and
/// [`replaced`] finds it.
fn in_turn(data_dir: &Path, aside: &Path) -> Result<()> {
    let mut waiting = aside.as_os_str().to_owned();
    waiting.push(".new");
    let waiting = PathBuf::from(waiting);
    rename_new(aside, &waiting)?;
    rename_new(data_dir, aside)?;
    rename_new(&waiting, data_dir)
}

/// Where the cluster lies that was in `data_dir`, in which nothing is now, if a restore was killed
/// before it put the new folder there.
pub fn replaced(data_dir: &Path) -> Option<PathBuf> {
    let noted = left_beside(data_dir)
        .into_iter()
        .filter_map(|(folder, notes)| notes?.replaced.filter(|old| *old != folder));
    noted.filter(|old| old.is_dir()).max()
}

/// Removes what restores that were killed left beside `data_dir`. It holds nothing, so what can't
/// be removed, or belongs to a restore at work, does no harm.
pub fn sweep(data_dir: &Path) {
    for (folder, notes) in left_beside(data_dir) {
        if notes.is_none() || Marker::lock(&folder).is_ok_and(|marker| marker.remove().is_ok()) {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Folders with the names of old clusters that hold a marker at most, and what that says.
fn left_beside(data_dir: &Path) -> Vec<(PathBuf, Option<Notes>)> {
    let mut left = Vec::new();
    // Who may not look there has made nothing there.
    let Ok(entries) = fs::read_dir(folder_of(data_dir)) else {
        return left;
    };
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    for folder in paths.filter(|path| is_aside(path, data_dir)) {
        let Ok(mut inside) = fs::read_dir(&folder) else {
            continue;
        };
        let only_marker =
            |entry: io::Result<fs::DirEntry>| entry.is_ok_and(|entry| entry.file_name() == MARKER);
        if inside.all(only_marker)
            && let Ok(notes) = notes(&folder)
        {
            left.push((folder, notes));
        }
    }
    left
}

/// Renames the tablespaces of the cluster in `old` that are in the way; gives their new names.
pub fn tablespaces(folders: &[Folder], old: &Path) -> Result<Vec<PathBuf>> {
    let mut renamed = Vec::new();
    for folder in folders {
        let (Some(oid), Some(aside)) = (folder.tablespace, &folder.aside) else {
            continue;
        };
        let (path, link) = (
            &folder.facts.path,
            old.join("pg_tblspc").join(oid.to_string()),
        );
        point(&link, aside)?;
        if let Err(error) = rename_new(path, aside) {
            point(&link, path)?;
            return Err(error);
        }
        renamed.push(aside.clone());
    }
    Ok(renamed)
}

/// Has a link point to `target`.
fn point(link: &Path, target: &Path) -> Result<()> {
    let old = fs::symlink_metadata(link).at("look at", link)?;
    link_over(target, link, Some((old.uid(), old.gid())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::{
        super::folders::{Facts, link_target},
        *,
    };

    fn noted(replaced: &Path) -> Notes {
        Notes {
            cluster: "main".to_owned(),
            backup: "20261121T020000Z-full".parse().unwrap(),
            replaced: Some(replaced.to_owned()),
        }
    }

    /// A folder with a cluster in `data`, and the name that it gets.
    fn cluster() -> (TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        fs::create_dir_all(data_dir.join("pg_wal")).unwrap();
        let aside = folder.path().join("data.old-20261121T020000Z");
        (folder, data_dir, aside)
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_new_folder_is_marked_from_the_start() {
        let (folder, data_dir, aside) = cluster();
        let marker = replace(&data_dir, &aside, None, &noted(&aside)).unwrap();
        assert_eq!(names(&data_dir), [MARKER]);
        assert_eq!(notes(&data_dir).unwrap(), Some(noted(&aside)));
        assert_eq!(names(&aside), ["pg_wal"]);
        // What is there now is no remains.
        sweep(&data_dir);
        assert_eq!(names(folder.path()).len(), 2);
        marker.remove().unwrap();
        assert!(names(&data_dir).is_empty());
    }

    #[test]
    fn a_kill_before_the_exchange_costs_nothing() {
        let (folder, data_dir, aside) = cluster();
        let empty = folder.path().join("data.old-20261121T020001Z");
        let others = folder.path().join("other.old-20261121T020000Z");
        for folder in [&aside, &empty, &others] {
            fs::create_dir(folder).unwrap();
        }
        let marker = Marker::set(&aside, &noted(&aside)).unwrap();
        sweep(&data_dir);
        // One is of a restore at work.
        let kept = [
            "data",
            "data.old-20261121T020000Z",
            "other.old-20261121T020000Z",
        ];
        assert_eq!(names(folder.path()), kept);
        drop(marker);
        assert_eq!(replaced(&data_dir), None);
        sweep(&data_dir);
        assert_eq!(names(folder.path()), [kept[0], kept[2]]);
    }

    #[test]
    fn without_an_exchange_the_old_cluster_is_found_at_each_step() {
        let (folder, data_dir, aside) = cluster();
        fs::create_dir(&aside).unwrap();
        let marker = Marker::set(&aside, &noted(&aside)).unwrap();
        in_turn(&data_dir, &aside).unwrap();
        let marker = marker.moved_to(&data_dir);
        assert_eq!(names(&data_dir), [MARKER]);
        assert_eq!(names(&aside), ["pg_wal"]);
        drop(marker);
        // Killed before the last step.
        let waiting = folder.path().join("data.old-20261121T020000Z.new");
        fs::rename(&data_dir, &waiting).unwrap();
        assert_eq!(replaced(&data_dir), Some(aside.clone()));
        // Killed before the step in the middle: the cluster is in its place.
        fs::rename(&aside, &data_dir).unwrap();
        assert_eq!(replaced(&data_dir), None);
        sweep(&data_dir);
        assert_eq!(names(folder.path()), ["data"]);
    }

    #[test]
    fn a_link_never_leads_into_the_new_tablespace() {
        let (folder, old, _) = cluster();
        let (path, aside) = (
            folder.path().join("ts"),
            folder.path().join("ts.old-20261121T020000Z"),
        );
        fs::create_dir_all(path.join("PG_15_202209061")).unwrap();
        fs::create_dir(old.join("pg_tblspc")).unwrap();
        symlink(&path, old.join("pg_tblspc/16384")).unwrap();
        let folders = [Folder {
            tablespace: Some(16384),
            facts: Facts::of(&path).unwrap(),
            needed_bytes: 0,
            aside: Some(aside.clone()),
        }];
        // What can't be renamed keeps its link.
        fs::create_dir(&aside).unwrap();
        tablespaces(&folders, &old).unwrap_err();
        assert_eq!(link_target(&old, 16384), Some(path.clone()));
        fs::remove_dir(&aside).unwrap();
        assert_eq!(
            tablespaces(&folders, &old).unwrap(),
            std::slice::from_ref(&aside)
        );
        assert_eq!(link_target(&old, 16384), Some(aside.clone()));
        assert_eq!((path.exists(), aside.exists()), (false, true));
    }
}

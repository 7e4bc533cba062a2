//! What lies in a folder and its tablespaces, for comparison with another.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Kind, mode, owner and bytes of each path; of a link, only that it is one.
pub type Tree = BTreeMap<PathBuf, (char, u32, u32, Vec<u8>)>;

pub fn tree(folder: &Path) -> Tree {
    let mut found = Tree::new();
    walk(folder, folder, &mut found);
    found
}

fn walk(root: &Path, folder: &Path, found: &mut Tree) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let there = fs::symlink_metadata(&path).unwrap();
        let mode = there.permissions().mode() & 0o7777;
        let (kind, bytes) = match () {
            () if there.is_dir() => ('d', Vec::new()),
            () if there.is_symlink() => ('l', Vec::new()),
            () => ('f', fs::read(&path).unwrap()),
        };
        let name = path.strip_prefix(root).unwrap().to_owned();
        found.insert(name, (kind, mode, there.uid(), bytes));
        // A tablespace's link is followed, no other one.
        if there.is_dir() || (there.is_symlink() && folder.ends_with("pg_tblspc")) {
            walk(root, &path, found);
        }
    }
}

/// Panics with the first paths that differ.
#[track_caller]
pub fn assert_same(one: &Tree, other: &Tree) {
    let differs = |path: &&PathBuf| one.get(*path) != other.get(*path);
    let paths: Vec<_> = one.keys().chain(other.keys()).filter(differs).collect();
    let what = |tree: &Tree, path: &PathBuf| {
        tree.get(path)
            .map(|(kind, mode, owner, bytes)| format!("{kind} {mode:o} {owner} {}", bytes.len()))
    };
    let lines: Vec<String> = paths
        .iter()
        .take(20)
        .map(|path| {
            format!(
                "{}: {:?}, {:?}",
                path.display(),
                what(one, path),
                what(other, path)
            )
        })
        .collect();
    assert!(paths.is_empty(), "{}", lines.join("\n"));
}

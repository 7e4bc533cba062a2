//! A file that can be read, and whose place no other can take: what is to replace it fails, as if whoever does that were killed
//! right before. Needs root.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::user;

pub struct Bound {
    path: PathBuf,
}

impl Bound {
    pub fn at(path: &Path) -> Self {
        assert!(
            user::is_root(),
            "only root can mount a file onto itself: run this test as root, or leave it out"
        );
        let mount = ["--bind"].map(Path::new).into_iter().chain([path, path]);
        user::run_ok(Command::new("mount").args(mount));
        Self {
            path: path.to_owned(),
        }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Err(error) = user::run(Command::new("umount").arg(&self.path)) {
            eprintln!("{error}");
        }
    }
}

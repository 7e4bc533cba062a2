//! A file system of its own that is soon full. Needs root.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    process::Command,
};

use super::{Scratch, user};

pub struct FullDisk {
    path: PathBuf,
}

impl FullDisk {
    /// A file system of `size` bytes at `name` in the scratch folder, owned by the server's user.
    pub fn mount(scratch: &Scratch, name: &str, size: u64) -> Self {
        assert!(
            user::is_root(),
            "only root can mount a small file system: run this test as root, or leave it out"
        );
        let disk = Self {
            path: scratch.folder(name),
        };
        let (uid, gid) = user::ids();
        user::run_ok(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o"])
                .arg(format!("size={size},mode=0700,uid={uid},gid={gid}"))
                .arg("pgstow-it")
                .arg(&disk.path),
        );
        disk
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file that takes the room.
    pub fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }

    /// Has so many percent of it be used.
    pub fn fill(&self, percent: u64) {
        let file = File::create(self.ballast()).unwrap();
        let room = rustix::fs::statvfs(&self.path).unwrap();
        let wanted = room.f_blocks * percent / 100;
        let bytes = (wanted - (room.f_blocks - room.f_bavail)) * room.f_frsize;
        // Holes take no room.
        io::copy(&mut io::repeat(1).take(bytes), &mut &file).unwrap();
    }

    /// Has no byte of it be free.
    pub fn fill_up(&self) {
        let file = File::create(self.ballast()).unwrap();
        let error = io::copy(&mut io::repeat(1), &mut &file).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
    }

    /// Changes the size, as an operator does who makes room.
    pub fn resize(&self, size: u64) {
        user::run_ok(
            Command::new("mount")
                .arg("-o")
                .arg(format!("remount,size={size}"))
                .arg(&self.path),
        );
    }
}

impl Drop for FullDisk {
    fn drop(&mut self) {
        // Lazy: a server of the failed test may still sit on it.
        if let Err(error) = user::run(Command::new("umount").arg("-l").arg(&self.path)) {
            eprintln!("{error}");
        }
    }
}

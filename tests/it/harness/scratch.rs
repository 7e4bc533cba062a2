//! A fresh folder for each test, owned by the server's user. It is removed at the end, unless the
//! test failed or PGSTOW_TEST_KEEP=1. PGSTOW_TEST_DIR names another place than /tmp; tests/run.sh
//! takes one in memory, where there is much.

use std::{
    env, fs,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use super::user;

pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    pub fn new() -> Self {
        Self::below(&root())
    }

    /// For what only a disk does; and units of systemd may not see what is in /dev.
    pub fn on_disk() -> Self {
        Self::below(Path::new("/var/tmp/pgstow-it"))
    }

    fn below(root: &Path) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        fs::create_dir_all(root).unwrap();
        fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
        // Short, because the path of a unix socket may have 107 bytes.
        let thread = thread::current();
        let test = thread.name().unwrap_or("test").rsplit("::").next().unwrap();
        let name = format!(
            "{}-{}-{}",
            &test[..test.len().min(14)],
            process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let scratch = Self {
            path: root.join(name),
        };
        make_folder(&scratch.path);
        scratch
    }

    /// A path inside, whether or not something is there.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A path outside, beside the folders of all tests.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.path.with_file_name(name)
    }

    /// A new folder inside, owned by the server's user.
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.join(name);
        make_folder(&path);
        path
    }
}

fn root() -> PathBuf {
    let place = env::var_os("PGSTOW_TEST_DIR").unwrap_or("/tmp".into());
    PathBuf::from(place).join("pgstow-it")
}

fn make_folder(path: &Path) {
    fs::DirBuilder::new()
        .mode(0o700)
        .create(path)
        .unwrap_or_else(|error| panic!("create {}: {error}", path.display()));
    user::own(path);
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if thread::panicking() || env::var_os("PGSTOW_TEST_KEEP").is_some() {
            eprintln!("kept: {}", self.path.display());
        } else if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("could not remove {}: {error}", self.path.display());
        }
    }
}

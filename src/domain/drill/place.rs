//! The scratch folder of a drill, or of who wants a part of a backup. It goes at the end; what a killed drill left in the same place goes with the next one.

use std::{
    fs::{Permissions, set_permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tracing::{info, warn};

use crate::{
    error::{Error, IoContext, Result},
    postgres::{
        postmaster::Postmaster,
        server::{self, create_folder},
    },
    util::{
        account::Account,
        fs::{create_folders, free_bytes},
        scratch::{Scratch, remove_folder},
        units,
    },
};

/// What folders of drills begin with.
const NAME: &str = "pgstow-drill";

/// What to do where there is no room.
pub const LARGER: &str =
    "name a folder on a larger disk by --scratch, or by drill.scratch of pgstow.toml.";

/// Of the server, which listens on its socket alone.
pub const PORT: u16 = 5432;

/// The restored files.
const DATA: &str = "data";

pub struct Place {
    scratch: Scratch,
    pub account: Option<Account>,
}

/// Removes what killed drills left; where a server of theirs still runs, that is ended first.
pub fn sweep(place: &Path) -> Result<()> {
    for folder in Scratch::left_in(place, NAME) {
        end_server(&folder.join(DATA))?;
        match remove_folder(&folder) {
            Ok(()) => info!(
                "removed {}, which a killed drill had left",
                folder.display()
            ),
            Err(error) => warn!(
                "{}, which a killed drill left, can't be removed: {error}",
                folder.display()
            ),
        }
    }
    Ok(())
}

/// A server ends with its drill, but not on a host without util-linux, nor at once.
fn end_server(data_dir: &Path) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(20);
    let until = Instant::now() + PATIENCE;
    // What can't be read is no server that could be ended.
    while let Ok(Some(postmaster)) = Postmaster::running(data_dir) {
        let pid = i32::try_from(postmaster.pid).ok().and_then(Pid::from_raw);
        if Instant::now() >= until {
            return Err(Error::failed(format!(
                "the server of a killed drill still runs on {} (process {})",
                data_dir.display(),
                postmaster.pid
            ))
            .hint("end that process, then run the drill again."));
        }
        if let Some(pid) = pid {
            // An error says that it has ended.
            let _ = kill_process(pid, Signal::QUIT);
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

impl Place {
    /// In the folder `place`, which must have room for so many bytes. `whose`: what says that it needs them.
    pub fn make(place: &Path, whose: &str, needed: u64) -> Result<Self> {
        let account = server::unprivileged_account()?;
        let owner = account.as_ref().map(|account| (account.uid, account.gid));
        let elsewhere = "name another folder by --scratch, or by drill.scratch of pgstow.toml.";
        if !place.is_dir() {
            create_folders(place, 0o750, owner).map_err(|error| error.hint(elsewhere))?;
        }
        let free = free_bytes(place)?;
        if free < needed {
            return Err(Error::failed(format!(
                "{whose} needs {} in {}, and {} are free",
                units::bytes(needed),
                place.display(),
                units::bytes(free)
            ))
            .hint(LARGER));
        }
        let scratch =
            Scratch::make_in(place, NAME, false).map_err(|error| error.hint(elsewhere))?;
        if account.is_some() {
            // The server's user must come through; what is inside belongs to it alone.
            let passable = Permissions::from_mode(0o711);
            set_permissions(scratch.path(), passable).at("change the mode of", scratch.path())?;
        }
        let made = Self { scratch, account };
        // Before hours of work.
        server::check_socket_path(&made.server(), PORT).map_err(|error| error.hint(elsewhere))?;
        for folder in [made.server(), made.state()] {
            create_folder(&folder, made.account.as_ref())?;
        }
        Ok(made)
    }

    pub fn data_dir(&self) -> PathBuf {
        self.scratch.path().join(DATA)
    }

    pub fn tablespace(&self, oid: u32) -> PathBuf {
        self.scratch.path().join(format!("tablespace-{oid}"))
    }

    /// For an archive that pg_dump writes, and what else is ours.
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// The server's socket and what it is told.
    pub fn server(&self) -> PathBuf {
        self.scratch.path().join("s")
    }

    pub fn log(&self) -> PathBuf {
        self.scratch.path().join("server.log")
    }

    /// For restore-wal, whose notes and segments fetched ahead must not get among those of this host.
    fn state(&self) -> PathBuf {
        self.scratch.path().join("state")
    }

    pub fn with_own_state(&self, words: &[String]) -> Vec<String> {
        let state = format!("PGSTOW_STATE_DIR={}", self.state().display());
        let before = ["env".to_owned(), state];
        before.into_iter().chain(words.iter().cloned()).collect()
    }
}

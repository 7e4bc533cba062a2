//! The user that the server runs as: archive_command and restore_command run as that user, so
//! the repository and the state folder must belong to it.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, lchown},
        process::CommandExt,
    },
    path::Path,
    process::Command,
    time::Duration,
};

use rustix::process::geteuid;

use crate::{
    error::{Error, IoContext, Kind, Result},
    postgres::{conninfo::ConnInfo, server_facts::ServerFacts},
    util::{account::Account, cancel::Cancel, fs::create_folders, process},
};

const FOLDER_MODE: u32 = 0o750;

/// For a command that tries a few small objects out.
const TRIAL: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUser {
    pub account: Account,
    /// Permission bits of the data directory.
    pub data_mode: u32,
}

impl ServerUser {
    /// The owner of the data directory, as whom every server runs; None where the server is not
    /// on this host, as far as can be seen.
    pub fn find(info: &ConnInfo, facts: &ServerFacts) -> Result<Option<Self>> {
        let Ok(folder) = fs::metadata(&facts.data_directory) else {
            return Ok(None);
        };
        if !facts.is_here(info) {
            return Ok(None);
        }
        let uid = folder.uid();
        let account = Account::with_uid(uid)?.unwrap_or_else(|| Account {
            name: format!("uid {uid}"),
            uid,
            gid: folder.gid(),
        });
        Ok(Some(Self {
            account,
            data_mode: folder.mode() & 0o7777,
        }))
    }

    /// Whether we are that user.
    pub fn is_us(&self) -> bool {
        geteuid().as_raw() == self.account.uid
    }

    /// What we make, this user must be able to write: only root can give it away.
    pub fn refuse_stranger(&self) -> Result<()> {
        if self.is_us() || geteuid().is_root() {
            return Ok(());
        }
        let name = &self.account.name;
        Err(Error::failed(format!(
            "pgstow runs as uid {}, but the server, and so archive_command, as {name}",
            geteuid().as_raw()
        ))
        .hint(format!(
            "run it as {name} or as root: sudo -u {name} pgstow init."
        )))
    }

    /// Makes a folder, and those above it that are missing, and gives this user what was made.
    /// True if it was not there.
    pub fn make_folder(&self, path: &Path) -> Result<bool> {
        let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
        create_folders(path, FOLDER_MODE, None)?;
        for made in &missing {
            self.own(made)?;
        }
        Ok(!missing.is_empty())
    }

    /// Gives this user what belongs to root, if we are root; all else stays.
    pub fn own(&self, path: &Path) -> Result<()> {
        if !geteuid().is_root() || self.is_us() {
            return Ok(());
        }
        let found = fs::symlink_metadata(path).at("read the owner of", path)?;
        if found.uid() != 0 {
            return Ok(());
        }
        lchown(path, Some(self.account.uid), Some(self.account.gid)).at("give its owner to", path)
    }

    /// Whether this user can write in a folder, as far as owner and mode tell.
    pub fn seems_to_write(&self, folder: &Path) -> Result<bool> {
        let found = fs::metadata(folder).at("look at", folder)?;
        let bits = match () {
            () if found.uid() == self.account.uid => 0o300,
            () if found.gid() == self.account.gid => 0o030,
            () => 0o003,
        };
        Ok(found.mode() & bits == bits)
    }

    /// Tries, as this user and with the environment that the server may have, whether the
    /// program of `words` runs, reads its settings, and can use the repository `name`. Only for
    /// root.
    pub fn try_repository(&self, words: &[String], name: &str, cancel: &Cancel) -> Result<()> {
        let Some((program, options)) = words.split_first() else {
            return Ok(());
        };
        let mut command = Command::new(program);
        command
            .args(options)
            .args(["--repo", name, "--quiet", "check"])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .current_dir("/")
            .uid(self.account.uid)
            .gid(self.account.gid);
        let tried = process::run(&mut command, TRIAL, cancel);
        tried.map(drop).map_err(|error| {
            if error.kind() == Kind::Interrupted {
                return error;
            }
            let user = &self.account.name;
            error
                .context(format!(
                    "archive_command would fail: user {user} can't use repository {name} by {program}"
                ))
                .hint(format!(
                    "let {user} run the program, read the settings and write the repository (owner and mode \
                     of each, and of the folders above). `sudo -u {user} {} --repo {name} check` says more.",
                    words.join(" ")
                ))
        })
    }
}

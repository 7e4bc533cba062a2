//! What the restored server will find in its configuration: its own program reads the files.

use std::{
    env,
    ffi::OsStr,
    os::unix::{ffi::OsStrExt, process::CommandExt},
    path::Path,
    process::Command,
    time::Duration,
};

use super::folders::Owner;
use crate::{
    error::{Error, Result},
    util::{cancel::Cancel, process},
};

/// `postgres -C` only reads files.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug)]
pub struct Configuration<'a> {
    pub postgres: &'a Path,
    pub data_dir: &'a Path,
    /// Where postgresql.conf lies outside the data directory.
    pub config_file: Option<&'a Path>,
    /// The program refuses root.
    pub owner: Option<Owner>,
    pub cancel: &'a Cancel,
}

impl Configuration<'_> {
    /// The value of a setting.
    pub fn text(&self, name: &str) -> Result<String> {
        let mut command = Command::new(self.postgres);
        command
            .args(["-C", name, "-D"])
            .arg(self.data_dir)
            .current_dir(self.data_dir)
            .env_clear()
            .envs(env::vars_os().filter(|(name, _)| stays(name)));
        if let Some(file) = self.config_file {
            command
                .arg("-c")
                .arg(format!("config_file={}", file.display()));
        }
        if let Some(owner) = self.owner {
            command.gid(owner.group).uid(owner.user);
        }
        let answer = process::run(&mut command, PATIENCE, self.cancel)?;
        Ok(String::from_utf8_lossy(&answer).trim().to_owned())
    }

    pub fn number(&self, name: &str) -> Result<u32> {
        let answer = self.text(name)?;
        answer
            .parse()
            .map_err(|_| Error::failed(format!("postgres -C {name} answers {answer:?}")))
    }
}

/// PGPORT and others are for clients, but a server takes them, too, and fails where they are empty.
fn stays(variable: &OsStr) -> bool {
    ["PATH", "LD_LIBRARY_PATH"]
        .iter()
        .any(|name| variable == *name)
        || variable.as_bytes().starts_with(b"LC_")
}

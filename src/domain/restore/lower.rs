//! Settings that must be as large as they were where the WAL was written: recovery refuses to
//! start, or pauses, where one is lower (CheckRequiredParameterValues in
//! `src/backend/access/transam/xlogrecovery.c`).
//!
//! They may be lower than in the backed-up server where that one had them on its command line, or
//! where the files outside the data directory are those of another host. Only known once the
//! files are in place: the server's own program reads them.

use std::{os::unix::process::CommandExt, path::Path, process::Command, time::Duration};

use super::folders::Owner;
use crate::{
    error::{Error, Result},
    repo::catalog::RecoverySettings,
    util::{cancel::Cancel, process},
};

/// `postgres -C` only reads files.
const PATIENCE: Duration = Duration::from_secs(30);

/// How the restored server will find its configuration.
#[derive(Clone, Copy, Debug)]
pub struct Configuration<'a> {
    pub postgres: &'a Path,
    pub data_dir: &'a Path,
    /// Where postgresql.conf lies outside the data directory.
    pub config_file: Option<&'a Path>,
    /// The program refuses root.
    pub owner: Option<Owner>,
}

impl Configuration<'_> {
    /// What is lower than `needed`, each with what to do.
    pub fn lower(&self, needed: &RecoverySettings, cancel: &Cancel) -> Result<Vec<String>> {
        let mut lower = Vec::new();
        for (name, needed) in [
            ("max_connections", needed.max_connections),
            ("max_worker_processes", needed.max_worker_processes),
            ("max_wal_senders", needed.max_wal_senders),
            (
                "max_prepared_transactions",
                needed.max_prepared_transactions,
            ),
            (
                "max_locks_per_transaction",
                needed.max_locks_per_transaction,
            ),
        ] {
            let value = self.value(name, cancel)?;
            if value < needed {
                lower.push(format!(
                    "{name} is {value} in the restored server's configuration and was {needed} in the one backed up: \
                     recovery does not go on with less, so set it to {needed} before the start"
                ));
            }
        }
        Ok(lower)
    }

    fn value(&self, name: &str, cancel: &Cancel) -> Result<u32> {
        let mut command = Command::new(self.postgres);
        command
            .args(["-C", name, "-D"])
            .arg(self.data_dir)
            .current_dir(self.data_dir);
        if let Some(file) = self.config_file {
            command
                .arg("-c")
                .arg(format!("config_file={}", file.display()));
        }
        if let Some(owner) = self.owner {
            command.gid(owner.group).uid(owner.user);
        }
        let answer = process::run(&mut command, PATIENCE, cancel)?;
        let answer = String::from_utf8_lossy(&answer);
        answer
            .trim()
            .parse()
            .map_err(|_| Error::failed(format!("postgres -C {name} answers {:?}", answer.trim())))
    }
}

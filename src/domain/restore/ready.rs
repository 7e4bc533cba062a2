//! What the restored server will meet at its start: its configuration, what in it is too low, and
//! the command that starts it.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use super::{
    configuration::Configuration,
    lower::lower,
    plan::Plan,
    ports::{self, Instead},
    start,
};
use crate::{
    error::Result,
    util::{cancel::Cancel, process},
};

/// A copy would write and remove the original's.
const PID_FILE: &str = "external_pid_file";
/// Commits of a copy would wait for them for ever.
const STANDBYS: &str = "synchronous_standby_names";

pub struct Ready<'a> {
    pub plan: &'a Plan,
    /// Where configuration files from outside the data directory were put.
    pub config: Option<&'a Path>,
    pub cancel: &'a Cancel,
}

/// What the start will meet.
#[derive(Debug, Default)]
pub struct Outlook {
    pub warnings: Vec<String>,
    /// None: that of the configuration.
    pub port: Option<Instead>,
}

impl Ready<'_> {
    /// The restore does not depend on it: a configuration that can't be read is a warning too.
    pub fn look(&self) -> Outlook {
        let seen = self.ask(|configuration| {
            let mut warnings = lower(configuration, &self.plan.choice.backup.settings)?;
            warnings.extend(self.in_place(configuration)?);
            warnings.extend(self.standbys(configuration)?);
            Ok(Outlook {
                warnings,
                port: match self.is_beside() {
                    true => ports::instead(configuration)?,
                    false => None,
                },
            })
        });
        match seen {
            None => Outlook::default(),
            Some(Ok(outlook)) => outlook,
            Some(Err(error)) => Outlook {
                warnings: vec![format!(
                    "whether the server can go through recovery with its settings, and whether its port is free, is not known: {}",
                    error.in_one_line()
                )],
                port: None,
            },
        }
    }

    /// Recovery ends in a PANIC where it finds a folder in pg_tblspc and was not told to expect
    /// one (CheckTablespaceDirectory in `src/backend/access/transam/xlogrecovery.c`).
    fn in_place(&self, configuration: &Configuration<'_>) -> Result<Option<String>> {
        const NAME: &str = "allow_in_place_tablespaces";
        let backup = &self.plan.choice.backup;
        let has_any = backup.tablespaces.iter().any(|space| space.in_place);
        if !has_any || configuration.text(NAME)? == "on" {
            return Ok(None);
        }
        Ok(Some(format!(
            "the backup has tablespaces that are folders in pg_tblspc, and {NAME} is off in the restored \
             server's configuration: recovery would end in a PANIC, so set it to on before the start"
        )))
    }

    /// Settings that name what is the original's, and are to be empty in a copy. Also where it isn't known what they
    /// say: to name nothing does no harm.
    pub fn emptied(&self) -> Vec<&'static str> {
        let is_set = |name: &&str| {
            let answer = self.ask(|configuration| configuration.text(name));
            !matches!(answer, Some(Ok(value)) if value.is_empty())
        };
        let pid_file = self.is_beside().then_some(PID_FILE);
        let standbys = self.plan.copy.then_some(STANDBYS);
        pid_file
            .into_iter()
            .chain(standbys)
            .filter(is_set)
            .collect()
    }

    /// In its own place the server waits for them again, and no backup has their slots.
    fn standbys(&self, configuration: &Configuration<'_>) -> Result<Option<String>> {
        let plan = self.plan;
        let names = match plan.copy || plan.standby {
            true => String::new(),
            false => configuration.text(STANDBYS)?,
        };
        Ok((!names.is_empty()).then(|| {
            format!(
                "{STANDBYS} is {names:?}: the restored server's commits wait until such a standby is connected, and no backup \
                 has its replication slot; for a receive-wal that is one, run `pgstow receive-wal --create-slot` again"
            )
        }))
    }

    /// Whether it starts with the configuration of another cluster, which may run.
    fn is_beside(&self) -> bool {
        self.plan.copy && self.debian_config().is_none()
    }

    /// The main configuration file that `pg_ctlcluster` would start it with.
    fn debian_config(&self) -> Option<PathBuf> {
        let major = self.plan.choice.backup.major();
        let name = start::debian_name(&self.plan.data_dir, major)?;
        let folders = std::env::var_os("PATH");
        process::find(
            "pg_ctlcluster",
            folders.iter().flat_map(std::env::split_paths),
        )?;
        let path = format!("/etc/postgresql/{major}/{name}/postgresql.conf");
        Some(PathBuf::from(path)).filter(|path| path.exists())
    }

    /// None where the server's programs are not installed.
    fn ask<T>(&self, question: impl FnOnce(&Configuration<'_>) -> Result<T>) -> Option<Result<T>> {
        let plan = self.plan;
        let postgres = plan.programs.as_ref()?.postgres().ok()?;
        let config_file = self
            .debian_config()
            .or_else(|| self.file("postgresql.conf"));
        Some(question(&Configuration {
            postgres: &postgres,
            data_dir: &plan.data_dir,
            config_file: config_file.as_deref(),
            owner: plan.owner,
            cancel: self.cancel,
        }))
    }

    /// Where the server finds its configuration file of that name, if not in the data directory.
    fn file(&self, name: &str) -> Option<PathBuf> {
        let backup = &self.plan.choice.backup;
        let mut files = backup.config_files.iter().map(Path::new);
        let file = files.find(|path| path.file_name() == Some(OsStr::new(name)))?;
        // In the cluster's own place, those in use stay in use.
        if self.plan.data_dir == Path::new(&backup.data_directory) && file.exists() {
            return Some(file.to_owned());
        }
        Some(self.config?.join(file.strip_prefix("/").unwrap_or(file)))
    }

    pub fn start_command(&self, port: Option<Instead>) -> String {
        let plan = self.plan;
        let [config_file, hba_file, ident_file] =
            ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"].map(|name| self.file(name));
        start::command(
            &plan.data_dir,
            start::Host {
                major: plan.choice.backup.major(),
                bindir: plan.programs.as_ref().map(|programs| programs.bindir()),
                has_ctlcluster: self.debian_config().is_some(),
                root: rustix::process::geteuid().is_root(),
                config_file: config_file.as_deref(),
                hba_file: hba_file.as_deref(),
                ident_file: ident_file.as_deref(),
                port: port.map(|port| port.free),
            },
        )
    }
}

//! Where the files go, and who reads them there.

use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::{Wanted, crontab, file::SystemdFile, units};
use crate::error::{Error, Kind, Result};

/// There exactly while systemd is the init system (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// Who runs the jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduler {
    Systemd,
    Cron,
}

#[derive(Clone, Debug)]
pub struct Place {
    pub scheduler: Scheduler,
    pub folder: PathBuf,
    /// Whether the running host reads the folder: else files are written and nothing is called.
    pub live: bool,
}

impl Place {
    /// `into`: another folder than the host's own.
    pub fn new(scheduler: Scheduler, into: Option<PathBuf>) -> Self {
        let own = match scheduler {
            Scheduler::Systemd => "/etc/systemd/system",
            Scheduler::Cron => "/etc/cron.d",
        };
        Self {
            scheduler,
            live: into.is_none(),
            folder: into.unwrap_or_else(|| own.into()),
        }
    }

    /// What is to be there.
    pub fn files(&self, wanted: &Wanted) -> Vec<SystemdFile> {
        match self.scheduler {
            Scheduler::Systemd => units::files(wanted),
            Scheduler::Cron => vec![crontab::file(wanted)],
        }
    }

    /// Whether units of the folder are those of a systemd that runs.
    pub fn has_systemd(&self) -> bool {
        self.live && self.scheduler == Scheduler::Systemd
    }

    /// Refuses what can't succeed.
    pub fn refuse_stranger(&self) -> Result<()> {
        if self.live && !geteuid().is_root() {
            return Err(
                Error::failed(format!("only root may change {}", self.folder.display()))
                    .hint("run it as root (sudo); `install --print` shows what it would write."),
            );
        }
        if self.has_systemd() {
            require_systemd()?;
        }
        if !self.folder.is_dir() {
            let what = format!("there is no folder {}", self.folder.display());
            let hint = match self.scheduler {
                Scheduler::Cron => "install cron, or make the folder.",
                Scheduler::Systemd => "make the folder.",
            };
            return Err(Error::new(Kind::NotFound, what).hint(hint));
        }
        Ok(())
    }
}

/// An error where systemd doesn't run.
pub fn require_systemd() -> Result<()> {
    match Path::new(BOOTED).is_dir() {
        true => Ok(()),
        false => Err(Error::failed("systemd does not run on this host").hint(
            "--cron makes a crontab in its place; --into DIR only writes the units, for another host.",
        )),
    }
}

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

    /// The crontab of a cluster, if ours is there.
    pub fn crontab_of(&self, cluster: &str) -> Option<PathBuf> {
        let name = crontab::name(cluster);
        let there = crontab::clusters(&self.folder).unwrap_or_default();
        let is_ours = there.iter().any(|one| crontab::name(one) == name);
        is_ours.then(|| self.folder.join(name))
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::{super::file::CRON_NOTE, *};

    #[test]
    fn only_our_crontab_runs_our_jobs() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(Scheduler::Cron, Some(folder.path().to_owned()));
        assert_eq!(place.crontab_of("main.a"), None);
        let own = folder.path().join("pgstow-main_a");
        fs::write(&own, "# somebody's").unwrap();
        assert_eq!(place.crontab_of("main.a"), None);
        fs::write(&own, format!("{CRON_NOTE}\n")).unwrap();
        assert_eq!(place.crontab_of("main.a"), Some(own));
        assert_eq!(place.crontab_of("main"), None);
    }
}

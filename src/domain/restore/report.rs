//! Plan and result as people read them.

use std::fmt;

use super::{
    Restored, delta::outlook::Count, folders::State, plan::Plan, proof::Proof, recovery::shell_word,
};
use crate::util::{
    clock::readable,
    units::{bytes, count, duration},
};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: String| writeln!(f, "{name:<12} {value}");
        let until = if self.exclusive { "just before " } else { "" };
        line(
            "restore",
            format!("cluster {} to {until}{}", self.cluster, self.target),
        )?;
        line(
            "backup",
            format!(
                "{}, ended {} at {}, {} ({} stored)",
                self.backup,
                readable(self.backup_stop_time),
                self.backup_stop_lsn,
                bytes(self.backup_bytes),
                bytes(self.stored_bytes)
            ),
        )?;
        line("timeline", self.timeline.to_string())?;
        line(
            "WAL",
            format!(
                "{} to {} ({}), up to {}",
                self.first_segment,
                self.last_segment,
                count(self.segments, "segment"),
                self.wal_end
            ),
        )?;
        if let Some(partial) = &self.partial {
            line(
                "",
                format!(
                    "{partial} is put into pg_wal under its plain name, since nothing else has that WAL"
                ),
            )?;
        }
        if let Some(live) = &self.live {
            line(
                "",
                format!(
                    "{} is put into pg_wal as far as the pieces of it go, to {}, since nothing else has that WAL",
                    live.segment, live.upto
                ),
            )?;
        }
        if let (Some(first), Some(last)) = (self.rescued.first(), self.rescued.last()) {
            line(
                "",
                format!(
                    "{first} to {last} are taken from this host: the repository hasn't got them"
                ),
            )?;
        }
        if let Some(forecast) = &self.forecast {
            line("it takes", forecast.to_string())?;
        }
        match &self.proof {
            Proof::Found { lsn, segment, what } => {
                line("target", format!("proven: {what}, at {lsn} in {segment}"))?
            }
            Proof::NotProven(why) => line("target", format!("not proven: {why}"))?,
            Proof::NotNeeded => {}
        }
        for reason in &self.reasons {
            line("because", reason.clone())?;
        }
        if let Some(delta) = &self.delta {
            let files =
                |found: &Count| format!("{} ({})", count(found.files, "file"), bytes(found.bytes));
            let written = match delta.written_bytes {
                Some(written) => format!("; {} written", bytes(written)),
                None => String::new(),
            };
            line(
                "delta",
                format!(
                    "{} stay, {} differ, {} missing, {} extra{written}",
                    files(&delta.stay),
                    files(&delta.differ),
                    files(&delta.missing),
                    files(&delta.extra)
                ),
            )?;
        }
        if let Some(kept) = &self.kept_wal {
            line(
                "old WAL",
                format!(
                    "what the repository hasn't got is kept in {}: remove it once the restored server has all that you want",
                    kept.display()
                ),
            )?;
        }
        for folder in &self.folders {
            let name = match folder.tablespace {
                None => "into".to_owned(),
                Some(oid) => format!("  {oid}"),
            };
            let before = match (&folder.aside, &folder.facts.state) {
                (Some(aside), _) => format!("what is there is renamed to {}", aside.display()),
                (None, State::Occupied | State::Unfinished(_)) if self.again.is_some() => {
                    "what is right there stays".to_owned()
                }
                (None, State::Unfinished(_)) => {
                    "an interrupted restore is there and is cleared".to_owned()
                }
                (None, State::Missing) => "to be made".to_owned(),
                (None, _) => "empty".to_owned(),
            };
            line(
                &name,
                format!(
                    "{}: {} needed, {} free; {before}",
                    folder.facts.path.display(),
                    bytes(folder.needed_bytes),
                    bytes(folder.facts.free_bytes)
                ),
            )?;
        }
        if self.standby {
            let follows = match self.follows_latest() {
                true => "which follows the latest timeline".to_owned(),
                false => format!("which stays on timeline {}", self.timeline),
            };
            line("then", format!("a standby, {follows}"))?;
        } else {
            line("then", format!("the server will {}", self.action.name()))?;
        }
        if self.offline {
            line(
                "",
                "the WAL in the backup is all it gets: its restore_command is `false`".to_owned(),
            )?;
        }
        match self.archive {
            Some(false) => line("archiving", "off in the restored server, for good: it is a copy, and --archive on would say otherwise".to_owned())?,
            Some(true) => line("archiving", "on in the restored server".to_owned())?,
            None => line("archiving", "as in the backup: this is the cluster's own place".to_owned())?,
        }
        if self.copy {
            line("emptied", "external_pid_file and synchronous_standby_names are set to '' where the configuration has them: they name what is the original's".to_owned())?;
        }
        for warning in &self.warnings {
            line("warning", warning.clone())?;
        }
        if let Some(why) = &self.refused {
            line("REFUSED", format!("as long as this is so: {why}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.plan.fmt(f)?;
        let took = duration(std::time::Duration::from_secs_f64(self.seconds.max(0.0)));
        writeln!(
            f,
            "{:<12} {} in {took}",
            "restored",
            self.plan.data_dir.display()
        )?;
        if let Some(old) = self.aside.first() {
            let (old, new) = (
                shell_word(&old.to_string_lossy()),
                shell_word(&self.plan.data_dir.to_string_lossy()),
            );
            writeln!(
                f,
                "{:<12} {old}; to return to it: rm -r {new} && mv {old} {new}",
                "old cluster"
            )?;
        }
        if let Some(config) = &self.config {
            writeln!(
                f,
                "{:<12} configuration files from outside the data directory are in {}; those in use were not touched, and absolute paths in the copies still lead to them",
                "configured",
                config.display()
            )?;
        }
        if let Some(aside) = &self.config_aside {
            writeln!(
                f,
                "{:<12} those of an earlier restore had been changed, and are kept in {}",
                "",
                aside.display()
            )?;
        }
        for name in &self.emptied {
            writeln!(
                f,
                "{:<12} {name} is '' in postgresql.auto.conf, for good: reset it if the copy takes the original's place",
                "emptied"
            )?;
        }
        if let Some(port) = &self.port {
            writeln!(
                f,
                "{:<12} {} is in use on this host, so the command says {}",
                "port", port.taken, port.free
            )?;
        }
        writeln!(f, "{:<12} {}", "start it by", self.start_command)
    }
}

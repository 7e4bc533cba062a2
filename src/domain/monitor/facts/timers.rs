//! The timers of systemd that run pgstow for a cluster: `pgstow-JOB@CLUSTER.timer`.

use std::{path::Path, process::Command, time::Duration};

use crate::{
    error::{Kind, Result},
    util::{cancel::Cancel, process},
};

/// There exactly while systemd is the init system (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// A unit of systemd itself: where nothing matches, `list-unit-files` fails since version 252 without a word, as it
/// does where it can't answer.
const ALWAYS: &str = "basic.target";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timer {
    /// Such as `pgstow-base@main.timer`.
    pub name: String,
    /// `enabled`, `disabled` ...
    pub enabled: String,
    /// `active`, `inactive`, `failed` ...
    pub active: String,
    /// When it elapsed last and will next, as systemd words it; None: never.
    pub last: Option<String>,
    pub next: Option<String>,
}

/// None where no systemd runs.
pub fn gather(cluster: &str, limit: Duration, cancel: &Cancel) -> Result<Option<Vec<Timer>>> {
    if !Path::new(BOOTED).is_dir() {
        return Ok(None);
    }
    let systemctl = |words: &[&str]| -> Result<String> {
        let mut command = Command::new("systemctl");
        let command = command.arg("--no-pager").args(words).env("LC_ALL", "C");
        let output = process::run(command, limit, cancel)?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    };
    let pattern = format!("pgstow-*@{cluster}.timer");
    // A pattern alone finds only what is loaded: one that was stopped and disabled no longer is.
    let files = [
        "list-unit-files",
        "--no-legend",
        "--plain",
        &pattern,
        ALWAYS,
    ];
    let files: String = match systemctl(&files) {
        Err(error) if error.kind() == Kind::NotFound => return Ok(None),
        files => files?,
    };
    let properties =
        "--property=Id,UnitFileState,ActiveState,LastTriggerUSec,NextElapseUSecRealtime";
    let mut words = vec!["show", "--all", properties, &pattern];
    words.extend(
        files
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .filter(|name| *name != ALWAYS),
    );
    let mut timers = parse(&systemctl(&words)?);
    timers.sort_by(|a, b| a.name.cmp(&b.name));
    timers.dedup_by(|a, b| a.name == b.name);
    Ok(Some(timers))
}

/// Reads blocks of `NAME=VALUE`, with an empty line between two of them.
pub fn parse(shown: &str) -> Vec<Timer> {
    let timer = |block: &str| {
        let value = |name: &str| {
            let mut lines = block.lines();
            let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
            Some(found.to_owned()).filter(|text| !text.is_empty() && text != "n/a")
        };
        Some(Timer {
            name: value("Id")?,
            enabled: value("UnitFileState").unwrap_or_default(),
            active: value("ActiveState").unwrap_or_default(),
            last: value("LastTriggerUSec"),
            next: value("NextElapseUSecRealtime"),
        })
    };
    shown.split("\n\n").filter_map(timer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As systemd 252 prints it.
    const SHOWN: &str = "\
NextElapseUSecRealtime=Sun 2026-11-22 02:03:11 UTC
LastTriggerUSec=Sat 2026-11-21 02:04:55 UTC
Id=pgstow-base@main.timer
ActiveState=active
UnitFileState=enabled

NextElapseUSecRealtime=
LastTriggerUSec=n/a
Id=pgstow-verify@main.timer
ActiveState=inactive
UnitFileState=disabled
";

    #[test]
    fn what_systemctl_shows() {
        let timers = parse(SHOWN);
        assert_eq!(timers.len(), 2);
        assert_eq!(timers[0].name, "pgstow-base@main.timer");
        assert_eq!(timers[0].active, "active");
        assert_eq!(
            timers[0].last.as_deref(),
            Some("Sat 2026-11-21 02:04:55 UTC")
        );
        assert_eq!(timers[1].enabled, "disabled");
        assert_eq!(
            (timers[1].last.as_ref(), timers[1].next.as_ref()),
            (None, None)
        );
        assert_eq!(parse("").len(), 0);
    }
}

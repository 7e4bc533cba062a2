//! `monitor`: every check driven into warning and critical by a real cause, and back; silence on a
//! healthy server; an answer in time whatever hangs.

mod archiving;
mod backups;
mod damaged_wal;
mod hangs;
mod history;
mod minimal;
mod page;
mod prometheus;
mod server;
mod standby;
mod two;

use serde_json::Value;

use crate::harness::{Scratch, Stow, pg, stow::sql_of_roles, tool::Invocation};

/// A cluster with a backup, whose host's own disks alarm nobody.
struct Watched {
    stow: Stow,
    scratch: Scratch,
}

impl Watched {
    fn start(major: u32) -> Self {
        let scratch = Scratch::new();
        let stow = Stow::start(&scratch, pg(major));
        Self::of(scratch, stow)
    }

    fn of(scratch: Scratch, stow: Stow) -> Self {
        stow.cluster.psql(&sql_of_roles("sql optional"));
        stow.backup(&[]);
        Self { stow, scratch }
    }

    /// The verdict on `check`, of a run with these environment variables; the exit code must be
    /// its own.
    #[track_caller]
    fn verdict(&self, check: &str, limits: &[(&str, &str)]) -> Value {
        let words = ["--json", "monitor", "--only", check];
        verdict(self.stow.tool.command(&words), limits)
    }

    /// As seen by a clock that is wrong by `shift`.
    #[track_caller]
    fn shifted(&self, shift: &str, check: &str) -> Value {
        let words = ["--json", "monitor", "--only", check];
        verdict(self.stow.tool.shifted(shift, &words), &[])
    }

    #[track_caller]
    fn is(&self, check: &str, limits: &[(&str, &str)], state: &str, reason: &str) {
        has(&self.verdict(check, limits), state, reason);
    }

    /// Has archiving fail, and the server know it.
    fn break_archiving(&self) {
        let cluster = &self.stow.cluster;
        cluster.set("archive_command", "false");
        cluster.psql("select pg_logical_emit_message(false, 'test', '')");
        cluster.psql("select pg_switch_wal()");
        let fails = "select last_failed_time > coalesce(last_archived_time, '-infinity') \
             from pg_stat_archiver";
        cluster.wait_until(fails, "t");
    }

    /// Nothing to complain of.
    #[track_caller]
    fn is_well(&self) {
        let output = healthy(self.stow.tool.command(&["monitor", "--json"])).ok();
        assert_eq!(output.json()["state"], "ok", "{output}");
    }
}

/// Without the disks of whoever runs the tests.
fn healthy(command: Invocation) -> Invocation {
    command
        .env("PGSTOW_MONITOR_DISK_USED_WARNING", "off")
        .env("PGSTOW_MONITOR_DISK_USED_CRITICAL", "off")
}

#[track_caller]
fn verdict(mut command: Invocation, limits: &[(&str, &str)]) -> Value {
    for (name, value) in limits {
        command = command.env(&format!("PGSTOW_MONITOR_{name}"), *value);
    }
    let output = command.spawn().wait();
    let document = output.json();
    let code = match document["state"].as_str().unwrap() {
        "ok" => 0,
        "warning" => 1,
        "critical" => 2,
        "unknown" => 3,
        other => panic!("{other}"),
    };
    assert_eq!(output.status.code(), Some(code), "{output}");
    let checks = document["checks"].as_array().unwrap();
    assert!(!checks.is_empty(), "{output}");
    let worst = checks
        .iter()
        .find(|one| one["state"] == document["state"])
        .unwrap();
    worst.clone()
}

#[track_caller]
fn has(verdict: &Value, state: &str, reason: &str) {
    assert_eq!(verdict["state"], state, "{verdict:#}");
    let said = verdict["reason"].as_str().unwrap();
    assert!(said.contains(reason), "no {reason:?} in {verdict:#}");
    let hinted = verdict["hint"]
        .as_str()
        .is_some_and(|hint| !hint.is_empty());
    assert_eq!(hinted, state != "ok", "{verdict:#}");
}

#[test]
fn a_quiet_healthy_server_alarms_nobody() {
    for major in [15, 18] {
        let watched = Watched::start(major);
        let stow = &watched.stow;
        assert_eq!(stow.cluster.psql("show archive_timeout"), "0");
        watched.is_well();
        // Work in a segment that will be full some day: for hours nothing is archived.
        stow.cluster.psql("create table t (n int)");
        for hours in ["+2h", "+25h"] {
            let words = [
                "--json",
                "monitor",
                "--only",
                "archiver,waiting,wal_lag,restorable,backup_age,full_age",
            ];
            let output = stow.tool.shifted(hours, &words).ok();
            assert_eq!(output.json()["state"], "ok", "{output}");
        }
        stow.tool
            .command(&["monitor", "--quiet", "--only", "backup_age,connection"])
            .ok();
    }
}

#[test]
fn wrong_usage_is_unknown() {
    let watched = Watched::start(16);
    let tool = &watched.stow.tool;
    let line = tool
        .command(&["monitor", "--nagios", "--only", "nothing"])
        .fails(3);
    assert!(line.stdout.starts_with("PGSTOW UNKNOWN - "), "{line}");
    assert_eq!(line.stdout.lines().count(), 1, "{line}");
    let bad = tool
        .command(&["monitor", "--nagios"])
        .env("PGSTOW_MONITOR_BACKUP_AGE_WARNING", "60h");
    let bad = bad.fails(3);
    let said = "monitor.backup_age.warning is above monitor.backup_age.critical";
    assert!(bad.stdout.contains(said), "{bad}");
    // It is no concern of other commands.
    tool.command(&["list"])
        .env("PGSTOW_MONITOR_BACKUP_AGE_WARNING", "soon")
        .ok();
    tool.command(&["monitor", "--healthcheck"])
        .env("PGSTOW_MONITOR_TIME_LIMIT", "0")
        .fails(1);
}

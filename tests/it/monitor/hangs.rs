//! What doesn't answer: the rest is told all the same, in time.

use std::{fs, process::Command, time::Duration};

use super::{Watched, has};
use crate::harness::{Shutdown, user};

/// The promise of docs/commands.md.
const IN_TIME: Duration = Duration::from_secs(30);

#[test]
fn a_server_that_is_away_or_behind_a_black_hole() {
    let mut watched = Watched::start(18);
    // Nobody is there, and nobody says so (TEST-NET-1, RFC 5737).
    let hole = [
        ("PGSTOW_CLUSTER_HOST", "192.0.2.1"),
        ("PGSTOW_CONNECT_TIMEOUT", "300"),
    ];
    let gone = |watched: &Watched, environment: &[(&str, &str)]| {
        let mut command = watched.stow.tool.command(&["--json", "monitor"]);
        for (name, value) in environment {
            command = command.env(name, *value);
        }
        let output = command.limit(IN_TIME).fails(2);
        let checks = output.json()["checks"].as_array().unwrap().clone();
        let of = |check: &str| {
            let found = checks.iter().find(|one| one["check"] == check);
            found.unwrap_or_else(|| panic!("no {check}")).clone()
        };
        has(&of("archiver"), "unknown", "can't be asked");
        has(&of("wal_lag"), "unknown", "can't be asked");
        has(&of("backup_age"), "ok", "ago");
        has(&of("restorable"), "ok", "can be restored");
        has(&of("repository"), "ok", "");
        has(&of("runs"), "ok", "");
        of("connection")
    };
    has(&gone(&watched, &hole), "critical", "192.0.2.1");
    watched.stow.cluster.stop(Shutdown::Fast);
    has(&gone(&watched, &[]), "critical", "can't connect");
    watched
        .stow
        .tool
        .command(&["monitor", "--healthcheck"])
        .ok();
    watched.stow.cluster.start();
    watched.is("connection", &[], "ok", "connected as role pgstow");

    // A server that takes the connection and then says nothing.
    let stopped = |signal: &str| {
        let pid = fs::read_to_string(watched.stow.cluster.data_dir().join("postmaster.pid"));
        let pid = pid.unwrap().lines().next().unwrap().to_owned();
        user::run_ok(Command::new("kill").args([signal, &pid]));
    };
    stopped("-STOP");
    let found = gone(&watched, &[]);
    stopped("-CONT");
    has(&found, "critical", "");
    watched.is_well();
}

#[test]
fn a_repository_that_hangs() {
    let watched = Watched::start(16);
    // Opening a pipe that nobody writes to hangs as a dead NFS server does.
    let marker = watched.stow.root().join("repository.json");
    let aside = watched.scratch.join("aside");
    fs::rename(&marker, &aside).unwrap();
    user::run_ok(Command::new("mkfifo").args(["-m", "666"]).arg(&marker));
    let output = watched.stow.tool.command(&["--json", "monitor"]);
    let output = output.limit(IN_TIME).fails(2);
    let checks = output.json()["checks"].as_array().unwrap().clone();
    let of = |check: &str| checks.iter().find(|one| one["check"] == check).unwrap();
    has(of("repository"), "critical", "no answer after");
    has(of("backup_age"), "unknown", "local can't");
    has(of("archiver"), "ok", "");
    // An operator in a hurry.
    let hurried = |words: &[&str]| {
        let command = watched.stow.tool.command(words);
        command.env("PGSTOW_MONITOR_TIME_LIMIT", "4s")
    };
    let line = hurried(&["monitor", "--nagios"]).fails(2);
    assert!(
        line.stdout
            .starts_with("PGSTOW CRITICAL - main: repository local: looking at")
    );
    drop(hurried(&["monitor", "--healthcheck"]).fails(1));
    fs::remove_file(&marker).unwrap();
    fs::rename(&aside, &marker).unwrap();
    watched.is_well();
}

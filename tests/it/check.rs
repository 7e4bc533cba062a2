//! `check`: every finding driven to bad by a real cause, and good again.

mod places;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::harness::{
    Archive, Cluster, FullDisk, PgBin, Scratch, Shutdown, Tool, pg, stow::sql_of_roles, user,
};

/// A server that archives into a repository on a disk of its own, both made by `init`.
struct SetUp {
    // Dropped in this order: the server ends before its folder goes.
    main: Cluster,
    tool: Tool,
    root: PathBuf,
    disk: FullDisk,
    scratch: Scratch,
}

impl SetUp {
    fn new(pg: PgBin) -> Self {
        let scratch = Scratch::new();
        let mut main = Cluster::build(&scratch, pg).start();
        let disk = FullDisk::mount(&scratch, "disk", 512 << 20);
        let root = disk.path().join("repository");
        let tool = Tool::new(&scratch).config(&config(&scratch, &root, &main));
        tool.command(&["init", "--apply"]).ok();
        main.restart();
        Self {
            main,
            tool,
            root,
            disk,
            scratch,
        }
    }

    /// All findings, of a check that ends with `code`.
    #[track_caller]
    fn check(&self, code: i32) -> Vec<Value> {
        self.check_as("postgres", code)
    }

    #[track_caller]
    fn check_as(&self, role: &str, code: i32) -> Vec<Value> {
        let words = ["--json", "check", "--wal-timeout", "20s"];
        let command = self
            .tool
            .command(&words)
            .env("PGSTOW_CLUSTER_USER", role)
            .env("PGSTOW_CONNECT_RETRIES", "0");
        findings(&command.fails(code).json())
    }

    /// The one finding `name` has this state and text, and check ends accordingly.
    #[track_caller]
    fn says(&self, name: &str, state: &str, text: &str) {
        let code = if state == "critical" { 1 } else { 3 };
        has(&self.check(code), name, state, text);
    }

    #[track_caller]
    fn is_well(&self) {
        let found = self.check(0);
        assert!(found.iter().all(|one| one["state"] == "ok"), "{found:#?}");
    }
}

fn config(scratch: &Scratch, root: &Path, cluster: &Cluster) -> String {
    format!(
        "state_dir = '{}'\n[repo.local]\nurl = '{}'\n[cluster.main]\nhost = '{}'\nuser = 'postgres'\n",
        scratch.join("state").display(),
        root.display(),
        cluster.host().display(),
    )
}

fn findings(document: &Value) -> Vec<Value> {
    document["findings"].as_array().unwrap().clone()
}

#[track_caller]
fn has(findings: &[Value], name: &str, state: &str, text: &str) {
    let found = findings.iter().any(|one| {
        let what = one["what"].as_str().unwrap();
        let hinted = state == "ok" || one["hint"].as_str().is_some_and(|hint| !hint.is_empty());
        one["name"] == name && one["state"] == state && what.contains(text) && hinted
    });
    assert!(found, "no {name} {state} {text:?} in {findings:#?}");
}

#[test]
fn every_cause_on_15() {
    every_cause(pg(15));
}

#[test]
fn every_cause_on_18() {
    every_cause(pg(18));
}

fn every_cause(pg: PgBin) {
    let mut set_up = SetUp::new(pg);
    set_up.is_well();
    let found = set_up.check(0);
    has(&found, "wal", "ok", "arrived in repository local");
    has(&found, "space", "ok", "for a first backup of ");

    let good = set_up.main.psql("show archive_command");
    set_up.main.set("archive_command", "false");
    let found = set_up.check(1);
    has(&found, "archive_command", "critical", "doesn't call pgstow");
    has(&found, "wal", "critical", "archive_command fails with");
    // By now the server's own statistics know.
    set_up.says("archiver", "critical", "waiting to be archived");

    set_up.main.set("archive_command", "true");
    let found = set_up.check(1);
    has(
        &found,
        "wal",
        "critical",
        "the server says that it is archived",
    );

    set_up.main.set("archive_command", "");
    let found = set_up.check(1);
    has(&found, "archive_command", "critical", "empty");

    // The wrapped command works: a warning, and the segment arrives.
    let wrapped = format!("test -n '%f' && {good}");
    set_up.main.set("archive_command", &wrapped);
    let found = set_up.check(3);
    has(&found, "archive_command", "warning", "among other things");
    has(&found, "wal", "ok", "arrived");

    // Our program, another repository.
    let other = set_up.scratch.join("other");
    let by_url = ["--repo-url", other.to_str().unwrap()];
    set_up.tool.command(&[&by_url[..], &["init"]].concat()).ok();
    let found = set_up
        .tool
        .command(&[&["--json"], &by_url[..], &["check"]].concat())
        .fails(1)
        .json();
    has(&findings(&found), "wal", "critical", "is not in repository");
    let gone = "/nowhere/pgstow archive-wal %p";
    set_up.main.set("archive_command", gone);
    let found = set_up
        .tool
        .command(&["--json", "check", "--wal-timeout", "2s"])
        .fails(1)
        .json();
    let found = findings(&found);
    has(&found, "archive_command", "critical", "there is no");
    has(&found, "wal", "critical", "not within 2.0 s");
    // A shell that finds no program ends the archiver, which nobody counts; the server starts
    // another one only after a while.
    set_up.main.set("archive_command", &good);
    set_up.main.restart();

    let data_dir = set_up.main.data_dir().to_owned();
    let mode = |mode| fs::set_permissions(&data_dir, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o770);
    set_up.says("data_directory", "critical", "mode 0770");
    mode(0o750);
    has(&set_up.check(0), "data_directory", "ok", "mode 0750");
    mode(0o700);

    set_up.main.set("full_page_writes", "off");
    set_up.says("full_page_writes", "warning", "off");
    set_up.main.set("full_page_writes", "on");

    set_up
        .main
        .set("recovery_target_time", "2026-11-21 02:00:00+00");
    set_up.says("recovery_target", "critical", "from its next start on");
    set_up.main.restart();
    set_up.says("recovery_target", "critical", "2026-11-21 02:00:00+00");
    set_up.main.psql("alter system reset recovery_target_time");
    set_up.main.set("archive_mode", "off");
    set_up.main.restart();
    let found = set_up.check(1);
    has(&found, "recovery_target", "ok", "none");
    has(&found, "archive_mode", "critical", "off");
    has(&found, "archive_command", "ok", "archive-wal");
    has(&found, "wal", "warning", "archive_mode is off");
    set_up.main.set("archive_mode", "on");
    set_up.main.set("max_wal_senders", "1");
    set_up.main.restart();
    set_up.says("max_wal_senders", "warning", "1 of 1 are free");
    set_up.main.set("max_wal_senders", "0");
    set_up.main.restart();
    // Here base reads the data directory.
    let found = set_up.check(3);
    has(&found, "max_wal_senders", "warning", "0 of 0");
    has(&found, "replication", "warning", "");
    let base = ["base", "--checkpoint", "fast"];
    drop(set_up.tool.command(&base).ok());
    set_up.main.psql("alter system reset max_wal_senders");
    set_up.main.restart();
    set_up.is_well();
}

#[test]
fn the_repository_and_the_system_are_looked_at() {
    let mut set_up = SetUp::new(pg(17));
    let systems = set_up.root.join("main/systems");
    let aside = set_up.disk.path().join("aside");
    fs::rename(&systems, &aside).unwrap();
    let found = set_up.check(1);
    has(&found, "system", "critical", "no system is registered");
    has(&found, "wal", "warning", "no repository is ready");
    fs::rename(&aside, &systems).unwrap();
    set_up.is_well();

    // Another server: not the registered one.
    let second = Cluster::build(&set_up.scratch, pg(16))
        .name("second")
        .start();
    let found = set_up
        .tool
        .command(&["--json", "check"])
        .env("PGSTOW_CLUSTER_HOST", second.host())
        .fails(1)
        .json();
    has(&findings(&found), "system", "critical", "is not registered");

    fs::rename(&set_up.root, &aside).unwrap();
    set_up.says("repository", "critical", "there is no repository");
    fs::rename(&aside, &set_up.root).unwrap();

    let main = set_up.root.join("main");
    fs::set_permissions(&main, fs::Permissions::from_mode(0o550)).unwrap();
    has(&set_up.check(3), "repository", "warning", "to write");
    fs::set_permissions(&main, fs::Permissions::from_mode(0o750)).unwrap();

    set_up.main.stop(Shutdown::Fast);
    let found = set_up.check(1);
    has(&found, "connection", "critical", "can't connect");
    has(&found, "repository", "ok", "local at");
}

fn the_role_of_the_page_is_enough(pg: PgBin) {
    let set_up = SetUp::new(pg);
    set_up.main.psql("create role pgstow login");
    let found = set_up.check_as("pgstow", 1);
    has(&found, "rights", "critical", "data directory");
    set_up.main.psql("grant pg_read_all_settings to pgstow");
    let found = set_up.check_as("pgstow", 1);
    has(&found, "rights", "critical", "may not switch");
    has(&found, "replication", "critical", "");
    has(&found, "wal", "warning", "may not switch");
    set_up.main.psql("drop role pgstow");

    set_up.main.psql(&sql_of_roles("sql"));
    let found = set_up.check_as("pgstow", 0);
    has(&found, "rights", "ok", "role pgstow");
    has(&found, "wal", "ok", "arrived");
    set_up
        .tool
        .command(&["base", "--checkpoint", "fast"])
        .env("PGSTOW_CLUSTER_USER", "pgstow")
        .ok();
    set_up.main.psql(&sql_of_roles("sql optional"));
    let found = set_up.check_as("pgstow", 0);
    has(&found, "space", "ok", "the newest backup takes");
}

#[test]
fn the_role_of_the_page_is_enough_on_15() {
    the_role_of_the_page_is_enough(pg(15));
}

#[test]
fn the_role_of_the_page_is_enough_on_18() {
    the_role_of_the_page_is_enough(pg(18));
}

#[test]
fn a_first_backup_needs_room() {
    let scratch = Scratch::new();
    let main = Cluster::build(&scratch, pg(16)).start();
    // The databases take some 22 MiB.
    let disk = FullDisk::mount(&scratch, "disk", 20 << 20);
    let root = disk.path();
    let tool = Tool::new(&scratch).config(&config(&scratch, root, &main));
    tool.command(&["init"]).ok();
    let check = |code| findings(&tool.command(&["--json", "check"]).fails(code).json());
    has(&check(1), "space", "warning", "for a first backup of ");
    disk.resize(200 << 20);
    has(&check(1), "space", "ok", "for a first backup of ");
}

#[test]
fn clocks_that_differ() {
    let set_up = SetUp::new(pg(18));
    let check = |shift| {
        let command = set_up.tool.shifted(shift, &["--json", "check"]);
        findings(&command.fails(3).json())
    };
    has(&check("-90s"), "clock", "warning", "ahead of this host's");
    has(&check("+90s"), "clock", "warning", "behind this host's");
    set_up.is_well();
}

#[test]
fn a_standby_says_what_it_cannot_prove() {
    let set_up = SetUp::new(pg(18));
    let copy = set_up.scratch.join("copy");
    set_up.main.basebackup(&copy, &["--write-recovery-conf"]);
    let mut standby = Cluster::existing(&set_up.scratch, pg(18), "standby", &copy);
    standby.start();
    let check = |primary: bool, code: i32| {
        let mut command = set_up
            .tool
            .command(&["--json", "check"])
            .env("PGSTOW_CLUSTER_HOST", standby.host());
        if primary {
            command = command.env("PGSTOW_CLUSTER_PRIMARY_HOST", set_up.main.host());
        }
        findings(&command.fails(code).json())
    };
    let newest = set_up.main.switch_wal();
    let known = format!("a standby can't switch WAL: the newest in repository local is {newest}");
    has(&check(false, 0), "wal", "ok", &known);
    has(&check(true, 0), "wal", "ok", "arrived in repository local");

    // What the standby has received by itself, the archive should have too.
    set_up.main.set("archive_command", "false");
    for _ in 0..4 {
        set_up
            .main
            .psql("select pg_logical_emit_message(false, 'test', '')");
        set_up.main.psql("select pg_switch_wal()");
    }
    let end = set_up.main.psql("select pg_current_wal_lsn()");
    let replayed = format!("select pg_last_wal_replay_lsn() >= '{end}'");
    standby.wait_until(&replayed, "t");
    has(
        &check(false, 3),
        "wal",
        "warning",
        "segments behind this standby",
    );
    fs::remove_dir_all(set_up.root.join("main/wal")).unwrap();
    has(
        &check(false, 3),
        "wal",
        "warning",
        "repository local has none",
    );
}

#[test]
fn a_store_is_tried_alone() {
    let scratch = Scratch::new();
    let root = scratch.folder("repository");
    let tool = Tool::new(&scratch).config(&format!("[repo.local]\nurl = '{}'\n", root.display()));
    let check = ["--repo", "local", "check"];
    tool.command(&check)
        .fails(1)
        .stdout_contains("there is no repository")
        .stdout_contains("the same bytes");
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);

    let made = Scratch::new();
    Archive::new(&made, "zstd")
        .tool
        .command(&check)
        .ok()
        .stdout_contains("refused, as it must be")
        .stdout_contains("all is well");

    if user::is_root() {
        let disk = FullDisk::mount(&scratch, "small", 64 << 10);
        let url = disk.path().display().to_string();
        tool.command(&["--repo", "local", "--repo-url", &url, "check"])
            .fails(1)
            .stdout_contains("No space left");
    }
    fs::remove_dir(&root).unwrap();
    tool.command(&check)
        .fails(1)
        .stdout_contains("there is no folder");
    assert!(!root.exists(), "the check must not make it");
}

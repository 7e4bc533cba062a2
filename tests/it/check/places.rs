//! Where things lie: a repository that is lost with its server is none, and a restore that can
//! leave no note says so.

use std::{fs, os::unix::fs::PermissionsExt};

use super::{SetUp, findings, has};
use crate::harness::{FullDisk, Scratch, Stow, pg, user};

#[test]
fn a_repository_inside_of_the_server_is_refused() {
    let set_up = SetUp::new(pg(16));
    let space = set_up.scratch.folder("space");
    let sql = format!("create tablespace aside location '{}'", space.display());
    set_up.main.psql(&sql);
    let by_url = |url: &str, words: &[&str]| {
        let url = ["--repo-url", url];
        set_up.tool.command(&[&url, words].concat())
    };
    for folder in [set_up.main.data_dir(), &space] {
        let inside = folder.join("the/repository");
        let url = inside.to_str().unwrap();
        by_url(url, &["init"])
            .fails(1)
            .stderr_contains("lies in")
            .stderr_contains("hint: give it a folder outside");
        assert!(!folder.join("the").exists(), "a refusal makes nothing");

        // One that was put there by other means.
        let copy = user::run(
            user::command("cp", "KILL")
                .arg("-a")
                .arg(&set_up.root)
                .arg(folder),
        );
        copy.unwrap();
        let inside = folder.join("repository");
        let url = inside.to_str().unwrap();
        by_url(url, &["base", "--checkpoint", "fast"])
            .fails(1)
            .stderr_contains("lies in");
        let found = by_url(url, &["--json", "check"]).fails(1).json();
        has(&findings(&found), "repository", "critical", "lies in");
        fs::remove_dir_all(inside).unwrap();
    }
    set_up.is_well();
}

#[test]
fn one_disk_for_both_is_a_warning() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(17));
    let found = stow.tool.command(&["--json", "check"]).fails(3).json();
    has(
        &findings(&found),
        "repository",
        "warning",
        "on the same file system",
    );
}

#[test]
fn who_can_leave_no_notes_is_told() {
    let scratch = Scratch::new();
    let disk = FullDisk::mount(&scratch, "disk", 512 << 20);
    let stow = Stow::build(&scratch, pg(18)).root(disk.path()).start();
    stow.backup(&[]);
    // Nobody makes folders there.
    let nowhere = "/proc/pgstow";
    let check = |code: i32, state_dir: &str| {
        let check = stow.tool.command(&["--json", "check"]);
        findings(&check.env("PGSTOW_STATE_DIR", state_dir).fails(code).json())
    };
    let state = scratch.join("state");
    has(
        &check(0, state.to_str().unwrap()),
        "state_dir",
        "ok",
        "state",
    );
    has(
        &check(3, nowhere),
        "state_dir",
        "warning",
        "/proc/pgstow/main",
    );

    let restore = |name: &str| {
        let to = scratch.join(name);
        let restore = ["restore", "--data-dir", to.to_str().unwrap()];
        let restore = stow.tool.command(&restore);
        restore.env("PGSTOW_CLUSTER_BINDIR", &stow.cluster.pg.bindir)
    };
    drop(restore("noted").ok());
    let left = fs::read_dir(state.join("main/restores")).unwrap();
    let left = left.map(|entry| entry.unwrap().file_name());
    // Beside what is measured of all.
    assert_eq!(left.filter(|name| name != "measured.json").count(), 1);
    // One that somebody else has made.
    let notes = state.join("main/restores");
    fs::set_permissions(&notes, fs::Permissions::from_mode(0o555)).unwrap();
    let unnoted = restore("not-ours").ok();
    drop(unnoted.stdout_contains("no note of this restore is left: can't"));
    let unnoted = restore("unnoted")
        .env("PGSTOW_STATE_DIR", nowhere)
        .ok()
        .stdout_contains("no note of this restore is left");
    drop(unnoted);
}

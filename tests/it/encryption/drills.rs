//! Drills of encrypted repositories: a proof where the private key is, and no alarm where it isn't.

use std::fs;

use super::Site;
use crate::harness::pg;

#[test]
fn a_drill_proves_where_the_key_is_and_alarms_nobody_elsewhere() {
    let site = Site::start(pg(17));
    site.stow.backup(&["--full"]);
    site.main().switch_wal();
    let drills = site.scratch.folder("drills");
    let drill = || {
        let command = site.pgstow(&["--json", "drill"]);
        command.env("PGSTOW_DRILL_SCRATCH", &drills)
    };
    let monitor = || {
        let command = ["--json", "monitor", "--only", "drill"];
        let report = site.pgstow(&command).ok().json();
        report["checks"][0]["reason"].as_str().unwrap().to_owned()
    };
    // With the key it could be proven here.
    assert!(monitor().contains("no drill was made"), "{}", monitor());
    let identity = site.take_key_away();
    let report = drill().ok().json();
    assert_eq!(report["good"], false);
    let why = report["not_here"].as_str().unwrap();
    assert!(why.contains("no identity"), "{why}");
    // It says so, and claims nothing.
    assert!(!site.stow.root().join("main/drills").exists());
    let text = site.pgstow(&["drill"]).env("PGSTOW_DRILL_SCRATCH", &drills);
    drop(
        text.ok()
            .stdout_contains("NOT PROVEN, and can't be on this host"),
    );
    let reason = monitor();
    assert!(reason.contains("can't be proven on this host"), "{reason}");

    // Where it is, as on another host.
    let with_key = || drill().env("PGSTOW_REPO_ENCRYPTION_IDENTITY_FILE", &identity);
    let report = with_key().ok().json();
    assert_eq!(report["good"], true, "{report:#}");
    assert_eq!(fs::read_dir(&drills).unwrap().count(), 0);
    // Then this host knows of it, too.
    let reason = monitor();
    assert!(reason.contains("a drill proved"), "{reason}");
    assert!(site.stow.backups()[0]["drill"]["proven"] == true);
}

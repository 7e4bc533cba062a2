//! A real server, whose backups and WAL are cleaned up: every moment of the window is still there.

use serde_json::Value;

use crate::harness::{FullDisk, Scratch, Stow, pg};

/// Rewrites when a backup ended, as if days had passed since.
fn age(stored: &crate::harness::Stored, days: i64) {
    let mut json = stored.json();
    for field in ["start_time", "stop_time"] {
        let time = json[field].as_str().unwrap();
        let time = chrono::DateTime::parse_from_rfc3339(time).unwrap();
        let time = (time - chrono::TimeDelta::days(days)).to_utc();
        json[field] = Value::from(time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true));
    }
    stored.rewrite_json(json);
}

#[test]
fn base_cleans_up_after_a_success() {
    let scratch = Scratch::new();
    let stow = Stow::build(&scratch, pg(17))
        .repo("retention = { days = 1, min = 1 }")
        .start();
    let first = stow.backup(&[]);
    age(&first, 10);
    let second = stow.backup(&["--incremental"]);
    age(&second, 9);
    let third = stow.backup(&["--full"]);
    age(&third, 2);
    let fourth = stow.base(&["--cleanup"]).ok();
    let cleanup = &fourth.json()["cleanup"]["done"];
    let action = |number: usize| {
        cleanup["backups"][number]["action"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    // The first two stay as long as the newest backup alone says that time has passed.
    let what = cleanup["window"]["what"].as_str().unwrap();
    assert!(what.contains("counted back from the end of"), "{what}");
    let actions: Vec<String> = (0..4).map(action).collect();
    assert_eq!(actions, ["keep", "keep", "keep", "keep"], "{cleanup}");

    // What failed before is over, as if `pgstow cleanup` had been run.
    stow.tool
        .command(&["cleanup", "--drop-pending", third.id()])
        .fails(1);
    let runs = || {
        let runs = stow.tool.command(&["list", "--runs", "--json"]).ok().json();
        runs["runs"].as_array().unwrap().clone()
    };
    let newest = |runs: &[Value]| {
        let mut newest = runs.iter().rev();
        let found = newest.find(|run| run["job"] == "cleanup");
        found.unwrap()["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(newest(&runs()), "failed");
    let fifth = stow.base(&["--cleanup"]).ok();
    assert_eq!(newest(&runs()), "done");
    let cleanup = &fifth.json()["cleanup"]["done"];
    assert_eq!(cleanup["backups"][0]["action"], "delete", "{cleanup}");
    assert_eq!(cleanup["backups"][1]["action"], "delete", "{cleanup}");
    assert_eq!(stow.folders().len(), 3);
    // WAL is missing before the window now, and nobody calls that damage.
    stow.tool.command(&["verify", "--all", "--wal"]).ok();
    stow.cluster.switch_wal();
    stow.tool
        .command(&["check"])
        .fails(3)
        .stdout_contains("can be restored from");
}

#[test]
fn a_pending_backup_stays_until_it_is_dropped() {
    let scratch = Scratch::new();
    let stow = Stow::build(&scratch, pg(16))
        .repo("retention = { full = 1, min = 1 }")
        .start();
    stow.backup(&[]);
    stow.cluster
        .psql("alter system set archive_command = 'false'");
    stow.cluster.psql("select pg_reload_conf()");
    stow.base(&["--wal-timeout", "1s"]).fails(1);
    let folders = stow.folders();
    let pending = folders.last().unwrap();
    stow.tool
        .command(&["cleanup"])
        .ok()
        .stdout_contains("pending: its WAL may still come");
    assert_eq!(stow.folders(), folders);
    let kept = stow.tool.command(&["--json", "cleanup"]).ok().json();
    let size = kept["backups"][1]["stored_bytes"].as_u64().unwrap();
    assert!(size > 1 << 20, "{kept:#}");
    stow.tool
        .command(&["cleanup", "--drop-pending", &folders[0]])
        .fails(1)
        .stderr_contains("there is no pending backup");
    stow.tool
        .command(&["cleanup", "--drop-pending", pending])
        .ok();
    assert_eq!(stow.folders(), folders[..1]);
}

/// The lease of a cleanup needs room too, and gets it from what was laid by.
#[test]
fn a_repository_without_a_free_byte_is_cleaned_up() {
    let scratch = Scratch::new();
    let disk = FullDisk::mount(&scratch, "disk", 100 << 20);
    let stow = Stow::build(&scratch, pg(17))
        .root(disk.path())
        .repo("retention = { full = 1, min = 1 }")
        .start();
    let reserve = disk.path().join("main/locks/reserve");
    stow.backup(&[]);
    stow.backup(&["--full"]);
    for reserved in [true, false] {
        assert!(reserve.exists());
        if !reserved {
            stow.backup(&["--full"]);
            std::fs::remove_file(&reserve).unwrap();
        }
        disk.fill_up();
        let cleanup = stow.tool.command(&["cleanup"]);
        match reserved {
            true => drop(cleanup.ok()),
            false => drop(cleanup.fails(1).stderr_contains("No space left on device")),
        }
        assert_eq!(stow.folders().len(), if reserved { 1 } else { 2 });
        std::fs::remove_file(disk.ballast()).unwrap();
    }
    // It is laid by again.
    stow.tool.command(&["cleanup"]).ok();
    assert_eq!(stow.folders().len(), 1);
    assert!(reserve.exists());
}

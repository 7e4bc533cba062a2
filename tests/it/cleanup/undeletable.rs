//! A backup that can't be deleted, and a cleanup that meets another one.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, chown},
    process::Command,
};

use pgstow::repo::{backup_id::BackupId, lease::CLEANUP};
use serde_json::Value;

use super::{planted::Planted, story::time};
use crate::harness::Scratch;

/// Four full backups, of which the newest stays; one builds on the second.
fn plant(scratch: &Scratch) -> (Planted, [BackupId; 5]) {
    let planted = Planted::new(scratch, "full = 1, min = 1");
    let full = |day, segment| planted.backup(time(day), segment, None);
    let (first, second) = (full("11-01", 10), full("11-05", 20));
    let child = planted.backup(time("11-06"), 25, Some(second));
    let (third, newest) = (full("11-10", 30), full("11-20", 40));
    planted.segments(5..=50);
    planted.hand_over();
    (planted, [first, second, child, third, newest])
}

fn actions(report: &Value) -> Vec<&str> {
    let backups = report["backups"].as_array().unwrap().iter();
    backups.map(|one| one["action"].as_str().unwrap()).collect()
}

#[test]
fn one_that_cannot_be_deleted_keeps_no_other_from_going() {
    let scratch = Scratch::new();
    let (planted, [first, second, child, third, newest]) = plant(&scratch);
    let folder = |id: BackupId| scratch.join(&format!("repository/main/base/{id}"));
    // Nobody but root may take anything out of these.
    for id in [first, child] {
        chown(folder(id), Some(0), None).unwrap();
        fs::set_permissions(folder(id), Permissions::from_mode(0o755)).unwrap();
    }
    let report = planted.tool.command(&["--json", "cleanup"]).fails(1).json();
    assert_eq!(
        actions(&report),
        ["failed", "failed", "failed", "delete", "keep"],
        "{report:#}"
    );
    let why = |id: BackupId| {
        let undeleted = report["undeleted"].as_array().unwrap().iter();
        let mut of_id = undeleted.filter(|one| one["id"] == id.to_string());
        of_id.next().unwrap()["error"].as_str().unwrap().to_owned()
    };
    assert!(why(first).contains("Permission denied"), "{report:#}");
    assert!(why(child).contains("Permission denied"), "{report:#}");
    let hint = |id: BackupId| {
        let undeleted = report["undeleted"].as_array().unwrap().iter();
        let mut of_id = undeleted.filter(|one| one["id"] == id.to_string());
        of_id.next().unwrap()["hint"].clone()
    };
    // What it says is done below.
    let mend = |id: BackupId| {
        let hint = hint(id).as_str().unwrap().to_owned();
        let begin = hint.find("chown -R").unwrap();
        hint[begin..].split(';').next().unwrap().to_owned()
    };
    assert_eq!(hint(second), Value::Null, "{report:#}");
    // It would leave the other one in the catalog, and worth nothing.
    assert_eq!(why(second), format!("{child} builds on it"));
    let there = planted.objects();
    let is_there = |number| there.contains(&Planted::segment_object(number));
    let segments: Vec<u64> = (5..=50).filter(|number| is_there(*number)).collect();
    let needed = [10, 20, 25].into_iter().chain(40..=50);
    assert_eq!(segments, Vec::from_iter(needed));
    for id in [first, second, child, newest] {
        for object in ["backup.json", "started.json", "part-0001.tar"] {
            let name = format!("main/base/{id}/{object}");
            assert!(there.contains(&name), "{name}");
        }
    }
    assert!(!folder(third).exists());

    // People read it too, and the history has it.
    planted
        .tool
        .command(&["cleanup"])
        .fails(1)
        .stdout_contains("NOT DELETED")
        .stdout_contains(&format!("ERROR: {first} can't be deleted"))
        .stdout_contains("hint: give this folder")
        .stdout_contains(&mend(first));
    let runs = planted.tool.command(&["list", "--runs", "--json"]).ok();
    let runs = runs.json()["runs"].clone();
    let newest_run = runs.as_array().unwrap().last().unwrap();
    assert_eq!(newest_run["state"], "failed", "{newest_run:#}");
    let error = newest_run["error"].as_str().unwrap();
    assert!(error.contains("3 backups can't be deleted"), "{error}");

    for id in [first, child] {
        let done = Command::new("sh").args(["-c", &mend(id)]).status().unwrap();
        assert!(done.success(), "{}", mend(id));
    }
    let report = planted.tool.command(&["--json", "cleanup"]).ok().json();
    assert_eq!(actions(&report), ["delete", "delete", "delete", "keep"]);
    assert!(!planted.objects().contains(&Planted::segment_object(25)));
}

#[test]
fn a_cleanup_that_meets_another_one_leaves_it_to_that() {
    let scratch = Scratch::new();
    let (planted, _) = plant(&scratch);
    let lease = planted.repository.take_lease(CLEANUP).unwrap();
    planted.hand_over();
    let before = planted.objects();
    let skipped = planted.tool.command(&["--json", "cleanup"]).ok().json();
    let why = skipped["skipped"].as_str().unwrap();
    assert!(why.contains("another cleanup of this repository is running"));
    planted
        .tool
        .command(&["cleanup"])
        .ok()
        .stdout_contains("not run: another cleanup");
    assert_eq!(planted.objects(), before);
    // It is no failed run, which would be told.
    let runs = planted.tool.command(&["list", "--runs", "--json"]).ok();
    let runs = runs.json()["runs"].as_array().unwrap().clone();
    assert!(runs.iter().all(|run| run["state"] == "done"), "{runs:#?}");
    // What somebody asked for by name is not done.
    planted
        .tool
        .command(&["cleanup", "--drop-pending", "20261101T015900Z-full"])
        .fails(1)
        .stderr_contains("is running");
    lease.release().unwrap();
    planted.hand_over();
    planted
        .tool
        .command(&["cleanup"])
        .ok()
        .stdout_contains("deleted");
}

//! What a slip of the hand must not cost: the repository, another cluster, the live one.

use std::{fs, os::unix::fs::symlink};

use super::copy::{copy, open, restore, rows};
use crate::harness::{Scratch, Shutdown, Stow, pg, user};

fn site(scratch: &Scratch) -> Stow {
    let stow = Stow::build(scratch, pg(15))
        .cluster(|cluster| cluster.initdb("--wal-segsize=1"))
        .start();
    stow.cluster.psql("create table t as select 1 as n");
    stow
}

#[test]
fn neither_the_repository_nor_a_folder_of_others_is_replaced() {
    let scratch = Scratch::new();
    let stow = site(&scratch);
    stow.backup(&[]);
    let root = stow.root().strip_prefix(scratch.join("")).unwrap();
    let root = root.to_str().unwrap().to_owned();
    let other = scratch.folder("others");
    fs::write(other.join("letter"), "dear").unwrap();
    user::own(&other);
    let live = stow.cluster.data_dir().strip_prefix(scratch.join(""));
    let live = format!("{}/base/new", live.unwrap().display());
    for (place, problem) in [
        (root.clone(), "lies in the repository"),
        (format!("{root}/new"), "lies in the repository"),
        (String::new(), "holds the repository"),
        ("others".to_owned(), "is no data directory"),
        (live, "lies in the data directory"),
    ] {
        for only_plan in [&["--plan"][..], &[]] {
            let words = [&["--replace"], only_plan].concat();
            restore(&scratch, &stow, &place, &words)
                .0
                .fails(1)
                .stderr_contains(problem);
        }
    }
    assert_eq!(fs::read_to_string(other.join("letter")).unwrap(), "dear");
    stow.backup(&[]);
}

/// The plan is made before the outage; the restore waits for it. A link to the data directory
/// still leads there afterwards.
#[test]
fn a_running_server_is_planned_for_but_not_replaced() {
    let scratch = Scratch::new();
    let mut stow = site(&scratch);
    stow.backup(&[]);
    let data_dir = stow.cluster.data_dir().to_owned();
    symlink(&data_dir, scratch.join("link")).unwrap();
    let again =
        |words: &[&str]| restore(&scratch, &stow, "link", &[&["--replace"], words].concat()).0;
    again(&["--plan"])
        .fails(1)
        .stdout_contains("REFUSED")
        .stdout_contains("PostgreSQL 15 runs on")
        .stdout_contains("stop that server first");
    let planned = again(&["--plan", "--json"]).fails(1).json();
    assert_eq!(planned["state"], "planned");
    let refused = planned["refused"].as_str().unwrap();
    let refused = refused.strip_suffix("; stop that server first.").unwrap();
    again(&[])
        .fails(1)
        .stderr_contains(refused)
        .stderr_contains("stop that server first");
    stow.cluster.stop(Shutdown::Fast);
    let planned = restore(&scratch, &stow, "link", &["--replace", "--plan", "--json"]).0;
    assert!(planned.ok().json()["refused"].is_null());
    let restored = restore(&scratch, &stow, "link", &["--replace"]).0.ok();
    drop(restored.stdout_contains(&data_dir.display().to_string()));
    assert!(scratch.join("link").is_symlink());
    stow.cluster.start();
    stow.cluster.wait_until("select pg_is_in_recovery()", "f");
    assert_eq!(rows(&stow.cluster), "1");
}

#[test]
fn what_the_server_can_do_without_does_not_stop_a_restore() {
    let scratch = Scratch::new();
    let stow = site(&scratch);
    let backup = stow.backup(&[]);
    fs::remove_file(backup.object("backup_manifest.zst")).unwrap();
    restore(&scratch, &stow, "copy", &[])
        .0
        .ok()
        .stdout_contains("pg_verifybackup can't judge the copy");
    assert_eq!(rows(&open(copy(&scratch, &stow, "copy"))), "1");
}

//! A restore that runs keeps what it reads from a cleanup: the backup, what that builds on, and the WAL behind.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Command,
};

use pgstow::{
    domain::retention::{apply::Apply, gather::gather, plan::plan},
    repo::{backup::Backup, catalog::State, repository::Repository, restoring::Reader},
    util::{cancel::Cancel, clock, meter::Meter},
};

use super::{
    planted::Planted,
    story::{rules, time},
};
use crate::harness::{Cluster, Scratch, Stow, pg, user};

/// The oldest backup.
fn oldest(repository: &Repository) -> Box<Backup> {
    match repository.backups().unwrap().remove(0).state {
        State::Complete(backup) | State::Damaged(backup, _) => backup,
        other => panic!("{other:?}"),
    }
}

fn marks(stow: &Stow) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(stow.root().join("main/restores")) else {
        return Vec::new();
    };
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn what_a_restored_server_needs_is_there_until_the_mark_is_over() {
    let scratch = Scratch::new();
    let stow = Stow::build(&scratch, pg(17))
        .repo("retention = { full = 1, min = 1 }")
        .start();
    let full = stow.backup(&[]);
    let read = stow.backup(&["--incremental"]);
    stow.cluster.psql("create table behind as select 7 as n");
    stow.cluster.switch_wal();
    let copy = scratch.join("copy");
    let words = [
        "--json",
        "restore",
        read.id(),
        "--target-immediate",
        "--target-action",
        "pause",
    ];
    let restore = |read_only: bool| {
        let to = ["--data-dir", copy.to_str().unwrap()];
        let restored = stow.tool.command(&[&words[..], &to].concat()).ok().json();
        let warnings = restored["warnings"].to_string();
        assert_eq!(
            warnings.contains("run no `pgstow cleanup`"),
            read_only,
            "{warnings}"
        );
        fs::remove_dir_all(&copy).unwrap();
    };
    // Who may not write there restores all the same, and is told.
    let main = stow.root().join("main");
    fs::set_permissions(&main, Permissions::from_mode(0o550)).unwrap();
    restore(true);
    fs::set_permissions(&main, Permissions::from_mode(0o750)).unwrap();
    assert_eq!(marks(&stow).len(), 0);
    restore(false);
    assert_eq!(marks(&stow).len(), 1);
    fs::remove_file(marks(&stow).remove(0)).unwrap();

    // To the end of the archive, which lies behind what the backup itself needs.
    let to = ["restore", read.id(), "--data-dir", copy.to_str().unwrap()];
    stow.tool.command(&to).ok();
    let newer = stow.backup(&["--full"]);
    let cleanup = stow.tool.command(&["--json", "cleanup"]).ok().json();
    let reasons = |number: usize| cleanup["backups"][number]["reasons"].to_string();
    assert!(reasons(0).contains("builds on it"), "{cleanup:#}");
    assert!(reasons(1).contains("a restore on host "), "{cleanup:#}");
    assert_eq!(stow.folders(), [full.id(), read.id(), newer.id()]);
    let mut server = Cluster::existing(&scratch, pg(17), "restored", &copy);
    server.start();
    server.wait_until("select pg_is_in_recovery()", "f");
    assert_eq!(server.psql("select n from behind"), "7");

    // A day later nobody reads any more.
    let mark = marks(&stow).remove(0);
    user::run_ok(Command::new("touch").args(["-d", "-25 hours"]).arg(&mark));
    stow.tool.command(&["cleanup"]).ok();
    assert_eq!(stow.folders(), [newer.id()]);
    assert_eq!(marks(&stow).len(), 0);

    // A restore that fails leaves none.
    fs::write(&newer.parts()[0], b"trap").unwrap();
    let other = scratch.join("other");
    let to = ["restore", newer.id(), "--data-dir", other.to_str().unwrap()];
    drop(stow.tool.command(&to).fails(1));
    assert_eq!(marks(&stow).len(), 0);
}

/// The older one of which no rule wants.
fn two_backups(scratch: &Scratch) -> Planted {
    let planted = Planted::new(scratch, "full = 1, min = 1");
    for (day, segment) in [("11-01", 10), ("11-20", 30)] {
        planted.backup(time(day), segment, None);
    }
    planted.segments(5..=40);
    planted
}

#[test]
fn a_mark_that_nobody_can_read_counts_for_a_day() {
    let scratch = Scratch::new();
    let planted = two_backups(&scratch);
    let repository = &planted.repository;
    let mark = repository
        .mark_restore(&oldest(repository), Reader::Server)
        .unwrap();
    planted.hand_over();
    let mark = scratch.join(&format!("repository/{mark}"));
    let text = fs::read_to_string(&mark).unwrap();
    fs::write(&mark, text.replace("full", "fool")).unwrap();
    planted
        .tool
        .command(&["cleanup"])
        .fails(3)
        .stdout_contains("nobody can say what a restore needs");
    assert_eq!(planted.repository.backups().unwrap().len(), 2);
    user::run_ok(Command::new("touch").args(["-d", "-25 hours"]).arg(&mark));
    planted.tool.command(&["cleanup"]).ok();
    assert_eq!(planted.repository.backups().unwrap().len(), 1);
    assert!(!mark.exists());
}

#[test]
fn a_cleanup_stops_before_a_restore_that_begins() {
    let scratch = Scratch::new();
    let planted = two_backups(&scratch);
    let repository = &planted.repository;
    let now = clock::now();
    let mut lease = repository.take_lease("cleanup").unwrap();
    let gathered = gather(repository, now, now, None).unwrap();
    let plan = plan(&gathered.facts, &rules("full=1 min=1"));
    assert!(plan.backups.iter().any(|one| !one.keep));
    let before = planted.objects();
    repository
        .mark_restore(&oldest(repository), Reader::Server)
        .unwrap();
    let apply = Apply {
        repository,
        gathered: &gathered,
        plan: &plan,
        cancel: &Cancel::default(),
        meter: &Meter::default(),
    };
    let error = apply.run(&mut lease).unwrap_err();
    assert!(
        error.message().contains("a restore has begun meanwhile"),
        "{error}"
    );
    assert!(planted.objects().is_superset(&before));
}

/// Its server ended with it.
#[test]
fn a_mark_of_a_drill_counts_as_long_as_that_lives() {
    let scratch = Scratch::new();
    let planted = two_backups(&scratch);
    let repository = &planted.repository;
    let mark = repository
        .mark_restore(&oldest(repository), Reader::Process)
        .unwrap();
    planted.hand_over();
    let mark = scratch.join(&format!("repository/{mark}"));
    let alive: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&mark).unwrap()).unwrap();
    let left = |changes: &[(&str, serde_json::Value)]| {
        let mut json = alive.clone();
        for (name, value) in changes {
            json["process"][*name] = value.clone();
        }
        fs::write(&mark, json.to_string()).unwrap();
        planted.tool.command(&["cleanup"]).ok();
        planted.repository.backups().unwrap().len()
    };
    assert_eq!(left(&[]), 2);
    // Of another host nobody knows.
    let start = alive["process"]["process_start"].as_u64().unwrap() + 1;
    let elsewhere = [
        ("host", "elsewhere".into()),
        ("process_start", start.into()),
    ];
    assert_eq!(left(&elsewhere), 2);
    assert_eq!(left(&[("process_start", start.into())]), 1);
    assert!(!mark.exists());
}

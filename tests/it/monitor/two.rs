//! Two repositories that WAL is pushed to.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{Watched, has};
use crate::harness::{Scratch, Stow, pg};

/// One that has a backup in the first, and the place of the second.
fn two(major: u32) -> (Watched, PathBuf) {
    let scratch = Scratch::new();
    let second = scratch.folder("second");
    let section = format!("[repo.second]\nurl = \"{}\"", second.display());
    let stow = Stow::build(&scratch, pg(major)).repo(&section).start();
    (Watched::of(scratch, stow), second)
}

/// Where the second has what the first has at `object`.
fn beside(watched: &Watched, second: &Path, object: &Path) -> PathBuf {
    let below = object.strip_prefix(watched.stow.root()).unwrap();
    let object = second.join(below);
    let segment = &object.file_name().unwrap().to_str().unwrap()[..24];
    let there = fs::read_dir(object.parent().unwrap()).unwrap();
    let mut there = there.map(|entry| entry.unwrap().path());
    let is_it = |path: &PathBuf| {
        path.file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with(segment)
    };
    there.find(is_it).unwrap()
}

#[test]
fn each_repository_needs_a_backup_of_its_own() {
    let (watched, _) = two(16);
    let lacks = watched.verdict("backup_here", &[]);
    has(&lacks, "critical", "its WAL alone restores nothing");
    assert_eq!(lacks["object"], "second");
    let hint = lacks["hint"].as_str().unwrap();
    assert!(hint.contains("`pgstow --repo second base`"), "{hint}");
    // Of all together there is a young one.
    watched.is("backup_age", &[], "ok", "in repository local");

    let base = ["--repo", "second", "base"];
    drop(watched.stow.tool.command(&base).ok());
    watched.is_well();
    for (shift, state) in [("+7d", "ok"), ("+9d", "warning"), ("+16d", "critical")] {
        let verdict = watched.shifted(shift, "backup_here");
        has(&verdict, state, "the newest good backup ended");
    }
    // The one that goes is missed where it was.
    let first = watched.stow.folders().remove(0);
    let folder = watched.stow.root().join("main/base").join(first);
    std::fs::remove_dir_all(folder).unwrap();
    let lacks = watched.verdict("backup_here", &[]);
    has(&lacks, "critical", "its WAL alone restores nothing");
    assert_eq!(lacks["object"], "local");
    watched.is("backup_age", &[], "ok", "in repository second");
    watched.stow.backup(&[]);
    watched.is_well();
}

#[test]
fn hints_name_the_repository_that_they_are_for() {
    let (watched, second) = two(17);
    let tool = &watched.stow.tool;
    let base = || drop(tool.command(&["--repo", "second", "base"]).ok());
    base();
    watched.is_well();
    watched.stow.cluster.switch_wal();
    let lost = watched.stow.cluster.switch_wal();
    watched.stow.cluster.switch_wal();
    let lost = beside(&watched, &second, &watched.stow.wal_object(&lost));
    fs::remove_file(lost).unwrap();
    let is_told = || {
        let verdict = watched.verdict("restorable", &[]);
        has(&verdict, "critical", "is missing");
        assert_eq!(verdict["object"], "second");
        let hint = verdict["hint"].as_str().unwrap();
        assert!(hint.contains("`pgstow --repo second base`"), "{hint}");
    };
    is_told();
    let check = tool.command(&["--json", "check"]).fails(1).json();
    let mut findings = check["findings"].as_array().unwrap().iter();
    let is_lost = |one: &&Value| one["what"].as_str().unwrap().contains("is missing");
    let of_second = findings.find(is_lost).unwrap();
    let hint = of_second["hint"].as_str().unwrap();
    assert!(
        hint.contains("`pgstow --repo second base`"),
        "{of_second:#}"
    );
    // One in the first doesn't help, and of the first nothing is named.
    watched.stow.backup(&[]);
    is_told();
    base();
    watched.is_well();
    let lost = watched.stow.cluster.switch_wal();
    watched.stow.cluster.switch_wal();
    fs::remove_file(watched.stow.wal_object(&lost)).unwrap();
    let verdict = watched.verdict("restorable", &[]);
    has(&verdict, "critical", "is missing");
    let hint = verdict["hint"].as_str().unwrap();
    assert!(hint.contains("`pgstow base`"), "{hint}");
}

/// What goes well in one repository takes nothing back of the other.
#[test]
fn runs_are_judged_by_repository() {
    let (watched, _) = two(18);
    let base = |words: &[&str]| watched.stow.tool.command(&[words, &["base"]].concat());
    let fail = || {
        let base = base(&["--repo", "second"]).env("PGSTOW_CLUSTER_PORT", "1");
        drop(base.env("PGSTOW_CONNECT_RETRIES", "0").fails(1));
        watched.stow.backup(&[]);
        watched.verdict("runs", &[])
    };
    let metrics = || {
        let file = watched.scratch.join("metrics.prom");
        let words = ["monitor", "--only", "clock", "--textfile"];
        let words = [&words[..], &[file.to_str().unwrap()]].concat();
        drop(watched.stow.tool.command(&words).ok());
        fs::read_to_string(file).unwrap()
    };
    let code = |repository: &str, code: i32| {
        let labels = format!("cluster=\"main\",command=\"base\",repository=\"{repository}\"");
        format!("pgstow_run_last_exit_code{{{labels}}} {code}\n")
    };
    for (state, reason) in [
        ("warning", "failed: can't connect"),
        ("warning", "; 2 in a row"),
        ("critical", "; 3 in a row"),
    ] {
        let verdict = fail();
        has(&verdict, state, reason);
        assert_eq!(verdict["object"], "base second");
        let hint = verdict["hint"].as_str().unwrap();
        assert!(hint.contains("`pgstow --repo second base`"), "{hint}");
    }
    let told = metrics();
    assert!(
        told.contains(&code("second", 1)) && told.contains(&code("local", 0)),
        "{told}"
    );
    // Where it never was well, no time is told at which it was.
    let success =
        "pgstow_run_last_success_timestamp_seconds{cluster=\"main\",command=\"base\",repository=";
    assert!(told.contains(&format!("{success}\"local\"}}")), "{told}");
    assert!(!told.contains(&format!("{success}\"second\"}}")), "{told}");
    drop(base(&["--repo", "second"]).ok());
    assert!(metrics().contains(&code("second", 0)));
    watched.is_well();
    let runs = watched
        .stow
        .tool
        .command(&["--json", "monitor", "--only", "runs"]);
    let report = runs.ok().json();
    let objects = report["checks"].as_array().unwrap().iter();
    let objects: Vec<&str> = objects.map(|one| one["object"].as_str().unwrap()).collect();
    assert_eq!(objects, ["base local", "base second"]);
}

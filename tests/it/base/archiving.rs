//! A backup counts only when its WAL has arrived; until then `base` says what is wrong.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    time::{Duration, Instant},
};

use crate::harness::{Scratch, Stow, archive, pg, user};

#[test]
fn without_archiving_only_standalone() {
    let scratch = Scratch::new();
    let stow = Stow::build(&scratch, pg(15)).no_archiving().start();
    stow.base(&[])
        .fails(1)
        .stderr_contains("archive_mode is off")
        .stderr_contains("--standalone");
    assert!(stow.folders().is_empty());

    let backup = stow.backup(&["--standalone"]);
    let json = backup.json();
    assert_eq!(json["standalone"], true);
    let segment = json["stop_segment"].as_str().unwrap();
    let parts = backup.parts();
    let members: Vec<String> = parts.iter().flat_map(|part| backup.members(part)).collect();
    assert!(
        members.contains(&format!("pg_wal/{segment}")),
        "{members:?}"
    );
    assert_eq!(members.last().unwrap(), "global/pg_control");
    let copy = scratch.join("copy");
    backup.unpack(&copy);
    stow.cluster.pg.verifybackup(&copy).unwrap();
    // The slot that held the WAL went with its session.
    assert_eq!(
        stow.cluster
            .psql("select count(*) from pg_replication_slots"),
        "0"
    );
    let listed = &stow.backups()[0];
    assert_eq!(listed["state"], "complete");
    assert_eq!(listed["windows"][0]["missing"], serde_json::Value::Null);
}

#[test]
fn a_broken_archive_command_leaves_a_pending_backup() {
    let scratch = Scratch::new();
    let stow = Stow::build(&scratch, pg(17))
        .archive_command("false")
        .start();
    stow.cluster.psql("select pg_switch_wal()");
    stow.cluster
        .wait_until("select failed_count > 0 from pg_stat_archiver", "t");

    let output = stow
        .base(&["--wal-timeout", "1s"])
        .expect_warning("archiving may not work")
        .fails(1)
        .stderr_contains("not restorable yet")
        .stderr_contains("fails: ")
        .stderr_contains("base --finish");
    // What it is set to, before the copy and at the end.
    assert_eq!(
        output
            .stderr
            .matches("archive_command is \"false\"")
            .count(),
        2,
        "{output}"
    );
    let first = stow.folders().remove(0);
    assert!(
        stow.root()
            .join("main/base")
            .join(&first)
            .join("pending.json")
            .exists()
    );
    let text = stow.tool.command(&["list"]).ok();
    let text = text
        .stdout_contains("NOT RESTORABLE YET")
        .stdout_contains("pending");
    drop(text);
    let listed = &stow.backups()[0];
    assert_eq!(listed["state"], "pending");
    assert_eq!(listed["waits_for"].as_array().unwrap().len(), 1);
    stow.base(&["--finish", &first])
        .fails(1)
        .stderr_contains("still pending");
    // A second one does not wait for the first, and leaves it alone.
    stow.base(&["--wal-timeout", "0s"])
        .expect_warning("archiving may not work")
        .expect_warning("still pending")
        .fails(1);
    let second = stow.folders().remove(1);

    stow.cluster
        .set("archive_command", &stow.tool.shell("archive-wal %p"));
    stow.cluster.switch_wal();
    let output = stow.base(&["--finish", &first]).ok();
    assert_eq!(output.json()["backup"]["id"], first);
    stow.base(&["--finish", &first]).ok();
    // The next one seals what is left.
    stow.backup(&[]);
    let listed = stow.backups();
    let of = |n: usize| {
        (
            listed[n]["id"].as_str().unwrap(),
            listed[n]["state"].as_str().unwrap(),
        )
    };
    assert_eq!(
        (of(0), of(1)),
        ((&*first, "complete"), (&*second, "complete"))
    );
    assert_eq!(listed.len(), 3);
}

#[test]
fn a_command_that_stores_nothing_is_named() {
    let scratch = Scratch::new();
    let stow = Stow::build(&scratch, pg(16))
        .archive_command("true")
        .start();
    stow.cluster.switch_wal();
    let output = stow
        .base(&["--wal-timeout", "1s"])
        .expect_warning("but it is not in repository")
        .fails(1);
    let error = output.stderr.split("error:").nth(1).unwrap();
    assert!(error.contains("archive_command is \"true\""), "{output}");
    // It is not waited for to the end: 10 minutes, of which it would be no better.
    let begun = Instant::now();
    stow.base(&[])
        .expect_warning("but it is not in repository")
        .expect_warning("still pending")
        .expect_warning("not waited for any longer")
        .fails(1);
    let took = begun.elapsed();
    assert!((55..120).contains(&took.as_secs()), "{took:?}");
}

/// PostgreSQL's statistics tell that it fails, and the reason would stand in the server's log alone.
#[test]
fn the_reason_is_told_early_and_at_the_end() {
    const REASON: &str = "Permission denied";
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(16));
    stow.backup(&[]);
    let segment = stow.cluster.switch_wal();
    // Of what is archived nothing new gets in.
    let object = stow.wal_object(&segment);
    let folder = object.parent().unwrap();
    chown(folder, Some(0), None).unwrap();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();

    let begun = Instant::now();
    let output = stow
        .base(&["--full", "--wal-timeout", "12s"])
        .expect_warning("waiting since")
        .fails(1);
    assert!(begun.elapsed() >= Duration::from_secs(12));
    let (before, error) = output.stderr.split_once("error:").unwrap();
    assert_eq!(before.matches("waiting since").count(), 1, "{output}");
    assert!(
        before.contains(REASON) && error.contains(REASON),
        "{output}"
    );
    // Who starts another one hears it before the copy.
    stow.base(&["--full", "--wal-timeout", "1s"])
        .expect_warning("archiving may not work")
        .expect_warning("still pending")
        .fails(1)
        .stderr_contains(REASON);
    // So do those who watch.
    let check = stow
        .tool
        .command(&["check", "--wal-timeout", "1s"])
        .fails(1);
    assert!(check.stdout.contains(REASON), "{check}");
    let words = ["monitor", "--only", "archiver"];
    let monitor = stow.tool.command(&words).fails(2);
    assert!(monitor.stdout.contains(REASON), "{monitor}");
    drop(monitor.stdout_contains("hint: check owner and mode of this path"));

    user::own(folder);
    stow.cluster.switch_wal();
    let first = stow.folders().remove(1);
    stow.base(&["--finish", &first]).ok();
    stow.tool.command(&words).ok();
    assert!(!scratch.join("state/main/archive-failed.json").exists());
}

#[test]
fn another_cluster_is_refused() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(18));
    let system = stow.root().join("main/systems");
    let own = fs::read_dir(&system)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    fs::rename(&own, system.join("1.json")).unwrap();
    stow.base(&[])
        .fails(1)
        .stderr_contains("is not registered")
        .stderr_contains("init --new-system");
    assert!(stow.folders().is_empty());
}

/// PostgreSQL asks for the same file again and again then, and never for the one that shows whose the segments are.
#[test]
fn a_repository_that_is_away_keeps_no_backup_from_counting_in_another() {
    let scratch = Scratch::new();
    let second = scratch.folder("second");
    let section = format!("[repo.second]\nurl = \"{}\"", second.display());
    let stow = Stow::build(&scratch, pg(15)).repo(&section).start();
    let away = scratch.join("away");
    fs::rename(&second, &away).unwrap();
    stow.cluster.psql("create table t as select 1 as n");
    stow.cluster.psql("select pg_switch_wal()");
    stow.cluster
        .wait_until("select failed_count > 0 from pg_stat_archiver", "t");
    let failed = "select last_failed_wal from pg_stat_archiver";
    let asked_for = stow.cluster.psql(failed);
    let base = stow.base(&[]).expect_warning("archiving may not work");
    let backup = stow.stored(&base.ok());
    let list = stow.tool.command(&["list", "--json"]);
    let list = list.expect_warning("whether repository second leads further is not known");
    assert_eq!(list.ok().json()["backups"][0]["state"], "complete");
    // It was asked for nothing else.
    assert_eq!(stow.cluster.psql(failed), asked_for);
    fs::rename(&away, &second).unwrap();
    stow.cluster.switch_wal();
    let note = format!("{}.", backup.json()["start_segment"].as_str().unwrap());
    let names = archive::stored_in(&second).into_iter();
    let notes = names.filter(|name| name.starts_with(&note) && name.ends_with(".backup"));
    assert_eq!(notes.count(), 1);
}

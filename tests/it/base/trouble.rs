//! Damaged pages and full disks.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
};

use crate::harness::{FullDisk, PgBin, Scratch, Shutdown, Stow, on_every_major, pg};

on_every_major!(damaged_pages_are_recorded);

fn damaged_pages_are_recorded(pg: PgBin) {
    let scratch = Scratch::new();
    let mut stow = Stow::start(&scratch, pg);
    let cluster = &mut stow.cluster;
    cluster.psql("create table t as select n, repeat('x', 500) from generate_series(1, 1000) n");
    let file = cluster.psql("select pg_relation_filepath('t')");
    cluster.stop(Shutdown::Fast);
    let relation = OpenOptions::new()
        .write(true)
        .open(cluster.data_dir().join(&file));
    for block in [3, 7] {
        relation
            .as_ref()
            .unwrap()
            .write_at(b"?", block * 8192 + 5000)
            .unwrap();
    }
    cluster.start();

    let failure = |block: u32| serde_json::json!({"file": file, "block": block});
    let failures = serde_json::json!([failure(3), failure(7)]);
    for method in ["stream", "local"] {
        let output = stow.base(&["--method", method]).fails(3);
        let found = &output.json()["backup"]["page_failures"];
        assert_eq!(*found, failures, "{method}: {output}");
    }
    let text = stow.tool.command(&["list"]).ok();
    let text = text
        .stdout_contains("DAMAGED PAGES")
        .stdout_contains(&format!("{file}, block 3"))
        .stdout_contains(&format!("{file}, block 7"));
    drop(text);
    for backup in stow.backups() {
        assert_eq!(backup["state"], "complete");
        assert_eq!(backup["backup"]["page_failures"], failures);
    }
    // What was stored is what the server has.
    stow.tool.command(&["verify", "--all", "--wal"]).ok();
}

#[test]
fn a_full_repository() {
    let scratch = Scratch::new();
    let disk = FullDisk::mount(&scratch, "disk", 16 << 20);
    let stow = Stow::build(&scratch, pg(17)).root(disk.path()).start();
    let base = || stow.base(&[]).env("PGSTOW_REPO_COMPRESSION", "none");
    let output = base().fails(1);
    assert!(
        output.stderr.contains("No space left on device"),
        "{output}"
    );
    assert!(output.stderr.contains("part-0001"), "{output}");
    assert!(output.stderr.contains("hint: "), "{output}");
    assert!(stow.folders().is_empty(), "{:?}", stow.folders());
    assert_eq!(stow.backups().len(), 0);
    // Nothing of it takes up the room, so archiving goes on.
    stow.cluster.switch_wal();
    let left = fs::read_dir(disk.path().join("main")).unwrap();
    assert!(
        left.into_iter()
            .all(|entry| entry.unwrap().file_name() != "base")
    );

    disk.resize(200 << 20);
    base().ok();
    stow.tool.command(&["verify", "--all", "--wal"]).ok();
}

/// PostgreSQL's own base backup leaves such things out, and its manifest says nothing of them.
#[test]
fn a_backup_that_lacks_a_database_or_a_tablespace_is_none() {
    let scratch = Scratch::new();
    let mut stow = Stow::start(&scratch, pg(16));
    let place = scratch.folder("space");
    let cluster = &mut stow.cluster;
    cluster.psql(&format!(
        "create tablespace far location '{}'",
        place.display()
    ));
    cluster.psql("create table t (n int) tablespace far");
    cluster.psql("create database second");
    let oid = cluster.psql("select oid from pg_database where datname = 'second'");
    let space = cluster.psql("select oid from pg_tablespace where spcname = 'far'");
    stow.backup(&[]);
    let refused = |stow: &Stow, lacks: &str, is_link: bool| {
        for method in ["stream", "local"] {
            let mut base = stow.base(&["--method", method]);
            if is_link && method == "local" {
                base = base.expect_warning("neither a file nor a folder");
            }
            drop(
                base.fails(1)
                    .stderr_contains(lacks)
                    .stderr_contains("hint: "),
            );
        }
        assert_eq!(stow.folders().len(), 1);
    };

    stow.cluster.stop(Shutdown::Fast);
    let away = scratch.join("away");
    fs::rename(&place, &away).unwrap();
    scratch.folder("space");
    stow.cluster.start();
    refused(&stow, &format!("tablespace {space}"), false);
    stow.cluster.stop(Shutdown::Fast);
    fs::remove_dir(&place).unwrap();
    fs::rename(&away, &place).unwrap();

    let database = stow.cluster.data_dir().join("base").join(&oid);
    let elsewhere = scratch.join("elsewhere");
    fs::rename(&database, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &database).unwrap();
    stow.cluster.start();
    refused(&stow, &format!("database {oid}"), true);
    stow.cluster.stop(Shutdown::Fast);
    fs::remove_file(&database).unwrap();
    fs::rename(&elsewhere, &database).unwrap();
    stow.cluster.start();
    stow.backup(&[]);
}

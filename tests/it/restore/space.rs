//! A target disk that is too small, or becomes so.

use std::fs;

use super::copy::{copy, open, restore, rows};
use crate::harness::{FullDisk, Scratch, Stow, pg};

const MB: u64 = 1 << 20;

#[test]
fn a_full_disk_is_foreseen_or_ends_the_restore_and_room_mends_it() {
    let scratch = Scratch::new();
    let stow = Stow::build(&scratch, pg(15))
        .cluster(|cluster| cluster.initdb("--wal-segsize=1"))
        .start();
    stow.cluster.psql("create table t as select 1 as n");
    let backup = stow.backup(&[]);
    stow.cluster.switch_wal();
    let disk = FullDisk::mount(&scratch, "disk", 10 * MB);
    let to = disk.path().join("data");
    let run = || restore(&scratch, &stow, "disk/data", &[]).0;
    let output = run().fails(1).stderr_contains("not enough space");
    let (needed, free) = (backup.json()["base_bytes"].as_u64().unwrap() + 2 * MB, 10);
    let needed = format!("{:.1} MiB are needed, {free}", needed as f64 / MB as f64);
    drop(output.stderr_contains(&needed));
    assert!(!to.exists());

    // What the plan can't foresee: here it is told a smaller size.
    let description = backup.object("backup.json");
    let true_text = fs::read_to_string(&description).unwrap();
    let true_size = format!("\"base_bytes\": {}", backup.json()["base_bytes"]);
    backup.rewrite(&true_size, "\"base_bytes\": 1");
    run()
        .fails(1)
        .stderr_contains("No space left on device")
        .stderr_contains("is not restored and can't be started")
        .stderr_contains("free space");
    assert!(to.join("pgstow-restore.json").exists());
    assert!(!to.join("global/pg_control").exists());
    assert!(copy(&scratch, &stow, "disk/data").try_start().is_err());

    fs::write(&description, true_text).unwrap();
    disk.resize(100 * MB);
    run().ok();
    let cluster = crate::harness::Cluster::existing(&scratch, pg(15), "run", &to);
    assert_eq!(rows(&open(cluster)), "1");
}

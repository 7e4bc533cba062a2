//! Each repository has its own retention: what one deleted is not brought again, what the other lacks is not deleted.

use std::fs;

use super::{Site, count};
use crate::harness::{Cluster, Shutdown, pg};

#[test]
fn what_retention_deleted_there_is_not_brought_again() {
    let site = Site::start(
        pg(17),
        "compression = \"zstd:1\"\nretention = { full = 1, min = 1 }",
    );
    let [first, _] = site.fill();
    let second = site.stow.backup(&["--full"]);
    site.pgstow(&["dump", "postgres"]).ok();
    assert_eq!(count(&site.sync(0), "backups"), 3);
    site.offsite(&["cleanup"]).ok();
    assert!(!site.folder_of(&first).exists());
    let told = site.sync(0);
    assert_eq!(
        (count(&told, "backups"), &told["wal"]["objects"]),
        (0, &0.into()),
        "{told:#}"
    );
    let status = site.pgstow(&["sync", "--status"]).ok();
    assert!(status.stdout.contains("deleted there"), "{status}");
    // What is lost by accident and was not deleted by a rule is seen as such: its folder is damaged first.
    let copied = site.folder_of(&second);
    fs::remove_file(copied.join("part-0001.tar.zst")).unwrap();
    let told = site.sync(3);
    assert!(
        told["findings"]
            .to_string()
            .contains("part-0001.tar.zst is missing"),
        "{told:#}"
    );
    fs::remove_dir_all(&copied).unwrap();
    assert_eq!(count(&site.sync(0), "backups"), 1);
    site.offsite(&["verify", "--all", "--wal"]).ok();
}

#[test]
fn pins_go_along_and_so_does_their_end() {
    let site = Site::start(
        pg(18),
        "compression = \"zstd:1\"\nretention = { full = 1, min = 1 }",
    );
    let [first, _] = site.fill();
    site.stow.backup(&["--full"]);
    site.pgstow(&["pin", first.id(), "--reason", "a copy"]).ok();
    assert_eq!(site.sync(0)["pins"], 1);
    site.offsite(&["cleanup"]).ok();
    assert!(site.folder_of(&first).exists());
    site.pgstow(&["unpin", first.id()]).ok();
    assert_eq!(site.sync(0)["pins"], 1);
    site.offsite(&["cleanup"]).ok();
    assert!(!site.folder_of(&first).exists());
}

#[test]
fn a_dump_that_is_not_there_yet_stays() {
    let site = Site::start(pg(15), "compression = \"zstd:1\"");
    site.fill();
    for _ in 0..3 {
        let dump = ["dump", "postgres", "--no-globals", "--class", "daily"];
        site.pgstow(&dump).ok();
    }
    let cleanup = || {
        let cleanup = site.pgstow(&["--json", "cleanup"]);
        let rules = cleanup.env("PGSTOW_DUMP_RETENTION_DAILY", "1");
        rules.env("PGSTOW_DUMP_RETENTION_MIN", "1").ok().json()["dumps"].clone()
    };
    let kept = |dumps: &serde_json::Value| {
        let dumps = dumps.as_array().unwrap().iter();
        dumps.filter(|dump| dump["action"] == "keep").count()
    };
    let told = cleanup();
    assert_eq!(kept(&told), 3, "{told:#}");
    assert!(
        told.to_string()
            .contains("repository offsite hasn't got it yet"),
        "{told:#}"
    );
    assert_eq!(count(&site.sync(0), "dumps"), 3);
    let told = cleanup();
    assert_eq!(kept(&told), 1, "{told:#}");
}

/// One backup, with its parent and no more WAL than they need; one dump.
#[test]
fn what_is_named_is_copied_alone() {
    let site = Site::start(
        pg(16),
        "compression = \"zstd:1\"\nretention = { full = 1, min = 1 }",
    );
    let [full, incremental] = site.fill();
    let last = site.stow.backup(&["--full"]);
    let made = site
        .pgstow(&["--json", "dump", "postgres", "--no-globals"])
        .ok()
        .json();
    let name = made["dumps"][0]["name"].as_str().unwrap().to_owned();
    let only = |words: &[&str], code: i32| {
        let fixed = ["--repo", "offsite", "--json", "sync"];
        let output = site.pgstow(&[&fixed, words].concat()).fails(code).json();
        output["repositories"][0].clone()
    };
    let told = only(&["--only", incremental.id()], 0);
    assert_eq!(
        (count(&told, "backups"), count(&told, "dumps")),
        (2, 0),
        "{told:#}"
    );
    assert!(!site.folder_of(&last).exists());
    site.offsite(&["verify", "--all"]).ok();
    let told = only(&["--only", &name], 0);
    assert_eq!(
        (count(&told, "backups"), count(&told, "dumps")),
        (0, 1),
        "{told:#}"
    );
    site.pgstow(&[
        "--repo",
        "offsite",
        "sync",
        "--only",
        "20200101T000000Z-full",
    ])
    .fails(1)
    .stderr_contains("there is no 20200101T000000Z-full in local");

    // What retention deleted comes back if it is named.
    site.sync(0);
    site.offsite(&["cleanup"]).ok();
    assert!(!site.folder_of(&full).exists());
    assert_eq!(count(&site.sync(0), "backups"), 0);
    let told = only(&["--only", incremental.id()], 0);
    assert_eq!(count(&told, "backups"), 2, "{told:#}");
    site.offsite(&["verify", "--all"]).ok();
    let to = site.scratch.join("restored-data");
    let words = [
        "restore",
        incremental.id(),
        "--target-immediate",
        "--data-dir",
    ];
    site.offsite(&[&words[..], &[to.to_str().unwrap()]].concat())
        .ok();
    let mut copy = Cluster::existing(&site.scratch, site.main().pg.clone(), "restored", &to);
    copy.recover();
    let changed = "select count(*), count(*) filter (where body = 'changed') from t";
    assert_eq!(copy.psql(changed), "60000|60");
    copy.stop(Shutdown::Fast);
}

//! `sync --status` with several sources and targets.

use std::{fs, thread, time::Duration};

use super::Site;
use crate::harness::pg;

#[test]
fn each_target_is_shown_beside_each_source() {
    let site = Site::start(pg(17), "compression = \"zstd:1\"");
    let [full, _] = site.fill();
    site.sync(0);
    let [second, third] = ["second", "third"].map(|name| site.scratch.folder(name));
    let section = |name: &str, mode: &str| {
        let url = site.scratch.join(name);
        format!(
            "[repo.{name}]\nurl = \"{}\"\nwal_mode = \"{mode}\"\ncompression = \"zstd:1\"\n",
            url.display()
        )
    };
    let sections = section("second", "push") + &section("third", "sync");
    site.configure("[cluster.main]", &format!("{sections}[cluster.main]"));
    for name in ["second", "third"] {
        site.pgstow(&["--repo", name, "init"]).ok();
    }
    // One that the first source has not, by an id of its own.
    thread::sleep(Duration::from_millis(1100));
    site.main().psql("create table later ()");
    site.main().switch_wal();
    let base = ["--repo", "second", "base", "--full", "--checkpoint", "fast"];
    site.pgstow(&base).ok();
    let status = |code| {
        let status = site.pgstow(&["--json", "sync", "--status"]).fails(code);
        status.json()["status"].as_array().unwrap().clone()
    };
    let all = status(0);
    let pairs: Vec<_> = all
        .iter()
        .map(|one| {
            (
                one["target"].as_str().unwrap(),
                one["source"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("offsite", "local"),
        ("offsite", "second"),
        ("third", "local"),
        ("third", "second"),
    ];
    assert_eq!(pairs, expected);
    let pending = |number: usize| {
        let backups = all[number]["backups"].as_array().unwrap().iter();
        backups.filter(|one| one["where"] == "pending").count()
    };
    assert_eq!([0, 1, 2, 3].map(pending), [0, 1, 2, 1]);

    // One that is away hides no other.
    fs::rename(&site.offsite, site.scratch.join("away")).unwrap();
    let all = status(1);
    assert_eq!(all.len(), 3, "{all:#?}");
    assert_eq!(all[0]["target"], "offsite");
    let error = all[0]["error"].as_str().unwrap();
    assert!(error.contains("there is no repository"), "{error}");
    let text = site.pgstow(&["sync", "--status"]).fails(1);
    text.stdout_contains("repository offsite: FAILED: ")
        .stdout_contains(full.id());
    drop((second, third));
}

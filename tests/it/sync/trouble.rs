//! What is damaged is not copied, what doesn't fit is refused, and what is well is copied all the same.

use std::fs;

use super::{Site, count, files, flip};
use crate::harness::{Cluster, Scratch, Shutdown, keys, pg};

#[test]
fn what_is_damaged_is_not_copied() {
    let site = Site::start(pg(17), "compression = \"zstd:1\"");
    let [full, incremental] = site.fill();
    let dump = site.main().dump("postgres");
    let part = full.parts()[1].clone();
    let segment = site.main().switch_wal();
    let segment = site.stow.wal_object(&segment);
    flip(&part);
    flip(&segment);
    let told = site.sync(3);
    let findings = told["findings"].to_string();
    for words in [
        full.id(),
        "another SHA-256",
        // What builds on it is not copied either.
        incremental.id(),
        segment.file_name().unwrap().to_str().unwrap(),
    ] {
        assert!(findings.contains(words), "no {words:?} in {told:#}");
    }
    assert_eq!(count(&told, "backups"), 0);
    let name = part.file_name().unwrap();
    assert!(!site.folder_of(&full).join(name).exists());
    let there = segment.strip_prefix(site.stow.root()).unwrap();
    assert!(!site.offsite.join(there).exists());
    let status = site.pgstow(&["sync", "--status"]).ok();
    assert!(status.stdout.contains("pending"), "{status}");

    flip(&part);
    flip(&segment);
    assert_eq!(count(&site.sync(0), "backups"), 2);
    site.offsite(&["verify", "--all", "--wal"]).ok();
    site.comes_back(&[], &dump);
}

#[test]
fn another_source_has_what_is_damaged_in_the_first() {
    let site = Site::start(pg(16), "compression = \"zstd:1\"");
    let [full, _] = site.fill();
    site.sync(0);
    let third = site.scratch.folder("third");
    let section = format!(
        "[repo.third]\nurl = \"{}\"\nwal_mode = \"sync\"\ncompression = \"zstd:1\"\n",
        third.display()
    );
    // The one that was filled is a source now.
    site.configure("wal_mode = \"sync\"", "wal_mode = \"push\"");
    site.configure("[cluster.main]", &format!("{section}[cluster.main]"));
    site.pgstow(&["--repo", "third", "init"]).ok();
    flip(&full.parts()[0]);
    let told = site.sync(3);
    assert_eq!(count(&told, "backups"), 2, "{told:#}");
    assert!(
        told["findings"].to_string().contains("another SHA-256"),
        "{told:#}"
    );
    let words = ["--repo", "third", "verify", "--all", "--wal"];
    site.pgstow(&words).ok();
}

#[test]
fn what_is_named_by_from_fills_all_others() {
    let site = Site::start(pg(18), "");
    site.fill();
    site.sync(0);
    let third = site.scratch.folder("third");
    let section = format!(
        "[repo.third]\nurl = \"{}\"\nwal_mode = \"sync\"\n",
        third.display()
    );
    site.configure("[cluster.main]", &format!("{section}[cluster.main]"));
    site.pgstow(&["--repo", "third", "init"]).ok();
    let sync = site.pgstow(&["--json", "sync", "--from", "offsite"]);
    let told = sync.ok().json()["repositories"].clone();
    assert_eq!(told.as_array().unwrap().len(), 1, "{told:#}");
    assert_eq!(told[0]["repository"], "third");
    assert_eq!(told[0]["sources"], serde_json::json!(["offsite"]));
    let words = ["--repo", "third", "verify", "--all", "--wal"];
    site.pgstow(&words).ok();
}

#[test]
fn other_bytes_under_one_name_are_told() {
    let site = Site::start(pg(18), "compression = \"zstd:1\"");
    let [full, _] = site.fill();
    site.sync(0);
    // A backup of that id that was begun in the other repository itself.
    let copied = site.folder_of(&full);
    for name in ["backup.json", "part-0001.tar.zst"] {
        fs::remove_file(copied.join(name)).unwrap();
    }
    let started = copied.join("started.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&started).unwrap()).unwrap();
    for field in ["copied_from", "sha256"] {
        json.as_object_mut().unwrap().remove(field).unwrap();
    }
    fs::write(&started, json.to_string()).unwrap();
    let told = site.sync(3);
    assert!(
        told["findings"].to_string().contains("its id is taken"),
        "{told:#}"
    );
}

#[test]
fn what_does_not_fit_is_refused() {
    let site = Site::start(pg(15), "compression = \"gzip\"");
    site.fill();
    let no_codec = site.pgstow(&["sync"]).fails(2);
    no_codec
        .stderr_contains("stored as gzip there")
        .stderr_contains("nothing is compressed anew");
    assert!(!site.offsite.join("main/base").exists());
    // No backup is made where WAL comes later.
    site.offsite(&["base"])
        .fails(2)
        .stderr_contains("--repo local base");
    site.pgstow(&["sync", "--from", "nowhere"])
        .fails(2)
        .stderr_contains("no repository named");
    // A place where no repository is is none, whoever calls.
    fs::rename(&site.offsite, site.scratch.join("away")).unwrap();
    site.pgstow(&["sync"])
        .fails(1)
        .stderr_contains("there is no repository");
    site.configure("wal_mode = \"sync\"", "wal_mode = \"push\"");
    site.pgstow(&["sync"])
        .fails(2)
        .stderr_contains("no repository to copy into");
}

#[test]
fn what_is_encrypted_goes_nowhere_plain() {
    if keys::are_wanted() {
        return;
    }
    let of_keys = Scratch::new();
    let setting = keys::setting(&of_keys);
    let site = Site::start(pg(16), &format!("compression = \"zstd:1\"\n{setting}"));
    site.fill();
    site.sync(0);
    let words = ["--repo", "local", "sync", "--from", "offsite"];
    site.pgstow(&words)
        .fails(2)
        .stderr_contains("nothing is decrypted");
}

/// By hand: what is damaged is deleted, and copied from the other repository.
#[test]
fn what_was_lost_comes_back_from_the_copy() {
    let site = Site::start(pg(18), "compression = \"zstd:1\"");
    let [full, incremental] = site.fill();
    let dump = site.main().dump("postgres");
    site.sync(0);
    let segment = site
        .stow
        .wal_object(incremental.json()["stop_segment"].as_str().unwrap());
    fs::remove_dir_all(full.folder()).unwrap();
    fs::remove_file(&segment).unwrap();
    site.pgstow(&["--repo", "local", "verify", "--all", "--wal"])
        .fails(3);
    let words = ["--repo", "local", "--json", "sync", "--from", "offsite"];
    let told = site.pgstow(&words).ok().json()["repositories"][0].clone();
    assert_eq!(
        (count(&told, "backups"), &told["wal"]["objects"]),
        (1, &1.into()),
        "{told:#}"
    );
    site.pgstow(&["--repo", "local", "verify", "--all", "--wal"])
        .ok();
    let to = site.scratch.join("restored-data");
    let words = ["restore", "--data-dir", to.to_str().unwrap()];
    site.pgstow(&words).ok();
    let mut copy = Cluster::existing(&site.scratch, site.main().pg.clone(), "restored", &to);
    copy.recover();
    assert!(copy.dump("postgres") == dump, "another database");
    copy.stop(Shutdown::Fast);
}

#[test]
fn a_dump_whose_description_is_damaged_is_told() {
    let site = Site::start(pg(17), "compression = \"zstd:1\"");
    site.main().psql("grant pg_read_all_data to pgstow");
    site.pgstow(&["dump", "postgres", "--no-globals"]).ok();
    let all = files(&site.stow.root().join("main/dumps"));
    let description = all.iter().find(|file| file.ends_with(".json")).unwrap();
    flip(&site.stow.root().join("main/dumps").join(description));
    let told = site.sync(3);
    assert_eq!(count(&told, "dumps"), 0, "{told:#}");
    assert_eq!(count(&told, "findings"), 1, "{told:#}");
}

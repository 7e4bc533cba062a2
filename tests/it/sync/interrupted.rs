//! A sync that is killed or stopped: what is there is whole, and the next one goes on.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{Site, count};
use crate::harness::{Scratch, Stored, keys, pg};

/// Each part that is there, and when it was made.
fn parts(folder: &Path) -> BTreeMap<String, (u64, i64)> {
    let Ok(entries) = fs::read_dir(folder) else {
        return BTreeMap::new();
    };
    let part = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let found = entry.metadata().ok()?;
        let is_part = name.starts_with("part-");
        is_part.then_some((
            name,
            (
                found.ino(),
                found.mtime() * 1_000_000_000 + found.mtime_nsec(),
            ),
        ))
    };
    entries.filter_map(part).collect()
}

/// Stops a slow sync by `signal` once some parts of the backup are there.
#[track_caller]
fn stopped(site: &Site, backup: &Stored, signal: Signal) -> BTreeMap<String, (u64, i64)> {
    let words = ["sync", "--rate-limit", "3MB", "--jobs", "1"];
    let running = site.pgstow(&words).spawn();
    let begun = Instant::now();
    let folder = site.folder_of(backup);
    while parts(&folder).len() < 2 {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{}",
            running.stderr()
        );
        thread::sleep(Duration::from_millis(20));
    }
    running.signal(signal);
    running.wait();
    assert!(!folder.join("backup.json").exists());
    parts(&folder)
}

#[test]
fn what_was_copied_before_a_kill_is_not_copied_again() {
    let site = Site::start(pg(15), "compression = \"zstd:1\"");
    let [full, _] = site.fill();
    let dump = site.main().dump("postgres");
    let before = stopped(&site, &full, Signal::KILL);
    assert!(before.len() >= 2, "{before:?}");
    // Not restorable, and no remains that a cleanup takes.
    let list = site.offsite(&["list", "--json"]).ok().json();
    assert!(!list.to_string().contains("\"complete\""), "{list:#}");
    site.configure(
        "wal_mode = \"sync\"",
        "wal_mode = \"sync\"\nretention = { full = 1 }",
    );
    site.offsite(&["cleanup"]).ok();
    let folder = site.folder_of(&full);
    assert_eq!(parts(&folder), before);
    let status = site.pgstow(&["sync", "--status"]).ok();
    assert!(status.stdout.contains("being copied"), "{status}");

    let told = site.sync(0);
    assert_eq!(count(&told, "backups"), 2, "{told:#}");
    let after = parts(&folder);
    for (name, made) in &before {
        assert_eq!(after.get(name), Some(made), "{name} was copied again");
    }
    assert!(after.len() > before.len());
    site.offsite(&["verify", "--all", "--wal"]).ok();
    site.comes_back(&[], &dump);
}

/// Of what is encrypted on the way a note tells that it is right.
#[test]
fn what_was_encrypted_before_a_stop_is_not_encrypted_again() {
    if keys::are_wanted() {
        return;
    }
    let of_keys = Scratch::new();
    let lines = format!("compression = \"zstd:1\"\n{}", keys::setting(&of_keys));
    let site = Site::start(pg(18), &lines);
    let [full, _] = site.fill();
    let dump = site.main().dump("postgres");
    let mut before = stopped(&site, &full, Signal::TERM);
    // The newest may have been read again when the stop came: it doesn't count as copied.
    let newest = before.iter().max_by_key(|(_, (_, made))| *made);
    let newest = newest.map(|(name, _)| name.clone()).unwrap();
    before.remove(&newest);
    assert!(!before.is_empty());
    site.sync(0);
    let after = parts(&site.folder_of(&full));
    for (name, made) in &before {
        assert_eq!(after.get(name), Some(made), "{name} was copied again");
    }
    site.offsite(&["verify", "--all", "--wal"]).ok();
    site.comes_back(&[], &dump);
}

#[test]
fn killed_anywhere_it_goes_on() {
    let site = Site::start(pg(17), "compression = \"zstd:1\"");
    site.fill();
    site.pgstow(&["dump", "postgres"]).ok();
    let dump = site.main().dump("postgres");
    for number in 1..=12 {
        let running = site.pgstow(&["sync"]).spawn();
        thread::sleep(Duration::from_millis(15 * number));
        running.signal(Signal::KILL);
        running.wait();
        // What counts is whole.
        let whole = site.offsite(&["--json", "list"]).ok().json();
        if whole.to_string().contains("\"complete\"") {
            site.offsite(&["verify", "--all"]).ok();
        }
    }
    site.sync(0);
    site.offsite(&["verify", "--all", "--wal"]).ok();
    site.offsite(&["verify", "--dumps"]).ok();
    site.comes_back(&[], &dump);
}

#[test]
fn one_at_a_time() {
    let site = Site::start(pg(16), "compression = \"zstd:1\"");
    let [full, _] = site.fill();
    let slow = ["sync", "--rate-limit", "3MB", "--jobs", "1"];
    let running = site.pgstow(&slow).spawn();
    while parts(&site.folder_of(&full)).is_empty() {
        thread::sleep(Duration::from_millis(20));
    }
    let told = site.sync(0);
    let skipped = told["skipped"].as_str().unwrap();
    assert!(skipped.contains("another sync"), "{told:#}");
    running.signal(Signal::TERM);
    assert_eq!(running.wait().status.code(), Some(130));
    site.sync(0);
}

//! `verify --repair` of dumps, of what has lost its description, and where nothing may be overwritten.

use std::{collections::BTreeMap, fs, path::Path};

use pgstow::repo::{
    layout::{Layout, ObjectName},
    storage::Storage,
};
use serde_json::Value;

use super::{
    Site, count, flip,
    heal::dumps_below,
    repair::{contents, verify},
};
use crate::{
    harness::{PgBin, Scratch, bucket::Bucket, keys, pg},
    stores::{behind_proxy, open},
};

/// With dumps in both repositories.
fn with_dumps(pg: PgBin, lines: &str) -> Site {
    let site = Site::start(pg, lines);
    site.fill();
    for _ in 0..4 {
        let dump = ["dump", "postgres", "--no-globals", "--class", "daily"];
        site.pgstow(&dump).ok();
    }
    assert_eq!(count(&site.sync(0), "dumps"), 4);
    site
}

/// One is damaged, one has lost its data, two their descriptions; `.sha256` of one is another.
fn harm(root: &Path) {
    let dumps = dumps_below(root);
    let [damaged, missing, undescribed, lost] = &dumps[..] else {
        panic!("{dumps:?}");
    };
    flip(damaged);
    fs::write(damaged.with_extension("sha256"), "nothing").unwrap();
    fs::remove_file(missing).unwrap();
    fs::write(undescribed.with_extension("json"), "nothing").unwrap();
    fs::remove_file(lost.with_extension("json")).unwrap();
}

/// Descriptions may be the copy's own words.
fn but_for_descriptions(mut all: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    let is_described = |file: &String| file.contains("/dumps/") && file.ends_with(".json");
    for (_, bytes) in all.iter_mut().filter(|(file, _)| is_described(file)) {
        *bytes = Vec::new();
    }
    all
}

fn dumps_are_healed(pg: PgBin, lines: &str) {
    let site = with_dumps(pg, lines);
    let before = contents(site.stow.root());
    harm(site.stow.root());
    verify(&site, "local", &[], 3);
    let told = verify(&site, "local", &["--repair"], 0);
    assert_eq!(count(&told, "repairs"), 5, "{told:#}");
    assert_eq!(count(&told, "dumps"), 4, "{told:#}");
    let after = contents(site.stow.root());
    let (before, after) = (but_for_descriptions(before), but_for_descriptions(after));
    assert!(before == after, "{:?}", before.keys().zip(after.keys()));
    let told = verify(&site, "local", &["--repair"], 0);
    assert_eq!(count(&told, "repairs"), 0, "{told:#}");
    // Each of them comes back without the other repository.
    fs::rename(&site.offsite, site.scratch.join("gone")).unwrap();
    come_back(&site, "local", site.stow.root());
}

fn come_back(site: &Site, repo: &str, root: &Path) {
    let truth = site.main().psql("select count(*) from t");
    for (number, dump) in dumps_below(root).iter().enumerate() {
        let name = dump.file_name().unwrap().to_str().unwrap();
        let name = name.split('.').next().unwrap();
        let to = format!("back{number}");
        let words = ["--repo", repo, "restore-dump", name, "--to-database", &to];
        site.pgstow(&words)
            .env("PGSTOW_CLUSTER_USER", "postgres")
            .ok();
        assert_eq!(site.main().psql_in(&to, "select count(*) from t"), truth);
    }
}

#[test]
fn dumps_are_healed_on_17() {
    dumps_are_healed(pg(17), "compression = \"zstd:1\"");
}

/// A plain repository from an encrypted copy, where the key is.
#[test]
fn dumps_are_healed_from_what_is_encrypted() {
    let of_keys = Scratch::new();
    let lines = format!("compression = \"zstd:1\"\n{}", keys::setting(&of_keys));
    dumps_are_healed(pg(15), &lines);
}

/// Encrypted anew: other bytes, and the same dump.
#[test]
fn an_encrypted_dump_is_healed_from_a_plain_repository() {
    if keys::are_wanted() {
        return;
    }
    let of_keys = Scratch::new();
    let lines = format!("compression = \"zstd:1\"\n{}", keys::setting(&of_keys));
    let site = Site::start(pg(18), &lines);
    site.fill();
    site.pgstow(&["dump", "postgres", "--no-globals"]).ok();
    site.sync(0);
    let folder = site.offsite.join("main/dumps");
    let data = super::files(&folder).into_iter();
    let mut data = data.filter(|file| file.ends_with(".age"));
    let data = folder.join(data.next().unwrap());
    let before = fs::read(&data).unwrap();
    flip(&data);
    let told = verify(&site, "offsite", &["--repair"], 0);
    // Data, `.sha256`, `.json`.
    assert_eq!(count(&told, "repairs"), 3, "{told:#}");
    let after = fs::read(&data).unwrap();
    assert!(after.starts_with(b"age-encryption.org/v1\n") && after != before);
    verify(&site, "offsite", &[], 0);
    assert_eq!(count(&site.sync(0), "dumps"), 0);
    let words = [
        "--repo",
        "offsite",
        "restore-dump",
        "latest",
        "--to-database",
        "back",
    ];
    fs::rename(site.stow.root(), site.scratch.join("gone")).unwrap();
    site.pgstow(&words)
        .env("PGSTOW_CLUSTER_USER", "postgres")
        .ok();
    let rows = "select count(*) from t";
    assert_eq!(site.main().psql_in("back", rows), site.main().psql(rows));
}

/// Encrypted for itself: no hash that another repository tells is that of what is stored.
#[test]
fn an_encrypted_dump_that_has_lost_its_description_is_known_by_what_is_in_it() {
    if keys::are_wanted() {
        return;
    }
    let of_keys = Scratch::new();
    let lines = format!("compression = \"zstd:1\"\n{}", keys::setting(&of_keys));
    let site = with_dumps(pg(17), &lines);
    let usb = site.scratch.folder("usb");
    let section = format!(
        "[repo.usb]\nurl = \"{}\"\nwal_mode = \"sync\"",
        usb.display()
    );
    site.configure("[cluster.main]", &format!("{section}\n[cluster.main]"));
    site.pgstow(&["--repo", "usb", "init"]).ok();
    let folder = site.offsite.join("main/dumps");
    let data = super::files(&folder).into_iter();
    let data = data.filter(|file| file.ends_with(".age"));
    let data = data.map(|file| folder.join(file));
    // But for the link to the newest.
    let data: Vec<_> = data.filter(|path| !path.is_symlink()).collect();
    let [altered, gone, lost, _] = &data[..] else {
        panic!("{data:?}");
    };
    let beside = |data: &Path, ending: &str| data.with_extension("").with_extension(ending);
    flip(&beside(altered, "json"));
    fs::remove_file(beside(gone, "json")).unwrap();
    flip(&beside(lost, "json"));
    flip(&beside(lost, "sha256"));
    flip(lost);
    let before = [altered, gone, lost].map(|data| fs::read(data).unwrap());
    let told = verify(&site, "offsite", &["--repair"], 3);
    assert_eq!(count(&told, "repairs"), 3, "{told:#}");
    // Of what can't be healed each repository's reason is told.
    let repairs = told["repairs"].as_array().unwrap();
    let mut left = repairs.iter().filter_map(|one| one["why"].as_str());
    let why = left.next().unwrap();
    assert!(
        why.contains("repository local can't heal it: nothing that is left"),
        "{why}"
    );
    assert!(
        why.contains("repository usb can't heal it: it has no dump of this name"),
        "{why}"
    );
    assert_eq!(left.next(), None);
    let after = [altered, gone, lost].map(|data| fs::read(data).unwrap());
    assert!(before == after, "data was written anew");
    for ending in ["json", "sha256"] {
        fs::remove_file(beside(lost, ending)).unwrap();
    }
    fs::remove_file(lost).unwrap();
    verify(&site, "offsite", &[], 0);
    fs::rename(site.stow.root(), site.scratch.join("gone")).unwrap();
    for (number, data) in [altered, gone].into_iter().enumerate() {
        let name = data.file_name().unwrap().to_str().unwrap();
        let (name, to) = (name.split('.').next().unwrap(), format!("back{number}"));
        let words = [
            "--repo",
            "offsite",
            "restore-dump",
            name,
            "--to-database",
            &to,
        ];
        let call = site.pgstow(&words).env("PGSTOW_CLUSTER_USER", "postgres");
        call.ok();
        let rows = "select count(*) from t";
        assert_eq!(site.main().psql_in(&to, rows), site.main().psql(rows));
    }
}

#[test]
fn what_has_lost_its_description_is_a_backup_again() {
    let site = Site::start(pg(16), "compression = \"zstd:1\"");
    let [full, incremental] = site.fill();
    site.sync(0);
    let dump = site.main().dump("postgres");
    let before = contents(site.stow.root());
    for backup in [&full, &incremental] {
        fs::remove_file(backup.object("backup.json")).unwrap();
    }
    flip(&full.parts()[0]);
    // One of them, by its name.
    let words = ["--repo", "local", "verify", full.id()];
    // The hint leads to the same repository.
    site.pgstow(&words)
        .fails(1)
        .stderr_contains("--repo local list` shows all backups.");
    site.pgstow(&[&words[..], &["--repair"]].concat()).ok();
    let told = verify(&site, "local", &["--repair"], 0);
    let repaired = told["repairs"][0]["object"].as_str().unwrap();
    assert!(repaired.ends_with("-incr/backup.json"), "{told:#}");
    let after = contents(site.stow.root());
    for (file, bytes) in &before {
        let is_same = after.get(file) == Some(bytes) || file.ends_with("/backup.json");
        assert!(is_same, "{file} is another");
    }
    assert_eq!(before.len(), after.len());
    fs::rename(&site.offsite, site.scratch.join("gone")).unwrap();
    let to = site.scratch.join("restored");
    site.pgstow(&["restore", "--data-dir", to.to_str().unwrap()])
        .expect_warning("whether repository offsite leads further is not known")
        .ok();
    site.main().pg.verifybackup(&to).unwrap();
    assert_eq!(site.main().dump("postgres"), dump);
}

/// The process that copied it is gone, and with it the claim.
#[test]
fn a_copy_that_lost_its_description_is_healed_too() {
    let site = Site::start(pg(18), "compression = \"zstd:1\"");
    let [full, _] = site.fill();
    site.sync(0);
    let description = site.copied(&full).object("backup.json");
    let before = contents(&site.offsite);
    fs::remove_file(&description).unwrap();
    let listed = site.offsite(&["--json", "list"]).ok().json();
    let of_full = |line: &&Value| line["id"] == full.id();
    let listed = listed["backups"].as_array().unwrap().iter().find(of_full);
    assert_eq!(listed.unwrap()["state"], "interrupted");
    let told = verify(&site, "offsite", &["--repair"], 0);
    assert_eq!(count(&told, "repairs"), 1, "{told:#}");
    assert_eq!(contents(&site.offsite).len(), before.len());
    site.offsite(&["verify", full.id()]).ok();
}

/// Of two that were begun in one second neither takes the place of the other.
#[test]
fn another_backup_of_the_same_id_is_left_alone() {
    let site = Site::start(pg(17), "compression = \"zstd:1\"");
    let [full, _] = site.fill();
    site.sync(0);
    for description in ["backup.json", "started.json"] {
        fs::remove_file(full.object(description)).unwrap();
    }
    let folder = full.object("");
    for file in super::files(&folder) {
        fs::write(folder.join(file), "of another backup").unwrap();
    }
    let before = contents(&folder);
    let told = verify(&site, "local", &["--repair"], 3);
    let why = "tells that it is the same backup";
    assert!(told["repairs"].to_string().contains(why), "{told:#}");
    assert_eq!(contents(&folder), before);
}

/// The first dump's data and the second part of the full backup, in a bucket.
fn in_bucket(site: &Site, store: &dyn Storage) -> [ObjectName; 2] {
    let layout = Layout::new("main".parse().unwrap());
    let listed = |prefix, end: &str| {
        let found = store.list(prefix, None).unwrap().map(Result::unwrap);
        let mut found = found.filter(|info| info.name.as_str().ends_with(end));
        found.next().unwrap().name
    };
    drop(site.sync(0));
    [
        listed(&layout.dumps(), ".dump"),
        listed(&layout.base(), "part-0002.tar.zst"),
    ]
}

fn filled_bucket(of_bucket: &Scratch) -> (Site, Bucket, crate::harness::proxy::Proxy) {
    let (bucket, proxy) = behind_proxy(of_bucket);
    let lines = format!("compression = \"zstd:1\"\n{}", bucket.settings(of_bucket));
    let site = Site::at(pg(17), &lines, Some(bucket.url));
    site.fill();
    site.pgstow(&["dump", "postgres", "--no-globals"]).ok();
    (site, bucket, proxy)
}

#[test]
fn a_bucket_is_healed_unless_nothing_may_be_overwritten() {
    let of_bucket = Scratch::new();
    let (site, bucket, proxy) = filled_bucket(&of_bucket);
    let store = open(&bucket);
    let objects = in_bucket(&site, &*store);
    let whole = objects
        .each_ref()
        .map(|name| store.read(name, 64 << 20).unwrap());
    let harm = || {
        for name in &objects {
            store.replace(name, b"damaged").unwrap();
        }
    };
    harm();
    verify(&site, "offsite", &[], 3);
    let told = verify(&site, "offsite", &["--repair"], 0);
    assert_eq!(count(&told, "repairs"), 2, "{told:#}");
    for (name, whole) in objects.iter().zip(&whole) {
        assert!(store.read(name, 64 << 20).unwrap() == *whole, "{name}");
    }
    // What a killed sync left in a copy that has no rules of retention.
    let all = Layout::new("main".parse().unwrap()).all();
    let mut upload = store.put_part(&all.object("left")).unwrap();
    upload.write_all(&[7; 9 << 20]).unwrap();
    std::mem::forget(upload);
    site.offsite(&["cleanup"]).ok();
    assert_eq!(store.forget_unfinished(&all, None).unwrap(), 0);
    harm();
    proxy.allow_to_create_only();
    let told = verify(&site, "offsite", &["--repair"], 3);
    let repairs = told["repairs"].as_array().unwrap();
    let refused = |one: &&Value| {
        let why = one["why"].as_str().unwrap_or_default();
        let hint = one["hint"].as_str().unwrap_or_default();
        why.contains("not allowed to replace s3://") && hint.contains("a key that may overwrite")
    };
    assert_eq!(repairs.iter().filter(refused).count(), 2, "{told:#}");
    for name in &objects {
        assert_eq!(store.read(name, 10).unwrap(), b"damaged");
    }
}

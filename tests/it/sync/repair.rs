//! `verify --repair`: what is damaged or missing in one repository is healed by what another one has.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{Site, count, files, flip};
use crate::harness::{Bound, PgBin, Scratch, Stored, keys, pg, user};

/// All that lasts, by its path: what `verify` itself files and leases left out.
pub(super) fn contents(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let lasting = |file: &String| {
        !["/locks/", "/verified/"]
            .iter()
            .any(|part| file.contains(part))
    };
    let read = |file: String| {
        let bytes = fs::read(root.join(&file)).unwrap();
        (file, bytes)
    };
    files(root).into_iter().filter(lasting).map(read).collect()
}

/// Damages something of each kind; how many objects.
fn harm(backups: [&Stored; 2], segments: [PathBuf; 2]) -> usize {
    let [full, incremental] = backups;
    let [damaged, missing] = segments;
    flip(&full.parts()[0]);
    fs::remove_file(&full.parts()[1]).unwrap();
    fs::write(full.object("SHA256SUMS"), "nothing").unwrap();
    fs::write(&incremental.parts()[0], "cut off").unwrap();
    flip(&incremental.object("index.json.zst"));
    flip(&incremental.object("backup.json"));
    flip(&damaged);
    fs::remove_file(missing).unwrap();
    8
}

/// With segments that are in both, behind the backups.
fn filled(pg: PgBin, lines: &str) -> (Site, [Stored; 2], [String; 2]) {
    let site = Site::start(pg, lines);
    let backups = site.fill();
    let segment = |number: u32| {
        site.main().psql(&format!("create table s{number} ()"));
        site.main().switch_wal()
    };
    let [_, first, second, _] = [1, 2, 3, 4].map(segment);
    site.sync(0);
    (site, backups, [first, second])
}

pub(super) fn verify(site: &Site, repo: &str, words: &[&str], code: i32) -> Value {
    let fixed = ["--repo", repo, "--json", "verify", "--all", "--wal"];
    site.pgstow(&[&fixed, words].concat()).fails(code).json()
}

fn heals_byte_for_byte(pg: PgBin, lines: &str) {
    let (site, backups, segments) = filled(pg, lines);
    let dump = site.main().dump("postgres");
    let before = contents(site.stow.root());
    let objects = [0, 1].map(|number| site.stow.wal_object(&segments[number]));
    let [full, incremental] = &backups;
    let harmed = harm([full, incremental], objects);
    verify(&site, "local", &[], 3);
    let told = verify(&site, "local", &["--repair"], 0);
    assert_eq!(count(&told, "repairs"), harmed, "{told:#}");
    for repair in told["repairs"].as_array().unwrap() {
        assert_eq!(repair["from"], "offsite", "{told:#}");
    }
    let after = contents(site.stow.root());
    for (file, bytes) in &before {
        // The description is the copy's own words.
        let is_same = after.get(file) == Some(bytes) || file.ends_with("-incr/backup.json");
        assert!(is_same, "{file} is another");
    }
    assert_eq!(before.len(), after.len());
    assert!(full.check_sums().contains("OK"));
    verify(&site, "local", &[], 0);
    // Nothing is left to do.
    let told = verify(&site, "local", &["--repair"], 0);
    assert_eq!(count(&told, "repairs"), 0, "{told:#}");
    let offsite = site.scratch.join("offsite-gone");
    fs::rename(&site.offsite, &offsite).unwrap();
    let to = site.scratch.join("restored");
    site.pgstow(&["restore", "--data-dir", to.to_str().unwrap()])
        .expect_warning("whether repository offsite leads further is not known")
        .ok();
    site.main().pg.verifybackup(&to).unwrap();
    fs::rename(&offsite, &site.offsite).unwrap();
    site.comes_back(&[], &dump);
}

#[test]
fn heals_byte_for_byte_on_17() {
    heals_byte_for_byte(pg(17), "compression = \"zstd:1\"");
}

/// A plain repository from an encrypted copy, where the key is.
#[test]
fn heals_from_what_is_encrypted() {
    let of_keys = Scratch::new();
    let lines = format!("compression = \"zstd:1\"\n{}", keys::setting(&of_keys));
    heals_byte_for_byte(pg(16), &lines);
}

/// Whoever can't decrypt does not know better than who could, but has replaced what was found.
#[test]
fn what_is_healed_without_the_key_counts_as_whole() {
    let of_keys = Scratch::new();
    let lines = format!("compression = \"zstd:1\"\n{}", keys::setting(&of_keys));
    let (site, [full, _], _) = filled(pg(17), &lines);
    flip(&site.copied(&full).parts()[0]);
    verify(&site, "offsite", &[], 3);
    let file = keys::identity_file(&of_keys);
    site.configure(&format!(", identity_file = \"{}\"", file.display()), "");
    // It can say nothing against what was found with the key.
    site.sync(3);
    let told = verify(&site, "offsite", &["--repair"], 0);
    assert!(count(&told, "repairs") > 0, "{told:#}");
    site.sync(0);
    verify(&site, "offsite", &[], 0);
    site.sync(0);
}

/// Nobody can look into it there, but what was found stays found.
#[test]
fn wal_that_was_found_damaged_with_the_key_is_healed_without_it() {
    if keys::are_wanted() {
        return;
    }
    let of_keys = Scratch::new();
    let lines = format!("compression = \"zstd:1\"\n{}", keys::setting(&of_keys));
    let (site, _, segments) = filled(pg(18), &lines);
    let object = site.stow.wal_object_in(&site.offsite, &segments[0]);
    flip(&object);
    verify(&site, "offsite", &[], 3);
    let identity = format!(
        ", identity_file = \"{}\"",
        keys::identity_file(&of_keys).display()
    );
    let section = format!("\"{}\"]", keys::RECIPIENT);
    site.configure(&format!("{section}{identity}"), &section);
    let told = verify(&site, "offsite", &[], 3);
    let findings = told["wal"][0]["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "{told:#}");
    assert_eq!(findings[0]["object"], object.display().to_string());
    let told = verify(&site, "offsite", &["--repair"], 0);
    assert_eq!(count(&told, "repairs"), 1, "{told:#}");
    // Who counts what is damaged there knows of it.
    site.sync(0);
    let told = verify(&site, "offsite", &["--repair"], 0);
    assert_eq!(count(&told, "repairs"), 0, "{told:#}");
    site.configure(&section, &format!("{section}{identity}"));
    verify(&site, "offsite", &[], 0);
}

/// Encrypted anew: other bytes, and the same backup.
#[test]
fn heals_an_encrypted_copy_from_a_plain_repository() {
    let of_keys = Scratch::new();
    let lines = format!("compression = \"zstd:1\"\n{}", keys::setting(&of_keys));
    let (site, [full, incremental], segments) = filled(pg(18), &lines);
    let dump = site.main().dump("postgres");
    let objects = [0, 1].map(|number| site.stow.wal_object_in(&site.offsite, &segments[number]));
    let copies = [site.copied(&full), site.copied(&incremental)];
    harm([&copies[0], &copies[1]], objects);
    verify(&site, "offsite", &[], 3);
    let told = verify(&site, "offsite", &["--repair"], 0);
    assert!(count(&told, "repairs") >= 8, "{told:#}");
    assert!(copies[0].check_sums().contains("OK"));
    verify(&site, "offsite", &[], 0);
    // All that is to be encrypted is.
    for (file, bytes) in contents(&site.offsite) {
        let is_age = bytes.starts_with(b"age-encryption.org/v1\n");
        assert_eq!(is_age, file.ends_with(".age"), "{file}");
    }
    site.sync(0);
    site.comes_back(&[], &dump);
}

/// What `verify` finds of backups in the copy: objects, problems.
fn findings(told: &Value) -> Vec<(String, String)> {
    let backups = told["backups"].as_array().unwrap().iter();
    let all = backups.flat_map(|backup| backup["findings"].as_array().unwrap());
    all.map(|one| (one["object"].to_string(), one["problem"].to_string()))
        .collect()
}

/// It ends behind a part that it has encrypted anew, before the description that names it.
#[test]
fn a_repair_that_is_killed_leaves_an_encrypted_copy_as_it_was() {
    let of_keys = Scratch::new();
    let lines = format!("compression = \"zstd:1\"\n{}", keys::setting(&of_keys));
    let (site, [full, _], _) = filled(pg(17), &lines);
    if keys::are_wanted() {
        return;
    }
    let dump = site.main().dump("postgres");
    let copied = site.copied(&full);
    let (parts, described) = (copied.parts(), copied.json()["parts"].clone());
    flip(&parts[0]);
    let damaged = fs::read(&parts[0]).unwrap();
    let before = findings(&verify(&site, "offsite", &[], 3));
    let listed = || site.offsite(&["list", "--json"]).ok().json()["backups"].clone();
    let shown = listed();
    {
        let _stays = Bound::at(&copied.object("backup.json"));
        site.offsite(&["verify", "--all", "--repair"])
            .fails(1)
            .stderr_contains("backup.json");
    }
    assert_eq!(fs::read(&parts[0]).unwrap(), damaged);
    assert_eq!(copied.parts().len(), parts.len() + 1);
    assert_eq!(copied.json()["parts"], described);
    assert_eq!(listed(), shown);
    // By hand it is whole already: SHA256SUMS tells the new part.
    assert!(copied.check_sums().contains("part-0001-2.tar.zst.age: OK"));
    let now = findings(&verify(&site, "offsite", &[], 3));
    let new: Vec<_> = now.iter().filter(|one| !before.contains(one)).collect();
    assert!(before.iter().all(|one| now.contains(one)), "{now:?}");
    assert!(new.len() == 1 && new[0].0.contains("SHA256SUMS"), "{new:?}");
    // What is damaged still comes from the other repository alone.
    let to = site.scratch.join("between");
    site.offsite(&["restore", full.id(), "--data-dir", to.to_str().unwrap()])
        .expect_warning("part 1 of backup")
        .ok();
    site.main().pg.verifybackup(&to).unwrap();

    let told = verify(&site, "offsite", &["--repair"], 0);
    assert!(told["repairs"].to_string().contains("part-0001-2."));
    assert!(!parts[0].exists());
    assert_eq!(copied.parts().len(), parts.len());
    assert!(copied.check_sums().contains("part-0001-2.tar.zst.age: OK"));
    // Killed behind the description: what it has replaced is left.
    fs::write(&parts[0], damaged).unwrap();
    user::own(&parts[0]);
    verify(&site, "offsite", &[], 0);
    // Once more, from another name than the first.
    flip(&copied.object("part-0001-2.tar.zst.age"));
    verify(&site, "offsite", &["--repair"], 0);
    assert!(copied.object("part-0001-3.tar.zst.age").exists());
    assert_eq!(copied.parts().len(), parts.len());
    verify(&site, "offsite", &[], 0);
    site.sync(0);
    site.comes_back(&[], &dump);
    // And back: there it is called as ever.
    flip(&full.parts()[0]);
    verify(&site, "local", &["--repair"], 0);
    assert!(full.check_sums().contains("part-0001.tar.zst: OK"));
}

#[test]
fn what_nobody_has_whole_stays_as_it_is() {
    let (site, [full, incremental], segments) = filled(pg(15), "compression = \"zstd:1\"");
    let part = full.parts()[0].clone();
    let copied = site.folder_of(&full).join(part.file_name().unwrap());
    let segment = site.stow.wal_object(&segments[0]);
    for path in [&part, &copied, &segment] {
        flip(path);
    }
    fs::remove_file(site.stow.wal_object_in(&site.offsite, &segments[0])).unwrap();
    let lost = fs::read(&part).unwrap();
    let told = verify(&site, "local", &["--repair"], 3);
    let repairs = told["repairs"].to_string();
    assert_eq!(count(&told, "repairs"), 2, "{told:#}");
    assert!(repairs.contains("another SHA-256"), "{told:#}");
    assert!(told["repairs"][0]["from"].is_null(), "{told:#}");
    assert_eq!(fs::read(&part).unwrap(), lost);
    assert!(segment.exists());
    let list = site.pgstow(&["--repo", "local", "list", "--json"]).ok();
    assert!(list.stdout.contains(incremental.id()));
    // People read the same, and what they can do about it.
    site.pgstow(&["--repo", "local", "verify", full.id()])
        .fails(3)
        .stdout_contains("`pgstow --repo local verify --all --wal --repair` heals");
    let words = ["--repo", "local", "verify", full.id(), "--repair"];
    site.pgstow(&words).fails(3).stdout_contains("not healed: ");
    flip(&copied);
    site.pgstow(&words)
        .ok()
        .stdout_contains("(from repository offsite");
    user::own(&part);
}

/// Each can be decrypted whole, and is what its own header tells.
#[test]
fn an_encrypted_segment_under_the_name_of_another_is_healed() {
    let of_keys = Scratch::new();
    let lines = format!("compression = \"zstd:1\"\n{}", keys::setting(&of_keys));
    let (site, _, segments) = filled(pg(18), &lines);
    let [one, other] = [0, 1].map(|number| {
        let name: &String = &segments[number];
        site.stow.wal_object_in(&site.offsite, name)
    });
    let right = fs::read(&one).unwrap();
    fs::copy(&other, &one).unwrap();
    let text = site.offsite(&["verify", "--wal"]).fails(3);
    assert!(text.stdout.contains(&segments[0]), "{text}");
    let told = verify(&site, "offsite", &["--repair"], 0);
    assert_eq!(count(&told, "repairs"), 1, "{told:#}");
    assert!(fs::read(&one).unwrap() != fs::read(&other).unwrap());
    // But not from other bytes than its header tells, where these are damaged.
    fs::write(&one, right).unwrap();
    flip(&one);
    let own = site.stow.wal_object(&segments[0]);
    let kept = fs::read(&own).unwrap();
    fs::copy(site.stow.wal_object(&segments[1]), &own).unwrap();
    let told = verify(&site, "offsite", &["--repair"], 3);
    assert!(told["repairs"][0]["from"].is_null(), "{told:#}");
    fs::write(&own, kept).unwrap();
    verify(&site, "offsite", &["--repair"], 0);
}

#[test]
fn without_another_repository_there_is_nothing_to_heal_from() {
    let site = Site::start(pg(17), "compression = \"zstd:1\"");
    let root = site.stow.root().display().to_string();
    site.pgstow(&["--repo-url", &root, "verify", "--repair"])
        .fails(2)
        .stderr_contains("no other repository");
    site.pgstow(&["verify", "shop", "--repair"])
        .fails(2)
        .stderr_contains("shop is no backup");
}

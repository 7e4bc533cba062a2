//! What the chosen repository should have and can't give comes from another one: `restore-wal`, `restore`, `list`.

use std::{fs, path::Path, thread, time::Duration};

use serde_json::Value;

use super::{Site, files, flip};
use crate::harness::{Cluster, PgBin, Scratch, Shutdown, keys, pg, tool::Invocation, user};

/// A cluster whose WAL is in both repositories, and its last segments.
pub(super) fn filled() -> (Site, Vec<String>) {
    let site = Site::start(pg(17), "compression = \"zstd:1\"");
    site.fill();
    let segment = |number: u32| {
        site.main().psql(&format!("create table s{number} ()"));
        site.main().switch_wal()
    };
    let segments = (1..=4).map(segment).collect();
    site.scratch.folder("fetched");
    site.sync(0);
    (site, segments)
}

pub(super) fn fetch(site: &Site, name: &str, words: &[&str]) -> Invocation {
    let system = site
        .main()
        .psql("select system_identifier from pg_control_system()");
    let to = site.scratch.join("fetched").join(name);
    let fixed = [
        "restore-wal",
        name,
        to.to_str().unwrap(),
        "--system-id",
        &system,
    ];
    site.pgstow(&[&fixed, words].concat())
}

#[test]
fn what_should_be_there_comes_from_elsewhere() {
    let (site, segments) = filled();
    let comes = |name: &str| {
        let found = "comes from repository offsite";
        fetch(&site, name, &[]).expect_warning(found).ok();
        let got = fs::read(site.scratch.join("fetched").join(name)).unwrap();
        let whole = got.len() == 1 << 20;
        assert!(whole, "{name} has {} bytes", got.len());
    };
    // Damaged, a hole, the whole store away.
    flip(&site.stow.wal_object(&segments[0]));
    comes(&segments[0]);
    fetch(&site, &segments[0], &["--no-fallback"]).fails(126);
    fs::remove_file(site.stow.wal_object(&segments[1])).unwrap();
    comes(&segments[1]);
    fetch(&site, &segments[1], &["--no-fallback"]).fails(126);
    // The end is where the chosen one says so, though the other has more.
    fs::remove_file(site.stow.wal_object(&segments[3])).unwrap();
    fetch(&site, &segments[3], &[]).fails(1);
    let away = site.scratch.join("away");
    fs::rename(site.stow.root(), &away).unwrap();
    comes(&segments[2]);
    // What neither has is a doubt and no end.
    fs::remove_file(site.stow.wal_object_in(&site.offsite, &segments[1])).unwrap();
    fetch(&site, &segments[1], &[]).fails(126);
}

#[test]
fn a_recovery_passes_a_damaged_segment() {
    let (site, segments) = filled();
    let dump = site.main().dump("postgres");
    flip(&site.stow.wal_object(&segments[1]));
    let to = site.scratch.join("restored-data");
    let words = ["restore", "--data-dir", to.to_str().unwrap()];
    site.pgstow(&words).ok();
    let pg = site.main().pg.clone();
    let mut copy = Cluster::existing(&site.scratch, pg, "restored", &to);
    copy.recover();
    assert!(copy.dump("postgres") == dump, "another database");
    let log = copy.log();
    let told = format!("{} comes from repository offsite", segments[1]);
    assert!(log.contains(&told), "{log}");
    copy.stop(Shutdown::Fast);
}

/// Restores without naming a repository, expects these warnings, and starts what came of it.
#[track_caller]
fn restored(site: &Site, name: &str, warnings: &[&str], dump: &str) -> Cluster {
    let to = site.scratch.join(name);
    let mut restore = site.pgstow(&["restore", "--data-dir", to.to_str().unwrap()]);
    for warning in warnings {
        restore = restore.expect_warning(warning);
    }
    restore.ok();
    let pg = site.main().pg.clone();
    pg.verifybackup(&to).unwrap();
    let mut copy = Cluster::existing(&site.scratch, pg, &format!("{name}-run"), &to);
    copy.recover();
    assert!(copy.dump("postgres") == dump, "another database");
    copy.amcheck();
    copy
}

/// Changes bytes all over a file, or changes them back: some of a full backup's nobody needs, where what builds on it has
/// them newer.
pub(super) fn flip_often(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let length = bytes.len();
    (1..20).for_each(|part| bytes[length * part / 20] ^= 0x40);
    fs::write(path, bytes).unwrap();
}

/// Each object in turn, of a chain whose blocks are put on what the full backup has.
fn a_restore_takes_from_elsewhere_what_is_damaged(pg: PgBin, lines: &str) {
    let site = Site::start(pg, lines);
    // Files that are too young when the full backup begins are stored anew by the incremental one.
    thread::sleep(Duration::from_millis(2500));
    let [full, incremental] = site.fill();
    site.sync(0);
    let dump = site.main().dump("postgres");
    let elsewhere = "comes from repository offsite";
    let cases = [
        (full.parts()[0].clone(), elsewhere),
        (incremental.parts()[0].clone(), elsewhere),
        (full.object("index.json.zst"), elsewhere),
        (incremental.object("index.json.zst"), elsewhere),
        (incremental.object("backup_manifest.zst"), elsewhere),
    ];
    for (number, (path, warning)) in cases.iter().enumerate() {
        flip_often(path);
        let name = format!("damaged{number}");
        restored(&site, &name, &[warning], &dump).stop(Shutdown::Fast);
        flip_often(path);
    }
    // Of a copy that is encrypted all would be taken, whose description is another.
    if !lines.contains("encryption") {
        let description = full.object("backup.json");
        flip(&description);
        let warnings = [
            "and comes from",
            "it builds on backup",
            "the index of backup",
        ];
        restored(&site, "described", &warnings, &dump).stop(Shutdown::Fast);
        flip(&description);
    }
    // Gone, which the listing shows.
    let part = full.parts()[1].clone();
    fs::rename(&part, site.scratch.join("part")).unwrap();
    let warnings = [full.id(), "it builds on backup", "part 2 of backup"];
    restored(&site, "missing", &warnings, &dump).stop(Shutdown::Fast);
    fs::rename(site.scratch.join("part"), &part).unwrap();
    // What both lack stops it.
    flip_often(&part);
    flip_often(&site.copied(&full).parts()[1]);
    let to = site.scratch.join("lost");
    site.pgstow(&["restore", "--data-dir", to.to_str().unwrap()])
        .fails(1)
        .stderr_contains("is not restored and can't be started");
}

#[test]
fn a_restore_takes_from_elsewhere_what_is_damaged_on_17() {
    a_restore_takes_from_elsewhere_what_is_damaged(pg(17), "compression = \"zstd:1\"");
}

/// From an encrypted repository into a plain one's place.
#[test]
fn a_restore_takes_from_elsewhere_what_is_encrypted_there() {
    let of_keys = Scratch::new();
    let lines = format!("compression = \"zstd:1\"\n{}", keys::setting(&of_keys));
    a_restore_takes_from_elsewhere_what_is_damaged(pg(15), &lines);
}

#[test]
fn a_repository_that_is_away_is_replaced_by_the_next() {
    let (site, segments) = filled();
    let dump = site.main().dump("postgres");
    site.main().switch_wal();
    site.sync(0);
    let instead = "repository offsite is used instead";
    // A hole, which the other one has not.
    let hole = site.stow.wal_object(&segments[1]);
    let kept = site.scratch.join("kept");
    fs::rename(&hole, &kept).unwrap();
    restored(&site, "hole", &[instead], &dump).stop(Shutdown::Fast);
    fs::rename(&kept, &hole).unwrap();
    // Who names a repository means it.
    let away = site.scratch.join("away");
    fs::rename(site.stow.root(), &away).unwrap();
    site.pgstow(&["--repo", "local", "list"]).fails(1);
    let list = site
        .pgstow(&["--json", "list"])
        .expect_warning(instead)
        .ok();
    assert_eq!(
        list.json()["repository"],
        site.offsite.display().to_string()
    );
    site.pgstow(&["list", "--dumps"])
        .expect_warning(instead)
        .ok();
    let mut copy = restored(&site, "elsewhere", &[instead], &dump);
    // It goes on to read its WAL from there.
    let log = copy.log();
    assert!(!log.contains("comes from repository"), "{log}");
    copy.stop(Shutdown::Fast);
    // Neither may be written over, whichever is read.
    let into = site.offsite.join("data");
    let words = ["restore", "--data-dir", into.to_str().unwrap()];
    site.pgstow(&words).fails(1);
    fs::rename(&away, site.stow.root()).unwrap();
    site.pgstow(&words)
        .fails(1)
        .stderr_contains("lies in the repository");
}

/// Two copies: an encrypted one, which this host has no key for, is no reason to stop before the next.
#[test]
fn a_copy_that_cant_be_opened_is_passed_over() {
    let recipients = format!("encryption.recipients = [\"{}\"]", keys::RECIPIENT);
    let lines = format!("compression = \"zstd:1\"\n{recipients}");
    let site = Site::start(pg(17), &lines);
    site.fill();
    let third = site.scratch.folder("third");
    let section = format!(
        "[repo.third]\nurl = \"{}\"\nwal_mode = \"sync\"\ncompression = \"zstd:1\"\n[cluster.main]",
        third.display()
    );
    site.configure("[cluster.main]", &section);
    site.pgstow(&["--repo", "third", "init"]).ok();
    let dump = site.main().dump("postgres");
    site.main().switch_wal();
    site.pgstow(&["sync"]).ok();
    fs::rename(site.stow.root(), site.scratch.join("away")).unwrap();
    // A system of before, which was encrypted: nothing of it is wanted.
    let systems = third.join("main/systems");
    let [own] = files(&systems).try_into().unwrap();
    let text = fs::read_to_string(systems.join(&own)).unwrap();
    let mut older: Value = serde_json::from_str(&text).unwrap();
    let registered = older.as_object_mut().unwrap();
    registered.remove("sha256");
    registered.insert("system_id".to_owned(), "7".into());
    registered.insert("encrypted".to_owned(), true.into());
    fs::write(systems.join("7.json"), older.to_string()).unwrap();
    user::own(&systems.join("7.json"));
    let warnings = [
        "repository offsite can't be used instead: there is no identity",
        "repository third is used instead",
    ];
    restored(&site, "third-copy", &warnings, &dump).stop(Shutdown::Fast);
}

/// Two to which WAL went, of which one was away for a while, as its lost segments show.
#[test]
fn the_repository_whose_wal_leads_further_is_used() {
    let (site, segments) = filled();
    let dump = site.main().dump("postgres");
    let reached = site.main().psql("select pg_current_wal_insert_lsn()");
    site.main().switch_wal();
    site.sync(0);
    for object in fs::read_dir(site.stow.wal_object(&segments[0]).parent().unwrap()).unwrap() {
        let path = object.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap() >= segments[2].as_str() {
            fs::remove_file(path).unwrap();
        }
    }
    let further = "repository offsite is used instead: its WAL leads to";
    restored(&site, "furthest", &[further], &dump).stop(Shutdown::Fast);
    // A target that the first one's WAL doesn't reach.
    let to = site.scratch.join("target");
    let words = ["restore", "--target-lsn", &reached, "--data-dir"];
    let words = [&words[..], &[to.to_str().unwrap()]].concat();
    site.pgstow(&words)
        .expect_warning("repository offsite is used instead: LSN")
        .ok();
    // Who names a repository means it.
    let to = site.scratch.join("named");
    let words = [
        "--repo",
        "local",
        "restore",
        "--data-dir",
        to.to_str().unwrap(),
    ];
    let plan = site
        .pgstow(&[&words[..], &["--json", "--plan"]].concat())
        .ok();
    assert_eq!(plan.json()["last_segment"], segments[1]);

    // WAL alone leads nowhere.
    let plan = |warning: &str| {
        let to = site.scratch.join("planned");
        let words = [
            "--json",
            "restore",
            "--plan",
            "--data-dir",
            to.to_str().unwrap(),
        ];
        let plan = site.pgstow(&words).expect_warning(warning).ok();
        assert_eq!(plan.json()["last_segment"], segments[1]);
    };
    let base = site.offsite.join("main/base");
    let kept = site.scratch.join("base");
    fs::rename(&base, &kept).unwrap();
    plan("repository offsite has WAL up to");
    fs::rename(&kept, &base).unwrap();
    fs::rename(&site.offsite, site.scratch.join("away")).unwrap();
    plan("whether repository offsite leads further is not known");
}

/// The number of a timeline that began while the first repository was away isn't given again.
#[test]
fn a_timeline_that_another_repository_knows_is_taken() {
    let (site, segments) = filled();
    let dump = site.main().dump("postgres");
    site.main().switch_wal();
    site.sync(0);
    let name = "00000002.history";
    let wal = site.stow.wal_object_in(&site.offsite, &segments[0]);
    let history = wal.parent().unwrap().parent().unwrap().join(name);
    fs::write(&history, "1\t0/3000000\tno recovery target specified\n").unwrap();
    user::own(&history);
    fetch(&site, name, &[])
        .expect_warning("00000002.history comes from repository offsite")
        .ok();
    fetch(&site, name, &["--no-fallback"]).fails(1);
    let mut copy = restored(&site, "promoted", &[], &dump);
    let timeline = copy.psql("select left(pg_walfile_name(pg_current_wal_lsn()), 8)");
    assert_eq!(timeline, "00000003");
    copy.stop(Shutdown::Fast);
}

//! What the repository holds.

use std::{fs, fs::OpenOptions, os::unix::fs::FileExt, path::Path};

use chrono::{DateTime, TimeDelta, Utc};

use super::{Watched, has};
use crate::harness::{FullDisk, Scratch, Shutdown, Stored, Stow, pg};

#[test]
fn ages() {
    let watched = Watched::start(17);
    for (check, young, old, older) in [
        ("backup_age", "+25h", "+27h", "+51h"),
        ("full_age", "+7d", "+9d", "+16d"),
        ("verification", "+7d", "+9d", "+32d"),
    ] {
        has(&watched.shifted(young, check), "ok", "ago");
        has(&watched.shifted(old, check), "warning", "ago");
        has(&watched.shifted(older, check), "critical", "ago");
    }
    let healthcheck = ["monitor", "--healthcheck"];
    watched
        .stow
        .tool
        .command(&healthcheck)
        .ok()
        .stdout_contains("healthy: the newest good backup ended");
    watched.stow.tool.shifted("+49h", &healthcheck).ok();
    watched.stow.tool.shifted("+51h", &healthcheck).fails(1);
    // An incremental one is a backup, but no full one.
    watched.stow.backup(&["--incremental", "--method", "local"]);
    let full = watched.verdict("full_age", &[]);
    let any = watched.verdict("backup_age", &[]);
    let age = |verdict: &serde_json::Value| verdict["figures"][0]["value"].as_f64().unwrap();
    assert!(age(&full) > age(&any), "{full:#} {any:#}");

    // Old in truth, until there is a new one.
    for folder in watched.stow.folders() {
        redate(&watched.stow.stored_as(&folder), TimeDelta::days(-40));
    }
    for check in ["backup_age", "full_age", "verification"] {
        watched.is(check, &[], "critical", " ago");
    }
    watched.stow.backup(&["--full"]);
    for check in ["backup_age", "full_age", "verification"] {
        watched.is(check, &[], "ok", " ago");
    }

    // One that nobody read again.
    let unread = Scratch::new();
    let stow = Stow::build(&unread, pg(17))
        .repo("verify_after_write = false")
        .start();
    stow.cluster
        .psql(&crate::harness::stow::sql_of_roles("sql optional"));
    let monitor = |code: i32, check: &str| {
        let words = ["--json", "monitor", "--only", check];
        let output = stow.tool.command(&words).fails(code).json();
        output["checks"][0].clone()
    };
    has(
        &monitor(2, "backup_age"),
        "critical",
        "there is no good backup",
    );
    has(
        &monitor(2, "full_age"),
        "critical",
        "there is no good full backup",
    );
    has(&monitor(0, "verification"), "ok", "no backup to verify");
    stow.backup(&[]);
    has(&monitor(1, "verification"), "warning", "was read again");
    stow.tool.command(&["verify"]).ok();
    has(&monitor(0, "verification"), "ok", "found whole");
}

/// As a power failure may leave it.
#[test]
fn an_object_of_wal_without_a_byte() {
    let watched = Watched::start(16);
    watched.stow.cluster.switch_wal();
    let mut folders = vec![watched.stow.root().join("main/wal")];
    let mut segments = Vec::new();
    while let Some(folder) = folders.pop() {
        let paths = fs::read_dir(folder).unwrap().map(|one| one.unwrap().path());
        let (inner, files): (Vec<_>, Vec<_>) = paths.partition(|path| path.is_dir());
        folders.extend(inner);
        segments.extend(files.into_iter().filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with("00000001000000") && !name.contains(".backup")
        }));
    }
    let newest = segments.into_iter().max().unwrap();
    let bytes = fs::read(&newest).unwrap();
    fs::write(&newest, b"").unwrap();
    watched.is("damaged", &[], "critical", "is empty");
    fs::write(&newest, bytes).unwrap();
    watched.is("damaged", &[], "ok", "no backup is damaged");
}

#[test]
fn damage() {
    let mut watched = Watched::start(16);
    let stow = &mut watched.stow;
    let part = |id: &str, root: &Path| root.join("main/base").join(id).join("part-0001.tar.zst");
    let first = stow.backups()[0]["id"].as_str().unwrap().to_owned();
    redate(&stow.stored_as(&first), TimeDelta::hours(-1));
    let first = part(&first, stow.root());
    let second = stow.backup(&[]);

    // Of an older one a part is gone, then of the newest.
    let aside = watched.scratch.join("aside");
    fs::rename(&first, &aside).unwrap();
    watched.is("damaged", &[], "warning", "part-0001.tar.zst is missing");
    watched.is("backup_age", &[], "ok", "");
    fs::rename(&aside, &first).unwrap();
    let newest = part(second.id(), watched.stow.root());
    fs::rename(&newest, &aside).unwrap();
    watched.is("damaged", &[], "critical", "part-0001.tar.zst is missing");
    fs::rename(&aside, &newest).unwrap();
    watched.is_well();

    // What only `verify` sees.
    let file = OpenOptions::new().read(true).write(true).open(&newest);
    let file = file.unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 1000).unwrap();
    file.write_all_at(&[!byte[0]], 1000).unwrap();
    drop(watched.stow.tool.command(&["verify"]).fails(3));
    watched.is(
        "damaged",
        &[],
        "critical",
        "`pgstow verify` found damage in ",
    );
    watched.is("runs", &[], "warning", "found something");
    let age = |watched: &Watched| {
        let verdict = watched.verdict("backup_age", &[]);
        verdict["figures"][0]["value"].as_f64().unwrap()
    };
    let of_first = age(&watched);
    file.write_all_at(&byte, 1000).unwrap();
    drop(watched.stow.tool.command(&["verify"]).ok());
    assert!(age(&watched) < of_first, "the good one is the newest again");
    watched.is_well();

    // Pages that are damaged in the server.
    let cluster = &mut watched.stow.cluster;
    cluster.psql("create table t as select n, repeat('x', 500) from generate_series(1, 100) n");
    let path = cluster.psql("select pg_relation_filepath('t')");
    cluster.stop(Shutdown::Fast);
    let path = cluster.data_dir().join(path);
    let relation = OpenOptions::new().write(true).open(path).unwrap();
    relation.write_at(b"?", 3 * 8192 + 5000).unwrap();
    cluster.start();
    drop(watched.stow.base(&[]).fails(3));
    watched.is(
        "page_failures",
        &[],
        "critical",
        "the server itself is damaged",
    );
    watched.is("runs", &[], "warning", "damaged page in the server: ");
    watched.stow.cluster.psql("drop table t; checkpoint");
    watched.stow.backup(&[]);
    watched.is(
        "page_failures",
        &[],
        "warning",
        "1 backup with damaged pages",
    );
    let failed = watched.stow.folders().remove(2);
    fs::remove_dir_all(watched.stow.root().join("main/base").join(failed)).unwrap();
    watched.is_well();
}

#[test]
fn pending_backups() {
    let watched = Watched::start(18);
    let cluster = &watched.stow.cluster;
    let good = cluster.psql("show archive_command");
    let left_pending = || {
        watched.break_archiving();
        let pending = watched.stow.base(&["--wal-timeout", "1s"]);
        drop(pending.expect_warning("archiving may not work").fails(1));
    };
    left_pending();
    watched.is("pending", &[], "warning", "it waits for WAL");
    watched.is("runs", &[], "warning", "is not restorable yet");
    cluster.set("archive_command", &good);
    cluster.switch_wal();
    watched.is("pending", &[], "warning", "its WAL is there now");
    let id = watched.stow.folders().remove(1);
    watched.stow.tool.command(&["base", "--finish", &id]).ok();
    watched.is_well();

    // Its WAL is lost, and later WAL arrives.
    left_pending();
    cluster.set("archive_command", "true");
    let ready = "select count(*) from pg_ls_archive_statusdir() where name like '%.ready'";
    cluster.wait_until(ready, "0");
    cluster.set("archive_command", &good);
    cluster.switch_wal();
    watched.is("pending", &[], "critical", "in vain");
    let id = watched.stow.folders().remove(2);
    fs::remove_dir_all(watched.stow.root().join("main/base").join(id)).unwrap();
    watched.stow.backup(&[]);
    watched.is_well();
}

#[test]
fn repositories_and_their_disks() {
    let scratch = Scratch::new();
    let disk = FullDisk::mount(&scratch, "disk", 256 << 20);
    let root = disk.path().join("repository");
    fs::create_dir(&root).unwrap();
    crate::harness::user::own(&root);
    let wal = format!("--waldir={}", disk.path().join("wal").display());
    let stow = Stow::build(&scratch, pg(15)).root(&root);
    let stow = stow.cluster(|cluster| cluster.initdb(&wal)).start();
    let watched = Watched::of(scratch, stow);
    let repo = |watched: &Watched| {
        let words = ["--json", "monitor", "--only", "disk"];
        let output = watched.stow.tool.command(&words).spawn().wait().json();
        let checks = output["checks"].as_array().unwrap().clone();
        let names: Vec<_> = checks.iter().map(|one| one["object"].clone()).collect();
        assert_eq!(names, ["repo.local", "pg_wal", "data"]);
        // On the same disk.
        assert_eq!(checks[0]["state"], checks[1]["state"], "{output:#}");
        checks[0].clone()
    };
    has(&repo(&watched), "ok", "% used");
    // Else the segment that follows the backup's would be made behind what fills the disk.
    // Transactional: written when this is back, not some time later.
    let write = "select pg_logical_emit_message(true, 'test', '')";
    watched.stow.cluster.psql(write);
    let ballast = disk.ballast();
    disk.fill(85);
    has(&repo(&watched), "warning", "% used");
    // So much in two hours: there is little time left.
    let later = watched.shifted("+2h", "disk");
    has(&later, "warning", ", full in ");
    has(&later, "warning", " at the rate of the last 2 h ");
    disk.fill(95);
    has(&repo(&watched), "critical", "% used");
    // Full to the last byte, it still reports.
    let file = OpenOptions::new().append(true).open(&ballast).unwrap();
    drop(std::io::copy(&mut std::io::repeat(1), &mut &file).unwrap_err());
    drop(file);
    has(&repo(&watched), "critical", "100 % used, 0 B free");
    fs::remove_file(&ballast).unwrap();
    has(&repo(&watched), "ok", "% used");
    watched.is_well();

    let away = disk.path().join("away");
    fs::rename(&root, &away).unwrap();
    let output = watched.stow.tool.command(&["--json", "monitor"]).fails(2);
    let checks = output.json()["checks"].as_array().unwrap().clone();
    let of = |check: &str| checks.iter().find(|one| one["check"] == check).unwrap();
    has(of("repository"), "critical", "there is no repository at");
    assert_eq!(of("repository")["object"], "local");
    has(of("restorable"), "unknown", "can't be read");
    has(of("backup_age"), "unknown", "local can't");
    has(of("connection"), "ok", "connected");
    has(of("archiver"), "ok", "");
    watched
        .stow
        .tool
        .command(&["monitor", "--healthcheck"])
        .fails(1);
    fs::rename(&away, &root).unwrap();

    // The registration of the server's system is lost.
    let (systems, aside) = (root.join("main/systems"), disk.path().join("systems"));
    fs::rename(&systems, &aside).unwrap();
    watched.is("repository", &[], "critical", "is not registered");
    fs::rename(&aside, &systems).unwrap();
    watched.is_well();
}

/// Shifts all that a backup says of its time.
fn redate(stored: &Stored, by: TimeDelta) {
    let mut json = stored.json();
    for field in ["start_time", "stop_time"] {
        let time: DateTime<Utc> = json[field].as_str().unwrap().parse().unwrap();
        json[field] = (time + by).to_rfc3339().into();
    }
    stored.rewrite_json(json);
}

#[test]
fn a_date_of_tomorrow_makes_nothing_young() {
    const AT_ONCE: [(&str, &str); 3] = [
        ("BACKUP_AGE_WARNING", "1s"),
        ("FULL_AGE_WARNING", "1s"),
        ("VERIFY_AGE_WARNING", "1s"),
    ];
    let watched = Watched::start(17);
    let stow = &watched.stow;
    redate(&stow.stored_as(&stow.folders()[0]), TimeDelta::days(300));
    for check in ["backup_age", "full_age"] {
        let said = "its age is not known, since a clock was or is wrong";
        watched.is(check, &[], "unknown", said);
    }
    let ahead = "only by a clock that ran ahead";
    watched.is("verification", &[], "warning", ahead);
    let unwell = ["monitor", "--healthcheck"];
    stow.tool.command(&unwell).fails(1).stdout_contains("wrong");
    // Why it isn't known, it says too.
    let away = watched.scratch.join("away");
    fs::rename(stow.root(), &away).unwrap();
    let gone = format!(
        "repository local can't: there is no repository at {}",
        stow.root().display()
    );
    stow.tool.command(&unwell).fails(1).stdout_contains(&gone);
    fs::rename(&away, stow.root()).unwrap();

    // The newest is what follows in the WAL.
    let newest = stow.backup(&["--full"]);
    for check in ["backup_age", "full_age", "verification"] {
        watched.is(check, &[], "ok", " ago");
    }
    std::thread::sleep(std::time::Duration::from_millis(1100));
    for check in ["backup_age", "full_age", "verification"] {
        watched.is(check, &AT_ONCE, "warning", " ago");
    }

    // What was said by a clock that ran ahead is not the last word.
    drop(stow.tool.shifted("+300d", &["verify", "--all"]).ok());
    watched.is("damaged", &[], "ok", "");
    let part = newest.object("part-0001.tar.zst");
    let file = OpenOptions::new().write(true).open(part).unwrap();
    file.write_all_at(b"torn", 1000).unwrap();
    drop(stow.tool.command(&["verify", newest.id()]).fails(3));
    let found = "`pgstow verify` found damage in ";
    watched.is("damaged", &[], "critical", found);
}

//! What goes wrong is told, and leaves nothing behind.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use super::{Site, failed, make_shop, results};
use crate::harness::{FullDisk, Shutdown, pg, stow::ROLE};

#[test]
fn a_damaged_dump_is_never_restored() {
    let site = Site::start(pg(17));
    make_shop(&site.stow.cluster, "shop");
    for format in [
        ["--format", "custom"],
        ["--format", "plain"],
        ["--format", "directory"],
    ] {
        let data = site.dump("shop", &format);
        let mut bytes = fs::read(&data).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&data, bytes).unwrap();
        let restore = site
            .pgstow(&["restore-dump", "shop", "-d", "copy"])
            .fails(1);
        assert_eq!(restore.json()["error"]["kind"], "damaged", "{restore}");
        let proven = site.pgstow(&["verify", "shop"]).fails(3);
        assert_eq!(results(&proven), ["intact failed"], "{proven}");
        site.assert_clean("shop");
    }
    // One that nobody summed up, cut off.
    let data = site.dump("shop", &["--format", "plain", "--compression", "none"]);
    let text = fs::read_to_string(&data).unwrap();
    let file = site.scratch.join("cut.sql");
    for (text, whole) in [(&text[..], true), (&text[..text.len() / 2], false)] {
        fs::write(&file, text).unwrap();
        crate::harness::user::own(&file);
        let verify = site.pgstow(&["verify", "--from", file.to_str().unwrap()]);
        match whole {
            true => assert_eq!(failed(&verify.ok()), [""; 0]),
            false => assert_eq!(results(&verify.fails(3)), ["intact failed"]),
        }
    }
    // It would leave its database.
    fs::write(&file, "\\connect postgres\ncreate table harm (x int);\n").unwrap();
    let restore = [
        "restore-dump",
        "--from",
        file.to_str().unwrap(),
        "-d",
        "copy",
    ];
    site.pgstow(&restore).fails(1).stderr_contains("\\connect");
    assert_eq!(site.sql("postgres", "select to_regclass('harm')"), "");
    // Cut, and gone.
    let data = site.dump("shop", &[]);
    let stem = data.file_stem().unwrap().to_str().unwrap();
    let cut = fs::OpenOptions::new().write(true).open(&data).unwrap();
    cut.set_len(10).unwrap();
    for _ in 0..2 {
        site.pgstow(&["restore-dump", stem, "-d", "copy"]).fails(1);
        let proven = site.pgstow(&["verify", stem]).fails(3);
        assert_eq!(results(&proven), ["intact failed"], "{proven}");
        let _ = fs::remove_file(&data);
    }
    site.assert_clean("shop");
}

#[test]
fn what_is_stopped_or_killed_leaves_no_server_and_no_database() {
    let site = Site::start(pg(15));
    make_shop(&site.stow.cluster, "shop");
    site.make_it_slow();
    site.dump("shop", &["--format", "plain"]);
    let waits = "select count(*) from pg_stat_activity where query like 'COPY public.waits%' and state = 'active'";
    let on_server =
        |arguments: &[&str]| site.pgstow(arguments).env("PGSTOW_VERIFY_PLACE", "server");
    for arguments in [
        ["verify", "shop"].as_slice(),
        &["restore-dump", "shop", "-d", "copy"],
    ] {
        let running = on_server(arguments).spawn();
        site.stow.cluster.wait_until(waits, "1");
        running.signal(Signal::TERM);
        assert_eq!(running.wait().status.code(), Some(130));
        site.assert_clean("shop");
    }
    // Killed: the next run cleans up, though it fails itself.
    let running = on_server(&["verify", "shop"]).spawn();
    site.stow.cluster.wait_until(waits, "1");
    running.signal(Signal::KILL);
    drop(running);
    assert!(Site::databases(&site.stow.cluster).contains("pgstow_verify_"));
    let second = on_server(&["verify", "shop"]).spawn();
    // Its own, not the one that was left.
    let own = format!(
        "and datname like 'pgstow\\_verify\\_%\\_{}\\_%'",
        second.id()
    );
    site.stow.cluster.wait_until(&format!("{waits} {own}"), "1");
    second.signal(Signal::INT);
    assert_eq!(second.wait().status.code(), Some(130));
    assert_eq!(Site::databases(&site.stow.cluster), "shop");
    // On a server of its own.
    let mut running = site.pgstow(&["verify", "shop"]).spawn();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !is_loading(&site) {
        assert!(
            running.is_running() && std::time::Instant::now() < until,
            "{}",
            running.stderr()
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    running.signal(Signal::TERM);
    assert_eq!(running.wait().status.code(), Some(130));
    site.assert_clean("shop");
}

/// Whether a server of its own has begun.
fn is_loading(site: &Site) -> bool {
    let entries = fs::read_dir(&site.temporary).unwrap();
    entries.flatten().any(|entry| {
        entry.path().join("s/data/base/16384").is_dir()
            || entry.path().join("s/data/postmaster.pid").is_file()
    })
}

#[test]
fn a_wrong_password_and_a_server_that_stops_are_told() {
    let mut site = Site::start(pg(16));
    make_shop(&site.stow.cluster, "shop");
    site.make_it_slow();
    site.dump("shop", &["--format", "plain"]);
    let hba = site.stow.cluster.data_dir().join("pg_hba.conf");
    let before = fs::read_to_string(&hba).unwrap();
    site.stow
        .cluster
        .psql("create role locked login superuser password 'right'");
    fs::write(&hba, format!("local all locked scram-sha-256\n{before}")).unwrap();
    site.stow.cluster.reload();
    let verify = |password: &str| {
        site.pgstow(&["verify", "shop"])
            .env("PGSTOW_VERIFY_USER", "locked")
            .env("PGSTOW_VERIFY_PASSWORD", password)
    };
    verify("wrong").fails(1).stderr_contains("password");
    // How far it gets before the server is away differs.
    let running = verify("right")
        .env("PGSTOW_CONNECT_RETRIES", "0")
        .expect_warning("is left behind")
        .spawn();
    site.wait_for_restores(1);
    // Its arguments are everybody's to read.
    let processes = fs::read_dir("/proc").unwrap().flatten();
    for process in processes {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&line).contains("PASSWORD=right"));
    }
    site.stow.cluster.stop(Shutdown::Immediate);
    assert_eq!(running.wait().status.code(), Some(1));
    site.stow.cluster.start();
    // A restore, too: nothing has its name, and the next run removes what is left.
    let running = site
        .pgstow(&["restore-dump", "shop", "-d", "copy"])
        .env("PGSTOW_CONNECT_RETRIES", "0")
        .expect_warning("is left behind")
        .spawn();
    site.wait_for_restores(1);
    site.stow.cluster.stop(Shutdown::Immediate);
    assert_eq!(running.wait().status.code(), Some(1));
    site.stow.cluster.start();
    site.stow.cluster.psql("create database small");
    site.dump("small", &[]);
    site.pgstow(&["restore-dump", "small", "-d", "other"]).ok();
    site.assert_clean("other,shop,small");
    // No verdict on the dump was kept.
    let verified = site.stow.root().join("main/verified");
    assert!(!verified.exists() || fs::read_dir(verified).unwrap().next().is_none());
}

#[test]
fn a_cleanup_leaves_alone_what_is_read() {
    let site = Site::with(pg(18), "[dump]\nretention = { daily = 1, min = 0 }\n");
    make_shop(&site.stow.cluster, "shop");
    site.make_it_slow();
    let daily = ["--format", "plain", "--class", "daily"];
    let older = site.dump("shop", &daily);
    let newer = site.dump("shop", &daily);
    let stem = older.file_name().unwrap().to_str().unwrap();
    let stem = stem.strip_suffix(".sql.gz").unwrap();
    let decided = |report: &Value| {
        let mut dumps = report["dumps"].as_array().unwrap().iter();
        let is_it = |dump: &&Value| dump["name"].as_str().unwrap().ends_with(stem);
        let dump = dumps.find(is_it).unwrap();
        let reason = dump["reasons"][0].as_str().unwrap().to_owned();
        (dump["action"].as_str().unwrap().to_owned(), reason)
    };
    // One that was killed reads nothing any more, and its mark doesn't say that it does.
    let killed = site.pgstow(&["restore-dump", stem, "-d", "copy"]).spawn();
    site.wait_for_restores(1);
    killed.signal(Signal::KILL);
    drop(killed);
    let report = site.pgstow(&["cleanup", "--dry-run"]).ok().json();
    assert_eq!(decided(&report).0, "delete", "{report}");
    site.stow.cluster.psql("select pg_terminate_backend(pid) from pg_stat_activity where query like 'COPY public.waits%'");
    site.wait_for_restores(0);
    let running = site.pgstow(&["restore-dump", stem, "-d", "copy"]).spawn();
    site.wait_for_restores(1);
    // Nothing has that name before it is whole.
    assert!(!Site::databases(&site.stow.cluster).contains("copy"));
    // Nor does anybody want a dump of it.
    let others = ["dump", "--all", "--exclude", "shop", "--no-globals"];
    let report = site.pgstow(&others).ok().json();
    assert_eq!(report["dumps"].as_array().unwrap().len(), 1, "{report}");
    for dry in [&["--dry-run"][..], &[]] {
        let report = site.pgstow(&[&["cleanup"], dry].concat()).ok().json();
        let (action, reason) = decided(&report);
        assert_eq!(action, "keep", "{report}");
        assert!(reason.starts_with("a restore on host "), "{reason}");
    }
    assert!(older.exists());
    running.signal(Signal::TERM);
    assert_eq!(running.wait().status.code(), Some(130));
    let report = site.pgstow(&["cleanup"]).ok().json();
    assert_eq!(decided(&report).0, "delete", "{report}");
    assert!(!older.exists() && newer.exists());
    site.assert_clean("shop");
}

#[test]
fn what_the_server_refuses_is_told_and_leaves_nothing() {
    let site = Site::start(pg(16));
    let cluster = &site.stow.cluster;
    make_shop(cluster, "shop");
    // A disk that takes one copy of the table, not two.
    let disk = FullDisk::mount(&site.scratch, "small", 8 << 20);
    cluster.psql(&format!(
        "create tablespace small location '{}'",
        disk.path().display()
    ));
    site.sql(
        "shop",
        "create table filler tablespace small as
         select n, repeat(md5(n::text), 20) as x from generate_series(1, 7000) n",
    );
    for format in ["plain", "custom"] {
        let data = site.dump("shop", &["--format", format]);
        let stem = data.file_name().unwrap().to_str().unwrap();
        let stem = stem.split_once('.').unwrap().0;
        site.pgstow(&["restore-dump", stem, "-d", "copy"])
            .fails(1)
            .stderr_contains("No space left on device")
            .stderr_contains("make room");
        site.assert_clean("shop");
        // What is there stays as it is, and another place will do.
        site.pgstow(&["restore-dump", stem, "--clean", "--yes"])
            .fails(1)
            .stderr_contains("No space left on device");
        assert_eq!(site.sql("shop", "select count(*) from filler"), "7000");
    }
    // Rights.
    cluster.psql("create role restorer login");
    let restore = |arguments: &[&str]| {
        let arguments = [&["restore-dump", "shop", "-d", "copy"], arguments].concat();
        site.pgstow(&arguments)
            .env("PGSTOW_CLUSTER_USER", "restorer")
    };
    restore(&[])
        .fails(1)
        .stderr_contains("permission denied to create database")
        .stderr_contains("give role restorer the right");
    cluster.psql("alter role restorer createdb");
    restore(&["--table", "orders"])
        .fails(1)
        .stderr_contains("must be able to SET ROLE");
    site.assert_clean("shop");
    restore(&["--table", "orders", "--no-owner"]).fails(1);
    site.assert_clean("shop");
}

/// Of the database where another's last session is in the way for a while.
#[test]
fn a_pg_dump_that_is_refused_is_tried_again() {
    let site = Site::start(pg(15));
    let cluster = &site.stow.cluster;
    cluster.psql("create database shop connection limit 2");
    cluster.psql(&format!("grant pg_read_all_data to {ROLE}"));
    let mut psql = cluster.client("psql");
    let mut guest = psql
        .env("PGUSER", ROLE)
        .args(["-d", "shop", "-c", "select pg_sleep(1000)"])
        .spawn()
        .unwrap();
    let there = "select count(*) from pg_stat_activity where datname = 'shop'";
    cluster.wait_until(there, "1");
    let mut running = site
        .pgstow(&["dump", "shop", "--no-globals"])
        .env("PGSTOW_CLUSTER_USER", ROLE)
        .env("PGSTOW_CONNECT_RETRIES", "100")
        .env("PGSTOW_CONNECT_DELAY", "1s")
        .expect_warning("trying again")
        .spawn();
    while !running.stderr().contains("trying again") {
        assert!(running.is_running(), "{}", running.stderr());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    guest.kill().unwrap();
    guest.wait().unwrap();
    cluster.psql("select pg_terminate_backend(pid) from pg_stat_activity where query like '%sleep(1000)%' and pid <> pg_backend_pid()");
    let output = running.wait();
    assert!(output.status.success(), "{output}");
    let made = output.json();
    assert_eq!(made["dumps"][0]["database"], "shop");
    // What its own session says is refused at once.
    site.pgstow(&["dump", "shop", "--no-globals"])
        .env("PGSTOW_CLUSTER_USER", "nobody")
        .env("PGSTOW_CONNECT_RETRIES", "0")
        .fails(1)
        .stderr_contains("role \"nobody\" does not exist");
}

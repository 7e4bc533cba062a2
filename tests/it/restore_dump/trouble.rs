//! What goes wrong is told, and leaves nothing behind.

use std::fs;

use rustix::process::Signal;

use super::{Site, failed, make_shop, results};
use crate::harness::{Shutdown, pg};

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
        std::thread::sleep(std::time::Duration::from_millis(1100));
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
    site.assert_clean("shop");
}

/// Its rows take long to be restored, each.
fn make_it_slow(site: &Site) {
    site.sql(
        "shop",
        "create function slow(int) returns bool language sql immutable as 'select true';
         create table waits (x int check (slow(x)));
         insert into waits values (1);
         create or replace function slow(int) returns bool language sql immutable
           as 'select pg_sleep(600) is not null'",
    );
}

#[test]
fn what_is_stopped_or_killed_leaves_no_server_and_no_database() {
    let site = Site::start(pg(15));
    make_shop(&site.stow.cluster, "shop");
    make_it_slow(&site);
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
    make_it_slow(&site);
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
    let running = verify("right")
        .expect_warning("is left behind")
        .expect_warning("trying again")
        .spawn();
    let waits = "select count(*) from pg_stat_activity where query like 'COPY public.waits%' and state = 'active'";
    site.stow.cluster.wait_until(waits, "1");
    // Its arguments are everybody's to read.
    let processes = fs::read_dir("/proc").unwrap().flatten();
    for process in processes {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&line).contains("PASSWORD=right"));
    }
    site.stow.cluster.stop(Shutdown::Immediate);
    assert_eq!(running.wait().status.code(), Some(1));
    site.stow.cluster.start();
    // No verdict on the dump was kept.
    let verified = site.stow.root().join("main/verified");
    assert!(!verified.exists() || fs::read_dir(verified).unwrap().next().is_none());
}

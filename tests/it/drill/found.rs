//! What was wrong before the backup, or with the host.

use super::{Site, result, says};
use crate::harness::{FullDisk, PgBin, on_every_major, pg};

on_every_major!(what_was_wrong_before_the_backup_is_found);

/// An index in the order of a comparison that was the other way round when it was built.
const LIES: &str = "create function compare(int, int) returns int language sql immutable strict \
       as 'select pg_catalog.btint4cmp($2, $1)'; \
     create operator class lying for type int using btree as operator 1 <, operator 2 <=, operator 3 =, \
       operator 4 >=, operator 5 >, function 1 compare(int, int); \
     create table lied_to as select generate_series(1, 2000) n; \
     create index lies on lied_to (n lying); \
     create or replace function compare(int, int) returns int language sql immutable strict \
       as 'select pg_catalog.btint4cmp($1, $2)'";

fn what_was_wrong_before_the_backup_is_found(pg: PgBin) {
    let site = Site::start(pg);
    let cluster = &site.stow.cluster;
    site.stow.backup(&[]);
    site.proves(site.drill(&[]));

    // A statement that is not true, some that fail or can't be run at all, and all are told.
    let statements = "SELECT true; SELECT true\nSELECT count(*) > 9000 FROM shop.orders\n\
         DELETE FROM shop.orders RETURNING true\nSELECT true FROM shop.nothing";
    let drill = site.drill(&[]).env("PGSTOW_DRILL_SQL", statements);
    let told = says(&site.finds(drill, &["sql"]), "sql");
    assert!(
        told.contains("f, not true") || told.contains("false, not true"),
        "{told}"
    );
    for words in ["shop.nothing", "multiple commands", "read-only"] {
        assert!(told.contains(words), "{words:?} in {told}");
    }
    let monitor = site.stow.tool.command(&["monitor", "--only", "drill"]);
    drop(monitor.fails(2).stdout_contains("what drill.sql"));
    let aged = || site.drill(&[]).env("PGSTOW_DRILL_RECOVERY_POINT", "0s");
    let told = says(&site.finds(aged(), &["recovery_point"]), "recovery_point");
    assert!(told.contains("no transaction came behind"), "{told}");
    cluster.psql("create table later as select 1 n");
    cluster.switch_wal();
    let drill = aged();
    let told = says(&site.finds(drill, &["recovery_point"]), "recovery_point");
    assert!(told.contains("more than"), "{told}");

    // A table that somebody emptied, an index that lies, one that is not valid, a foreign key that was never
    // checked, a sequence that is behind.
    cluster.psql("truncate shop.orders");
    cluster.psql(LIES);
    cluster.psql("insert into shop.customer (id, name) values (1000, 'far ahead')");
    cluster.psql(
        "create table child (customer int); \
         alter table child add foreign key (customer) references shop.customer not valid",
    );
    cluster.psql("create table twice as select 1 n from generate_series(1, 2)");
    cluster
        .try_psql(
            "postgres",
            "create unique index concurrently never on twice (n)",
        )
        .unwrap_err();
    site.stow.backup(&[]);
    let report = site.finds(
        site.drill(&[]),
        &[
            "contents",
            "indexes",
            "foreign_keys",
            "sequences",
            "amcheck",
        ],
    );
    for (check, words) in [
        ("contents", "table shop.orders is empty, and had rows"),
        ("indexes", "public.never is not valid"),
        ("foreign_keys", "of public.child is NOT VALID"),
        ("sequences", "customer_id_seq\" is at 100"),
        (
            "amcheck",
            "item order invariant violated for index \"lies\"",
        ),
    ] {
        let told = says(&report, check);
        assert!(told.contains(words), "{words:?} in {told}");
    }
}

/// A timer that is there on every host must not alarm one that makes dumps alone.
#[test]
fn where_only_dumps_are_made_nothing_is_proven_and_nobody_alarmed() {
    let site = Site::start(pg(15));
    let drill = site.drill(&[]).fails(1);
    drop(drill.stderr_contains("no complete backup"));
    let dump = site.stow.tool.command(&["dump", "postgres"]);
    dump.env("PGSTOW_CLUSTER_USER", "postgres").ok();
    let report = site.drill(&[]).ok().json();
    assert_eq!(report["good"], false);
    let why = report["not_here"].as_str().unwrap();
    assert!(why.contains("only dumps"), "{why}");
    assert!(!site.stow.root().join("main/drills").exists());
}

/// What the living server has from before must be in the restored one; what it has since then need not.
#[test]
fn what_lives_and_was_not_backed_up_is_found() {
    let site = Site::start(pg(17));
    let cluster = &site.stow.cluster;
    site.stow.backup(&[]);
    cluster.switch_wal();
    cluster.psql("create extension pg_surgery; create table later (n int)");
    let report = site.proves(site.drill(&[]));
    let told = says(&report, "living_server");
    assert!(told.contains("objects of the living server"), "{told}");
    // As if it had been there at all times, and a backup had lost it.
    cluster.psql(
        "select heap_force_freeze('pg_class', array(select ctid from pg_class where relname = 'later'))",
    );
    let report = site.finds(site.drill(&[]), &["living_server"]);
    let told = says(&report, "living_server");
    assert!(told.contains("table public.later is not there"), "{told}");
    // Once it is archived it is there.
    cluster.switch_wal();
    site.proves(site.drill(&[]));
}

/// A database that lets nobody in is looked into, too.
#[test]
fn what_is_in_a_closed_database_is_found() {
    let site = Site::start(pg(15));
    let cluster = &site.stow.cluster;
    cluster.psql("create database closed");
    cluster.psql_in("closed", "create table kept as select 1 n");
    let close = |closed: bool| {
        cluster.psql(&format!(
            "alter database closed allow_connections {}",
            !closed
        ));
    };
    close(true);
    site.stow.backup(&[]);
    cluster.switch_wal();
    let report = site.proves(site.drill(&[]));
    let told = says(&report, "contents");
    assert!(told.contains("3 databases"), "{told}");
    close(false);
    cluster.psql_in("closed", "truncate kept");
    close(true);
    cluster.switch_wal();
    let report = site.finds(site.drill(&[]), &["contents"]);
    let told = says(&report, "contents");
    assert!(
        told.contains("closed: table public.kept is empty"),
        "{told}"
    );
}

#[test]
fn what_hinders_the_server_is_told() {
    let site = Site::start(pg(16));
    site.stow.backup(&[]);
    // Not at once what it is on this host, but told with the server's words.
    let drill = site.drill(&[]).env(
        "PGSTOW_DRILL_SETTINGS",
        "shared_preload_libraries = not_there",
    );
    let report = site.finds(drill, &["recovery"]);
    let told = says(&report, "recovery");
    assert!(
        told.contains("could not access file \"not_there\""),
        "{told}"
    );
    assert_eq!(result(&report, "checksums"), "skipped");
    let bad = site.drill(&[]).env("PGSTOW_DRILL_SETTINGS", "nothing");
    bad.fails(2).stderr_contains("not a server's setting");
    // Before anything is restored, and without making what may be a disk that is not mounted.
    let away = site.scratch.join("away");
    let drill = site.drill(&["--scratch", away.to_str().unwrap()]);
    drop(drill.fails(1).stderr_contains("there is no folder"));
    assert!(!away.exists());
    let long = site.scratch.folder(&"x".repeat(90));
    let drill = site.drill(&["--scratch", long.to_str().unwrap()]);
    drop(drill.fails(1).stderr_contains("longer than 107 bytes"));
    assert_eq!(std::fs::read_dir(&long).unwrap().count(), 0);
    site.assert_clean();
}

/// On a host that may only read there.
#[test]
fn what_can_not_be_filed_is_told_all_the_same() {
    let site = Site::start(pg(18));
    site.stow.backup(&[]);
    site.proves(site.drill(&[]));
    let reports = site.stow.root().join("main/drills");
    let mode = |mode: u32| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(&reports, mode).unwrap();
    };
    mode(0o500);
    let report = site.drill(&[]).fails(1).json();
    mode(0o700);
    assert_eq!(report["good"], true, "{report}");
    assert!(
        report["report"].is_null() && report["not_filed"].is_string(),
        "{report}"
    );
    assert_eq!(result(&report, "recovery"), "passed");
    assert_eq!(std::fs::read_dir(&reports).unwrap().count(), 2);
}

#[test]
fn too_little_room_is_told_before_anything_is_written() {
    let site = Site::start(pg(15));
    site.stow.backup(&[]);
    let disk = FullDisk::mount(&site.scratch, "small", 20 << 20);
    let small = disk.path().to_str().unwrap();
    let output = site.drill(&["--scratch", small]).fails(1);
    let output = output.stderr_contains("a drill needs");
    drop(output.stderr_contains("are free"));
    assert_eq!(std::fs::read_dir(disk.path()).unwrap().count(), 0);
    assert!(!site.stow.root().join("main/drills").exists());
    assert!(
        !site
            .objects()
            .keys()
            .any(|path| path.to_string_lossy().contains("/restores/"))
    );
}

/// The server of a drill does nothing that the backed-up one was made for: no subscription connects, no archive
/// command runs, whatever postgresql.auto.conf says.
#[test]
fn settings_of_the_original_reach_nobody() {
    let site = Site::start(pg(17));
    let cluster = &site.stow.cluster;
    let proof = site.scratch.join("state/archived");
    for (name, value) in [
        ("shared_buffers", "64GB"),
        ("archive_mode", "always"),
        ("listen_addresses", "*"),
        ("ssl", "on"),
        ("synchronous_standby_names", "nobody"),
        ("log_directory", "/nowhere"),
        ("logging_collector", "on"),
    ] {
        cluster.psql(&format!("alter system set {name} = '{value}'"));
    }
    let command = format!("touch {}", proof.display());
    cluster.psql(&format!("alter system set archive_command = '{command}'"));
    // Not reloaded here: the backup has the file.
    site.stow.backup(&[]);
    site.proves(site.drill(&[]));
    assert!(!proof.exists());
}

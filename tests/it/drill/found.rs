//! What was wrong before the backup, and what is no fault of it.

use super::{Site, result, says};
use crate::harness::{PgBin, Shutdown, on_every_major, pg};

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
    // Nothing that was found hides anything else.
    let monitor = site.stow.tool.command(&["monitor", "--only", "drill"]);
    let told = monitor.fails(2).stdout_contains("contents: ");
    drop(told.stdout_contains("; and by indexes, foreign_keys, sequences, amcheck"));
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

/// What was on a timeline that was left was never on the one that came of it.
#[test]
fn a_drill_is_compared_with_what_its_timeline_came_by() {
    let mut site = Site::start(pg(17));
    site.stow.backup(&[]);
    site.stow
        .cluster
        .psql("select pg_create_restore_point('before')");
    site.stow.cluster.psql("create schema left_behind");
    site.stow.cluster.switch_wal();
    site.proves(site.drill(&[]));
    site.stow.cluster.stop(Shutdown::Fast);
    let back = ["restore", "--replace", "--target-name", "before"];
    site.stow.tool.command(&back).ok();
    site.stow.cluster.recover();
    let cluster = &site.stow.cluster;
    assert_eq!(
        cluster.psql("select timeline_id from pg_control_checkpoint()"),
        "2"
    );
    // Behind all that the first drill saw.
    for _ in 0..4 {
        cluster.psql("create table if not exists after (n int); insert into after values (1)");
        cluster.switch_wal();
    }
    site.proves(site.drill(&[]));
    cluster.psql("drop schema shop cascade");
    cluster.switch_wal();
    let told = says(&site.finds(site.drill(&[]), &["contents"]), "contents");
    assert!(told.contains("schema shop is gone"), "{told}");
}

/// What can't be entered was not looked at, and no check says that it is well.
#[test]
fn a_database_that_cant_be_entered_is_not_well() {
    let site = Site::start(pg(16));
    let cluster = &site.stow.cluster;
    cluster.psql("create database broken");
    let oid = cluster.psql("select oid from pg_database where datname = 'broken'");
    cluster.psql("checkpoint");
    let map = cluster
        .data_dir()
        .join(format!("base/{oid}/pg_filenode.map"));
    std::fs::remove_file(map).unwrap();
    let base = site.stow.base(&[]);
    base.expect_warning("the names of relations").ok();
    let report = site.finds(site.drill(&[]), &["contents"]);
    assert!(says(&report, "contents").contains("broken"), "{report}");
    for check in ["indexes", "amcheck"] {
        assert_eq!(result(&report, check), "skipped", "{report}");
        assert!(says(&report, check).contains("broken"), "{report}");
    }
}

/// What pgstow was loading at that moment is whole for nobody, and gone soon.
#[test]
fn what_was_there_for_a_while_alone_is_no_fault() {
    let site = Site::start(pg(16));
    let cluster = &site.stow.cluster;
    let passing = "pgstow_restore_5bce98f7_0a1b2c3d_12_345";
    cluster.psql(&format!("create database {passing}"));
    let behind = "create table half (id serial primary key); insert into half values (40000)";
    cluster.psql_in(passing, behind);
    site.stow.backup(&[]);
    cluster.switch_wal();
    site.proves(site.drill(&[]));
    cluster.psql(&format!("drop database {passing}"));
    cluster.switch_wal();
    site.proves(site.drill(&[]));
}

/// Whose locks nobody takes back.
#[test]
fn prepared_transactions_hold_nobody_up() {
    let mut site = Site::start(pg(17));
    let cluster = &mut site.stow.cluster;
    cluster.psql("alter system set max_prepared_transactions = 5");
    cluster.restart();
    site.stow.backup(&[]);
    let cluster = &site.stow.cluster;
    cluster.psql("create database other");
    cluster.psql_in(
        "other",
        "begin; create table later (n int); prepare transaction 'it''s made'",
    );
    cluster.psql(
        "begin; lock table shop.orders in access exclusive mode; insert into shop.orders (customer) values (1); \
         prepare transaction 'holds'",
    );
    cluster.switch_wal();
    let drill = site.drill(&[]).env(
        "PGSTOW_DRILL_SQL",
        "SELECT count(*) = 5000 FROM shop.orders",
    );
    let report = site.proves(drill);
    let told = says(&report, "recovery");
    for words in ["\"holds\" was open", "\"it's made\" was open"] {
        assert!(told.contains(words), "{words:?} in {told}");
    }
    let file = site.scratch.join("orders.sql");
    let to_file = ["--to-file", file.to_str().unwrap()];
    let restore = ["restore", "--table", "postgres.shop.orders"];
    let scratch = ["--scratch", site.drills.to_str().unwrap()];
    let arguments = [&restore[..], &to_file[..], &scratch[..]].concat();
    let restore = site.stow.tool.command(&arguments);
    restore.env("PGSTOW_CLUSTER_USER", "postgres").ok();
    site.assert_clean();
}

/// What roles and databases set is in force in no drill.
#[test]
fn settings_of_roles_keep_nobody_out() {
    let site = Site::start(pg(18));
    let cluster = &site.stow.cluster;
    cluster.psql("create role reader");
    cluster.psql("create database other");
    cluster.psql_in("other", "create table locked as select 1 n");
    cluster.psql("alter role current_user in database other set role = 'reader'");
    cluster.psql("alter database other set default_transaction_read_only = on");
    site.stow.backup(&[]);
    cluster.switch_wal();
    let report = site.proves(site.drill(&[]));
    let told = says(&report, "contents");
    assert!(told.contains("3 databases"), "{told}");
    assert!(says(&report, "amcheck").starts_with("all "), "{report}");
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

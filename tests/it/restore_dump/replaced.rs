//! `restore-dump --clean`: what keeps a database from being replaced is found before the restore, and what comes up
//! behind it costs neither the old database nor the new one.

use std::fs;

use super::{Site, conninfo, make_shop};
use crate::harness::{Shutdown, pg, user};

const CLEAN: [&str; 4] = ["restore-dump", "shop", "--clean", "--yes"];

#[test]
fn what_can_not_be_dropped_is_told_before() {
    let mut site = Site::start(pg(17));
    let cluster = &mut site.stow.cluster;
    cluster.psql("alter system set wal_level = 'logical'");
    cluster.psql("alter system set max_prepared_transactions = 2");
    cluster.stop(Shutdown::Fast);
    cluster.start();
    make_shop(cluster, "shop");
    site.dump("shop", &[]);
    let subscription = "create subscription feed connection 'dbname=nowhere' publication p
        with (connect = false, slot_name = none, enabled = false)";
    for (does, undoes, told) in [
        (
            "create database shop_before_restore",
            "drop database shop_before_restore",
            "there is a database \"shop_before_restore\"",
        ),
        (
            "begin; create table t (n int); prepare transaction 'half'",
            "rollback prepared 'half'",
            "it has the prepared transaction half",
        ),
        (
            "alter database shop is_template true",
            "alter database shop is_template false",
            "it is a template",
        ),
        (
            subscription,
            "drop subscription feed",
            "it has the subscription feed",
        ),
        (
            "select pg_create_logical_replication_slot('reader', 'test_decoding')",
            "select pg_drop_replication_slot('reader')",
            "the replication slot reader would go with it",
        ),
    ] {
        let database = if does.contains("database") {
            "postgres"
        } else {
            "shop"
        };
        site.sql(database, does);
        site.pgstow(&CLEAN).fails(1).stderr_contains(told);
        site.sql(database, undoes);
        site.assert_clean("shop");
    }
    // A plain dump doesn't tell what the database had besides: the old one does. Where it lies no dump tells.
    let cluster = &site.stow.cluster;
    let place = site.scratch.folder("place");
    user::own(&place);
    cluster.psql(&format!(
        "create tablespace elsewhere location '{}'",
        place.display()
    ));
    cluster.psql("alter database shop set tablespace elsewhere");
    for sql in [
        "alter database shop connection limit 7",
        "alter database shop set search_path = public, \"odd\"",
        "comment on database shop is 'it''s'",
        "revoke connect on database shop from public",
        "grant create on database shop to \"odd role\"",
    ] {
        cluster.psql(sql);
    }
    site.dump("shop", &["--format", "plain"]);
    let had = || {
        let described = cluster.psql(
            "select datconnlimit, (select array_agg(one::text order by one::text) from unnest(datacl) one), datcollate, encoding, shobj_description(oid, 'pg_database'),
                 (select spcname from pg_tablespace t where t.oid = dattablespace)
             from pg_database where datname = 'shop'",
        );
        described + &cluster.psql("select setconfig from pg_db_role_setting")
    };
    let before = had();
    site.pgstow(&CLEAN).ok();
    assert_eq!(had(), before);
    site.assert_clean("shop");
    // Nobody restores what is not named.
    site.pgstow(&["restore-dump", "--yes", "--clean"]).fails(2);
}

#[test]
fn who_comes_in_between_costs_nobody_a_database() {
    let site = Site::start(pg(15));
    let cluster = &site.stow.cluster;
    make_shop(cluster, "shop");
    let go = site.make_it_wait();
    let source = cluster.dump("shop");
    site.dump("shop", &["--format", "plain"]);
    let restoring =
        "from pg_stat_activity where query like 'COPY public.waits%' and state = 'active'";
    let guest_in = |database: &str| {
        let mut psql = cluster.client("psql");
        let sleeps = psql.args(["-d", database, "-c", "select pg_sleep(1000)"]);
        let guest = sleeps.spawn().unwrap();
        let there = format!(
            "select count(*) from pg_stat_activity where query like '%sleep(1000)%' and datname = '{database}'"
        );
        cluster.wait_until(&there, "1");
        guest
    };
    let leave = |mut guest: std::process::Child| {
        guest.kill().unwrap();
        guest.wait().unwrap();
        cluster.psql("select pg_terminate_backend(pid) from pg_stat_activity where query like '%sleep(1000)%' and pid <> pg_backend_pid()");
        cluster.wait_until(
            "select count(*) from pg_stat_activity where query like 'select pg_sleep(1000)%'",
            "0",
        );
    };
    // In the old one.
    let running = site.pgstow(&CLEAN).spawn();
    cluster.wait_until(&format!("select count(*) {restoring}"), "1");
    let guest = guest_in("shop");
    fs::write(&go, "").unwrap();
    let output = running.wait();
    assert_eq!(output.status.code(), Some(1), "{output}");
    let output = output.stderr_contains("database \"shop\" is as it was");
    let output = output.stderr_contains("beside it, as \"shop_after_restore\"");
    drop(output.stderr_contains("1 sessions are in it"));
    leave(guest);
    // No next run takes it away.
    let others = ["restore-dump", "shop", "-d", "other"];
    site.pgstow(&others).ok();
    site.assert_clean("other,shop,shop_after_restore");
    assert!(cluster.dump("shop_after_restore") == source);
    cluster.psql("drop database other");
    cluster.psql("drop database shop_after_restore");
    // In the new one: at each moment there is a database of that name.
    fs::remove_file(&go).unwrap();
    let mut running = site.pgstow(&CLEAN).spawn();
    cluster.wait_until(&format!("select count(*) {restoring}"), "1");
    let beside = cluster.psql(&format!("select datname {restoring}"));
    let guest = guest_in(&beside);
    fs::write(&go, "").unwrap();
    while running.is_running() {
        let named = "select count(*) from pg_database where datname = 'shop'";
        assert_eq!(cluster.psql(named), "1");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let output = running.wait();
    assert_eq!(output.status.code(), Some(1), "{output}");
    drop(output.stderr_contains(&format!("beside it, as \"{beside}\"")));
    leave(guest);
    assert!(cluster.dump("shop") == source);
    assert!(cluster.dump(&conninfo(&beside)) == source);
    site.pgstow(&CLEAN).ok();
    site.assert_clean("shop");
}

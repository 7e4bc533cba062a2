//! Roles that may do a part of it: what a restore and a trial leave out, and what is told.

use super::{Site, make_shop};
use crate::harness::pg;

#[test]
fn a_server_that_runs_gets_no_owners() {
    let site = Site::start(pg(16));
    let cluster = &site.stow.cluster;
    make_shop(cluster, "shop");
    site.dump("shop", &[]);
    let other = crate::harness::Cluster::build(&site.scratch, pg(16))
        .name("other")
        .start();
    // The policy speaks of a role, and is no right. That the server lacks it says nothing of the dump.
    site.pgstow(&["verify", "shop"])
        .env("PGSTOW_VERIFY_HOST", other.host())
        .fails(1)
        .stderr_contains("role \"odd role\" does not exist")
        .stderr_contains("make its roles there");
    let listed = site.pgstow(&["list", "--dumps"]).ok().json();
    assert!(listed["dumps"][0]["verified"].is_null(), "{listed}");
    other.psql("create role \"odd role\"");
    let owners = "select count(*) from pg_class where relname = 'orders' and relowner <> 10::oid";
    let sql = format!("select ({owners}) = 0");
    site.pgstow(&["verify", "shop"])
        .env("PGSTOW_VERIFY_HOST", other.host())
        .env("PGSTOW_VERIFY_SQL", &sql)
        .ok();
    // On one of its own they are as they were.
    let report = site
        .pgstow(&["verify", "shop"])
        .env("PGSTOW_VERIFY_SQL", &sql)
        .fails(3);
    assert_eq!(super::failed(&report), ["sql"], "{report}");
    assert_eq!(Site::databases(&other), "");
}

/// From 16 on who is a member of a role need not have its rights.
#[test]
fn a_member_that_inherits_nothing_gives_the_database_away() {
    let site = Site::start(pg(17));
    let cluster = &site.stow.cluster;
    cluster.psql("create role keeper");
    cluster.psql("create database shop owner keeper");
    site.dump("shop", &[]);
    cluster.psql(
        "create role restorer login createdb; grant keeper to restorer with inherit false, set true",
    );
    let restore = |name: &str| {
        site.pgstow(&["restore-dump", "shop", "-d", name])
            .env("PGSTOW_CLUSTER_USER", "restorer")
    };
    let report = restore("copy").ok().json();
    assert_eq!(report["owner"], "keeper", "{report}");
    // In the place of one, too: the tablespace that all have needs no right.
    cluster.psql("create role heir login createdb; grant keeper to heir with inherit true");
    // Who has its rights restores its tables, too.
    site.sql(
        "shop",
        "create table t as select 7 as n; alter table t owner to keeper",
    );
    site.dump("shop", &[]);
    let copied = site.pgstow(&["restore-dump", "shop", "-d", "heirs"]);
    copied.env("PGSTOW_CLUSTER_USER", "heir").ok();
    assert_eq!(site.sql("heirs", "select n from t"), "7");
    cluster.psql("drop database heirs");
    site.pgstow(&["restore-dump", "shop", "--clean", "--yes"])
        .env("PGSTOW_CLUSTER_USER", "heir")
        .ok();
    // A primary that writes nothing for this role is no standby.
    cluster.psql("alter role restorer set default_transaction_read_only = on");
    restore("other")
        .fails(1)
        .stderr_contains("read-only transaction")
        .stderr_contains("default_transaction_read_only is on");
    site.assert_clean("copy,shop");
}

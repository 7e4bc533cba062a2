//! A database with a subscription: what a restore makes for a while always goes, and the slot of the source is left alone.

use super::{Site, stem};
use crate::harness::{Cluster, pg};

const SUBSCRIPTION: &str = "create subscription feed connection 'dbname=nowhere' publication p
    with (connect = false, slot_name = 'feed', enabled = false)";

#[test]
fn subscriptions_keep_no_database_of_ours_from_being_dropped() {
    let site = Site::start(pg(16));
    let cluster = &site.stow.cluster;
    cluster.psql("create role missing");
    cluster.psql("create database subdb");
    site.sql(
        "subdb",
        "create table t as select 7 as n; create table u (n int); alter table u owner to missing",
    );
    site.sql("subdb", SUBSCRIPTION);
    let plain = stem(&site.dump("subdb", &["--format", "plain"]));
    let custom = stem(&site.dump("subdb", &[]));
    // A single table of a plain dump goes through a database of all.
    let one = ["restore-dump", &plain, "--table", "t", "-d", "subt"];
    site.pgstow(&one).ok();
    assert_eq!(site.sql("subt", "select n from t"), "7");
    for dump in [&plain, &custom] {
        let verify = site
            .pgstow(&["verify", dump])
            .env("PGSTOW_VERIFY_PLACE", "server");
        verify.ok();
    }
    site.assert_clean("subdb,subt");
    // What fails behind the subscription, or is left of a run that was killed.
    let other = Cluster::build(&site.scratch, pg(16)).name("other").start();
    let restore = site.pgstow(&["restore-dump", &plain, "-d", "subc"]);
    restore
        .env("PGSTOW_CLUSTER_HOST", other.host())
        .fails(1)
        .stderr_contains("role \"missing\" does not exist");
    assert_eq!(Site::databases(&other), "");

    // A copy that stays has one, with the slot of the source: that is told.
    let copy = site.pgstow(&["restore-dump", &custom, "-d", "copy"]);
    copy.expect_warning(
        "has subscription \"feed\", disabled, with the slot \"feed\" of the source",
    )
    .ok();
    let slots = "select subslotname, subenabled from pg_subscription s join pg_database d on d.oid = subdbid
        where datname = 'copy'";
    assert_eq!(cluster.psql(slots), "feed|f");
}

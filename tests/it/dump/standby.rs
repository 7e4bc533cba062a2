//! Dumps from a standby.

use serde_json::{Value, json};

use super::{
    Site,
    described::{rows, table},
    fill,
};
use crate::harness::{Cluster, pg};

#[test]
fn a_standby_is_dumped_without_what_it_has_not_got() {
    let site = Site::start(pg(17));
    let cluster = &site.stow.cluster;
    cluster.psql("create table kept as select n from generate_series(1, 3) n");
    cluster.psql("create unlogged table passing as select 1 as n");
    cluster.psql("create database shop");
    let copy = site.scratch.join("copy");
    cluster.basebackup(&copy, &["--write-recovery-conf"]);
    let mut standby = Cluster::existing(&site.scratch, pg(17), "standby", &copy);
    standby.start();
    for format in ["custom", "plain"] {
        let dump = site.dump(&["postgres", "--no-globals", "--format", format]);
        let report = dump.env("PGSTOW_CLUSTER_HOST", standby.host()).ok().json();
        let told = site.stored(&report["dumps"][0]).json;
        assert_eq!(told["missing"], json!([]));
        assert_eq!(rows(&told), [("public".to_owned(), "kept".to_owned(), 3)]);
        assert_eq!(table(&told, "passing")["rows"], Value::Null);
    }
    // Nothing can be restored into it, be it to prove a dump.
    site.dumped(&["shop"]);
    for arguments in [
        &["restore-dump", "shop", "-d", "other"][..],
        &["restore-dump", "shop", "--clean", "--yes"],
        &["verify", "shop"],
    ] {
        let command = site.stow.tool.command(arguments);
        command
            .env("PGSTOW_CLUSTER_HOST", standby.host())
            .env("PGSTOW_VERIFY_PLACE", "server")
            .fails(1)
            .stderr_contains("this server is a standby: name its primary");
    }
}

#[test]
fn a_dump_that_is_in_the_way_of_replay_says_what_to_do() {
    let site = Site::start(pg(16));
    let cluster = &site.stow.cluster;
    fill(cluster);
    cluster.psql("create table passing as select 1 as n");
    let copy = site.scratch.join("copy");
    cluster.basebackup(&copy, &["--write-recovery-conf"]);
    let mut standby = Cluster::existing(&site.scratch, pg(16), "standby", &copy);
    standby.argument("max_standby_streaming_delay=0");
    standby.start();
    let streams = "select count(*) from pg_stat_replication where state = 'streaming'";
    cluster.wait_until(streams, "1");
    let dump = || {
        let arguments = [
            "postgres",
            "--no-globals",
            "--compression",
            "none",
            "--format",
            "plain",
        ];
        site.dump(&arguments)
            .env("PGSTOW_CLUSTER_HOST", standby.host())
    };
    // pg_dump has locked it; what the primary does to it must be done here.
    let running = dump().spawn();
    standby.wait_until(
        "select count(*) > 0 from pg_stat_activity where application_name = 'pgstow' and query like 'COPY%'",
        "t",
    );
    cluster.psql("drop table passing");
    let output = running.wait();
    assert_eq!(output.status.code(), Some(1), "{output}");
    let output = output.stderr_contains("conflict with recovery");
    drop(
        output
            .stderr_contains("max_standby_streaming_delay")
            .stderr_contains("hot_standby_feedback"),
    );
    assert_eq!(site.files(), [""; 0]);
    // Nothing is in the way any more; roles and tablespaces come along.
    let all = site
        .dump(&["postgres"])
        .env("PGSTOW_CLUSTER_HOST", standby.host());
    let report = all.ok().json();
    assert_eq!(report["dumps"].as_array().unwrap().len(), 2, "{report}");
    assert_eq!(
        rows(&report["dumps"][1]),
        [("public".to_owned(), "filler".to_owned(), 120_000)]
    );
}

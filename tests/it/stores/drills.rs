//! Proof where it costs most: an encrypted chain in a bucket is drilled, its WAL looked into, and a table of it brought back.

use std::fs;

use crate::harness::{Scratch, Stow, bucket::Bucket, pg};

#[test]
fn an_encrypted_chain_in_a_bucket_is_proven_and_looked_into() {
    let (scratch, of_bucket) = (Scratch::new(), Scratch::new());
    let bucket = Bucket::moto(&of_bucket);
    let server = pg(18);
    let bindir = format!("bindir = \"{}\"", server.bindir.display());
    let library = server.bindir.join("../lib");
    let stow = Stow::build(&scratch, server)
        .url(bucket.url)
        .repo(&bucket.settings(&of_bucket))
        .repo("part_size = \"4MB\"")
        .setting(&bindir)
        .encrypted()
        .start();
    let drills = scratch.folder("drills");
    let pgstow = |arguments: &[&str]| {
        let command = stow.tool.command(&[&["--json"], arguments].concat());
        let command = command.env("LD_LIBRARY_PATH", &library);
        command.env("PGSTOW_DRILL_SCRATCH", &drills)
    };
    let main = &stow.cluster;
    main.psql("create database shop");
    main.psql_in(
        "shop",
        "create table orders as select n, repeat(md5(n::text), 20) word from generate_series(1, 20000) n",
    );
    pgstow(&["base", "--full", "--checkpoint", "fast"]).ok();
    main.psql_in("shop", "update orders set word = 'changed' where n <= 100");
    pgstow(&["base", "--incremental", "--checkpoint", "fast"]).ok();
    let since = main.psql(
        "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US+00')",
    );
    main.psql_in("shop", "drop table orders");
    main.switch_wal();

    let report = pgstow(&["drill"]).ok().json();
    assert_eq!(report["good"], true, "{report:#}");
    assert_eq!(report["chain_length"], 2);
    let fetched = report["phases"][0].clone();
    assert_eq!(fetched["name"], "fetch");
    assert!(fetched["bytes"].as_u64().unwrap() > 1 << 20, "{fetched}");

    let found = pgstow(&["find-target", "--since", &since]).ok().json();
    let events = found["events"].as_array().unwrap().iter();
    let losses: Vec<_> = events.filter(|event| event["loss"] == true).collect();
    assert_eq!(losses.len(), 1, "{found:#}");
    assert_eq!(losses[0]["relations"][0]["name"], "orders", "{found:#}");
    let lsn = losses[0]["lsn"].as_str().unwrap();
    let back = ["restore", "--table", "shop.public.orders", "-d", "shop"];
    let target = ["--target-lsn", lsn, "--target-exclusive"];
    let report = pgstow(&[&back[..], &target].concat());
    report.env("PGSTOW_CLUSTER_USER", "postgres").ok();
    let rows = "select count(*), count(*) filter (where word = 'changed') from orders";
    assert_eq!(main.psql_in("shop", rows), "20000|100");
    assert_eq!(fs::read_dir(&drills).unwrap().count(), 0);
}

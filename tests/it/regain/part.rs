//! A small database of a large cluster needs the room of a small one.

use serde_json::Value;

use super::but_for_sequences;
use crate::{
    drill::Site,
    harness::{FullDisk, PgBin, on_every_major, pg},
};

on_every_major!(a_small_database_needs_little_room);

fn bytes(report: &Value, name: &str) -> u64 {
    report[name].as_u64().unwrap()
}

fn a_small_database_needs_little_room(pg: PgBin) {
    let site = Site::start(pg);
    let cluster = &site.stow.cluster;
    let aside = site.scratch.folder("space");
    cluster.psql(&format!(
        "create tablespace aside location '{}'",
        aside.display()
    ));
    for database in ["market", "large"] {
        cluster.psql(&format!("create database {database}"));
    }
    const ROWS: &str = "select n, repeat(md5(n::text), 25) word from generate_series(1, 120000) n";
    cluster.psql_in("large", &format!("create table much as {ROWS}"));
    cluster.psql_in(
        "large",
        "create table elsewhere tablespace aside as select * from much limit 20000; create index on much (n)",
    );
    cluster.psql_in(
        "market",
        "create table own tablespace aside as select n from generate_series(1, 1000) n; \
         create table changes (n int primary key, word text); insert into changes select n, 'old' from generate_series(1, 5000) n",
    );
    site.stow.backup(&["--full"]);
    cluster.psql_in("market", "update changes set word = 'new' where n < 100");
    cluster.psql_in("large", "update much set word = 'x' where n % 1000 = 0");
    site.stow.backup(&["--incremental"]);

    // What replay meets in files that hold nothing: pages changed, extended, cut off, rewritten, dropped, made anew.
    cluster.psql_in(
        "large",
        "update much set word = 'y' where n % 500 = 0; insert into much select 1, 'z' from generate_series(1, 3000); \
         delete from much where n > 110000; create table later as select 1 n; drop table elsewhere",
    );
    cluster.psql_in("large", "checkpoint");
    cluster.psql_in("large", "vacuum much");
    cluster.psql_in("large", "update much set n = n where n % 700 = 0");
    cluster.psql_in("market", "update changes set word = 'newer' where n % 10 = 0; delete from changes where n > 4000; drop table own");
    let market = but_for_sequences(&cluster.dump("market"));
    let dropped = cluster.psql_in("market", "select pg_current_xact_id(); drop table changes");
    let dropped = dropped.lines().next().unwrap();
    cluster.switch_wal();

    let before = ["--target-xid", dropped, "--target-exclusive"];
    let whole = ["--database", "market", "--to-database", "market_before"];
    let wanted = [&whole[..], &before].concat();
    let plan = |more: &[&str]| site.regain(&[&wanted[..], &["--plan"], more].concat());
    let planned = plan(&[]).ok().json();
    assert_eq!(planned["state"], "planned");
    assert!(planned["refused"].is_null(), "{planned}");
    let (part, all) = (
        bytes(&planned, "restored_bytes"),
        bytes(&planned, "backup_bytes"),
    );
    assert!(all > 100 << 20 && part < all - (100 << 20), "{planned}");
    // Neither folder nor database were made.
    site.assert_clean();
    let there = "select count(*) from pg_database where datname = 'market_before'";
    assert_eq!(cluster.psql(there), "0");

    // Where all of it would not fit.
    let disk = FullDisk::mount(
        &site.scratch,
        "small",
        bytes(&planned, "needed_bytes") + (4 << 20),
    );
    let small = ["--scratch", disk.path().to_str().unwrap()];
    let report = site.regain(&[&wanted[..], &small].concat()).ok().json();
    assert_eq!(bytes(&report, "restored_bytes"), part);
    assert!(but_for_sequences(&cluster.dump("market_before")) == market);
    let left: Vec<_> = std::fs::read_dir(disk.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    disk.fill(90);
    let another = ["--database", "market", "--to-database", "another", "--plan"];
    let command = [&another[..], &before, &small].concat();
    let output = site.regain(&command).fails(1).json();
    let refused = output["refused"].as_str().unwrap();
    assert!(refused.contains("are needed in"), "{refused}");

    // Another database has the name by now, and came from one whose files were left out: all is restored.
    cluster.psql("alter database market rename to gone");
    cluster.psql("create database market template large strategy file_copy");
    let copied = but_for_sequences(&cluster.dump("market"));
    cluster.switch_wal();
    let report = site
        .regain(&["--database", "market", "--to-database", "market_copied"])
        .ok()
        .json();
    assert_eq!(
        bytes(&report, "restored_bytes"),
        bytes(&report, "backup_bytes")
    );
    assert!(but_for_sequences(&cluster.dump("market_copied")) == copied);
    site.assert_clean();
}

/// Files that hold nothing are only filled by whole pages.
#[test]
fn without_whole_pages_in_wal_all_is_restored() {
    let mut site = Site::start(pg(17));
    let cluster = &site.stow.cluster;
    for database in ["market", "large"] {
        cluster.psql(&format!("create database {database}"));
    }
    cluster.psql_in(
        "large",
        "create table much as select generate_series(1, 50000) n",
    );
    cluster.psql_in(
        "market",
        "create table own as select generate_series(1, 100) n",
    );
    site.stow.backup(&[]);
    let cluster = &mut site.stow.cluster;
    cluster.psql("alter system set full_page_writes = off");
    cluster.restart();
    // Turned off behind the backup, which replay tells; then before it, which the backup tells.
    for copy in ["late", "early"] {
        if copy == "early" {
            site.stow.backup(&["--full"]);
        }
        let cluster = &site.stow.cluster;
        cluster.psql_in("large", "update much set n = n where n % 100 = 0");
        cluster.psql_in("market", "insert into own values (0)");
        cluster.switch_wal();
        let rows = cluster.psql_in("market", "select count(*) from own");
        let table = ["--table", "market.public.own", "-d", copy];
        let report = site.regain(&table).ok().json();
        assert_eq!(
            bytes(&report, "restored_bytes"),
            bytes(&report, "backup_bytes")
        );
        let back = site.stow.cluster.psql_in(copy, "select count(*) from own");
        assert_eq!(back, rows);
    }
    site.assert_clean();
}

//! What is no table: views, materialized views and sequences, and all that a schema held.

use super::{dump_of, transaction};
use crate::{
    drill::Site,
    harness::{PgBin, on_every_major, pg},
};

on_every_major!(views_and_sequences_come_back);

const SCHEMA: &str = "
    create schema s;
    create table s.orders (id serial primary key, n int);
    create table s.items (id int generated always as identity, what text);
    create sequence s.free increment 10;
    create view s.big with (security_barrier) as select id, n from s.orders where n > 5;
    comment on view s.big is 'many';
    create function s.refuse() returns trigger language plpgsql as $$ begin return null; end $$;
    create trigger refused instead of insert on s.big for each row execute function s.refuse();
    create materialized view s.sums as select n % 2 odd, sum(n) from s.orders group by 1;
    create unique index on s.sums (odd);
    create view s.top as select max(sum) from s.sums;
    create view s.what as select what from s.items;
    create type s.pair as (a int, b int);
    insert into s.orders (n) select g from generate_series(1, 10) g;
    insert into s.items (what) values ('thing')";

const SUM: &str = "select sum(sum) from s.sums";

fn views_and_sequences_come_back(pg: PgBin) {
    let site = Site::start(pg);
    let cluster = &site.stow.cluster;
    cluster.psql("create database market");
    let asked = |sql: &str| cluster.psql_in("market", sql);
    asked(SCHEMA);
    site.stow.backup(&[]);
    asked("insert into s.orders (n) values (100); refresh materialized view s.sums");
    asked("select nextval('s.free'), nextval('s.free'); grant select on s.big, s.sums to public");
    let views = ["s.big", "s.sums", "s.top"];
    let dumps = views.map(|view| dump_of(cluster, "market", view));
    let xid = transaction(
        cluster,
        "drop view s.big; drop materialized view s.sums cascade; drop sequence s.free; drop view s.what",
    );
    asked("delete from s.orders where n = 100; drop table s.items");
    cluster.switch_wal();
    let target = ["--target-xid", &xid, "--target-exclusive"];

    // Where their tables are, whose rows of now they show.
    let table = "market.s.big,market.s.sums,market.s.top,market.s.free";
    let words = ["--table", table, "-d", "market"];
    let report = site.regain(&[&words[..], &target].concat()).ok().json();
    assert_eq!(
        report["tables"],
        serde_json::json!(["s.big", "s.free", "s.sums", "s.top"])
    );
    let warnings = report["warnings"].to_string();
    assert!(
        warnings.contains("filled anew") && warnings.contains(": s.sums\""),
        "{warnings}"
    );
    assert_eq!(views.map(|view| dump_of(cluster, "market", view)), dumps);
    assert_eq!(asked(SUM), "55");
    assert_eq!(asked("select max from s.top"), "30");
    // Up to 32 numbers ahead, as after each recovery.
    assert_eq!(asked("select nextval('s.free') between 21 and 341"), "t");

    // One whose table is gone.
    let words = ["--table", "market.s.what", "-d", "market"];
    let output = site.regain(&[&words[..], &target].concat()).fails(1);
    let output = output.stderr_contains("\"s.items\" does not exist");
    drop(output.stderr_contains("is as it was"));
    assert_eq!(asked("select to_regclass('s.what') is null"), "t");

    // Elsewhere with the tables that they need, and with rows where these were asked for.
    let words = ["--table", "market.s.big,market.s.free", "-d", "views"];
    let report = site.regain(&[&words[..], &target].concat()).ok().json();
    assert_eq!(report["empty"], serde_json::json!(["s.orders"]));
    let both = "select (select count(*) from s.big), nextval('s.free') between 21 and 341";
    assert_eq!(cluster.psql_in("views", both), "0|t");
    let words = ["--table", "market.s.sums", "-d", "sums"];
    let output = site.regain(&[&words[..], &target].concat()).fails(1);
    drop(output.stderr_contains("tables that come without rows: s.orders"));
    let words = ["--table", "market.s.sums,market.s.orders", "-d", "sums"];
    site.regain(&[&words[..], &target].concat()).ok();
    assert_eq!(cluster.psql_in("sums", SUM), "155");
    site.assert_clean();
}

#[test]
fn a_whole_schema_comes_back() {
    let site = Site::start(pg(16));
    let cluster = &site.stow.cluster;
    cluster.psql("create database market");
    let asked = |sql: &str| cluster.psql_in("market", sql);
    asked(SCHEMA);
    asked("create unlogged sequence s.passing");
    site.stow.backup(&[]);
    let relations = |schema: &str| {
        asked(&format!(
            "select string_agg(relname, ',' order by relname) from pg_class where relkind in ('r', 'v', 'm', 'S') \
             and relnamespace = '{schema}'::regnamespace"
        ))
    };
    let before = relations("s");
    let tables = ["s.orders", "s.items", "s.sums", "s.big", "s.free"];
    let dumps = tables.map(|table| dump_of(cluster, "market", table));
    let xid = transaction(cluster, "delete from s.orders");
    cluster.switch_wal();
    let target = ["--target-xid", &xid, "--target-exclusive"];
    for (wrong, code, words) in [
        (
            "market.s.orders_id_seq",
            2,
            "belongs to a column of table s.orders",
        ),
        (
            "market.s.items_id_seq",
            2,
            "belongs to a column of table s.items",
        ),
        ("market.s.pair", 2, "is no table, view"),
        ("market.s.orders_pkey", 2, "is no table, view"),
        ("market.gone.*", 1, "no schema \"gone\""),
    ] {
        let command = ["--table", wrong, "-d", "other"];
        drop(site.regain(&command).fails(code).stderr_contains(words));
    }
    let all = ["--table", "market.s.*", "-d", "market"];
    let output = site.regain(&[&all[..], &target].concat()).fails(1);
    drop(output.stderr_contains("s.big is there in database"));

    // Beside the living one, where views are of the tables beside them.
    let beside = ["--to-schema", "old"];
    let report = site
        .regain(&[&all[..], &beside, &target].concat())
        .ok()
        .json();
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("sequences held: s.passing"), "{warnings}");
    assert_eq!(relations("old"), before);
    assert_eq!(asked("select count(*), max(n) from old.big"), "5|10");
    assert_eq!(asked("select max from old.top"), "30");

    // In its place, where nothing is any more.
    asked("drop schema s cascade");
    let output = site.regain(&[&all[..], &target].concat()).fails(1);
    drop(output.stderr_contains("has no schema \"s\""));
    asked(
        "create schema s; create function s.refuse() returns trigger language plpgsql as $$ begin return null; end $$",
    );
    site.regain(&[&all[..], &target].concat()).ok();
    assert_eq!(relations("s"), before);
    assert_eq!(tables.map(|table| dump_of(cluster, "market", table)), dumps);
    // With what its views need from elsewhere.
    let new = ["--table", "market.s.*", "-d", "new"];
    site.regain(&[&new[..], &target].concat()).ok();
    assert_eq!(tables.map(|table| dump_of(cluster, "new", table)), dumps);
    site.assert_clean();
}

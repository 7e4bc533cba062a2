//! Partitions, and tables that inherit: what comes back beside living ones is not among their rows before somebody puts
//! it there.

use crate::{
    drill::Site,
    harness::{PgBin, on_every_major},
};

on_every_major!(what_belongs_to_a_living_table_comes_back_apart_from_it);

const TABLES: &str = "
    create table kinds (id int primary key);
    insert into kinds select g from generate_series(0, 9) g;
    create table parent (a int); create table child (b int) inherits (parent);
    create table log (id int, at date, kind int references kinds, primary key (id, at)) partition by range (at);
    create index on log (at);
    create table log_1 partition of log for values from ('2026-01-01') to ('2026-02-01');
    create table log_2 partition of log for values from ('2026-02-01') to ('2026-03-01');
    create table log_rest partition of log default;
    create table notes (id int, at date, foreign key (id, at) references log);
    insert into child select g, g from generate_series(1, 100) g;
    insert into log select g, date '2026-01-01' + g % 90, g % 10 from generate_series(1, 900) g;
    insert into notes values (40, date '2026-01-01' + 40)";

fn what_belongs_to_a_living_table_comes_back_apart_from_it(pg: PgBin) {
    let site = Site::start(pg);
    let cluster = &site.stow.cluster;
    cluster.psql("create database shop");
    let asked = |sql: &str| cluster.psql_in("shop", sql);
    asked(TABLES);
    asked("create unlogged table fleeting as select 1 n");
    site.stow.backup(&[]);
    let transaction = |sql: &str| {
        let answer = asked(&format!("select pg_current_xact_id(); {sql}"));
        answer.lines().next().unwrap().to_owned()
    };
    let belongs = "select string_agg(inhrelid::regclass || ' ' || inhparent::regclass, ',' order by inhrelid::regclass::text) \
         from pg_inherits";
    let before = asked(belongs);
    let in_first = asked("select count(*) from log_1");
    let child = transaction("drop table child");
    let emptied = transaction("delete from log_1");
    asked("create table child (b int) inherits (parent); insert into child values (0, 0)");
    cluster.switch_wal();
    let bring = |table: &str, xid: &str, more: &[&str]| {
        let table = format!("shop.public.{table}");
        let words = ["--table", &table, "--target-xid", xid, "--target-exclusive"];
        let report = site.regain(&[&words[..], more].concat()).ok().json();
        let parents = report["parents"].as_array().unwrap().clone();
        let parents = parents.iter().map(|one| one.as_str().unwrap().to_owned());
        parents.collect::<Vec<String>>()
    };
    let beside = ["-d", "shop", "--to-schema"];

    // Living queries of what they were part of don't see them.
    let again = bring("child", &child, &[&beside[..], &["old_child"]].concat());
    assert_eq!(
        again,
        [r#"ALTER TABLE "old_child"."child" INHERIT "public"."parent";"#]
    );
    assert_eq!(asked("select count(*) from old_child.child"), "100");
    assert_eq!(asked("select count(*) from parent"), "1");
    let again = bring("log_1", &emptied, &[&beside[..], &["old_log"]].concat());
    assert_eq!(
        again,
        [
            r#"ALTER TABLE "public"."log" ATTACH PARTITION "old_log"."log_1" FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');"#
        ]
    );
    assert_eq!(asked("select count(*) from old_log.log_1"), in_first);
    assert_eq!(asked("select count(*) from log_1"), "0");
    assert_eq!(bring("kinds", &emptied, &["-d", "other"]), [""; 0]);
    // With all that it has, nothing is to be put anywhere.
    assert_eq!(bring("log", &emptied, &["-d", "whole"]), [""; 0]);
    let rows = cluster.psql_in("whole", "select count(*) from log");
    assert_eq!(rows, "900");
    bring("log_2", &emptied, &["-d", "alone"]);
    let rows = cluster.psql_in("alone", "select count(*) > 100 from log_2");
    assert_eq!(rows, "t");

    let report = site
        .regain(&["--table", "shop.public.fleeting", "-d", "other2"])
        .ok()
        .json();
    let warnings = report["warnings"].to_string();
    assert!(
        warnings.contains("unlogged tables and sequences held: public.fleeting"),
        "{warnings}"
    );

    // A partition that was dropped, in its old place.
    asked(
        "insert into log_1 select * from old_log.log_1; drop schema old_log cascade; drop schema old_child cascade",
    );
    asked("drop table notes");
    let dropped = transaction("drop table log_1");
    cluster.switch_wal();
    let again = bring("log_1", &dropped, &["-d", "shop"]);
    assert_eq!(again.len(), 1, "{again:?}");
    assert_eq!(
        asked("select count(*) from log where at < '2026-02-01'"),
        "0"
    );
    asked(&again[0]);
    let first = asked("select count(*) from log where at < '2026-02-01'");
    assert_eq!(first, in_first);
    assert_eq!(asked(belongs), before);
    let keys =
        "select count(*) from pg_constraint where conrelid = 'log_1'::regclass and contype = 'f'";
    assert_eq!(asked(keys), "1");
    site.assert_clean();
}

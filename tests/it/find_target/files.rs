//! What became of relations by their files: those that nobody knows any more, and those that are no tables.

use super::{Place, of_xid, rows, transaction};
use crate::harness::{PgBin, on_every_major, pg};

on_every_major!(relations_are_known_by_files_in_between);

/// Files that neither the backup nor the live server knows.
fn relations_are_known_by_files_in_between(pg: PgBin) {
    let place = Place::new(pg);
    let main = place.main();
    const ROWS: &str =
        "insert into wide select g, repeat(md5(g::text), 5) from generate_series(1, 2000) g;
        insert into narrow select g from generate_series(1, 2000) g";
    // One with a place for large values, and one without.
    main.psql(
        "create table wide (id int primary key, note text); create index on wide (note); create table narrow (id int); create index on narrow (id)",
    );
    main.psql(ROWS);
    place.stow.backup(&[]);
    main.psql("create table late (id int)");
    let since = place.now();
    let run = |sql: &str| transaction(main, "postgres", sql);
    main.psql("vacuum full wide");
    main.psql("cluster narrow using narrow_id_idx");
    let of_full = run("update wide set id = id + 10000 where id <= 1200");
    let of_cluster = run("delete from narrow where id <= 1300");
    main.psql("truncate wide, narrow");
    main.psql(ROWS);
    let of_truncate = run("delete from narrow; delete from wide where id <= 800");
    main.psql("reindex table wide");
    run("alter table wide alter id type bigint");
    let of_alter = run("update wide set id = id + 20000");
    main.psql("truncate wide");
    main.psql("vacuum full narrow");
    run("insert into narrow select g from generate_series(1, 2000) g");
    let of_second = run("delete from narrow");
    main.psql("truncate narrow");
    // Only the live server knows it, by another file.
    run("insert into late select g from generate_series(1, 2000) g");
    let of_late = run("delete from late");
    main.psql("truncate late");
    main.switch_wal();

    let found = place.found(&["--since", &since]);
    for (xid, relation, expected) in [
        (of_full, "wide", (0, 1200)),
        (of_cluster, "narrow", (1300, 0)),
        (of_truncate, "narrow", (2000, 0)),
        (of_truncate, "wide", (800, 0)),
        (of_alter, "wide", (0, 1200)),
        (of_second, "narrow", (2000, 0)),
        (of_late, "late", (2000, 0)),
    ] {
        let event = of_xid(&found, xid);
        let name = format!("postgres.public.{relation}");
        assert_eq!(rows(event, &name), expected, "{event:#}");
    }
    let text = found.to_string();
    assert!(!text.contains("\"name\":null"), "{found:#}");
}

/// A sequence that goes is lost, an index is not, and of an unlogged table nothing comes back.
#[test]
fn what_is_no_table_or_can_not_come_back() {
    let place = Place::new(pg(18));
    let main = place.main();
    main.psql(
        "create table t (id int); create index rebuilt on t (id); create index dropped on t (id); create index dropped_so on t (id);
         create sequence numbers; create sequence others as int;
         create unlogged table cache as select 1 as id; create unlogged table passing as select 1 as id;
         create table kept as select 1 as id",
    );
    place.stow.backup(&[]);
    let since = place.now();
    let run = |sql: &str| transaction(main, "postgres", sql);
    let sequence = run("drop sequence numbers");
    let altered = run("alter sequence others as bigint");
    let emptied = run("truncate cache, kept");
    let passing = run("drop table passing");
    main.psql("insert into cache values (2)");
    // It has another file, which is logged.
    let logged = run("alter table cache set logged");
    let again = run("truncate cache");
    main.psql("reindex index concurrently rebuilt");
    main.psql("drop index concurrently dropped_so");
    let dropped = run("drop index dropped");
    main.switch_wal();

    let found = place.found(&["--since", &since]);
    let lost = |xid| of_xid(&found, xid)["loss"] == true;
    for xid in [sequence, emptied, passing] {
        assert!(lost(xid), "{found:#}");
    }
    for xid in [altered, logged, dropped] {
        assert!(!lost(xid), "{found:#}");
    }
    assert_eq!(of_xid(&found, altered)["relations"][0]["fate"], "rewritten");
    let text = place.pgstow(&["find-target", "--since", &since]).ok();
    let text = [
        format!("transaction {sequence} dropped sequence postgres.public.numbers\n"),
        format!("transaction {altered} rewrote sequence postgres.public.others\n"),
        format!(
            "transaction {emptied} truncated postgres.public.kept, postgres.public.cache (unlogged is postgres.public.cache: no restore brings its rows back)\n"
        ),
        format!("transaction {passing} dropped postgres.public.passing (unlogged: no restore brings its rows back)\n"),
        format!("transaction {again} truncated postgres.public.cache\n"),
        "dropped or rebuilt index postgres.public.rebuilt\n".to_owned(),
        "dropped or rebuilt index postgres.public.dropped_so\n".to_owned(),
        format!("transaction {dropped} dropped index postgres.public.dropped\n"),
    ]
    .iter()
    .fold(text, |text, line| text.stdout_contains(line));
    drop(text);
}

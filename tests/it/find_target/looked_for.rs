//! What is told of a time: by table, by transaction, all of it; and what can't be told.

use std::fs;

use serde_json::Value;

use super::{Place, events, losses, of_kind, of_xid, rows, transaction, with_fate};
use crate::harness::{Shutdown, pg};

/// Some transactions among others, and what is asked about them.
#[test]
fn a_table_a_transaction_or_all_of_it() {
    let place = Place::new(pg(15));
    let main = place.main();
    let tables = "create table a (id int); insert into a select generate_series(1, 100);
                  create table b (id int); insert into b select generate_series(1, 5000)";
    main.psql(tables);
    place.stow.backup(&[]);
    // More than one segment before, and more behind.
    let filler = "select count(pg_logical_emit_message(true, 'x', repeat('x', 100000)))
                  from generate_series(1, 50)";
    main.psql(filler);
    main.switch_wal();
    let since = place.now();
    let small = transaction(main, "postgres", "delete from a where id = 7");
    main.psql("select pg_create_restore_point('here')");
    let parts = transaction(
        main,
        "postgres",
        "do $$ begin
             begin delete from b where id <= 1500; exception when division_by_zero then null; end;
             begin delete from b where id <= 3000; perform 1 / 0; exception when division_by_zero then null; end;
         end $$",
    );
    let undone = "begin; delete from b; rollback";
    main.psql(undone);
    let moved = transaction(main, "postgres", "alter table b alter id type bigint");
    let after = transaction(
        main,
        "postgres",
        "update b set id = id + 1 where id <= 4000",
    );
    main.psql("vacuum full a");
    main.psql("reindex table b");
    let until = place.now();
    main.psql(filler);
    main.psql("delete from b");
    main.switch_wal();

    let within = ["--since", &since, "--until", &until];
    let asked = |more: &[&str]| place.found(&[&within, more].concat());
    let found = asked(&[]);
    let xids = |found: &Value| -> Vec<u64> {
        let transactions = of_kind(found, "transaction").into_iter();
        let transactions = transactions.filter(|event| event["committed"] == true);
        transactions
            .map(|event| event["xid"].as_u64().unwrap())
            .collect()
    };
    let lost: Vec<_> = losses(&found)
        .iter()
        .map(|event| event["xid"].clone())
        .collect();
    assert_eq!(lost, [parts, after], "{found:#}");
    // The rows of a part that was rolled back are still there.
    assert_eq!(rows(of_xid(&found, parts), "postgres.public.b"), (1500, 0));
    assert_eq!(
        with_fate(of_xid(&found, moved), "rewritten"),
        ["postgres.public.b"]
    );
    assert_eq!(of_kind(&found, "restore_point")[0]["name"], "here");
    let deleted = found["chart"]["steps"].as_array().unwrap().iter();
    let deleted: u64 = deleted.map(|step| step["deleted"].as_u64().unwrap()).sum();
    assert!(deleted >= 1501, "{found:#}");
    // It was not all read.
    let total = place.stow.list()["wal"][0]["segments"].as_u64().unwrap();
    let read = found["segments"].as_u64().unwrap();
    assert!(read + 8 < total, "{read} of {total}");

    assert_eq!(xids(&asked(&["--table", "a"]))[0], small);
    assert_eq!(
        xids(&asked(&["--table", "public.b"]))[..3],
        [parts, moved, after]
    );
    assert_eq!(xids(&asked(&["--xid", &small.to_string()])), [small]);
    let part = (parts + 1).to_string();
    assert_eq!(xids(&asked(&["--xid", &part])), [parts]);
    let all = asked(&["--all"]);
    let undone = of_kind(&all, "transaction");
    let undone = undone.iter().filter(|event| event["committed"] == false);
    let undone: Vec<u64> = undone
        .map(|event| rows(event, "postgres.public.b").0)
        .collect();
    // The part that was rolled back, then the whole one.
    assert_eq!(undone, [1500, 3500]);
    // However many read at once, it is told in the same order.
    assert_eq!(all, asked(&["--all", "--jobs", "1"]));
    assert_eq!(all, asked(&["--all", "--jobs", "7"]));

    let text = place.pgstow(&[&["find-target"], &within[..]].concat()).ok();
    text.stdout_contains("LOST:\n")
        .stdout_contains(&format!(
            "transaction {parts} deleted 1500 rows of postgres.public.b"
        ))
        .stdout_contains("restore point \"here\"")
        .stdout_contains(" < ");
    transaction(
        main,
        "postgres",
        "create schema \"s.t\"; create table \"s.t\".\"a, \"\"b\"\"\" as select 1 n from generate_series(1, 2000)",
    );
    transaction(main, "postgres", "delete from \"s.t\".\"a, \"\"b\"\"\"");
    main.switch_wal();
    let name = r#"postgres."s.t"."a, ""b""""#;
    let command = ["find-target", "--since", &until, "--table", name];
    let text = place.pgstow(&command).ok();
    drop(text.stdout_contains(&format!("deleted 2000 rows of {name}")));

    for (arguments, code) in [
        (&["--around", "2026-11-21 14:30:00"][..], 2),
        (&["--since", &since, "--table", "a.b.c.d"], 2),
        (&["--table", "a"], 2),
        (&["--since", &until, "--until", &since], 2),
        (&["--since", &since, "--table", "shop.a"], 1),
    ] {
        place
            .pgstow(&[&["find-target"], arguments].concat())
            .fails(code);
    }
}

/// A segment that is gone or damaged, a time that the archive does not reach, and two timelines.
#[test]
fn what_is_not_known_is_said() {
    let mut place = Place::new(pg(17));
    let main = place.main();
    main.psql("create table a as select generate_series(1, 9000) as id");
    place.stow.backup(&[]);
    main.switch_wal();
    let since = place.now();
    // Larger than a segment, so that it goes on in others.
    let large = transaction(
        main,
        "postgres",
        "delete from a where id <= 3000; \
        select count(pg_logical_emit_message(true, 'x', repeat('x', 100000))) from generate_series(1, 40); \
        delete from a where id <= 5000",
    );
    main.switch_wal();
    let found = place.found(&["--since", &since]);
    assert_eq!(rows(of_xid(&found, large), "postgres.public.a"), (5000, 0));
    assert!(found["segments"].as_u64().unwrap() > 4, "{found:#}");
    assert!(
        found["ends"].is_string() && found["begins"].is_null(),
        "{found:#}"
    );

    let early = place
        .pgstow(&["find-target", "--around", "2020-01-01 00:00:00+00"])
        .ok();
    early
        .stdout_contains("the repository has no WAL of that time")
        .stdout_contains("begins with");

    // On the new timeline, from before its fork to behind it.
    place.stow.cluster.stop(Shutdown::Fast);
    place.pgstow(&["restore", "--replace"]).ok();
    place.stow.cluster.recover();
    let main = place.main();
    let later = transaction(main, "postgres", "delete from a");
    main.switch_wal();
    let found = place.found(&["--since", &since]);
    assert_eq!(found["timeline"], 2);
    assert_eq!(losses(&found).len(), 2, "{found:#}");
    assert_eq!(rows(of_xid(&found, large), "postgres.public.a"), (5000, 0));
    assert_eq!(rows(of_xid(&found, later), "postgres.public.a"), (4000, 0));
    let promotion = of_kind(&found, "promotion");
    assert_eq!(
        (&promotion[0]["timeline"], &promotion[0]["before"]),
        (&2.into(), &1.into())
    );
    // The segment in which the timeline begins begins before that: it is on the way all the same.
    let copy = place.scratch.join("copy");
    let plan = [
        "--json",
        "restore",
        "--plan",
        "--data-dir",
        copy.to_str().unwrap(),
    ];
    let planned = place.pgstow(&plan).ok().json();
    let warnings = planned["warnings"].to_string();
    assert!(!warnings.contains("archived last"), "{warnings}");
    let old = place.found(&["--since", &since, "--timeline", "1"]);
    assert_eq!(losses(&old).len(), 1);

    let first = found["first_segment"].as_str().unwrap();
    let number = u64::from_str_radix(&first[16..], 16).unwrap();
    let name = |behind: u64| format!("{}{:08X}", &first[..16], number + behind);
    let gone = place.stow.wal_object(&name(1));
    fs::remove_file(&gone).unwrap();
    let damaged = place.stow.wal_object(&name(3));
    let mut bytes = fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xFF;
    fs::write(&damaged, bytes).unwrap();
    let output = place
        .pgstow(&["--json", "find-target", "--since", &since])
        .fails(3)
        .json();
    let unread = of_kind(&output, "unread");
    let unread: Vec<&str> = unread
        .iter()
        .map(|event| event["segment"].as_str().unwrap())
        .collect();
    assert_eq!(unread, [name(1), name(3)], "{output:#}");
    // Behind the hole nothing can be restored, and the reason is said.
    let later = of_xid(&output, later);
    assert!(later["restore"].is_null(), "{later:#}");
    assert!(
        later["no_restore"].as_str().unwrap().contains(&name(1)),
        "{later:#}"
    );
    assert!(!events(&output).is_empty());
}

/// Nothing is denied that no WAL tells of: the end of the archive without a transaction, and a hole where the span ends.
#[test]
fn what_has_not_come_or_is_gone_is_not_denied() {
    let place = Place::new(pg(16));
    let main = place.main();
    main.psql("create table a as select 1 as id; create table b as select 1 as id");
    let since = place.now();
    main.psql("insert into a values (2)");
    place.stow.backup(&[]);
    main.psql("checkpoint");
    main.switch_wal();
    main.psql("drop table a");
    let denied = "\nno table was dropped";
    let look = |words: &[&str], code: i32| {
        let text = place.pgstow(&[&["find-target"], words].concat());
        let json = place.pgstow(&[&["--json", "find-target"], words].concat());
        (text.fails(code).stdout, json.fails(code).json())
    };
    let (text, found) = look(&["--since", &since], 0);
    assert!(
        text.contains("as far as is known, no table was dropped"),
        "{text}"
    );
    assert!(
        text.contains("For what came later, have the server archive"),
        "{text}"
    );
    assert!(!text.contains(denied), "{text}");
    assert!(
        found["ends"].is_string() && found["reached"] == false,
        "{found:#}"
    );

    main.switch_wal();
    let since = place.now();
    main.psql("drop table b");
    let dropped = main.switch_wal();
    let until = place.now();
    main.psql("create table c ()");
    main.switch_wal();
    let span = ["--since", &since, "--until", &until];
    let (text, found) = look(&span, 0);
    assert!(text.contains("dropped postgres.public.b"), "{text}");
    assert_eq!(found["reached"], true);
    fs::remove_file(place.stow.wal_object(&dropped)).unwrap();
    let (text, found) = look(&span, 3);
    assert!(text.contains("Some of this time is not known"), "{text}");
    assert!(!text.contains(denied), "{text}");
    let unread = of_kind(&found, "unread");
    assert_eq!(unread[0]["segment"], dropped, "{found:#}");
}

/// Few rows of each of many relations are many, and a partitioned table is its partitions.
#[test]
fn partitions_are_counted_and_asked_for_together() {
    let place = Place::new(pg(18));
    let main = place.main();
    main.psql(
        "create table parted (a int, b int) partition by range (a); \
         do $$ begin for g in 0..9 loop execute format( \
         'create table parted_%s partition of parted for values from (%s) to (%s)', g, g, g + 1); end loop; end $$; \
         insert into parted select g % 10, g from generate_series(1, 5000) g; create table other as select 1 as n",
    );
    place.stow.backup(&[]);
    let since = place.now();
    let lost = transaction(main, "postgres", "delete from parted");
    let few = transaction(main, "postgres", "delete from other");
    main.switch_wal();
    let found = place.found(&["--since", &since]);
    let xids: Vec<_> = losses(&found)
        .iter()
        .map(|event| event["xid"].clone())
        .collect();
    assert_eq!(xids, [lost], "{found:#}");
    let asked = ["--since", &since, "--table", "parted"];
    let found = place.found(&asked);
    let told = of_kind(&found, "transaction");
    assert!(told.iter().all(|event| event["xid"] != few), "{found:#}");
    assert_eq!(
        rows(of_xid(&found, lost), "postgres.public.parted_3"),
        (500, 0)
    );
    let text = place.pgstow(&[&["find-target"], &asked[..]].concat()).ok();
    drop(text.stdout_contains(&format!(
        "transaction {lost} deleted 5000 rows of 10 relations: 500 rows of postgres.public.parted_"
    )));
    main.psql("drop table parted");
    main.switch_wal();
    let command = [&["find-target"], &asked[..]].concat();
    let output = place.pgstow(&command).fails(1);
    drop(output.stderr_contains("that is gone name a partition"));
}

/// Of what is gone, only what may have been the table is told with it; and of an unlogged table it is known what became of it.
#[test]
fn another_table_is_not_told_for_it_however_it_is_known() {
    let place = Place::new(pg(16));
    let main = place.main();
    main.psql(
        "create table wanted as select 1 as id; create table other as select 1 as id; \
         create unlogged table fleeting as select 1 as id",
    );
    place.stow.backup(&[]);
    let since = place.now();
    let run = |sql: &str| transaction(main, "postgres", sql);
    let first = run("truncate other");
    run("insert into other values (2)");
    // Nobody knows the file that goes.
    let again = run("truncate other");
    run("create table late as select 1 as id");
    let late = run("drop table late");
    let fleeting = run("truncate fleeting");
    let rewritten = run("alter table fleeting alter id type bigint");
    let wanted = run("truncate wanted");
    main.switch_wal();
    let asked = |more: &[&str]| place.found(&[&["--since", &since], more].concat());

    let all = asked(&[]);
    for (xid, fate, name) in [
        (first, "truncated", "other"),
        (again, "truncated", "other"),
        (fleeting, "truncated", "fleeting"),
        (rewritten, "rewritten", "fleeting"),
        (wanted, "truncated", "wanted"),
    ] {
        let event = of_xid(&all, xid);
        assert_eq!(
            with_fate(event, fate),
            [format!("postgres.public.{name}")],
            "{event:#}"
        );
        assert_eq!(event["may_be_table"], false);
    }
    let found = asked(&["--table", "wanted"]);
    let told = of_kind(&found, "transaction").into_iter();
    let told: Vec<_> = told
        .map(|event| {
            (
                event["xid"].as_u64().unwrap(),
                event["may_be_table"] == true,
            )
        })
        .collect();
    assert_eq!(told, [(late, true), (wanted, false)], "{found:#}");
    let command = ["find-target", "--since", &since, "--table", "wanted"];
    drop(
        place
            .pgstow(&command)
            .ok()
            .stdout_contains(" (it may have been that table)\n"),
    );
}

/// A table is locked, too, when one that refers to it is dropped.
#[test]
fn what_was_only_locked_is_not_lost() {
    let place = Place::new(pg(18));
    let main = place.main();
    main.psql("create table referred (id int primary key); create table emptied as select 1 as id");
    place.stow.backup(&[]);
    main.psql("create table refers (id int references referred)");
    let since = place.now();
    let lost = transaction(
        main,
        "postgres",
        "truncate emptied; drop table refers; create table refers (id int)",
    );
    main.switch_wal();
    let found = place.found(&["--since", &since]);
    let event = of_xid(&found, lost);
    assert_eq!(
        with_fate(event, "truncated"),
        ["postgres.public.emptied"],
        "{event:#}"
    );
    assert!(!event.to_string().contains("referred"), "{event:#}");
}

/// A column that is dropped leaves its table's file as it is.
#[test]
fn columns_that_were_dropped_are_told_to_who_asks() {
    let place = Place::new(pg(17));
    let main = place.main();
    main.psql("create table doc (id int, secret text); insert into doc values (1, 'x'); create table other (id int, a int)");
    place.stow.backup(&[]);
    let since = place.now();
    main.psql("alter table other drop column a");
    let dropped = transaction(main, "postgres", "alter table doc drop column secret");
    main.psql("insert into doc values (2)");
    main.switch_wal();
    let command = ["find-target", "--since", &since, "--table", "doc"];
    let text = place.pgstow(&command).ok();
    drop(text.stdout_contains(&format!(
        "transaction {dropped} changed columns of postgres.public.doc\n"
    )));
    let found = place.found(&command[1..]);
    let told = of_kind(&found, "transaction");
    assert!(
        told.iter().all(|event| event["xid"] == dropped),
        "{found:#}"
    );
    assert_eq!(
        with_fate(told[0], "columns_changed"),
        ["postgres.public.doc"]
    );
    // No more than that: it may be harmless.
    let found = place.found(&["--since", &since]);
    assert!(of_kind(&found, "transaction").is_empty(), "{found:#}");
}

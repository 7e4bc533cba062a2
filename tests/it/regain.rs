//! `restore --table` and `--database`: what was lost comes back beside what lives, which goes on working and is never
//! written over.

mod parents;
mod part;
mod relations;

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    drill::{
        Site,
        killed::{at_work, folder, wait_for},
    },
    harness::{Cluster, FullDisk, Load, PgBin, on_every_major, pg, tool::Invocation, user},
};

on_every_major!(what_was_lost_comes_back_while_the_server_works);

const MARKET: &str = "
    create schema shop; create schema types;
    create type types.state as enum ('new', 'done');
    create function types.touched() returns trigger language plpgsql
      as $$ begin new.changes := new.changes + 1; return new; end $$;
    create sequence types.numbers;
    create table shop.customer (id serial primary key, name text not null);
    create table shop.orders (id int primary key default nextval('types.numbers'),
      customer int not null references shop.customer, state types.state not null default 'new', changes int default 0);
    create index on shop.orders (customer);
    comment on index shop.orders_customer_idx is 'by customer';
    create trigger touched before update on shop.orders for each row execute function types.touched();
    create table shop.items (order_id int references shop.orders, what text, primary key (order_id, what));
    create table shop.\"Odd, na.me\" (n int) partition by range (n);
    create table shop.low partition of shop.\"Odd, na.me\" for values from (0) to (100);
    create table shop.high partition of shop.\"Odd, na.me\" for values from (100) to (1000);
    insert into shop.customer (name) select 'c' || g from generate_series(1, 100) g;
    insert into shop.orders (customer) select 1 + g % 100 from generate_series(1, 2000) g;
    insert into shop.items select g, 'thing' from generate_series(1, 2000) g;
    insert into shop.\"Odd, na.me\" select g from generate_series(0, 999) g;
    create view shop.v as select count(*) from shop.items";

impl Site {
    fn regain(&self, arguments: &[&str]) -> Invocation {
        let command = self
            .stow
            .tool
            .command(&[&["--json", "restore"], arguments].concat());
        command.env("PGSTOW_CLUSTER_USER", "postgres")
    }
}

/// Without the values of sequences, which every recovery leaves up to 32 numbers ahead (SEQ_LOG_VALS of `sequence.c`).
fn but_for_sequences(dump: &str) -> String {
    let lines = dump
        .lines()
        .filter(|line| !line.contains("pg_catalog.setval("));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Of the table alone, with all that is its own.
fn dump_of(cluster: &Cluster, database: &str, table: &str) -> String {
    let dump = user::run_ok(cluster.client("pg_dump").args([
        "--restrict-key=pgstow",
        "-d",
        database,
        "-t",
        table,
    ]));
    but_for_sequences(&dump)
}

/// Runs `sql` in one transaction; its number.
fn transaction(cluster: &Cluster, sql: &str) -> String {
    let answer = cluster.psql_in("market", &format!("select pg_current_xact_id(); {sql}"));
    answer.lines().next().unwrap().to_owned()
}

fn statements<'a>(report: &'a Value, which: &str) -> Vec<&'a str> {
    let all = report["foreign_keys"][which].as_array().unwrap().iter();
    all.map(|one| one.as_str().unwrap()).collect()
}

fn what_was_lost_comes_back_while_the_server_works(pg: PgBin) {
    let site = Site::start(pg);
    let cluster = &site.stow.cluster;
    let load = Load::start(cluster, 1, 50);
    cluster.psql("create database market");
    cluster.psql_in("market", MARKET);
    site.stow.backup(&[]);
    // What came behind the backup is back, too.
    cluster.psql_in(
        "market",
        "insert into shop.orders (customer) select 7 from generate_series(1, 300); update shop.orders set state = 'done'",
    );
    let orders = dump_of(cluster, "market", "shop.orders");
    let both = [
        "shop.customer",
        "shop.orders",
        "shop.\"Odd, na.me\"",
        "shop.low",
    ]
    .map(|table| (table, dump_of(cluster, "market", table)));
    let market = but_for_sequences(&cluster.dump("market"));
    let dropped = transaction(cluster, "drop table shop.orders cascade");
    let emptied = transaction(cluster, "delete from shop.customer");
    cluster.psql_in(
        "market",
        "insert into shop.customer (id, name) values (1, 'new')",
    );
    cluster.switch_wal();
    let before_drop = ["--target-xid", &dropped, "--target-exclusive"];
    let before_delete = ["--target-xid", &emptied, "--target-exclusive"];

    // In its old place, where nothing is any more.
    let table = ["--table", "market.shop.orders", "--to-database", "market"];
    let report = site
        .regain(&[&table[..], &before_drop].concat())
        .ok()
        .json();
    assert_eq!(report["state"], "brought_back");
    assert_eq!(report["created"], false);
    assert_eq!(report["tables"], serde_json::json!(["shop.orders"]));
    let found = dump_of(cluster, "market", "shop.orders");
    let missing: Vec<&str> = orders
        .lines()
        .filter(|line| !found.contains(line))
        .collect();
    assert!(
        missing
            .iter()
            .all(|line| line.contains("orders_customer_fkey"))
            && !missing.is_empty(),
        "{missing:?}"
    );
    // The customers that it refers to are gone, and with them the way back of its foreign key.
    let keys = statements(&report, "to_others");
    assert!(
        keys.len() == 1 && keys[0].contains("orders_customer_fkey"),
        "{keys:?}"
    );
    cluster.try_psql("market", keys[0]).unwrap_err();
    let keys = statements(&report, "from_others");
    assert_eq!(keys.len(), 1, "{keys:?}");
    cluster.psql_in("market", keys[0]);

    // Beside the emptied one, which lives on.
    let table = [
        "--table",
        "market.shop.customer",
        "-d",
        "market",
        "--to-schema",
        "before",
    ];
    site.regain(&[&table[..], &before_delete].concat()).ok();
    let rows = |sql: &str| cluster.psql_in("market", sql);
    assert_eq!(
        rows("select count(*), max(name) from before.customer"),
        "100|c99"
    );
    assert_eq!(rows("select name from shop.customer"), "new");
    rows("insert into shop.customer (id, name) select id, name from before.customer where id > 1");
    let key = "alter table shop.orders add foreign key (customer) references shop.customer";
    rows(key);

    // In a database of their own, and as SQL, with all that they need, and without what they don't.
    let tables = r#"market.shop.customer,market.shop.orders,market.shop."Odd, na.me""#;
    let new = ["--table", tables, "--to-database", "copy"];
    let report = site.regain(&[&new[..], &before_drop].concat()).ok().json();
    assert_eq!(report["created"], true);
    assert_eq!(statements(&report, "to_others"), [""; 0]);
    assert_eq!(report["empty"], serde_json::json!([]));
    let file = site.scratch.join("tables.sql");
    let written = ["--table", tables, "--to-file", file.to_str().unwrap()];
    site.regain(&[&written[..], &before_drop].concat()).ok();
    user::own(&file);
    cluster.psql("create database by_file template template0");
    user::run_ok(
        cluster
            .client("psql")
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", "by_file", "-f"])
            .arg(&file),
    );
    for database in ["copy", "by_file"] {
        for (table, dump) in &both {
            assert!(
                &dump_of(cluster, database, table) == dump,
                "{table} of {database}"
            );
        }
        let others = "select count(*) from pg_class where relname in ('items', 'v')";
        assert_eq!(cluster.psql_in(database, others), "0");
        let next = "select nextval('types.numbers') between 2301 and 2340, nextval('shop.customer_id_seq') between 101 and 140";
        assert_eq!(cluster.psql_in(database, next), "t|t");
    }

    // A whole database.
    let whole = ["--database", "market", "--to-database", "market_before"];
    site.regain(&[&whole[..], &before_drop].concat()).ok();
    assert!(but_for_sequences(&cluster.dump("market_before")) == market);

    let worked = cluster.psql("select count(*) from pgbench_history");
    cluster.wait_until(
        &format!("select count(*) > {worked} from pgbench_history"),
        "t",
    );
    load.stop(cluster);
    site.assert_clean();
    assert_eq!(at_work(&site), [""; 0]);
    let ours = "select count(*) from pg_database where datname like 'pgstow%'";
    assert_eq!(cluster.psql(ours), "0");
}

#[test]
fn what_lives_is_not_written_over_and_what_is_wrong_is_told_first() {
    let site = Site::start(pg(16));
    let cluster = &site.stow.cluster;
    site.stow.backup(&[]);
    cluster.switch_wal();
    let before = cluster.dump("postgres");
    let file = site.scratch.join("there");
    std::fs::write(&file, "mine").unwrap();
    let file = file.to_str().unwrap();
    let to = ["--to-database", "postgres"];
    for (arguments, code, words) in [
        (
            &["--table", "postgres.shop.orders", "-d", "postgres"][..],
            1,
            "is there in database",
        ),
        (
            &[
                "--table",
                "postgres.shop.orders",
                "-d",
                "postgres",
                "--to-schema",
                "shop",
            ],
            1,
            "has a schema \"shop\"",
        ),
        (&["--database", "postgres", "-d", "postgres"], 1, "exists"),
        (&["--database", "postgres", "--to-file", file], 2, "exists"),
        (
            &["--table", "shop.orders", "-d", "new"],
            2,
            "database.schema.table",
        ),
        (
            &["--table", "a.b.c,d.e.f", "-d", "new"],
            2,
            "tables of two databases",
        ),
        (&["--table", "postgres.shop.orders"], 2, "--to-database"),
        (
            &["--table", "postgres.shop.orders", "-d", "new", "--standby"],
            2,
            "cannot be used",
        ),
        (&to, 2, "--table"),
        (
            &["--database", "postgres", "-d", "new", "--to-schema", "x"],
            2,
            "cannot be used",
        ),
        (
            &[
                "--table",
                "postgres.shop.orders",
                "-d",
                "new",
                "--to-schema",
                "pg_x",
            ],
            2,
            "PostgreSQL's own",
        ),
        // These the restored server tells.
        (
            &["--table", "postgres.public.Orders", "-d", "new"],
            1,
            "there was postgres.shop.orders",
        ),
        (
            &["--table", "postgres.shop.ordesr", "-d", "new"],
            1,
            "there was postgres.shop.orders",
        ),
        (
            &["--database", "shop", "-d", "new"],
            1,
            "there were postgres, template1",
        ),
    ] {
        let output = site.regain(arguments).fails(code);
        drop(output.stderr_contains(words));
    }
    // The role of backups may not make a database.
    let command = ["restore", "--table", "postgres.shop.orders", "-d", "new"];
    let output = site.stow.tool.command(&command).fails(1);
    drop(output.stderr_contains("may not make a database"));
    let disk = FullDisk::mount(&site.scratch, "small", 20 << 20);
    let small = ["--scratch", disk.path().to_str().unwrap()];
    let table = ["--table", "postgres.shop.orders", "-d", "new"];
    let output = site.regain(&[&table[..], &small].concat()).fails(1);
    let output = output.stderr_contains("this restore needs");
    drop(output.stderr_contains("--scratch"));
    // All or nothing: indexes and the sequence of the living one have the names that are needed.
    cluster.psql("alter table shop.orders rename to kept");
    let output = site
        .regain(&["--table", "postgres.shop.orders", "-d", "postgres"])
        .fails(1);
    let output = output.stderr_contains("is as it was");
    let output = output.stderr_contains("into a new schema (--to-schema NAME)");
    assert!(!output.to_string().contains("--clean"), "{output}");
    cluster.psql("alter table shop.kept rename to orders");
    assert!(cluster.dump("postgres") == before);
    assert_eq!(std::fs::read_to_string(file).unwrap(), "mine");
    let databases = "select string_agg(datname, ',' order by datname) from pg_database";
    assert_eq!(cluster.psql(databases), "postgres,template0,template1");
    site.assert_clean();
}

/// What was prepared when the server stopped holds its locks there until somebody ends it.
#[test]
fn what_a_prepared_transaction_dropped_comes_back() {
    let mut site = Site::start(pg(17));
    let cluster = &mut site.stow.cluster;
    cluster.psql("alter system set max_prepared_transactions = 5");
    cluster.restart();
    site.stow.backup(&[]);
    let cluster = &site.stow.cluster;
    cluster.psql("begin; drop table shop.orders; prepare transaction 'it''s'");
    let before = cluster.psql("select pg_current_wal_lsn()");
    cluster.psql("commit prepared 'it''s'");
    cluster.switch_wal();
    let target = ["--target-lsn", &before, "--target-exclusive"];
    let table = ["--table", "postgres.shop.orders", "-d", "postgres"];
    // As people do after an accident, so that nobody writes any more.
    cluster.psql("alter database postgres set default_transaction_read_only = on");
    site.regain(&[&table[..], &target].concat()).ok();
    cluster.psql(
        "begin read write; alter database postgres reset default_transaction_read_only; commit",
    );
    assert_eq!(cluster.psql("select count(*) from shop.orders"), "5000");
    // Nor does a drill wait for one.
    cluster.psql("begin; lock table shop.orders in access exclusive mode; create table later (n int); prepare transaction 'two'");
    cluster.switch_wal();
    site.drill(&[]).ok();
    cluster.psql("rollback prepared 'two'");
}

#[test]
fn a_database_that_somebody_made_meanwhile_is_left_alone() {
    let site = Site::start(pg(15));
    let cluster = &site.stow.cluster;
    site.stow.backup(&[]);
    cluster.switch_wal();
    let running = site
        .regain(&["--database", "postgres", "-d", "wanted"])
        .spawn();
    wait_for("it restores", || {
        folder(&site).is_some_and(|folder| folder.join("data/base").exists())
    });
    running.signal(Signal::STOP);
    cluster.psql("create database wanted");
    running.signal(Signal::CONT);
    let output = running.wait();
    assert_eq!(output.status.code(), Some(1), "{output}");
    drop(output.stderr_contains("database \"wanted\" exists"));
    let tables = "select count(*) from pg_class where relname = 'orders'";
    assert_eq!(cluster.psql_in("wanted", tables), "0");
    site.assert_clean();
}

#[test]
fn a_killed_one_leaves_nothing_behind_the_next() {
    let site = Site::start(pg(18));
    let cluster = &site.stow.cluster;
    // Its rows take long to come back.
    cluster.psql(
        "create function slow(int) returns bool language sql immutable as 'select true';
         create table waits (x int check (slow(x)));
         insert into waits values (1);
         create or replace function slow(int) returns bool language sql immutable
           as 'select pg_sleep(600) is not null'",
    );
    site.stow.backup(&[]);
    cluster.switch_wal();
    let loading = "select count(*) from pg_stat_activity where query like 'COPY public.waits%'";
    for phase in ["restore", "replay", "load"] {
        let mut running = site
            .regain(&["--table", "postgres.public.waits", "-d", "copy"])
            .spawn();
        match phase {
            "load" => cluster.wait_until(loading, "1"),
            _ => wait_for(phase, || {
                let sign = match phase {
                    "restore" => "data/base",
                    _ => "data/postmaster.pid",
                };
                folder(&site).is_some_and(|folder| folder.join(sign).exists())
            }),
        }
        running.signal(Signal::KILL);
        wait_for(phase, || !running.is_running());
        wait_for("a process of a killed restore lives on", || {
            at_work(&site).is_empty()
        });
        cluster.wait_until(loading, "0");
        assert!(folder(&site).is_some());
    }
    site.regain(&["--table", "postgres.shop.orders", "-d", "copy"])
        .ok();
    site.assert_clean();
    let databases = "select string_agg(datname, ',' order by datname) from pg_database";
    assert_eq!(cluster.psql(databases), "copy,postgres,template0,template1");
}

//! What a dump's description says is what its snapshot held, and what the dump holds.

use std::{fs, thread};

use serde_json::{Value, json};

use super::{
    Site,
    everything::{self, NAME, ROWS},
};
use crate::harness::{PgBin, on_every_major, pg};

pub fn table<'a>(description: &'a Value, name: &str) -> &'a Value {
    let mut tables = description["contents"]["tables"].as_array().unwrap().iter();
    tables
        .find(|table| table["name"] == name)
        .unwrap_or_else(|| panic!("no table {name} in {description}"))
}

pub fn rows(description: &Value) -> Vec<(String, String, u64)> {
    let tables = description["contents"]["tables"].as_array().unwrap().iter();
    let counted = tables.filter_map(|table| {
        let word = |key: &str| table[key].as_str().unwrap().to_owned();
        Some((word("schema"), word("name"), table["rows"].as_u64()?))
    });
    let mut counted: Vec<_> = counted.collect();
    counted.sort();
    counted
}

fn the_description_tells_all(pg: PgBin) {
    let site = Site::start(pg.clone());
    everything::make(&site.stow.cluster);
    for format in ["custom", "plain", "directory", "tar"] {
        let told = site.dumped(&[NAME, "--format", format]).json;
        let mut expected: Vec<(String, String, u64)> = ROWS
            .iter()
            .map(|(schema, name, rows)| ((*schema).to_owned(), (*name).to_owned(), *rows))
            .collect();
        // Empty, and one that no WAL knows.
        for empty in ["numbers", "passing"] {
            expected.push(("public".to_owned(), empty.to_owned(), 0));
        }
        expected.sort();
        assert_eq!(rows(&told), expected, "{format}");
        assert_eq!(table(&told, "events")["kind"], "p");
        assert_eq!(table(&told, "events")["rows"], Value::Null);
        let contents = &told["contents"];
        assert_eq!(contents["row_counts"], "exact");
        assert_eq!(contents["extensions"], json!(["hstore", "pg_trgm"]));
        assert_eq!(
            contents["counts"],
            json!({
                "tables": 15, "indexes": 16, "constraints": 7, "foreign_keys": 2,
                "enum_types": 1, "extensions": 2
            }),
            "{format}"
        );
        let migration = json!([{
            "tool": "migrate", "schema": "public", "table": "schema_migrations",
            "version": "20261121", "dirty": false
        }]);
        assert_eq!(contents["migrations"], migration);
        assert_eq!(told["database"], NAME);
        assert_eq!(told["dump_format"], format);
        assert_eq!(told["class"], "manual");
        assert_eq!(told["missing"], json!([]));
        assert_eq!(
            told["server_version"].as_u64().unwrap() / 10_000,
            u64::from(pg.major)
        );
        let client = told["client_version"].as_str().unwrap();
        assert!(client.starts_with(&format!("{}.", pg.major)), "{client}");
        assert!(told["database_bytes"].as_u64().unwrap() > 1 << 20);
        let lsn = told["snapshot"]["lsn"].as_str().unwrap();
        let reached =
            format!("select '{lsn}'::pg_lsn between '0/1000000' and pg_current_wal_insert_lsn()");
        assert_eq!(site.stow.cluster.psql(&reached), "t");
    }
}
on_every_major!(the_description_tells_all);

#[test]
fn rows_are_counted_in_the_snapshot_of_the_dump() {
    let site = Site::start(pg(16));
    let cluster = &site.stow.cluster;
    cluster.psql("create table first as select n from generate_series(1, 200000) n");
    cluster.psql("create table ledger (n int)");
    cluster.psql("insert into ledger values (1)");
    thread::scope(|scope| {
        let (done, stop) = std::sync::mpsc::channel::<()>();
        let host = cluster.host().to_owned();
        // A writer that never rests.
        let script = "while :; do echo 'insert into ledger select 1 from generate_series(1, 50);'; sleep 0.002; done | psql -Xq";
        let mut writer = crate::harness::user::command("/bin/bash", "KILL");
        writer
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", cluster.pg.bindir.display()),
            )
            .env("LD_LIBRARY_PATH", cluster.pg.bindir.join("../lib"))
            .env("PGHOST", host)
            .env("PGUSER", "postgres")
            .args(["-c", script]);
        let mut writer = writer.spawn().unwrap();
        scope.spawn(move || {
            let _ = stop.recv();
            writer.kill().unwrap();
            writer.wait().unwrap();
        });
        cluster.wait_until("select count(*) > 1 from ledger", "t");
        for round in 0..3 {
            let dumped = site.dumped(&["postgres"]);
            let copy = format!("copy{round}");
            cluster.psql(&format!("create database {copy}"));
            let mut restore = cluster.client("pg_restore");
            restore
                .args(["--exit-on-error", "-d", &copy])
                .arg(&dumped.data);
            crate::harness::user::run_ok(&mut restore);
            let counted = table(&dumped.json, "ledger")["rows"].as_u64().unwrap();
            let restored = cluster.psql_in(&copy, "select count(*) from ledger");
            assert_eq!(counted.to_string(), restored, "round {round}");
        }
        done.send(()).unwrap();
    });
}

#[test]
fn what_could_not_be_counted_is_told() {
    let site = Site::start(pg(18));
    let cluster = &site.stow.cluster;
    cluster.psql("create table t as select n from generate_series(1, 3) n");
    // Once both pg_dump and who counts wait for it.
    let truncate = "begin; lock table t;
        do $$ begin loop
          exit when (select count(*) from pg_locks where relation = 't'::regclass and not granted) = 2;
          perform pg_sleep(0.02);
        end loop; end $$;
        truncate t; commit";
    let mut psql = cluster.client("psql");
    let mut other = psql.args(["-Xq", "-c", truncate]).spawn().unwrap();
    let locked = "select count(*) from pg_locks where relation = 't'::regclass and granted
        and mode = 'AccessExclusiveLock'";
    cluster.wait_until(locked, "1");
    let told = site.dumped(&["postgres"]).json;
    other.wait().unwrap();
    let [missing] = told["missing"].as_array().unwrap().as_slice() else {
        panic!("{told}");
    };
    let missing = missing.as_str().unwrap();
    assert!(
        missing.ends_with("it was truncated or rewritten meanwhile"),
        "{missing}"
    );
    assert_eq!(table(&told, "t")["rows"], Value::Null);
}

#[test]
fn a_part_is_described_as_a_part() {
    let site = Site::start(pg(18));
    everything::make(&site.stow.cluster);
    let names = |told: &Value| {
        let tables = told["contents"]["tables"].as_array().unwrap().iter();
        let mut names: Vec<_> = tables
            .map(|table| table["name"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    for format in ["custom", "plain"] {
        let told = |arguments: &[&str]| {
            site.dumped(&[&[NAME, "--format", format], arguments].concat())
                .json
        };
        let of_tables = told(&["--table", "orders", "--table", "acc*"]);
        assert_eq!(names(&of_tables), ["accounts", "orders"]);
        assert_eq!(of_tables["contents"]["counts"]["foreign_keys"], 2);
        assert_eq!(of_tables["contents"]["counts"]["extensions"], 0);
        assert_eq!(of_tables["contents"]["migrations"], json!([]));

        let of_schema = told(&["--schema", "\"odd \"\"schema\"\"\""]);
        assert_eq!(names(&of_schema), ["odd 'table'\n; drop", "secret"]);
        let without = told(&["--exclude-schema", "odd*", "--exclude-table", "events*"]);
        assert!(
            !names(&without)
                .iter()
                .any(|name| name == "secret" || name.starts_with("events"))
        );

        let schema = told(&["--schema-only"]);
        assert_eq!(names(&schema).len(), 15);
        assert_eq!(rows(&schema), []);
        assert_eq!(schema["contents"]["counts"]["indexes"], 16);
        let data = told(&["--data-only"]);
        assert_eq!(table(&data, "orders")["rows"], 4);
        assert_eq!(data["contents"]["counts"]["indexes"], 0);

        let further = told(&["--", "--no-owner", "--exclude-table-data=orders"]);
        assert_eq!(table(&further, "orders")["rows"], Value::Null);
        assert_eq!(table(&further, "accounts")["rows"], 3);
        let options = further["options"].as_array().unwrap();
        assert!(options.contains(&json!("--exclude-table-data=orders")));
    }
}

#[test]
fn counts_may_be_estimated_or_left_out() {
    let site = Site::start(pg(15));
    let cluster = &site.stow.cluster;
    cluster.psql("create table known as select n from generate_series(1, 1000) n");
    cluster.psql("analyze known");
    cluster.psql("create table unknown (n int) with (autovacuum_enabled = off)");
    let told = site.dumped(&["postgres", "--row-counts", "estimated"]).json;
    assert_eq!(told["contents"]["row_counts"], "estimated");
    assert_eq!(table(&told, "known")["rows"], 1000);
    assert_eq!(table(&told, "unknown")["rows"], Value::Null);
    let told = site.dumped(&["postgres", "--row-counts", "none"]).json;
    assert_eq!(rows(&told), []);
    assert_eq!(told["contents"]["counts"]["tables"], 2);
}

#[test]
fn what_tools_for_migrations_noted() {
    let site = Site::start(pg(17));
    let cluster = &site.stow.cluster;
    for (number, (tool, sql, version, dirty)) in [
        ("migrate", "create table schema_migrations (version bigint, dirty bool);
          insert into schema_migrations values (7, true)", json!("7"), json!(true)),
        ("migrate", "create table schema_migrations (version bigint, dirty bool)", Value::Null, Value::Null),
        ("rails", "create table schema_migrations (version varchar primary key);
          insert into schema_migrations values ('20250101000000'), ('20260101000000')",
         json!("20260101000000"), Value::Null),
        ("flyway", "create table flyway_schema_history (installed_rank int, version varchar, success bool);
          insert into flyway_schema_history values (1, '1', true), (2, '1.10', true), (3, null, true), (4, '2', false)",
         json!("1.10"), json!(true)),
        ("liquibase", "create table databasechangelog (id varchar, author varchar, orderexecuted int);
          insert into databasechangelog values ('b', 'x', 1), ('a', 'x', 2)", json!("a"), Value::Null),
        ("liquibase", "create table databasechangelog (id varchar, author varchar, orderexecuted int, exectype varchar);
          insert into databasechangelog values ('b', 'x', 1, 'EXECUTED'), ('a', 'x', 2, 'FAILED')", json!("b"), json!(true)),
        ("liquibase", "create table databasechangelog (id varchar, author varchar, orderexecuted int, exectype varchar);
          insert into databasechangelog values ('b', 'x', 1, 'EXECUTED'), ('a', 'x', 2, 'RERAN');
          create table databasechangeloglock (id int, locked bool); insert into databasechangeloglock values (1, false)",
         json!("a"), json!(false)),
        ("liquibase", "create table databasechangelog (id varchar, author varchar, orderexecuted int, exectype varchar);
          create table databasechangeloglock (id int, locked bool); insert into databasechangeloglock values (1, true)",
         Value::Null, json!(true)),
        ("alembic", "create table alembic_version (version_num varchar);
          insert into alembic_version values ('f2'), ('a1')", json!("a1,f2"), Value::Null),
        ("django", "create table django_migrations (id serial, app varchar, name varchar);
          insert into django_migrations (app, name) values ('auth', '0001_initial'), ('shop', '0002_x')",
         json!("shop.0002_x"), Value::Null),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("m{number}");
        cluster.psql(&format!("create database {name}"));
        cluster.psql_in(&name, sql);
        let told = site.dumped(&[&name]).json;
        let [found] = told["contents"]["migrations"].as_array().unwrap().as_slice() else {
            panic!("{tool}: {told}");
        };
        assert_eq!(found["tool"], tool);
        assert_eq!((&found["version"], &found["dirty"]), (&version, &dirty), "{tool}");
    }
}

#[test]
fn the_latest_dump_of_each_database_has_a_link() {
    let site = Site::start(pg(16));
    let link = |ending: &str| site.dumps().join(format!("latest/postgres{ending}"));
    let first = site.dumped(&["postgres"]);
    assert_eq!(
        fs::canonicalize(link(".dump")).unwrap(),
        fs::canonicalize(&first.data).unwrap()
    );
    let second = site.dumped(&["postgres"]);
    assert_ne!(first.data, second.data);
    assert_eq!(
        fs::canonicalize(link(".dump")).unwrap(),
        fs::canonicalize(&second.data).unwrap()
    );
    let third = site.dumped(&["postgres", "--format", "plain"]);
    assert_eq!(
        fs::canonicalize(link(".sql.gz")).unwrap(),
        fs::canonicalize(&third.data).unwrap()
    );
    assert!(!link(".dump").is_symlink());
    assert!(
        fs::read_link(link(".sql.gz"))
            .unwrap()
            .starts_with("../postgres")
    );
    // It is no dump of its own.
    assert_eq!(site.list().len(), 3);
}

//! What the count of a dump's rows takes from others, and what others keep from it.

use std::fs;

use serde_json::Value;

use super::{Site, beside};
use crate::harness::pg;

/// Of a dump's description: the rows of a table.
fn rows(told: &Value, name: &str) -> Value {
    let tables = told["contents"]["tables"].as_array().unwrap().iter();
    let mut named = tables.filter(|table| table["name"] == name);
    named.next().unwrap()["rows"].clone()
}

/// A server has a few thousand locks for all: thousands of tables would leave none to others until the dump's end.
#[test]
fn the_count_gives_its_locks_back() {
    let site = Site::start(pg(16));
    site.stow.cluster.psql("create database many");
    site.sql(
        "many",
        "do $$ begin for n in 1..120 loop
           execute format('create table t%s (a int primary key, b int unique)', n);
         end loop; end $$",
    );
    let go = site.scratch.join("go");
    // The dump goes on, and pg_dump's own locks are gone.
    let script = format!(
        "[ \"$1\" = --version ] && exec REAL/pg_dump \"$@\"; REAL/pg_dump \"$@\"; code=$?; while ! [ -e '{}' ]; do sleep 0.05; done; exit $code",
        go.display()
    );
    let programs = site.programs(&pg(16), "pg_dump", &script);
    let running = site
        .pgstow(&["dump", "many", "--no-globals"])
        .env("PGSTOW_CLUSTER_BINDIR", &programs)
        .spawn();
    // Its session waits in its transaction, with the snapshot, until pg_dump has ended.
    site.stow.cluster.wait_until(
        "select count(*) from pg_stat_activity where datname = 'many' and state = 'idle in transaction'
         and query like 'RELEASE%'",
        "1",
    );
    site.stow.cluster.wait_until(
        "select count(*) from pg_stat_activity where datname = 'many'",
        "1",
    );
    let held = site.sql(
        "many",
        "select count(*) from pg_locks l join pg_class c on c.oid = l.relation
         where c.relnamespace = 'public'::regnamespace and l.pid <> pg_backend_pid()",
    );
    fs::write(&go, "").unwrap();
    let output = running.wait();
    assert!(output.status.success(), "{output}");
    let told = &output.json()["dumps"][0];
    assert_eq!(told["missing"], serde_json::json!([]), "{told}");
    assert_eq!(rows(told, "t120"), 0);
    assert_eq!(held, "0", "locks are held");
}

#[test]
fn one_table_that_is_locked_leaves_the_others_counted() {
    let site = Site::start(pg(18));
    let cluster = &site.stow.cluster;
    cluster.psql("create database lk");
    site.sql(
        "lk",
        "create table a as select n from generate_series(1, 3) n; create table m as select 1 as n;
         create table z as select 1 as n",
    );
    let mut psql = cluster.client("psql");
    let lock = "begin; lock table z in access exclusive mode; select pg_sleep(1000)";
    let mut other = psql.args(["-Xq", "-d", "lk", "-c", lock]).spawn().unwrap();
    cluster.wait_until(
        "select count(*) from pg_stat_activity where query like '%sleep(1000)' and wait_event = 'PgSleep'",
        "1",
    );
    // Else it would wait itself: as if the lock had come behind it.
    let script = "exec REAL/pg_dump \"$@\" --exclude-table=z";
    let programs = site.programs(&pg(18), "pg_dump", script);
    let report = site
        .pgstow(&["dump", "lk", "--no-globals"])
        .env("PGSTOW_CLUSTER_BINDIR", &programs)
        .ok()
        .json();
    other.kill().unwrap();
    other.wait().unwrap();
    let told = &report["dumps"][0];
    let missing = told["missing"].as_array().unwrap();
    assert_eq!(missing.len(), 1, "{missing:?}");
    let missing = missing[0].as_str().unwrap();
    assert!(
        missing.starts_with("the row count of \"public\".\"z\": ")
            && missing.contains("lock timeout"),
        "{missing}"
    );
    assert!(!missing.contains("SELECT"), "{missing}");
    assert_eq!((rows(told, "a"), rows(told, "m")), (3.into(), 1.into()));
    assert_eq!(rows(told, "z"), Value::Null);
}

/// A repository may leave the second reading out, by its own key.
#[test]
fn what_is_not_read_again_says_so() {
    for (lines, verified) in [
        ("", true),
        ("[repo.local]\nverify_after_write = false\n", false),
    ] {
        let site = match lines {
            "" => Site::start(pg(17)),
            _ => {
                let site = Site::start(pg(17));
                let config = site.stow.tool.config_file().to_owned();
                let text = fs::read_to_string(&config).unwrap();
                let changed = text.replacen("[repo.local]\n", lines, 1);
                assert_ne!(text, changed, "{text}");
                fs::write(&config, changed).unwrap();
                site
            }
        };
        site.stow.cluster.psql("create table t as select 1 as n");
        let data = site.dump("postgres", &[]);
        let told: Value =
            serde_json::from_slice(&fs::read(beside(&data, "json")).unwrap()).unwrap();
        assert_eq!(told["verified"], verified, "{told}");
    }
}

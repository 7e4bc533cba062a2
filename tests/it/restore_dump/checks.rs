//! Each check sees what is wrong, and nothing else.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use serde_json::{Value, json};

use super::{Site, failed, make_shop, results};
use crate::harness::pg;

/// What is wrong in the source itself: SQL, and the checks that see it.
const IN_THE_SOURCE: [(&str, &str, &[&str]); 6] = [
    (
        "dirty",
        "update schema_migrations set dirty = true",
        &["migration_clean"],
    ),
    (
        "orphans",
        "alter table orders drop constraint orders_account_fkey;
         insert into orders (account) values (777);
         alter table orders add foreign key (account) references accounts not valid",
        &["foreign_keys", "orphans"],
    ),
    (
        "not_valid",
        "alter table orders drop constraint orders_account_fkey;
         alter table orders add foreign key (account) references accounts not valid",
        &["foreign_keys"],
    ),
    (
        "invalid_index",
        "create index on only events (what)",
        &["indexes"],
    ),
    (
        "behind",
        "select setval('accounts_id_seq', 1)",
        &["sequences"],
    ),
    // As it was made before there was `serial`, or by tools.
    (
        "behind_a_default",
        "create sequence counter; create table counted (id int default nextval('counter') primary key);
         insert into counted values (50)",
        &["sequences"],
    ),
];

#[test]
fn what_is_wrong_in_the_source_is_seen() {
    let site = Site::start(pg(16));
    make_shop(&site.stow.cluster, "shop");
    for (name, sql, expected) in IN_THE_SOURCE {
        site.stow
            .cluster
            .psql(&format!("create database {name} template shop"));
        site.sql(name, sql);
        site.dump(name, &[]);
        let proven = site.pgstow(&["verify", name]).fails(3);
        assert_eq!(failed(&proven), expected, "{name}: {proven}");
        site.stow.cluster.psql(&format!("drop database {name}"));
    }
    site.assert_clean("shop");
}

/// What a dump could lack, told by a description that has more.
#[test]
fn what_is_missing_is_seen() {
    let site = Site::start(pg(18));
    make_shop(&site.stow.cluster, "shop");
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 7] = [
        ("migration_version", |contents| {
            contents["migrations"][0]["version"] = json!("20990101")
        }),
        ("tables", |contents| {
            let table = json!({"schema": "public", "name": "gone", "kind": "r", "rows": null});
            contents["tables"].as_array_mut().unwrap().push(table);
        }),
        ("enum_types", |contents| {
            contents["counts"]["enum_types"] = json!(2)
        }),
        ("indexes", |contents| {
            contents["counts"]["indexes"] = json!(99)
        }),
        ("foreign_keys", |contents| {
            contents["counts"]["foreign_keys"] = json!(2)
        }),
        ("row_counts", |contents| {
            let tables = contents["tables"].as_array_mut().unwrap();
            let orders = tables.iter_mut().find(|table| table["name"] == "orders");
            orders.unwrap()["rows"] = json!(21);
        }),
        ("extensions", |contents| {
            contents["extensions"] = json!(["hstore", "postgis"])
        }),
    ];
    let data = site.dump("shop", &[]);
    let mut original = Value::Null;
    site.describe(&data, |json| original = json.clone());
    for (name, change) in changes {
        site.describe(&data, |json| {
            *json = original.clone();
            change(&mut json["contents"]);
        });
        let proven = site.pgstow(&["verify", "shop"]).fails(3);
        assert_eq!(failed(&proven), [name], "{proven}");
    }
    site.assert_clean("shop");
}

#[test]
fn statements_of_the_configuration_must_return_true() {
    let list = "[verify]\nsql = [\"SELECT 'a,b' = 'a,b'\", \"SELECT count(*) = 20 FROM orders\"]\n";
    let site = Site::with(pg(15), list);
    make_shop(&site.stow.cluster, "shop");
    site.dump("shop", &[]);
    let proven = site.pgstow(&["verify", "shop"]).ok();
    assert!(
        proven.stdout.contains("2 statements return true"),
        "{proven}"
    );
    // In the environment there is one a line.
    let verify = |sql: &str| {
        site.pgstow(&["verify", "shop"])
            .env("PGSTOW_VERIFY_SQL", sql)
    };
    let good =
        "select count(*) > 10 from orders\nselect exists (select from accounts where name = 'ann')";
    let proven = verify(good).ok();
    assert!(
        results(&proven).contains(&"sql passed".to_owned()),
        "{proven}"
    );
    for bad in [
        "select false",
        "select null::bool",
        "select true where false",
        "selct",
        "drop table orders",
    ] {
        let proven = verify(&format!("{good}\n{bad}")).fails(3);
        assert_eq!(failed(&proven), ["sql"], "{bad}: {proven}");
    }
}

/// Whoever writes two columns, or a text, may mean anything.
#[test]
fn statements_answer_with_one_boolean() {
    let site = Site::start(pg(16));
    make_shop(&site.stow.cluster, "shop");
    site.dump("shop", &[]);
    for (bad, why) in [
        ("select true, false", "2 columns, not one"),
        ("select 't'", "not a boolean"),
        ("select 1", "not a boolean"),
    ] {
        let proven = site
            .pgstow(&["verify", "shop"])
            .env("PGSTOW_VERIFY_SQL", bad)
            .fails(3)
            .stdout_contains(why);
        assert_eq!(failed(&proven), ["sql"], "{bad}: {proven}");
    }
}

/// Answers every request with `status`, until the test ends.
fn application(status: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/health", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    url
}

#[test]
fn an_application_is_asked() {
    let site = Site::start(pg(17));
    make_shop(&site.stow.cluster, "shop");
    site.dump("shop", &[]);
    let seen = site.temporary.parent().unwrap().join("t/../seen");
    let verify = |url: &str| {
        site.pgstow(&["verify", "shop"])
            .env("PGSTOW_VERIFY_HEALTH_URL", url)
            .env("PGSTOW_VERIFY_HEALTH_TIMEOUT", "2s")
    };
    let well = application("200 OK");
    let proven = verify(&well).ok();
    assert!(
        results(&proven).contains(&"health passed".to_owned()),
        "{proven}"
    );
    let proven = verify(&application("503 Service Unavailable")).fails(3);
    assert_eq!(failed(&proven), ["health"], "{proven}");
    let proven = verify("http://127.0.0.1:1/health").fails(3);
    assert_eq!(failed(&proven), ["health"], "{proven}");
    // It is started with the database at hand, and stopped with all that it started.
    let psql = pg(17).bindir.join("psql");
    let command = format!(
        "{} -Atc 'select count(*) from orders' > {} && sleep 1000",
        psql.display(),
        seen.display()
    );
    let answers_later = verify(&well).env("PGSTOW_VERIFY_HEALTH_COMMAND", &command);
    answers_later.ok();
    let proven = verify("http://127.0.0.1:1/health")
        .env("PGSTOW_VERIFY_HEALTH_COMMAND", &command)
        .fails(3);
    assert_eq!(failed(&proven), ["health"], "{proven}");
    assert_eq!(std::fs::read_to_string(&seen).unwrap(), "20\n");
    // Wherever it goes: one that holds our pipes, and one that lets go of them.
    let away = "setsid sleep 1234; setsid -f sleep 1234 </dev/null >/dev/null 2>&1; sleep 1234";
    let apart = "setsid -f sleep 1234 </dev/null >/dev/null 2>&1; sleep 1234";
    for command in [away, apart] {
        let begun = std::time::Instant::now();
        verify("http://127.0.0.1:1/health")
            .env("PGSTOW_VERIFY_HEALTH_COMMAND", command)
            .fails(3);
        assert!(
            begun.elapsed().as_secs() < 60,
            "it waited for the application"
        );
        let left = std::process::Command::new("pgrep")
            .args(["-f", "^sleep 1234$"])
            .output();
        assert_eq!(String::from_utf8_lossy(&left.unwrap().stdout), "");
    }
    site.assert_clean("shop");
}

//! Which databases a run takes, and the globals beside them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Site;
use crate::harness::{pg, stow::ROLE};

/// The databases of a report, in its order; null: the globals.
fn databases(report: &Value) -> Vec<Value> {
    let dumps = report["dumps"].as_array().unwrap().iter();
    dumps.map(|dump| dump["database"].clone()).collect()
}

#[test]
fn one_several_or_all_but_some() {
    let site = Site::with(pg(15), "[dump]\nexclude = [\"*_test\", \"postgres\"]");
    for name in ["shop", "shop_test", "Other", "closed"] {
        site.stow
            .cluster
            .psql(&format!("create database \"{name}\""));
    }
    site.stow
        .cluster
        .psql("alter database closed allow_connections false");
    let dumped = |arguments: &[&str]| databases(&site.dump(arguments).ok().json());
    let report = site.dump(&[]).ok().json();
    let expected = [Value::Null, json!("Other"), json!("shop")];
    assert_eq!(databases(&report), expected);
    // Dumps of one run have one time in their names.
    let dumps = report["dumps"].as_array().unwrap().iter();
    let names = dumps.map(|dump| dump["name"].as_str().unwrap());
    let times: BTreeSet<&str> = names.map(|name| name.rsplit('_').nth(1).unwrap()).collect();
    assert_eq!(times.len(), 1, "{report}");
    assert_eq!(
        dumped(&["--all", "--no-globals", "--exclude", "s*"]),
        [json!("Other"), json!("postgres")]
    );
    assert_eq!(
        dumped(&["shop*", "template1", "--no-globals", "--exclude", "x"]),
        [json!("shop"), json!("shop_test"), json!("template1")]
    );
    site.dump(&["nowhere"])
        .fails(1)
        .stderr_contains("there is no database \"nowhere\"");
    site.dump(&["x*"])
        .fails(1)
        .stderr_contains("no database is left to dump");
    // One that fails does not keep the others from being dumped, and the run has failed.
    let report = site
        .dump(&["closed", "shop", "--no-globals"])
        .expect_warning("no dump of closed")
        .fails(1)
        .json();
    assert_eq!(databases(&report), [json!("shop")]);
    assert_eq!(report["failed"][0]["database"], "closed");
    let error = report["failed"][0]["error"].as_str().unwrap();
    assert!(
        error.contains("not currently accepting connections"),
        "{error}"
    );
    // What an interrupted DROP DATABASE leaves, as the server marks it.
    let cluster = &site.stow.cluster;
    cluster.psql("create database half");
    cluster.psql("update pg_database set datconnlimit = -2 where datname = 'half'");
    let report = site.dump(&["--no-globals"]);
    let report =
        report.expect_warning("\"half\" is left out: a DROP DATABASE of it was interrupted");
    assert_eq!(
        databases(&report.ok().json()),
        [json!("Other"), json!("shop")]
    );
    let monitor = ["monitor", "--only", "dump_age"];
    let ages = site.stow.tool.command(&monitor).spawn().wait();
    assert!(!ages.stdout.contains("half"), "{ages}");
}

#[test]
fn the_variables_of_older_scripts_choose_too() {
    let site = Site::start(pg(16));
    for name in ["one", "two", "three"] {
        site.stow.cluster.psql(&format!("create database {name}"));
    }
    let report = site
        .dump(&["--no-globals"])
        .env("POSTGRES_DB", "one two")
        .env("BACKUP_FORMAT", "plain")
        .env("BACKUP_COMPRESSION_LEVEL", "9")
        .env("BACKUP_BASE_NAME", "nightly")
        .env("REMOTE_PATH_FORMAT", "flat")
        .ok()
        .json();
    assert_eq!(databases(&report), [json!("one"), json!("two")]);
    let name = report["dumps"][0]["data"]["name"].as_str().unwrap();
    assert!(
        name.starts_with("nightly_one_") && name.ends_with("_manual.sql.gz"),
        "{name}"
    );
    assert_eq!(report["dumps"][0]["level"], 9);
    assert!(site.dumps().join(name).is_file());
}

#[test]
fn globals_come_with_passwords_where_these_may_be_read() {
    let site = Site::start(pg(17));
    let cluster = &site.stow.cluster;
    cluster.psql("create role app login password 'x'");
    let text = |dump: &Value| {
        let data = site.stored(dump).data;
        let mut command = crate::harness::user::command("/bin/gunzip", "KILL");
        crate::harness::user::run_ok(command.arg("-c").arg(data))
    };
    let all = site.dump(&["postgres"]).ok().json();
    let globals = text(&all["dumps"][0]);
    assert!(globals.contains("CREATE ROLE app") && globals.contains("PASSWORD 'SCRAM-SHA-256"));
    assert!(!globals.contains("CREATE TABLE"));
    assert_eq!(all["dumps"][0]["missing"], json!([]));
    // Dumps of one run have one time.
    let stamp = |dump: &Value| {
        dump["name"]
            .as_str()
            .unwrap()
            .rsplit('_')
            .nth(1)
            .unwrap()
            .to_owned()
    };
    assert_eq!(stamp(&all["dumps"][0]), stamp(&all["dumps"][1]));

    let fewer = site
        .dump(&["postgres"])
        .env("PGSTOW_CLUSTER_USER", ROLE)
        .ok()
        .json();
    let globals = text(&fewer["dumps"][0]);
    assert!(globals.contains("CREATE ROLE app") && !globals.contains("PASSWORD 'SCRAM"));
    let missing = fewer["dumps"][0]["missing"][0].as_str().unwrap();
    assert!(missing.contains("passwords of roles"), "{missing}");
}

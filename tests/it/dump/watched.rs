//! Dumps are watched over: by `monitor`, for containers, in the history of runs, and by metrics.

use std::fs;

use serde_json::Value;

use super::Site;
use crate::harness::pg;

/// What `monitor` says of the ages of dumps: object and state.
fn ages(site: &Site, code: i32) -> Vec<(Value, Value)> {
    let arguments = ["--json", "monitor", "--only", "dump_age"];
    let checks = site.stow.tool.command(&arguments).fails(code).json()["checks"].clone();
    let checks = checks.as_array().unwrap().iter();
    checks
        .map(|check| (check["object"].clone(), check["state"].clone()))
        .collect()
}

/// Also of a run that made other dumps.
#[test]
fn the_history_of_runs_tells_why_a_dump_failed() {
    let site = Site::start(pg(16));
    let cluster = &site.stow.cluster;
    cluster.psql("create role reader login");
    for name in ["one", "two"] {
        cluster.psql(&format!("create database {name}"));
        cluster.psql_in(name, "create table t (n int)");
    }
    let dump = site.dump(&["postgres", "one", "two", "--no-globals"]);
    dump.env("PGSTOW_CLUSTER_USER", "reader")
        .expect_warning("permission denied for table t")
        .fails(1);
    let runs = site.stow.tool.command(&["--json", "list", "--runs"]).ok();
    let run = runs.json()["runs"][0].clone();
    let error = run["error"].as_str().unwrap();
    assert!(error.starts_with("2 dumps failed: "), "{error}");
    assert!(error.contains("permission denied for table t"), "{error}");
    let monitor = ["monitor", "--only", "runs"];
    let monitor = site.stow.tool.command(&monitor).spawn().wait();
    monitor.stdout_contains("2 dumps failed");
}

/// It is one that was dropped since.
#[test]
fn a_database_that_is_gone_does_not_keep_the_others_from_it() {
    let site = Site::start(pg(17));
    let report = site.dump(&["postgres", "gone", "--no-globals"]);
    let report = report
        .expect_warning("there is no database \"gone\"")
        .fails(1)
        .json();
    assert_eq!(report["dumps"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(report["failed"][0]["database"], "gone");
}

#[test]
fn a_section_without_a_key_is_a_section() {
    let site = Site::with(pg(16), "[dump]");
    assert_eq!(ages(&site, 2), [(Value::Null, "critical".into())]);
    // A healthcheck misses what is to be made, too.
    let health = ["monitor", "--healthcheck"];
    let unwell = site.stow.tool.command(&health).fails(1);
    unwell.stdout_contains("unhealthy: there is no good dump of another class than manual");
}

#[test]
fn the_age_of_each_databases_newest_dump() {
    let site = Site::start(pg(17));
    let cluster = &site.stow.cluster;
    for name in ["shop", "gone"] {
        cluster.psql(&format!("create database {name}"));
    }
    assert_eq!(ages(&site, 0), [(Value::Null, "ok".into())]);
    site.dumped(&["postgres"]);
    // One that was made by hand is no promise of another one.
    assert_eq!(ages(&site, 0), [(Value::Null, "ok".into())]);
    let health = |code| {
        site.stow
            .tool
            .command(&["monitor", "--healthcheck"])
            .fails(code)
    };
    health(1).stdout_contains("there is no good backup");
    for (database, days) in [("gone", 9), ("shop", 2), ("postgres", 0)] {
        site.daily_of(days, database, &["--json"]);
    }
    cluster.psql("drop database gone");
    // What a dump holds is as old as the server says, whose clock is right.
    let now = [
        ("postgres".into(), "ok".into()),
        ("shop".into(), "ok".into()),
    ];
    assert_eq!(ages(&site, 0), now);
    health(0).stdout_contains("healthy: the newest good dump is of");
    // Dumps are all that is made here: nobody misses anything else.
    let page = site.scratch.folder("page").join("page.html");
    let monitor = ["--json", "monitor", "--page", page.to_str().unwrap()];
    let report = site.stow.tool.command(&monitor).spawn().wait().json();
    let checks = report["checks"].as_array().unwrap().iter();
    let of_backups = checks.filter(|one| {
        let name = one["check"].as_str().unwrap();
        [
            "backup_age",
            "full_age",
            "archive_mode",
            "archive_command",
            "wal_lag",
        ]
        .contains(&name)
    });
    let of_backups: Vec<&Value> = of_backups.collect();
    assert_eq!(of_backups.len(), 5, "{report:#}");
    for check in of_backups {
        assert_eq!(check["state"], "ok", "{check}");
        assert_eq!(
            check["reason"],
            "not needed: dumps are all that is made here"
        );
    }
    // Nor does `check`.
    let report = site.stow.tool.command(&["--json", "check"]);
    let report = report.spawn().wait().json();
    let findings = report["findings"].as_array().unwrap().iter();
    let archive_mode = findings.clone().find(|one| one["name"] == "archive_mode");
    let said = &archive_mode.unwrap()["what"];
    assert_eq!(said, "not needed: dumps are all that is made here");
    let critical: Vec<_> = findings.filter(|one| one["state"] == "critical").collect();
    assert!(critical.is_empty(), "{critical:?}");
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.contains("The newest dump of each database"), "{html}");
    assert!(!html.contains("Nothing can be restored"));
    let older = |code: i32, seconds: &str| {
        let monitor = site.stow.tool.command(&["monitor", "--only", "dump_age"]);
        monitor.env("MAX_BACKUP_AGE_SECONDS", seconds).fails(code)
    };
    older(0, "3600");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    older(2, "1").stdout_contains("CRITICAL  dump_age shop");
    let monitor = site.stow.tool.command(&["monitor", "--only", "dump_age"]);
    let warned = monitor
        .env("PGSTOW_MONITOR_DUMP_AGE_WARNING", "1s")
        .fails(1);
    warned.stdout_contains("warning   dump_age shop");
    older(0, "3600");
    // Where the settings speak of dumps, there must be some.
    fs::remove_dir_all(site.dumps()).unwrap();
    let config = site.stow.tool.config_file();
    let text = fs::read_to_string(config).unwrap();
    fs::write(config, text + "[dump]\nformat = \"custom\"\n").unwrap();
    assert_eq!(ages(&site, 2), [(Value::Null, "critical".into())]);
}

#[test]
fn runs_are_noted_and_counted() {
    let site = Site::start(pg(16));
    let dumped = site.dumped(&["postgres"]);
    site.dump(&["nowhere"]).fails(1);
    let runs = site
        .stow
        .tool
        .command(&["--json", "list", "--runs"])
        .ok()
        .json();
    let runs = runs["runs"].as_array().unwrap();
    let noted = |run: &Value| {
        (
            run["job"].clone(),
            run["state"].clone(),
            run["exit_code"].clone(),
        )
    };
    assert_eq!(noted(&runs[0]), ("dump".into(), "done".into(), 0.into()));
    assert_eq!(runs[0]["bytes"], dumped.json["data"]["stored_bytes"]);
    assert_eq!(noted(&runs[1]), ("dump".into(), "failed".into(), 1.into()));
    let textfile = site.scratch.folder("metrics").join("pgstow.prom");
    let to = textfile.to_str().unwrap();
    let arguments = [
        "monitor",
        "--only",
        "runs",
        "--textfile",
        to,
        "--plain-names",
    ];
    site.stow.tool.command(&arguments).fails(1);
    let metrics = fs::read_to_string(&textfile).unwrap();
    let failed = "pg_backup_last_exit_code{cluster=\"main\",command=\"dump\"} 1";
    assert!(metrics.contains(failed), "{metrics}");
}

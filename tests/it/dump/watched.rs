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

/// Whatever another run did well, and for no longer than they ask for it.
#[test]
fn a_database_that_the_settings_ask_for_is_missed() {
    let lines = "[dump]\ndatabases = [\"shop\", \"broken\", \"app_*\"]\n";
    let site = Site::with(pg(17), lines);
    let cluster = &site.stow.cluster;
    for name in ["shop", "broken", "app_new", "other"] {
        cluster.psql(&format!("create database {name}"));
    }
    site.daily_of(0, "shop", &["--json"]);
    let only = ["monitor", "--only", "dump_age"];
    let about = |name: &str, state: &str| (Value::from(name), Value::from(state));
    // A new one that a pattern means may wait for the next run.
    let missed = [
        about("app_new", "ok"),
        about("broken", "critical"),
        about("shop", "ok"),
    ];
    assert_eq!(ages(&site, 2), missed);
    let shifted = |by: &str, code: i32| site.stow.tool.shifted(by, &only).fails(code);
    shifted("+27h", 2).stdout_contains("warning   dump_age app_new  there is no dump of it");
    shifted("+51h", 2).stdout_contains("CRITICAL  dump_age app_new  there is no dump of it");
    drop(site.dumped(&["app_new"]));
    drop(site.dumped(&["broken"]));
    let well = [
        about("app_new", "ok"),
        about("broken", "ok"),
        about("shop", "ok"),
    ];
    assert_eq!(ages(&site, 0), well);
    // What is taken out isn't missed, and its dumps are there.
    let older = |key: &str, value: &str, code: i32| {
        let monitor = site.stow.tool.shifted("+99h", &only);
        monitor.env(key, value).fails(code)
    };
    let left_out = older("PGSTOW_DUMP_DATABASES", "broken", 2);
    let left_out =
        left_out.stdout_contains("ok        dump_age shop    the settings ask for no dump of it");
    assert!(
        !left_out.stdout.contains("app_new"),
        "made by hand: {left_out}"
    );
    let left_out = older("PGSTOW_DUMP_EXCLUDE", "b*,app_*,shop", 0);
    left_out.stdout_contains("the newest good one is of 4 d 3 h ago");
    // A name that no database has is a mistake, or it was dropped.
    let mistaken = site.stow.tool.command(&only);
    let mistaken = mistaken.env("PGSTOW_DUMP_DATABASES", "shop,Shop").fails(1);
    mistaken.stdout_contains("warning   dump_age Shop  dump.databases names it");
}

/// They lie for years, and nobody looks at them.
#[test]
fn an_older_dump_that_is_lost_or_rots_is_told() {
    let site = Site::start(pg(16));
    let tool = &site.stow.tool;
    // Of years that have no other.
    let yearly = |ago: &str| {
        let dump = [
            "--json",
            "dump",
            "--no-globals",
            "--class",
            "yearly",
            "postgres",
        ];
        site.stored(&tool.shifted(ago, &dump).ok().json()["dumps"][0])
    };
    let (gone, cut, rotten) = (yearly("-800d"), yearly("-400d"), yearly("-9d"));
    site.daily_of(0, "postgres", &["--json"]);
    let damaged = |code| tool.command(&["monitor", "--only", "damaged"]).fails(code);
    damaged(0).stdout_contains("ok        damaged local  no backup is damaged");
    tool.command(&["cleanup"]).ok();
    let all = ["verify", "--all"];
    let read = tool.command(&all).ok();
    read.stdout_contains("4 dumps: what is stored is as it was written");
    let bytes = |dumped: &super::Dumped| fs::read(&dumped.data).unwrap();
    let (whole, whole_cut, whole_gone) = (bytes(&rotten), bytes(&cut), bytes(&gone));
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    fs::write(&rotten.data, &flipped).unwrap();
    fs::write(&cut.data, &whole_cut[1..]).unwrap();
    let told = damaged(1).stdout_contains("something of dump postgres/main_postgres_");
    told.stdout_contains(" bytes instead of ");
    fs::remove_file(&gone.data).unwrap();
    let json = ["--json", "monitor", "--only", "damaged"];
    let told = tool.command(&json).fails(1).json()["checks"][0].clone();
    let objects = told.to_string();
    for dumped in [&gone, &cut] {
        let name = dumped.json["name"].as_str().unwrap();
        assert!(objects.contains(name), "{told:#}");
    }
    let cleaned = tool.command(&["cleanup"]).fails(3);
    assert_eq!(cleaned.stdout.matches(" is lost: ").count(), 2, "{cleaned}");
    let dry = tool.command(&["cleanup", "--dry-run"]).fails(3);
    assert_eq!(dry.stdout.matches(" is lost: ").count(), 2, "{dry}");
    let read = tool.command(&all).fails(3);
    let read = read.stdout_contains("1 dump: what is stored is as it was written");
    assert_eq!(read.stdout.matches(": DAMAGED: ").count(), 3, "{read}");
    read.stdout_contains("is not what was written");
    let states = || -> Vec<Value> {
        let listed = site.list();
        listed.iter().map(|dump| dump["state"].clone()).collect()
    };
    assert_eq!(states(), ["damaged", "damaged", "bad", "good"]);
    let json = tool.command(&["--json", "verify", "--all"]).fails(3).json();
    let problems = json["dumps"].as_array().unwrap().iter();
    let problems: Vec<bool> = problems.map(|one| one["problem"].is_null()).collect();
    assert_eq!(problems, [false, false, false, true], "{json}");
    // Put back from a copy, they are as good as before.
    for (dumped, bytes) in [(&rotten, whole), (&cut, whole_cut), (&gone, whole_gone)] {
        fs::write(&dumped.data, bytes).unwrap();
    }
    tool.command(&all).ok();
    assert_eq!(states(), ["good"; 4]);
    tool.command(&["cleanup"]).ok();
    damaged(0);
    // The newest one, of which an older one is young.
    let newest = site.dumped(&["postgres"]);
    fs::write(&newest.data, "").unwrap();
    damaged(1);
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
    let of = "{cluster=\"main\",repository=\"local\",database=\"postgres\"}";
    let bytes = &dumped.json["data"]["stored_bytes"];
    let stored = format!("pgstow_dump_newest_stored_bytes{of} {bytes}\n");
    assert!(metrics.contains(&stored), "{metrics}");
    let time = format!("pgstow_dump_newest_timestamp_seconds{of} 1");
    assert!(metrics.contains(&time), "{metrics}");
}

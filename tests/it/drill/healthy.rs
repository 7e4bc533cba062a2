//! Backups that are sound: full, incremental, with a tablespace, to the end, a time, anywhere.

use std::fs;

use super::{Site, result, says};
use crate::harness::{PgBin, on_every_major, pg};

on_every_major!(a_full_backup_and_a_chain_are_proven);

fn a_full_backup_and_a_chain_are_proven(pg: PgBin) {
    let major = pg.major;
    let site = Site::start(pg);
    let place = site.scratch.folder("space");
    let cluster = &site.stow.cluster;
    cluster.psql(&format!(
        "create tablespace aside location '{}'",
        place.display()
    ));
    cluster.psql("create table elsewhere tablespace aside as select generate_series(1, 1000) n");
    let full = site.stow.backup(&["--full"]);
    cluster.psql("insert into shop.orders (customer) select 5 from generate_series(1, 500)");
    cluster.switch_wal();
    let before = site.objects();
    // As many rows as were written behind the backup, too.
    let rows = "SELECT count(*) = 5500 FROM shop.orders\nSELECT sum(n) = 500500 FROM elsewhere\n\
         SELECT current_setting('pgstow.target')::timestamptz > now() - interval '1 hour'";
    let report = site.proves(site.drill(&[]).env("PGSTOW_DRILL_SQL", rows));
    assert!(site.objects() == before, "a drill changed the repository");
    assert_eq!(report["backup"], full.id());
    assert_eq!(report["chain_length"], 1);
    for check in [
        "plan",
        "restore",
        "backup_manifest",
        "recovery",
        "recovery_point",
        "contents",
        "living_server",
        "indexes",
        "foreign_keys",
        "sequences",
        "extensions",
        "amcheck",
        "sql",
        "checksums",
    ] {
        assert_eq!(result(&report, check), "passed", "{check}: {report}");
    }
    assert!(says(&report, "amcheck").starts_with("all "), "{report}");
    let phases = report["phases"].as_array().unwrap();
    let names: Vec<&str> = phases
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "fetch",
            "unpack",
            "manifest",
            "replay",
            "objects",
            "amcheck",
            "sql",
            "stop",
            "checksums",
            "removal"
        ]
    );
    let bytes = |number: usize| phases[number]["bytes"].as_u64().unwrap();
    assert!(
        bytes(0) > 0 && bytes(1) > bytes(0) && bytes(3) > 0,
        "{report}"
    );
    // On no timeline of its own in the archive, and not in the way of the server that lives.
    cluster.switch_wal();
    assert_eq!(
        cluster.psql("select timeline_id from pg_control_checkpoint()"),
        "1"
    );
    let listed = site.stow.backups();
    assert_eq!(listed[0]["drill"]["proven"], true, "{listed:?}");
    site.stow
        .tool
        .command(&["list"])
        .ok()
        .stdout_contains("proven by the drill of");

    // What an incremental one builds on is read with it, and compared with what the first drill saw.
    cluster.psql("update shop.orders set customer = 7 where id <= 100");
    let child = site.stow.backup(&["--incremental"]);
    cluster.psql("drop table elsewhere; insert into shop.customer (name) values ('new')");
    cluster.switch_wal();
    let before = site.objects();
    let rows = "SELECT count(*) = 101 FROM shop.customer\nSELECT to_regclass('elsewhere') IS NULL";
    let report = site.proves(site.drill(&["latest"]).env("PGSTOW_DRILL_SQL", rows));
    assert!(site.objects() == before, "a drill changed the repository");
    assert_eq!(report["backup"], child.id());
    assert_eq!(report["chain_length"], 2);
    let told = says(&report, "contents");
    assert!(told.contains("gone since then: 1"), "{told}");
    assert!(told.contains("public.elsewhere is gone"), "{told}");
    let listed = site.stow.backups();
    assert!(
        listed.iter().all(|one| one["drill"]["proven"] == true),
        "PostgreSQL {major}: {listed:?}"
    );
    let monitored = site
        .stow
        .tool
        .command(&["--json", "monitor", "--only", "drill"])
        .ok()
        .stdout_contains(child.id());
    drop(monitored);
}

#[test]
fn to_a_time_and_to_any_place() {
    let site = Site::start(pg(17));
    let cluster = &site.stow.cluster;
    site.stow.backup(&[]);
    cluster.switch_wal();
    let time = cluster.psql("select clock_timestamp() from pg_sleep(0.1)");
    let time = format!("{time}:00").replace("+00:00", "+00");
    cluster.psql("select pg_sleep(0.1)");
    cluster.psql("drop table shop.orders");
    cluster.switch_wal();
    let rows = "SELECT count(*) = 5000 FROM shop.orders\n\
         SELECT current_setting('pgstow.target')::timestamptz < clock_timestamp() - interval '200 ms'";
    let there = site.drill(&["--target-time", &time]);
    let report = site.proves(there.env("PGSTOW_DRILL_SQL", rows));
    assert!(
        says(&report, "recovery").contains("reached time"),
        "{report}"
    );
    for _ in 0..3 {
        let report = site.proves(site.drill(&["--random"]));
        assert!(
            report["target"].as_str().unwrap().starts_with("LSN "),
            "{report}"
        );
    }
    // A time that no WAL leads to is the mistake of who asks.
    let early = site.drill(&["--target-time", "2001-01-01 00:00:00+00"]);
    early.fails(1).stderr_contains("lies before the end of");
    site.assert_clean();
    let reports = fs::read_dir(site.stow.root().join("main/drills")).unwrap();
    assert_eq!(reports.count(), 8);
}

#[test]
fn the_report_as_people_read_it() {
    let site = Site::start(pg(18));
    site.stow
        .tool
        .command(&["drill"])
        .fails(1)
        .stderr_contains("no complete backup");
    let backup = site.stow.backup(&[]);
    let output = site.stow.tool.command(&["drill"]).ok();
    for words in [
        &format!("{} (PostgreSQL 18.", backup.id()),
        "proven, to ",
        "restored to the end of the archive",
        "  amcheck            ok      all ",
        "  sql                -       drill.sql has no statement",
        "  replay ",
        "filed as ",
    ] {
        assert!(output.stdout.contains(words), "{words:?} in {output}");
    }
    // A proof that is old is told as old.
    let monitor = site.stow.tool.command(&["monitor", "--only", "drill"]);
    let monitor = monitor
        .env("PGSTOW_MONITOR_DRILL_AGE_WARNING", "0s")
        .env("PGSTOW_MONITOR_DRILL_AGE_CRITICAL", "0s");
    drop(
        monitor
            .fails(2)
            .stdout_contains("the newest proof is older than 0.0 s"),
    );
    let quiet = site.stow.tool.command(&["--quiet", "drill"]).ok();
    assert_eq!(quiet.stdout, "");
    // Runs have it, and the page and the metrics tell of it.
    let runs = site
        .stow
        .tool
        .command(&["--json", "list", "--runs"])
        .ok()
        .json();
    let jobs = runs["runs"].as_array().unwrap().iter();
    assert_eq!(
        jobs.filter(|run| run["job"] == "drill").count(),
        3,
        "{runs}"
    );
    let page = site.scratch.join("state/page.html");
    let metrics = site.scratch.join("state/pgstow.prom");
    let arguments = ["monitor", "--quiet", "--only", "drill", "--page"];
    let paths = [
        page.to_str().unwrap(),
        "--textfile",
        metrics.to_str().unwrap(),
    ];
    site.stow
        .tool
        .command(&[&arguments[..], &paths[..]].concat())
        .ok();
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("Restore drills") && page.contains("proven"));
    assert!(page.contains("A restore to the end of the archive takes about "));
    assert!(page.contains("pgstow --cluster main find-target --around "));
    let metrics = fs::read_to_string(metrics).unwrap();
    for metric in [
        "pgstow_drill_last_good{cluster=\"main\",repository=\"local\"} 1",
        "pgstow_drill_newest_proof_timestamp_seconds",
        "pgstow_drill_last_phase_seconds{cluster=\"main\",repository=\"local\",phase=\"replay\"}",
    ] {
        assert!(metrics.contains(metric), "{metric} in {metrics}");
    }
}

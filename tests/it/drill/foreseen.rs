//! What drills foresee, while a cluster grows.

use serde_json::Value;

use super::Site;
use crate::harness::{Shutdown, pg};

const PHASES: [&str; 3] = ["fetch", "unpack", "replay"];

fn foreseen(forecast: &Value) -> f64 {
    let phases = forecast["phases"].as_array().unwrap();
    let names: Vec<&str> = phases
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, PHASES);
    let sum: f64 = phases
        .iter()
        .map(|one| one["seconds"].as_f64().unwrap())
        .sum();
    let seconds = forecast["seconds"].as_f64().unwrap();
    assert!((sum - seconds).abs() < 1e-6, "{forecast}");
    seconds
}

/// What a drill took of what is foreseen.
fn took(report: &Value) -> f64 {
    let phases = report["phases"].as_array().unwrap().iter();
    let counted = phases.filter(|one| PHASES.contains(&one["name"].as_str().unwrap()));
    counted.map(|one| one["seconds"].as_f64().unwrap()).sum()
}

#[test]
fn restores_count_as_drills_do() {
    let mut site = Site::start(pg(16));
    site.stow.backup(&[]);
    site.stow.cluster.switch_wal();
    let copy = site.scratch.join("copy");
    for round in 0..3 {
        let plan = ["--json", "restore", "--plan", "--data-dir"];
        let plan = [&plan[..], &[copy.to_str().unwrap()]].concat();
        let forecast = site.stow.tool.command(&plan).ok().json()["forecast"].clone();
        if round == 0 {
            assert!(forecast.is_null(), "{forecast}");
        } else {
            assert!(foreseen(&forecast) > 0.0);
            assert_eq!(forecast["drills"], 0);
            assert_eq!(forecast["restores"], round);
            assert_eq!(forecast["error"].is_null(), round == 1, "{forecast}");
        }
        site.stow.cluster.stop(Shutdown::Fast);
        let restored = site.stow.tool.command(&["--json", "restore", "--replace"]);
        let restored = restored.ok().json();
        assert_eq!(restored["forecast"].is_null(), round == 0);
        // Not before its server has come to the target.
        let noted = || {
            let path = site.scratch.join("state/main/restores/measured.json");
            let noted: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
            noted[round]["phases"].as_array().unwrap().len()
        };
        assert_eq!(noted(), 2);
        site.stow.cluster.recover();
        assert_eq!(noted(), 3);
    }
    let list = site.stow.tool.command(&["list"]).ok();
    drop(list.stdout_contains(", by 3 restores on "));
}

#[test]
fn drills_of_a_growing_cluster_foresee_the_next() {
    let site = Site::start(pg(18));
    let cluster = &site.stow.cluster;
    cluster.psql("create table grows (n int, word text)");
    let plan = || {
        let command = ["--json", "restore", "--plan", "--data-dir"];
        let to = site.scratch.join("copy");
        let command = [&command[..], &[to.to_str().unwrap()]].concat();
        site.stow.tool.command(&command).ok().json()
    };
    let monitor = |critical: Option<&str>| {
        let command = ["--json", "monitor", "--only", "recovery_time"];
        let command = site.stow.tool.command(&command);
        match critical {
            None => command.ok().json(),
            Some(limit) => command
                .env("PGSTOW_MONITOR_RTO_CRITICAL", limit)
                .fails(2)
                .json(),
        }
    };
    site.stow.backup(&["--full"]);
    assert!(plan()["forecast"].is_null());
    assert_eq!(monitor(None)["checks"][0]["figures"], serde_json::json!([]));
    let mut off = Vec::new();
    for round in 0..10 {
        cluster.psql("insert into grows select n, md5(n::text) from generate_series(1, 150000) n");
        cluster.switch_wal();
        if round % 3 == 2 {
            site.stow.backup(&["--full"]);
        }
        let planned = plan()["forecast"].clone();
        let report = site.proves(site.drill(&[]));
        let forecast = &report["forecast"];
        if round == 0 {
            assert!(forecast.is_null() && planned.is_null());
            continue;
        }
        // The plan of a restore says just what the drill is then held against.
        assert_eq!(foreseen(&planned), foreseen(forecast));
        assert_eq!(forecast["drills"], round);
        assert_eq!(forecast["error"].is_null(), round == 1);
        off.push((foreseen(forecast) - took(&report)) / took(&report));
    }
    // How far depends on what else this host does: it is told, and judged by people.
    let told: Vec<String> = off
        .iter()
        .map(|off| format!("{:+.0} %", 100.0 * off))
        .collect();
    println!("forecasts of ten drills were off by {}", told.join(", "));
    let mean = off.iter().map(|off| off.abs()).sum::<f64>() / off.len() as f64;
    let error = plan()["forecast"]["error"].as_f64().unwrap();
    assert!((error - mean).abs() < 1e-6, "{error} is not {mean}");
    let listed = site.stow.list()["wal"][0]["forecast"].clone();
    assert_eq!(listed, plan()["forecast"]);
    let list = site.stow.tool.command(&["list"]).ok();
    drop(list.stdout_contains("a restore to its end takes about "));
    let verdict = monitor(Some("0s"))["checks"][0].clone();
    assert_eq!(verdict["state"], "critical");
    assert_eq!(verdict["figures"][0]["name"], "forecast");
    let report = site.drill(&[]).ok().json();
    assert!(report["forecast"]["drills"] == 10);
    let text = site
        .stow
        .tool
        .command(&["drill"])
        .env("PGSTOW_DRILL_SCRATCH", &site.drills);
    drop(text.ok().stdout_contains("were foreseen"));
}

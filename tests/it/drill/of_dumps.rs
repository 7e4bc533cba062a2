//! `drill DUMP`: the same as `verify` of it, and a report that stays.

use std::fs;

use serde_json::{Value, json};

use crate::{
    harness::pg,
    restore_dump::{CHECKS, Site, beside, failed_checks, make_shop, stem},
};

#[test]
fn a_dump_is_drilled() {
    let site = Site::start(pg(17));
    make_shop(&site.stow.cluster, "shop");
    let data = site.dump("shop", &[]);
    let drills = site.stow.root().join("main/drills");
    let report = site.pgstow(&["drill", "shop"]).ok().json();
    assert_eq!(
        (&report["what"], &report["good"]),
        (&json!("dump"), &json!(true))
    );
    assert_eq!(report["database"], "shop");
    assert!(
        report["dump"].as_str().unwrap().ends_with(&stem(&data)),
        "{report}"
    );
    for check in CHECKS {
        let checks = report["checks"].as_array().unwrap().iter();
        let passed = checks.filter(|one| one["result"] == "passed");
        assert!(
            passed.map(|one| &one["name"]).any(|name| name == check),
            "{check}: {report}"
        );
    }
    let phases = report["phases"].as_array().unwrap().iter();
    let phases: Vec<_> = phases
        .map(|phase| phase["name"].as_str().unwrap())
        .collect();
    let all = ["read", "server", "load", "objects", "sql", "removal"];
    assert_eq!(phases, all);
    assert_eq!(report["phases"][0]["bytes"], report["bytes"]);
    let parts = report["phases"].as_array().unwrap().iter();
    let parts: f64 = parts.map(|phase| phase["seconds"].as_f64().unwrap()).sum();
    assert!(
        parts > 0.0 && parts <= report["seconds"].as_f64().unwrap(),
        "{report}"
    );
    // What is filed is what was said.
    let filed: Vec<_> = fs::read_dir(&drills)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(filed.len(), 1, "{filed:?}");
    assert!(
        filed[0].to_str().unwrap().ends_with("Z-dump.json"),
        "{filed:?}"
    );
    let json: Value = serde_json::from_slice(&fs::read(&filed[0]).unwrap()).unwrap();
    assert_eq!(json["checks"], report["checks"]);
    assert_eq!(json["phases"], report["phases"]);
    let mut text = site.stow.tool.command(&["drill", "shop"]).ok();
    for phase in all {
        text = text.stdout_contains(&format!("\n  {phase:<18} "));
    }
    // Known as what verify says, and no proof of a backup.
    let text = site.stow.tool.command(&["list", "--dumps"]).ok();
    text.stdout_contains(" proven ");
    let monitored = site.pgstow(&["monitor", "--only", "drill"]).ok().json();
    assert_eq!(
        monitored["checks"][0]["reason"],
        "no drill was made: `pgstow drill` proves a backup"
    );
    let runs = site.pgstow(&["list", "--runs"]).ok().json();
    assert!(
        runs["runs"]
            .as_array()
            .unwrap()
            .iter()
            .any(|run| run["job"] == "drill-dump"),
        "{runs}"
    );

    // What is wrong is found by the same checks, and filed.
    site.describe(&data, |json| {
        json["contents"]["counts"]["enum_types"] = 7.into()
    });
    let output = site.pgstow(&["drill", &stem(&data)]).fails(3);
    assert_eq!(failed_checks(&output.json()), ["enum_types"], "{output}");
    fs::remove_file(beside(&data, "dump")).unwrap();
    let output = site.pgstow(&["drill", &stem(&data)]).fails(3);
    assert_eq!(failed_checks(&output.json()), ["intact"], "{output}");
    assert_eq!(fs::read_dir(&drills).unwrap().count(), 4);
    // What is no finding files nothing.
    site.pgstow(&["drill", "nothing"]).fails(1);
    site.pgstow(&["dump", "shop"]).ok();
    site.pgstow(&["drill", "@globals"])
        .fails(2)
        .stderr_contains("not tried out");
    for option in [&["--random"][..], &["--scratch", "/tmp"]] {
        site.pgstow(&[&["drill", "shop"], option].concat()).fails(2);
    }
    let backup = "20261121T020000Z-full";
    site.pgstow(&["drill", backup])
        .fails(2)
        .stderr_contains("is a backup");
    assert_eq!(fs::read_dir(&drills).unwrap().count(), 4);
    site.assert_clean("shop");
}

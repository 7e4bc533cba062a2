//! What was found is kept beside the dump.

use std::fs;

use serde_json::Value;

use super::{Site, make_shop};
use crate::harness::pg;

#[test]
fn the_result_is_stored_with_the_dump() {
    let site = Site::start(pg(17));
    make_shop(&site.stow.cluster, "shop");
    let data = site.dump("shop", &[]);
    site.pgstow(&["verify", "--dumps"]).ok();
    let folder = site.stow.root().join("main/verified");
    let [file] = fs::read_dir(&folder)
        .unwrap()
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    let json: Value = serde_json::from_slice(&fs::read(file.unwrap().path()).unwrap()).unwrap();
    let word = &json["dumps"][0];
    let stem = data.file_name().unwrap().to_str().unwrap();
    assert!(
        word["dump"]
            .as_str()
            .unwrap()
            .ends_with(stem.split_once('.').unwrap().0)
    );
    assert_eq!(word["good"], true, "{word}");
    assert_eq!(word["checks"][0]["name"], "intact");
    // The run is in the history, and `cleanup` lets the word be as long as the dump is there.
    let runs = site.pgstow(&["list", "--runs"]).ok().json();
    assert!(
        runs["runs"]
            .as_array()
            .unwrap()
            .iter()
            .any(|run| run["job"] == "verify"),
        "{runs}"
    );
    site.pgstow(&["verify", "--dumps"]).ok();
    let file = site.scratch.folder("metrics").join("pgstow.prom");
    let to = ["--textfile", file.to_str().unwrap()];
    let only = ["monitor", "--only", "dump_verification"];
    let judged = site.pgstow(&[&only[..], &to].concat()).ok().json();
    let what = judged["checks"][0]["reason"].as_str().unwrap();
    assert!(what.contains("was restored and found good"), "{judged}");
    for (shift, code) in [("+7d", 0), ("+9d", 1), ("+32d", 2)] {
        let aged = site.stow.tool.shifted(shift, &only);
        drop(match code {
            0 => aged.ok(),
            _ => aged.fails(code),
        });
    }
    let metrics = fs::read_to_string(&file).unwrap();
    let proven = "pgstow_dump_verification_newest_timestamp_seconds{cluster=\"main\",repository=\"local\"} 1";
    assert!(metrics.contains(proven), "{metrics}");
    site.pgstow(&["cleanup"]).ok();
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    // What the list says of one that is not good, of one that is, and of what was read alone.
    site.describe(&data, |json| {
        json["contents"]["counts"]["enum_types"] = 7.into();
    });
    site.pgstow(&["verify", "shop"]).fails(3);
    // The newest that was tried out, then an older one.
    let judged = site.pgstow(&only).fails(2).json();
    let reason = judged["checks"][0]["reason"].as_str().unwrap();
    // It is the one that makes the state that is named.
    let flaw = "`pgstow verify` found it not good (enum_types)";
    assert!(
        reason.contains(&super::stem(&data)) && reason.contains(flaw),
        "{reason}"
    );
    site.pgstow(&["dump", "shop"]).ok();
    for what in ["shop", &globals(&site)] {
        site.pgstow(&["verify", what]).ok();
    }
    site.pgstow(&only).fails(1);
    let report = site.pgstow(&["list", "--dumps"]).ok().json();
    let told = |dump: &Value| {
        let verified = &dump["verified"];
        let words = ["database", "state"].map(|field| dump[field].clone());
        (
            words,
            verified["good"].clone(),
            verified["server"].is_null(),
        )
    };
    let told: Vec<_> = report["dumps"]
        .as_array()
        .unwrap()
        .iter()
        .map(told)
        .collect();
    assert!(
        told.contains(&(["shop".into(), "bad".into()], false.into(), false)),
        "{report:#}"
    );
    assert!(
        told.contains(&(["shop".into(), "good".into()], true.into(), false)),
        "{report:#}"
    );
    assert!(
        told.contains(&([Value::Null, "good".into()], true.into(), true)),
        "{report:#}"
    );
    let text = site.stow.tool.command(&["list", "--dumps"]).ok();
    let states: Vec<&str> = text.stdout.lines().filter_map(state).collect();
    assert_eq!(states, ["NOT GOOD", "good", "proven"], "{text}");
}

/// The name of the only dump of globals.
fn globals(site: &Site) -> String {
    let report = site.pgstow(&["list", "--dumps"]).ok().json();
    let mut dumps = report["dumps"].as_array().unwrap().iter();
    let globals = dumps.find(|dump| dump["database"].is_null()).unwrap();
    globals["name"].as_str().unwrap().to_owned()
}

/// Of a line of the list.
fn state(line: &str) -> Option<&str> {
    let states = ["NOT GOOD", "proven", "good"];
    let of_dump = line.starts_with("main_");
    states
        .into_iter()
        .find(|state| of_dump && line.contains(&format!(" {state} ")))
}

//! How runs ended, and who is told.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::Watched;
use crate::harness::golden::golden;

fn runs(watched: &Watched) -> Vec<Value> {
    let list = watched.stow.tool.command(&["list", "--runs", "--json"]);
    list.ok().json()["runs"].as_array().unwrap().clone()
}

#[test]
fn each_run_is_noted_however_it_ends() {
    let watched = Watched::start(17);
    let tool = &watched.stow.tool;
    let first = &runs(&watched)[0];
    let backup = &watched.stow.backups()[0];
    assert_eq!(first["job"], "base");
    assert_eq!(first["state"], "done");
    assert_eq!(first["exit_code"], 0);
    assert_eq!(first["backup"], backup["id"]);
    assert_eq!(first["bytes"], backup["backup"]["stored_bytes"]);
    drop(tool.command(&["verify"]).ok());
    assert_eq!(runs(&watched)[1]["job"], "verify");
    let one: Vec<&String> = first.as_object().unwrap().keys().collect();
    golden("list-runs.txt", &format!("{one:#?}\n"));

    // Failed, once and again.
    let fail = || {
        let base = watched.stow.base(&[]).env("PGSTOW_CLUSTER_PORT", "1");
        drop(base.env("PGSTOW_CONNECT_RETRIES", "0").fails(1));
    };
    fail();
    watched.is("runs", &[], "warning", "failed: can't connect");
    fail();
    // Killed in the middle: it leaves no word, and is known for it.
    let base = watched
        .stow
        .base(&["--max-rate", "32kB", "--method", "stream"]);
    let running = base.spawn();
    while runs(&watched).len() < 5 {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(runs(&watched)[4]["state"], "running");
    running.signal(Signal::KILL);
    drop(running);
    assert_eq!(runs(&watched)[4]["state"], "killed");
    assert_eq!(runs(&watched)[4]["exit_code"], Value::Null);
    watched.is("runs", &[], "critical", "was killed; 3 in a row");
    watched
        .stow
        .tool
        .command(&["list", "--runs"])
        .ok()
        .stdout_contains("KILLED")
        .stdout_contains("FAILED");
    watched.stow.backup(&[]);
    watched.is_well();

    // Where no note can be left, the backup is made all the same.
    let base = watched
        .stow
        .base(&[])
        .env("PGSTOW_STATE_DIR", "/proc/pgstow");
    base.expect_warning("this run is not noted").ok();
}

#[test]
fn the_log_is_opened_anew_after_a_hangup() {
    let watched = Watched::start(16);
    let log = watched.scratch.folder("log").join("pgstow.log");
    watched.break_archiving();
    let base = watched.stow.base(&["--wal-timeout", "6s", "-v"]);
    let running = base
        .env("PGSTOW_LOG_FILE", &log)
        .expect_warning("archiving may not work")
        .expect_warning("waiting since")
        .spawn();
    let pending = || watched.stow.folders().len() == 2;
    while !pending() || !std::fs::read_to_string(&log).is_ok_and(|text| !text.is_empty()) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let moved = log.with_extension("1");
    std::fs::rename(&log, &moved).unwrap();
    running.signal(Signal::HUP);
    let ended = running.wait();
    assert_eq!(ended.status.code(), Some(1), "{ended}");
    let anew = std::fs::read_to_string(&log).unwrap();
    assert!(anew.contains("pgstow: ERROR backup"), "{anew}");
    assert!(!anew.contains("error: "), "{anew}");
    let before = std::fs::read_to_string(&moved).unwrap();
    assert!(
        before.contains("pgstow: DEBUG") || before.contains("pgstow: INFO"),
        "{before}"
    );

    // Where it can't be opened, the work is done all the same.
    watched
        .stow
        .tool
        .command(&["list"])
        .env("PGSTOW_LOG_FILE", "/proc/nowhere")
        .expect_warning("log.file: ")
        .ok();
}

/// The names of all fields, and the form of the line.
#[test]
fn its_forms_stay() {
    let watched = Watched::start(18);
    let monitor = |words: &[&str]| {
        let all = [&["monitor"], words].concat();
        super::healthy(watched.stow.tool.command(&all)).ok()
    };
    let document = monitor(&["--json"]).json();
    let keys = |value: &Value| Vec::from_iter(value.as_object().unwrap().keys().cloned());
    let checks = document["checks"].as_array().unwrap();
    let names: Vec<String> = checks
        .iter()
        .map(|one| {
            let figures = one["figures"].as_array().unwrap().iter();
            let figures: Vec<&str> = figures.map(|one| one["name"].as_str().unwrap()).collect();
            let object = one["object"].as_str().unwrap_or("-");
            format!(
                "{} {object} {}",
                one["check"].as_str().unwrap(),
                figures.join(",")
            )
        })
        .collect();
    let figure = checks.iter().find_map(|one| one["figures"].get(0)).unwrap();
    let shape = [keys(&document), keys(&checks[0]), keys(figure)].map(|keys| keys.join(" "));
    let text = format!("{}\n\n{}\n", shape.join("\n"), names.join("\n"));
    golden("monitor-json.txt", &text);

    let line = monitor(&["--nagios"]).stdout;
    let (said, figures) = line.trim_end().split_once(" | ").unwrap();
    let count = names.len();
    assert_eq!(said, format!("PGSTOW OK - main: {count} checks ok"));
    for figure in figures.split("' '").flat_map(|part| part.split(" '")) {
        let (_, values) = figure.trim_matches('\'').split_once("'=").unwrap();
        let values: Vec<&str> = values.split(';').collect();
        assert_eq!(values.len(), 3, "{figure}");
        let number = values[0].trim_end_matches(['s', 'B', '%']);
        assert!(number.parse::<f64>().is_ok(), "{figure}");
    }
    let text = monitor(&[]).stdout;
    assert!(text.ends_with(&format!(
        "OK: 0 critical, 0 unknown, 0 warnings, {count} ok\n"
    )));
    assert_eq!(monitor(&["--quiet"]).stdout, "");
    // And of what isn't well no more than that.
    let words = ["monitor", "--quiet"];
    let shifted = super::healthy(watched.stow.tool.shifted("+27h", &words));
    let told = shifted.spawn().wait().stdout;
    let words: Vec<&str> = told.split_whitespace().collect();
    assert!(told.contains("  backup_age  "), "{told}");
    assert!(
        words.contains(&"warning") && !told.contains("\nok  "),
        "{told}"
    );
    assert!(!told.starts_with("ok "), "{told}");
}

//! Which dumps stay: `cleanup` does what its dry run says.

use std::fs;

use serde_json::Value;

use super::Site;
use crate::harness::{pg, tool::Tool, user};

/// Makes a dump `days` ago, as far as pgstow can tell.
fn dump_ago(site: &Site, days: u32, arguments: &[&str]) {
    let arguments = [&["--json", "dump", "--no-globals"], arguments].concat();
    site.stow
        .tool
        .shifted(&format!("-{days}d"), &arguments)
        .ok();
}

/// Of a cleanup: what it says of each dump, as days ago, class, whether it stays, and why.
fn decided(tool: &Tool, arguments: &[&str]) -> Vec<(String, bool, String)> {
    decisions(tool, arguments, 0)
}

fn decisions(tool: &Tool, arguments: &[&str], code: i32) -> Vec<(String, bool, String)> {
    let cleanup = tool.command(&[&["--json", "cleanup"], arguments].concat());
    let report = match code {
        0 => cleanup.ok(),
        code => cleanup.fails(code),
    };
    let report = report.json();
    let dumps = report["dumps"].as_array().unwrap().iter();
    dumps
        .map(|dump| {
            let reasons: Vec<&str> = dump["reasons"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(Value::as_str)
                .collect();
            let name = dump["name"].as_str().unwrap();
            (
                name.rsplit('_').next().unwrap().to_owned(),
                dump["action"] == "keep",
                reasons.join("; "),
            )
        })
        .collect()
}

#[test]
fn rules_by_class_by_days_and_a_floor() {
    let site = Site::with(
        pg(15),
        "[dump]\nretention = { daily = 2, weekly = 1, monthly = 0, yearly = 0, min = 1, days = 3 }",
    );
    site.stow.cluster.psql("create database other");
    for days in [40, 20, 9, 8] {
        dump_ago(&site, days, &["postgres", "--class", "daily"]);
    }
    dump_ago(&site, 30, &["postgres", "--class", "manual"]);
    dump_ago(&site, 12, &["postgres", "--class", "weekly"]);
    dump_ago(&site, 10, &["postgres", "--class", "monthly"]);
    dump_ago(&site, 50, &["other", "--class", "monthly"]);
    let planned = decided(&site.stow.tool, &["--dry-run"]);
    let keeps: Vec<_> = planned
        .iter()
        .map(|(class, keep, _)| (class.as_str(), *keep))
        .collect();
    assert_eq!(
        keeps,
        [
            ("monthly", true),
            ("daily", false),
            ("manual", true),
            ("daily", false),
            ("weekly", true),
            ("monthly", true),
            ("daily", true),
            ("daily", true),
        ]
    );
    assert_eq!(planned[0].2, "days: of the last 3; min: 1 of 1");
    assert_eq!(planned[1].2, "no rule wants it");
    assert_eq!(
        planned[7].2,
        "daily: 1 of 2; days: of the last 3; min: 1 of 1"
    );
    let before = site.files();
    assert_eq!(before.len(), 8 * 3);
    assert_eq!(decided(&site.stow.tool, &[]), planned);
    let after = site.files();
    assert_eq!(after.len(), 6 * 3, "{after:?}");
    assert!(site.list().iter().all(|dump| dump["state"] == "good"));
    let again = decided(&site.stow.tool, &[]);
    assert!(again.iter().all(|(_, keep, _)| *keep), "{again:?}");
    // A clock was wrong, and what it dated stands before what comes now.
    let dump = ["dump", "postgres", "--no-globals", "--class", "daily"];
    drop(site.stow.tool.shifted("+400d", &dump).ok());
    let warned = site.stow.tool.command(&["cleanup"]).fails(3);
    warned.stdout_contains("a clock was or is wrong");
}

#[test]
fn each_repository_has_rules_of_its_own_and_dump_cleans_up() {
    let site = Site::with(pg(16), "[dump]\nretention = { daily = 1, min = 0 }");
    let config = site.stow.tool.config_file().to_owned();
    let offsite = site.scratch.folder("offsite");
    let text = fs::read_to_string(&config).unwrap();
    let more = format!(
        "[repo.offsite]\nurl = \"{}\"\ndump.retention.daily = 3\n",
        offsite.display()
    );
    fs::write(&config, text + &more).unwrap();
    site.stow.tool.command(&["--repo", "offsite", "init"]).ok();
    for repo in ["local", "offsite"] {
        for days in [5, 4, 3, 2] {
            site.daily_of(days, "postgres", &["--repo", repo]);
        }
    }
    let report = site
        .dump(&[
            "postgres",
            "--no-globals",
            "--class",
            "daily",
            "--cleanup",
            "--repo",
            "local",
        ])
        .ok()
        .json();
    assert_eq!(
        report["cleanup"]["done"]["deleted"]["dumps"]["objects"],
        4 * 3
    );
    assert_eq!(site.list().len(), 1);
    let offsite = site
        .stow
        .tool
        .command(&["--json", "--repo", "offsite", "cleanup"])
        .ok()
        .json();
    assert_eq!(offsite["deleted"]["dumps"]["objects"], 3);
    // The link does not lead to what is gone.
    let link = site.dumps().join("latest/postgres.dump");
    assert!(fs::metadata(link).is_ok());
}

/// Where no rule is set: in the first repository alone.
#[test]
fn the_usual_rules() {
    let site = Site::start(pg(17));
    let config = site.stow.tool.config_file().to_owned();
    let offsite = site.scratch.folder("offsite");
    let text = fs::read_to_string(&config).unwrap();
    let more = format!("[repo.offsite]\nurl = \"{}\"\n", offsite.display());
    fs::write(&config, text + &more).unwrap();
    site.stow.tool.command(&["--repo", "offsite", "init"]).ok();
    let classes = [("daily", 8), ("weekly", 5), ("monthly", 13), ("yearly", 3)];
    for (class, count) in classes {
        for days in (1..=count).rev() {
            dump_ago(&site, days, &["template1", "--class", class]);
        }
    }
    // They are copies, by name.
    let mut copy = user::command("cp", "KILL");
    let from = site.dumps();
    user::run_ok(copy.arg("-r").arg(from).arg(offsite.join("main")));
    let deleted = |repo: &str| {
        let decided = decided(&site.stow.tool, &["--dry-run", "--repo", repo]);
        let deleted = decided.into_iter().filter(|(_, keep, _)| !keep);
        deleted.map(|(class, ..)| class).collect::<Vec<_>>()
    };
    assert_eq!(deleted("offsite"), [""; 0]);
    // The oldest of each, as they come.
    assert_eq!(deleted("local"), ["monthly", "daily", "weekly"]);
}

#[test]
fn classes_come_by_themselves() {
    let site = Site::start(pg(18));
    let mut classes = Vec::new();
    for days in [400, 399, 380, 340, 1, 0] {
        dump_ago(&site, days, &["postgres", "--class", "auto"]);
        let listed = site.list();
        let newest = listed
            .iter()
            .max_by_key(|dump| dump["ended"].as_str().unwrap().to_owned());
        classes.push(newest.unwrap()["class"].as_str().unwrap().to_owned());
    }
    assert_eq!(classes[0], "yearly");
    // The next day is of the same year; of the same month and week perhaps.
    assert_ne!(classes[1], "manual");
    let yearly = classes.iter().filter(|class| *class == "yearly").count();
    assert!((2..=3).contains(&yearly), "{classes:?}");
    assert!(classes.iter().all(|class| class != "manual"));
}

#[test]
fn one_that_was_proven_not_good_counts_for_nothing() {
    let site = Site::with(
        pg(17),
        "[dump]\nretention = { daily = 1, weekly = 0, monthly = 0, yearly = 0, min = 1 }",
    );
    for days in [4, 3, 2] {
        dump_ago(&site, days, &["postgres", "--class", "daily"]);
    }
    let spoil = |number: usize| {
        let name = site.list()[number]["name"].as_str().unwrap().to_owned();
        let file = site.dumps().join(format!("{name}.dump"));
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&file, bytes).unwrap();
        site.stow.tool.command(&["verify", &name]).fails(3);
        name
    };
    let newest = spoil(2);
    let planned = decided(&site.stow.tool, &["--dry-run"]);
    let why = "`pgstow verify` found it not good (intact)";
    let reasons: Vec<_> = planned
        .iter()
        .map(|(_, keep, why)| (*keep, why.clone()))
        .collect();
    let expected = [
        (false, "no rule wants it".to_owned()),
        (true, "daily: 1 of 1; min: 1 of 1".to_owned()),
        (
            true,
            format!("daily: 1 of 1 (but {why}); newer than every good one (but {why})"),
        ),
    ];
    assert_eq!(reasons, expected);
    // Who restores it all the same is told.
    site.stow
        .tool
        .command(&["restore-dump", "postgres", "-d", "copy"])
        .expect_warning(why)
        .fails(1)
        .stderr_contains(&newest);
    let ages = |code: i32| {
        let monitor = ["monitor", "--only", "dump_age"];
        site.stow.tool.command(&monitor).fails(code)
    };
    ages(0).stdout_contains("the newest good dump is of");
    spoil(0);
    spoil(1);
    ages(2).stdout_contains("not one dump is good");
    // Nothing is deleted for the sake of dumps that are worth nothing.
    let planned = decisions(&site.stow.tool, &[], 3);
    assert!(planned.iter().all(|(_, keep, _)| *keep), "{planned:?}");
    // A dump that was mended, or verified by mistake, counts again.
    let file = site.dumps().join(format!("{newest}.dump"));
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    site.stow.tool.command(&["verify", &newest]).ok();
    ages(0).stdout_contains("the newest good dump is of");
}

/// Who makes it on another host nobody here knows: a day without a new object tells.
#[test]
fn what_another_host_left_goes_after_a_day() {
    let site = Site::start(pg(17));
    let dumped = site.dumped(&["postgres"]);
    for (name, host) in [
        ("20250101T000000Z", "elsewhere"),
        ("20250102T000000Z", "elsewhere"),
    ] {
        let folder = dumped.data.parent().unwrap();
        let stem = format!("main_postgres_{name}_daily");
        let started = serde_json::json!({
            "format": 1, "name": format!("postgres/{stem}"), "time": "2025-01-01T00:00:00Z", "host": host,
            "boot_id": "x", "process": 1, "process_start": 1
        });
        for (ending, text) in [
            ("started.json", started.to_string()),
            ("dump", "half".to_owned()),
        ] {
            let path = folder.join(format!("{stem}.{ending}"));
            fs::write(&path, text).unwrap();
            crate::harness::user::own(&path);
            let hours = if name.starts_with("20250101") { 25 } else { 23 };
            let then = std::time::SystemTime::now() - std::time::Duration::from_secs(hours * 3600);
            fs::File::open(&path).unwrap().set_modified(then).unwrap();
        }
    }
    let states = || {
        let listed = site.list();
        let states = listed
            .iter()
            .map(|dump| dump["state"].as_str().unwrap().to_owned());
        states.collect::<Vec<_>>()
    };
    assert_eq!(states(), ["remains", "running", "good"]);
    // Only a cleanup knows that a day is over by the store's clock.
    site.dumped(&["postgres"]);
    site.stow.tool.command(&["cleanup"]).ok();
    assert_eq!(states(), ["running", "good", "good"]);
}

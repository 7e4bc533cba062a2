//! Names, folders and lists of dumps.

use std::fs;

use super::{Site, everything};
use crate::harness::pg;

#[test]
fn paths_and_names_are_as_the_settings_say() {
    let site = Site::start(pg(15));
    let path = |format: &str| {
        let run = site
            .dump(&["postgres", "--class", "weekly"])
            .env("PGSTOW_DUMP_PATH_FORMAT", format);
        let report = run.env("PGSTOW_DUMP_PREFIX", "x-1").ok().json();
        let names = report["dumps"].as_array().unwrap().iter();
        names
            .map(|dump| dump["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let today = chrono::Utc::now();
    let of_database = path("database");
    assert!(
        of_database[0].starts_with("@globals/x-1_@globals_"),
        "{of_database:?}"
    );
    assert!(
        of_database[1].starts_with("postgres/x-1_postgres_"),
        "{of_database:?}"
    );
    assert!(of_database[1].ends_with("Z_weekly"), "{of_database:?}");
    assert!(path("flat")[1].starts_with("x-1_postgres_"));
    let month = today.format("%Y-%m/x-1_postgres_").to_string();
    assert!(path("monthly")[1].starts_with(&month));
    let day = today.format("%Y-%m-%d/x-1_postgres_").to_string();
    assert!(path("daily")[1].starts_with(&day));
    assert_eq!(site.list().len(), 8);
    let weekly = site
        .stow
        .tool
        .command(&["list", "--dumps", "--class", "weekly"])
        .ok();
    assert_eq!(
        weekly.stdout.matches("x-1_postgres_").count(),
        4,
        "{weekly}"
    );
    let none = site
        .stow
        .tool
        .command(&["list", "--dumps", "--class", "daily"])
        .ok();
    assert!(none.stdout.contains("no dumps"), "{none}");
}

#[test]
fn odd_names_are_listed_as_they_are() {
    let site = Site::start(pg(18));
    everything::make(&site.stow.cluster);
    let dumped = site.dumped(&[everything::NAME]);
    let folder = dumped.data.parent().unwrap().file_name().unwrap();
    assert_eq!(folder, "Größe%20%27x%27%20%22y%22%2F%5C%3D%25");
    let listed = site.list();
    assert_eq!(listed[0]["database"], everything::NAME);
    assert_eq!(listed[0]["state"], "good");
    assert_eq!(listed[0]["tables"], 15);
    let output = site
        .stow
        .tool
        .command(&["list", "--dumps", "--database", everything::NAME])
        .ok();
    assert!(output.stdout.contains(everything::NAME), "{output}");
    // Names that are ours.
    let ours = ["latest", "main_shop_20261121T020000Z_daily", "@globals"];
    for name in ours {
        site.stow
            .cluster
            .psql(&format!("create database {}", everything::quoted(name)));
        site.dumped(&[name]);
    }
    site.stow.tool.command(&["cleanup"]).ok();
    let listed = site.list();
    let states: Vec<_> = listed.iter().map(|dump| &dump["state"]).collect();
    assert_eq!(states, ["good"; 4], "{listed:#?}");
    let names = || listed.iter().map(|dump| &dump["database"]);
    assert!(ours.iter().all(|name| names().any(|listed| listed == name)));
}

#[test]
fn what_is_wrong_with_a_dump_is_listed() {
    let site = Site::start(pg(17));
    for _ in 0..3 {
        site.dumped(&["postgres"]);
    }
    let path = |number: usize, ending: &str| {
        let name = site.list()[number]["name"].as_str().unwrap().to_owned();
        site.dumps().join(format!("{name}{ending}"))
    };
    fs::remove_file(path(0, ".dump")).unwrap();
    let text = fs::read_to_string(path(1, ".json")).unwrap();
    fs::write(
        path(1, ".json"),
        text.replace("\"daily\"", "\"x\"")
            .replacen("manual", "manuel", 1),
    )
    .unwrap();
    let listed = site.list();
    assert_eq!(listed[0]["state"], "damaged");
    assert!(
        listed[0]["note"]
            .as_str()
            .unwrap()
            .ends_with(".dump is missing")
    );
    assert_eq!(listed[1]["state"], "unreadable");
    assert_eq!(listed[2]["state"], "good");
    // Neither is in the way of the others, nor deleted.
    site.dumped(&["postgres"]);
    let cleaned = site.stow.tool.command(&["cleanup"]).fails(3);
    assert_eq!(cleaned.stdout.matches(" is lost: ").count(), 2, "{cleaned}");
    assert_eq!(site.list().len(), 4);
}

#[test]
fn a_claim_that_was_left_behind_goes() {
    let site = Site::start(pg(16));
    let dumped = site.dumped(&["postgres"]);
    let claim = dumped.data.with_extension("started.json");
    fs::write(&claim, "{}").unwrap();
    assert_eq!(site.list()[0]["state"], "good");
    site.stow.tool.command(&["cleanup"]).ok();
    assert!(!claim.exists());
    assert_eq!(site.list()[0]["state"], "good");
}

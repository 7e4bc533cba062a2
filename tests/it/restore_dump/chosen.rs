//! Which dump a word means.

use super::{Site, failed, results};
use crate::harness::pg;

#[test]
fn globals_and_a_database_of_that_name_are_never_mixed_up() {
    let site = Site::start(pg(17));
    let cluster = &site.stow.cluster;
    cluster.psql("create role app");
    cluster.psql("create database \"@globals\"");
    site.sql("@globals", "create table mine as select 7 as n");
    site.dump("@globals", &[]);
    // Where there are no globals, the word does not mean the other.
    site.pgstow(&["restore-dump", "@globals", "-d", "copy"])
        .fails(1)
        .stderr_contains("no whole dump of roles and tablespaces (@globals)");
    site.pgstow(&["dump", "@globals"]).ok();
    let restore = |word: &str| site.pgstow(&["restore-dump", word, "-d", "copy"]);
    restore("@globals")
        .fails(2)
        .stderr_contains("holds roles and tablespaces, no database");
    restore("\"@globals\"").ok();
    assert_eq!(site.sql("copy", "select n from mine"), "7");
    // As SQL.
    let as_sql = |word: &str| {
        let arguments = ["restore-dump", word, "--to-file", "-"];
        site.stow.tool.command(&arguments).ok().stdout
    };
    let globals = as_sql("@globals");
    assert!(globals.contains("CREATE ROLE app;") && !globals.contains("mine"));
    let database = as_sql("\"@globals\"");
    assert!(database.contains("CREATE TABLE public.mine") && !database.contains("CREATE ROLE"));
    // Tried out.
    let proven = site.pgstow(&["verify", "@globals"]).ok();
    assert_eq!(
        results(&proven),
        ["intact passed", "sha256_file passed", "restored skipped"]
    );
    let proven = site.pgstow(&["verify", "\"@globals\""]).ok();
    assert!(results(&proven).contains(&"row_counts passed".to_owned()));
    assert_eq!(failed(&proven), [""; 0]);
    // In the list.
    let listed = |word: &str| {
        let report = site.pgstow(&["list", "--dumps", "--database", word]).ok();
        let dumps = report.json()["dumps"].as_array().unwrap().clone();
        dumps
            .iter()
            .map(|dump| dump["database"].to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(listed("@globals"), ["null"]);
    assert_eq!(listed("\"@globals\""), ["\"@globals\""; 2]);
    let text = site.stow.tool.command(&["list", "--dumps"]).ok();
    text.stdout_contains("\"@globals\" ");
    site.assert_clean("@globals,copy");
}

#[test]
fn the_latest_is_one_of_a_database() {
    let site = Site::start(pg(16));
    let cluster = &site.stow.cluster;
    // Its name stands before that of the globals.
    cluster.psql("create database \"1st\"");
    site.sql("1st", "create table t as select 1 as n");
    site.pgstow(&["dump", "1st"]).ok();
    let restored = site
        .pgstow(&["restore-dump", "latest", "-d", "copy"])
        .ok()
        .json();
    assert!(
        restored["dump"].as_str().unwrap().starts_with("1st/"),
        "{restored}"
    );
    assert_eq!(site.sql("copy", "select n from t"), "1");
}

#[test]
fn where_a_repository_is_gone_the_others_are_named() {
    let site = Site::start(pg(17));
    site.dump("postgres", &[]);
    let config = site.stow.tool.config_file().to_owned();
    let text = std::fs::read_to_string(&config).unwrap();
    let offsite = site.scratch.folder("offsite");
    let more = format!("{text}[repo.offsite]\nurl = \"{}\"\n", offsite.display());
    std::fs::write(&config, more).unwrap();
    std::fs::rename(site.stow.root(), site.scratch.join("away")).unwrap();
    let words = ["restore-dump", "postgres", "-d", "copy"];
    // The other one was asked, and is none.
    site.pgstow(&words)
        .fails(1)
        .stderr_contains("there is no repository at");
    site.pgstow(&[&["--repo", "local"], &words[..]].concat())
        .fails(1)
        .stderr_contains("there is no repository at")
        .stderr_contains("leave --repo out");
}

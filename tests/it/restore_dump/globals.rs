//! `--globals` takes the roles of the very run that made the dump, whatever second its name tells.

use std::fs;

use super::{Site, stem};
use crate::harness::{Cluster, pg, user};

#[test]
fn roles_are_those_of_the_run() {
    let site = Site::start(pg(17));
    let cluster = &site.stow.cluster;
    cluster.psql("create database small");
    // Names that are taken move on to later seconds.
    let mut runs = Vec::new();
    for number in 0..4 {
        cluster.psql(&format!("create role only{number}"));
        let report = site.pgstow(&["dump", "small"]).ok().json();
        let dumps = report["dumps"].as_array().unwrap();
        let small = dumps.iter().find(|dump| dump["database"] == "small");
        runs.push(small.unwrap()["name"].as_str().unwrap().to_owned());
        cluster.psql(&format!("drop role only{number}"));
    }
    let without = stem(&site.dump("small", &[]));
    for (number, name) in runs.iter().enumerate() {
        let other = Cluster::build(&site.scratch, pg(17))
            .name(&format!("other{number}"))
            .start();
        let restore = ["restore-dump", name, "--globals", "-d", "copy"];
        site.pgstow(&restore)
            .env("PGSTOW_CLUSTER_HOST", other.host())
            .ok();
        let roles = "select string_agg(rolname, ',') from pg_roles where rolname like 'only%'";
        assert_eq!(other.psql(roles), format!("only{number}"), "{name}");
    }
    // Where the run made none, nobody is left in the dark about whose they are.
    let restore = ["restore-dump", &without, "--globals", "-d", "copy"];
    site.pgstow(&restore)
        .expect_warning(
            "made no dump of roles and tablespaces that is whole: they are those of @globals/",
        )
        .ok();
}

#[test]
fn roles_that_come_without_their_passwords_are_told() {
    let site = Site::start(pg(16));
    let cluster = &site.stow.cluster;
    cluster.psql("create role plain login");
    cluster.psql("create role guest login password 'x'");
    cluster.psql("create database small");
    site.pgstow(&["dump", "small"])
        .env("PGSTOW_CLUSTER_USER", "plain")
        .ok();
    let other = Cluster::build(&site.scratch, pg(16)).name("other").start();
    for arguments in [
        &["small", "--globals", "-d", "copy"][..],
        &["@globals", "--to-file", "-"],
    ] {
        site.stow
            .tool
            .command(&[&["restore-dump"], arguments].concat())
            .env("PGSTOW_CLUSTER_HOST", other.host())
            .expect_warning("does not bring back passwords of roles: plain may not read pg_authid")
            .ok();
    }
    let roles = "select rolname, rolpassword is null from pg_authid where rolname = 'guest'";
    assert_eq!(other.psql(roles), "guest|t");
    // A tablespace without its folder.
    let place = site.scratch.folder("place");
    user::own(&place);
    let sql = format!("create tablespace elsewhere location '{}'", place.display());
    cluster.psql(&sql);
    site.pgstow(&["dump", "small"]).ok();
    let away = site.scratch.join("away");
    fs::rename(&place, &away).unwrap();
    let restore = |name: &str, further: &[&str]| {
        let arguments = [&["restore-dump", "small", "--globals", "-d", name], further].concat();
        let command = site.pgstow(&arguments);
        command.env("PGSTOW_CLUSTER_HOST", other.host())
    };
    restore("second", &[])
        .fails(1)
        .stderr_contains("such as by making the folder of a tablespace")
        .stderr_contains("--continue-on-error");
    assert_eq!(Site::databases(&other), "copy");
    restore("second", &["--continue-on-error"]).fails(3);
    assert_eq!(Site::databases(&other), "copy,second");
    fs::rename(&away, &place).unwrap();
}

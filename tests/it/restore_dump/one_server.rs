//! A run that tries several dumps out starts one server for all of them.

use std::fs;

use super::{Site, make_shop};
use crate::harness::pg;

#[test]
fn all_dumps_of_a_run_are_tried_out_on_one_server() {
    let site = Site::start(pg(16));
    let cluster = &site.stow.cluster;
    for name in ["one", "two", "three"] {
        make_shop_of(&site, name);
    }
    cluster.psql("create database broken");
    site.sql(
        "broken",
        "create table p (n int primary key); create table c (n int); insert into c values (1);
         alter table c add foreign key (n) references p not valid",
    );
    let log = site.scratch.join("initdb.log");
    let script = format!("echo made >> '{}'; exec REAL/initdb \"$@\"", log.display());
    let programs = site.programs(&pg(16), "initdb", &script);
    let made = || fs::read_to_string(&log).unwrap_or_default().lines().count();
    let run = |arguments: &[&str]| {
        site.pgstow(arguments)
            .env("PGSTOW_CLUSTER_BINDIR", &programs)
            .fails(3)
            .json()
    };
    let good = |verified: &serde_json::Value| {
        let verified = verified.as_array().unwrap().iter();
        let mut good: Vec<_> = verified
            .map(|one| (one["database"].to_string(), one["good"] == true))
            .collect();
        good.sort();
        good
    };
    let expected = [
        ("\"broken\"".to_owned(), false),
        ("\"one\"".to_owned(), true),
        ("\"three\"".to_owned(), true),
        ("\"two\"".to_owned(), true),
    ];
    let report = run(&[
        "dump",
        "broken",
        "one",
        "two",
        "three",
        "--no-globals",
        "--verify",
    ]);
    assert_eq!(good(&report["verified"]), expected, "{report:#}");
    assert_eq!(made(), 1);
    let report = run(&["verify", "--dumps"]);
    assert_eq!(good(&report["dumps"]), expected, "{report:#}");
    assert_eq!(made(), 2);
    site.assert_clean("broken,one,three,two");
}

/// Each is of roles of its own, but for one.
fn make_shop_of(site: &Site, name: &str) {
    let cluster = &site.stow.cluster;
    match name {
        "one" => make_shop(cluster, name),
        _ => {
            cluster.psql(&format!("create database {name} template one"));
            cluster.psql(&format!("create role of_{name}"));
            site.sql(name, &format!("alter table accounts owner to of_{name}"));
        }
    }
}

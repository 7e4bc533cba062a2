//! Each check sees what a dump has really lost: a pg_dump that leaves out what nobody told it to, such as a wrapper of
//! somebody's, and rows that a policy hides.

use super::{CHECKS, Site, failed, make_shop, results, stem};
use crate::harness::{Cluster, pg};

/// What the program adds of itself, and the checks that see it.
const LEFT_OUT: [(&str, &[&str]); 6] = [
    ("--exclude-table=odd*.*", &["tables", "row_counts"]),
    ("--exclude-schema=kinds", &["enum_types"]),
    ("--exclude-table-data=orders", &["row_counts"]),
    (
        "--exclude-table-data=schema_migrations",
        &["migration_version", "row_counts"],
    ),
    (
        "--section=pre-data --section=data",
        &["indexes", "foreign_keys"],
    ),
    ("--extension=hstore", &["extensions"]),
];

fn make(cluster: &Cluster, site: &Site) {
    make_shop(cluster, "shop");
    site.sql(
        "shop",
        "create extension citext; create schema kinds; create type kinds.color as enum ('red', 'blue')",
    );
}

#[test]
fn what_a_dump_lost_is_seen() {
    let site = Site::start(pg(17));
    make(&site.stow.cluster, &site);
    let added = site.scratch.join("added");
    let script = format!("exec REAL/pg_dump \"$@\" $(cat '{}')", added.display());
    let programs = site.programs(&pg(17), "pg_dump", &script);
    let dump = |further: &str, code| {
        std::fs::write(&added, further).unwrap();
        let dump = ["dump", "shop", "--no-globals", "--verify"];
        site.pgstow(&dump)
            .env("PGSTOW_CLUSTER_BINDIR", &programs)
            .fails(code)
    };
    // Nothing is wrong with the way there.
    let report = dump("", 0).json();
    assert_eq!(report["verified"][0]["good"], true, "{report}");
    let checks = report["verified"][0]["checks"].as_array().unwrap();
    for name in CHECKS {
        let check = checks.iter().find(|check| check["name"] == name).unwrap();
        assert_eq!(check["result"], "passed", "{check}");
    }
    for (further, expected) in LEFT_OUT {
        let report = dump(further, 3).json();
        assert_eq!(report["failed"].as_array().unwrap().len(), 0, "{report}");
        let checks = report["verified"][0]["checks"].as_array().unwrap().iter();
        let failed = checks.filter(|check| check["result"] == "failed");
        let failed: Vec<&str> = failed
            .map(|check| check["name"].as_str().unwrap())
            .collect();
        assert_eq!(failed, expected, "{further}: {report:#}");
    }
    // What can't be restored at all.
    let report = dump("--exclude-table=accounts", 3).json();
    let mut checks = report["verified"][0]["checks"].as_array().unwrap().iter();
    let restored = checks.find(|check| check["name"] == "restored").unwrap();
    assert_eq!(restored["result"], "failed", "{report:#}");
    site.assert_clean("shop");
}

#[test]
fn rows_that_a_policy_hides_are_missed() {
    let site = Site::start(pg(15));
    make_shop(&site.stow.cluster, "shop");
    site.sql(
        "shop",
        "create role migrator;
         insert into schema_migrations values (20261122, false);
         alter table schema_migrations enable row level security;
         create policy late on schema_migrations to migrator using (version > 20261121);
         grant select on schema_migrations to migrator",
    );
    let part = [
        "--table",
        "schema_migrations",
        "--",
        "--role=migrator",
        "--enable-row-security",
    ];
    let data = site.dump("shop", &part);
    let proven = site.pgstow(&["verify", &stem(&data)]).fails(3);
    assert_eq!(
        failed(&proven),
        ["migration_version", "row_counts"],
        "{proven}"
    );
    // Who sees all of them has all.
    let data = site.dump("shop", &["--table", "schema_migrations"]);
    let proven = site.pgstow(&["verify", &stem(&data)]).ok();
    assert!(results(&proven).contains(&"row_counts passed".to_owned()));
    site.assert_clean("shop");
}

//! A dump of a part of a database never stands for the database.

use serde_json::{Value, json};

use super::{Site, conninfo, make_shop, stem};
use crate::harness::pg;

/// Of `list --dumps`, the one whose name ends so.
fn listed(site: &Site, stem: &str) -> Value {
    let report = site.pgstow(&["list", "--dumps"]).ok().json();
    let mut dumps = report["dumps"].as_array().unwrap().iter();
    let found = dumps.find(|dump| dump["name"].as_str().unwrap().ends_with(stem));
    found.unwrap().clone()
}

#[test]
fn a_part_stands_for_the_database_nowhere() {
    let site = Site::with(pg(16), "[dump]\nretention = { daily = 1, min = 0 }\n");
    let cluster = &site.stow.cluster;
    make_shop(cluster, "shop");
    let source = cluster.dump("shop");
    let daily = ["--class", "daily"];
    // Where there are parts alone, the database has no dump.
    let first = site.dump("shop", &["--class", "daily", "--table", "orders"]);
    for command in [
        &["restore-dump", "shop", "-d", "copy"][..],
        &["restore-dump", "latest", "-d", "copy"],
        &["verify", "shop"],
        &["verify", "--dumps"],
    ] {
        site.pgstow(command).fails(1);
    }
    let latest = site.stow.root().join("main/dumps/latest/shop.dump");
    assert!(!latest.exists());
    let ages = ["monitor", "--only", "dump_age"];
    let judged = site.pgstow(&ages).fails(2).json();
    let reason = &judged["checks"][0]["reason"];
    assert_eq!(reason, "there is no good dump of another class than manual");
    let whole = site.dump("shop", &daily);
    let data_only = site.dump("shop", &["--class", "daily", "--data-only"]);
    let yearly = site.dump("shop", &["--class", "yearly", "--", "--section=pre-data"]);
    for (data, part) in [
        (&first, json!("--table=orders")),
        (&data_only, json!("--data-only")),
        (&yearly, json!("--section=pre-data")),
        (&whole, Value::Null),
    ] {
        assert_eq!(listed(&site, &stem(data))["part"], part);
    }
    let text = site.stow.tool.command(&["list", "--dumps"]).ok();
    text.stdout_contains("a part of the database alone: --table=orders");
    assert!(latest.canonicalize().unwrap() == whole.canonicalize().unwrap());

    // Each part has the rules for itself.
    let newer = site.dump("shop", &["--class", "daily", "--table", "orders"]);
    let report = site.pgstow(&["cleanup"]).ok().json();
    let decided = report["dumps"].as_array().unwrap().iter();
    let deleted = decided.filter(|dump| dump["action"] == "delete");
    let deleted: Vec<&str> = deleted.map(|dump| dump["name"].as_str().unwrap()).collect();
    assert_eq!(deleted.len(), 1, "{report:#}");
    assert!(deleted[0].ends_with(&stem(&first)) && newer.exists() && whole.exists());
    assert!(latest.canonicalize().unwrap() == whole.canonicalize().unwrap());

    // By the database's name all of it comes back.
    site.pgstow(&["restore-dump", "shop", "-d", "copy"]).ok();
    assert!(cluster.dump(&conninfo("copy")) == source);
    cluster.psql("drop database copy");
    let clean = [
        "restore-dump",
        &stem(&newer),
        "-d",
        "shop",
        "--clean",
        "--yes",
    ];
    site.pgstow(&clean)
        .fails(1)
        .stderr_contains("holds a part of its database alone (--table=orders)");
    assert!(cluster.dump("shop") == source);

    // What a part lacks says nothing against it.
    site.pgstow(&["verify", &stem(&data_only)])
        .fails(1)
        .stderr_contains("a part of a database can't be tried out alone (--data-only)");
    assert_eq!(listed(&site, &stem(&data_only))["verified"], Value::Null);
    site.pgstow(&["verify", "shop"]).ok();
    assert_eq!(listed(&site, &stem(&whole))["verified"]["good"], true);

    // The year has no dump yet.
    let auto = site.dump("shop", &["--class", "auto"]);
    assert!(stem(&auto).ends_with("_yearly"), "{auto:?}");
    site.assert_clean("shop");
}

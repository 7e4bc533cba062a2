//! Of several dumps one can't be tried out: the others are, and all is told.

use super::{Site, make_shop, stem};
use crate::harness::pg;

#[test]
fn one_that_can_not_be_judged_keeps_no_other_from_it() {
    let site = Site::start(pg(16));
    let cluster = &site.stow.cluster;
    make_shop(cluster, "shop");
    cluster.psql("create database huge");
    cluster.psql("create database fine");
    site.sql("fine", "create table t as select 1 as n");
    let shop = site.dump("shop", &[]);
    site.describe(&shop, |json| {
        json["contents"]["counts"]["enum_types"] = 7.into();
    });
    let huge = site.dump("huge", &[]);
    // More than any disk of a test has.
    site.describe(&huge, |json| json["database_bytes"] = (1_u64 << 60).into());
    site.dump("fine", &[]);
    let all = ["verify", "--dumps"];
    let report = site.pgstow(&all).fails(1).json();
    let dumps = report["dumps"].as_array().unwrap().iter();
    let mut good: Vec<_> = dumps
        .map(|one| (one["database"].as_str().unwrap(), one["good"] == true))
        .collect();
    good.sort_unstable();
    assert_eq!(good, [("fine", true), ("shop", false)], "{report:#}");
    let [unverified] = report["unverified"].as_array().unwrap().as_slice() else {
        panic!("not one: {report:#}");
    };
    let name = unverified["dump"].as_str().unwrap();
    assert!(name.ends_with(&stem(&huge)), "{unverified}");
    assert!(!unverified["hint"].is_null(), "{unverified}");
    // The history of runs has both.
    let runs = site.pgstow(&["list", "--runs"]).ok().json();
    let run = runs["runs"].as_array().unwrap().last().unwrap();
    let error = run["error"].as_str().unwrap();
    assert!(
        error.starts_with("1 dump could not be verified: "),
        "{error}"
    );
    assert!(error.contains("enum_types"), "{error}");
    let text = site.stow.tool.command(&all).fails(1);
    let text = text.stdout_contains(": NOT VERIFIED: ");
    text.stdout_contains(": all right");
    // By itself it is an error.
    let alone = site.pgstow(&["verify", "huge"]).fails(1);
    alone.stderr_contains("can't verify dump huge/");
    // Nothing was said against it.
    let listed = site.pgstow(&["list", "--dumps"]).ok().json();
    let mut listed = listed["dumps"].as_array().unwrap().iter();
    let listed = listed.find(|one| one["database"] == "huge").unwrap();
    assert_eq!(listed["state"], "good", "{listed}");
    assert!(listed["verified"].is_null(), "{listed}");
    site.assert_clean("fine,huge,shop");
}

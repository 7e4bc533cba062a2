//! What restores left that were killed is told, and goes with the next.

use rustix::process::Signal;

use super::{Site, make_shop};
use crate::harness::pg;

/// What `monitor` says of it.
#[track_caller]
fn told(site: &Site, code: i32) -> String {
    let monitor = ["monitor", "--only", "left_databases"];
    let report = site.pgstow(&monitor).fails(code).json();
    report["checks"][0]["reason"].as_str().unwrap().to_owned()
}

#[test]
fn databases_of_killed_restores_are_told_and_dropped_by_the_next() {
    let site = Site::start(pg(16));
    let cluster = &site.stow.cluster;
    make_shop(cluster, "shop");
    cluster.psql("create database small");
    site.dump("small", &[]);
    site.make_it_slow();
    site.dump("shop", &["--format", "plain"]);
    let running = |arguments: &[&str]| {
        let command = site.pgstow(arguments);
        let running = match arguments[0] {
            "verify" => command.env("PGSTOW_VERIFY_DATABASE", "trial").spawn(),
            _ => command.spawn(),
        };
        site.wait_for_restores(1);
        running
    };
    for (arguments, name) in [
        (
            &["restore-dump", "shop", "-d", "copy"][..],
            "\"pgstow_restore_",
        ),
        (&["verify", "shop"], "\"trial\""),
    ] {
        let running = running(arguments);
        // It works, and what the one before left is gone.
        assert_eq!(told(&site, 0), "no database of a restore is left");
        running.signal(Signal::KILL);
        drop(running);
        cluster.psql("select pg_terminate_backend(pid) from pg_stat_activity where query like 'COPY public.waits%'");
        site.wait_for_restores(0);
        let said = told(&site, 1);
        assert!(said.contains(name), "{said}");
    }
    site.pgstow(&["restore-dump", "small", "-d", "other"]).ok();
    assert_eq!(told(&site, 0), "no database of a restore is left");
    site.assert_clean("other,shop,small");
    // What was replaced and not dropped is a person's to look at.
    cluster.psql("create database other_before_restore");
    let said = told(&site, 1);
    assert!(
        said.contains("not dropped: \"other_before_restore\""),
        "{said}"
    );
    // So is what was restored and took nobody's place; until then nobody dumps it without a word.
    cluster.psql("alter database other_before_restore rename to other_after_restore_2");
    let said = told(&site, 1);
    assert!(
        said.contains("not in the place of the one that it was for: \"other_after_restore_2\""),
        "{said}"
    );
    let all = ["dump", "--all", "--exclude", "shop"];
    let dumped = site.pgstow(&all);
    let warned = "\"other_after_restore_2\" is dumped, too";
    dumped.expect_warning(warned).ok();
    cluster.psql("drop database other");
    assert_eq!(told(&site, 0), "no database of a restore is left");
    site.pgstow(&all).ok();
}

//! Restores after a cleanup: to the ends of the window, and to moments anywhere in it.

use super::{Site, WITNESS, stop_time, typed};
use crate::harness::{
    Load, PgBin, Shutdown, Witness, on_every_major,
    random::{Random, rounds},
};

on_every_major!(every_moment_of_the_window_outlives_a_cleanup);

fn every_moment_of_the_window_outlives_a_cleanup(pg: PgBin) {
    let mut random = Random::new("every_moment_of_the_window_outlives_a_cleanup");
    let mut site = Site::build(pg, |stow| {
        stow.repo("retention = { full = 2, min = 1 }")
            .cluster(|cluster| cluster.initdb("--wal-segsize=1"))
    });
    let load = Load::start(site.main(), 1, 200);
    let witness = Witness::start(site.main(), WITNESS);
    witness.wait_for(50);
    let first = site.stow.backup(&["--full"]);
    witness.wait_for(100);
    let second = site.stow.backup(&["--incremental"]);
    witness.wait_for(150);
    let third = site.stow.backup(&["--full"]);
    witness.wait_for(250);
    let fourth = site.stow.backup(&["--incremental"]);
    witness.wait_for(350);
    let fifth = site.stow.backup(&["--full"]);
    witness.wait_for(450);
    load.stop(site.main());
    let truth = witness.stop();
    site.stow.cluster.stop(Shutdown::Fast);

    let stored = site.stored_wal().len();
    let report = site.pgstow(&["cleanup", "--json"]).ok().json();
    let kept = [third.id(), fourth.id(), fifth.id()];
    assert_eq!(site.stow.folders(), kept, "{report}");
    assert!(!first.folder().exists() && !second.folder().exists());
    assert!(site.stored_wal().len() < stored, "{report}");
    let begin = stop_time(&third);
    let from = chrono::DateTime::parse_from_rfc3339(report["window"]["from"].as_str().unwrap());
    assert_eq!(from.unwrap().timestamp_micros(), begin);

    let last = truth.commits.last().unwrap().before_time;
    let at = |name: &str, time: i64| {
        let wish = ["--target-time", &typed(time)];
        site.restores_to(name, truth.at_time(time), &wish);
    };
    at("begin", begin + 1);
    for round in 0..5 {
        at(
            &format!("moment{round}"),
            begin + 1 + random.below((last - begin) as u64) as i64,
        );
    }
    for round in 0..rounds(0, 5) {
        at(
            &format!("more{round}"),
            begin + 1 + random.below((last - begin) as u64) as i64,
        );
    }
    site.restores_to("end", truth.at_end(), &[]);
    site.pgstow(&["verify", "--all", "--wal"]).ok();
}

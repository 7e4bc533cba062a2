//! Back in time in the cluster's own place, and on from there: two timelines in one repository.

use super::{Site, WITNESS, joined, no_recovery_settings, stop_lsn, typed};
use crate::harness::{Load, PgBin, Shutdown, Witness, on_every_major, witness::rows};

on_every_major!(the_past_and_the_present_are_both_within_reach);

fn the_past_and_the_present_are_both_within_reach(pg: PgBin) {
    let mut site = Site::build(pg, |stow| {
        stow.cluster(|cluster| cluster.initdb("--wal-segsize=1"))
    });
    let load = Load::start(site.main(), 1, 50);
    let witness = Witness::start(site.main(), WITNESS);
    let first = site.stow.backup(&[]);
    witness.wait_for(300);
    load.stop(site.main());
    let first_life = witness.stop();
    // The last rows were a mistake.
    let last_good = first_life.commits[first_life.commits.len() - 150];
    site.stow.cluster.stop(Shutdown::Fast);

    let time = typed(last_good.after_time);
    site.pgstow(&["restore", "--replace", "--target-time", &time])
        .ok()
        .stdout_contains("old cluster");
    site.stow.cluster.recover();
    let kept = rows(site.main(), WITNESS);
    first_life.at_time(last_good.after_time).check(kept);
    no_recovery_settings(site.main());

    // It is the cluster itself: it archives on, from the first segment of its new timeline.
    assert_eq!(site.main().psql("show archive_mode"), "on");
    site.main().switch_wal();
    let stored = site.stored_wal();
    let holds = |name: &str| stored.iter().any(|stored| stored.starts_with(name));
    assert!(holds("00000002.history"), "{stored:?}");
    let first_of = |timeline: &str| {
        let segment = |name: &&String| name.starts_with(timeline) && !name.contains("history");
        stored.iter().find(segment).unwrap()[8..24].to_owned()
    };
    // The fork lies within a segment, of which both timelines have their own.
    let fork = first_of("00000002");
    assert!(holds(&format!("00000001{fork}")), "{stored:?}");

    let witness = Witness::go_on(site.main(), WITNESS);
    witness.wait_for(100);
    let second = site.stow.backup(&[]);
    assert_eq!(second.json()["timeline"], 2);
    witness.wait_for(100);
    let second_life = witness.stop();
    site.stow.cluster.restart();
    let witness = Witness::go_on(site.main(), WITNESS);
    witness.wait_for(20);
    let second_life = joined(second_life, witness.stop());
    site.stow.cluster.stop(Shutdown::Fast);

    // Newest of all; the same from the old backup, across the fork.
    let end = second_life.at_end();
    site.restores_to("newest", end, &[]);
    site.restores_to("across", end, &[first.id()]);
    // Before the fork, along either timeline.
    let early = first_life.commits[first_life.commits.len() / 3];
    assert!(early.begin_lsn > stop_lsn(&first));
    let expected = first_life.at_lsn(early.after_lsn);
    let lsn = early.after_lsn.to_string();
    let current = ["--target-lsn", &lsn, "--target-timeline", "current"];
    site.restores_to("before", expected, &["--target-lsn", &lsn]);
    site.restores_to("current", expected, &current);
    // Behind the fork, on the timeline that was left: the mistake can be looked at.
    let late = first_life.commits[first_life.commits.len() - 20];
    let time = typed(late.after_time);
    let wish = ["--target-time", &time, "--target-timeline", "1"];
    site.restores_to("left", first_life.at_time(late.after_time), &wish);
    site.restores_to("left-end", first_life.at_end(), &["--target-timeline", "1"]);
}

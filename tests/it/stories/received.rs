//! `receive-wal`: a commit that was reported with it as synchronous standby outlives the server's host.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{Site, WITNESS};
use crate::harness::{
    Shutdown, Witness, pg,
    random::{Random, rounds},
    tool::Running,
};

fn receive(site: &Site) -> Running {
    let told = "trying again";
    let running = site.pgstow(&["receive-wal"]).expect_warning(told);
    running.limit(Duration::from_secs(600)).spawn()
}

fn every_commit_is_there_after_kills(major: u32) {
    let mut site = Site::build(pg(major), |stow| {
        stow.cluster(|cluster| cluster.initdb("--wal-segsize=1"))
    });
    site.stow.backup(&[]);
    site.pgstow(&["receive-wal", "--create-slot"]).ok();
    let main = &mut site.stow.cluster;
    // Not in a file: the restored server has no such standby.
    main.argument("synchronous_standby_names=pgstow");
    main.restart();
    let mut receiver = receive(&site);
    let mut random = Random::new("received");
    let mut witness = Witness::start(site.main(), WITNESS);
    for round in 0..rounds(4, 50) {
        witness.wait_for(20);
        thread::sleep(Duration::from_millis(random.below(60)));
        match (round + random.below(2)) % 2 {
            0 => {
                receiver.signal(Signal::KILL);
                drop(receiver);
                receiver = receive(&site);
            }
            _ => {
                site.stow.cluster.stop(Shutdown::Kill);
                drop(witness.outlive());
                site.stow.cluster.start();
                witness = Witness::go_on(site.main(), WITNESS);
            }
        }
    }
    witness.wait_for(20);
    // The host is lost: nothing of it is used any more.
    site.stow.cluster.stop(Shutdown::Kill);
    let truth = witness.outlive();
    let lost = site.main().data_dir().to_owned();
    fs::rename(&lost, lost.with_extension("lost")).unwrap();
    // The receiver finds out by itself.
    let limit = Instant::now() + Duration::from_secs(60);
    while !receiver.stderr().contains("trying again") {
        assert!(Instant::now() < limit, "{}", receiver.stderr());
        thread::sleep(Duration::from_millis(5));
    }
    receiver.signal(Signal::TERM);
    receiver.wait().stdout_contains("received to ");

    site.restore("plan", &["--plan"])
        .ok()
        .stdout_contains("taken from this host");
    site.restores_to("copy", truth.at_end(), &[]);
}

#[test]
fn every_commit_is_there_after_kills_15() {
    every_commit_is_there_after_kills(15);
}

#[test]
fn every_commit_is_there_after_kills_18() {
    every_commit_is_there_after_kills(18);
}

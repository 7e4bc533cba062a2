//! Pieces of the segment in progress: which repositories get them, and when they go. That they restore the last
//! commits stands in `stories/pieces.rs`.

use std::fs;

use rustix::process::Signal;

use super::{Site, eventually};
use crate::harness::{
    Scratch,
    archive::{pieces_in, stored_in, wait_for_pieces},
    pg,
    stow::Builder,
    tool::Running,
};

fn receive(site: &Site, every: &str, warnings: &[&str]) -> Running {
    let mut receiver = site.stow.tool.command(&["receive-wal"]);
    for warning in warnings {
        receiver = receiver.expect_warning(warning);
    }
    receiver.env("PGSTOW_RECEIVE_WAL_LIVE", every).spawn()
}

fn commit(site: &Site) {
    let main = &site.stow.cluster;
    main.psql("create table if not exists t (n int); insert into t values (1)");
}

fn stop(receiver: Running) {
    receiver.signal(Signal::TERM);
    receiver.wait();
}

fn second<'a>(scratch: &Scratch, stow: Builder<'a>) -> Builder<'a> {
    let second = scratch.folder("second");
    stow.repo(&format!("[repo.second]\nurl = \"{}\"", second.display()))
}

#[test]
fn every_repository_gets_them_and_none_waits_for_another() {
    let site = Site::build(pg(16), second);
    let main = &site.stow.cluster;
    let roots = [site.stow.root().to_owned(), site.scratch.join("second")];
    let has = |root: &std::path::Path, segment: &str| {
        stored_in(root).iter().any(|name| name.starts_with(segment))
    };
    let receiver = receive(&site, "1s", &["it waits in"]);
    commit(&site);
    for root in &roots {
        wait_for_pieces(root, main);
    }
    // The first is away: the other gets whole segments and pieces all the same.
    let away = site.scratch.join("away");
    fs::rename(&roots[0], &away).unwrap();
    let segments = [site.switch(), site.switch()];
    for segment in &segments {
        eventually("it is stored", || has(&roots[1], segment));
    }
    commit(&site);
    let (next, _) = wait_for_pieces(&roots[1], main);
    for segment in &segments {
        assert!(site.received().contains(segment));
    }
    // Its pieces went where it is.
    assert!(
        pieces_in(&roots[1])
            .iter()
            .all(|piece| piece.segment == next)
    );
    eventually("a warning", || receiver.stderr().contains("it waits in"));
    fs::rename(&away, &roots[0]).unwrap();
    for segment in &segments {
        eventually("it left the folder", || !site.received().contains(segment));
        assert!(has(&roots[0], segment));
    }
    wait_for_pieces(&roots[0], main);
    assert!(
        pieces_in(&roots[0])
            .iter()
            .all(|piece| piece.segment == next)
    );
    stop(receiver);
}

#[test]
fn one_that_is_stopped_stores_the_last_of_them() {
    let site = Site::start(pg(17));
    let root = site.stow.root();
    let receiver = receive(&site, "1h", &[]);
    commit(&site);
    let main = &site.stow.cluster;
    // Received, long before a piece is due again.
    let here = "select bool_and(flush_lsn >= pg_current_wal_flush_lsn()) from pg_stat_replication";
    commit(&site);
    main.wait_until(here, "t");
    stop(receiver);
    wait_for_pieces(root, main);
}

/// What is in pieces would not be lost.
#[test]
fn the_recovery_point_counts_them() {
    let site = Site::start(pg(18));
    let told = || {
        let words = ["--json", "monitor", "--only", "recovery_point"];
        let report = site.stow.tool.command(&words).ok().json();
        report["checks"][0]["reason"].as_str().unwrap().to_owned()
    };
    let receiver = receive(&site, "1h", &[]);
    site.wait_for_stored(&site.switch());
    stop(receiver);
    commit(&site);
    let lost = told();
    assert!(lost.contains("would be lost"), "{lost}");
    let receiver = receive(&site, "1s", &[]);
    commit(&site);
    eventually("it counts them", || {
        told() == "all of the server's WAL is here"
    });
    stop(receiver);
}

#[test]
fn none_are_stored_unless_they_are_asked_for() {
    let site = Site::start(pg(15));
    let receiver = site.receive(&[]);
    let segment = site.switch();
    site.wait_for_stored(&segment);
    commit(&site);
    stop(receiver);
    assert!(pieces_in(site.stow.root()).is_empty());
    let short = site.stow.tool.command(&["receive-wal"]);
    let short = short.env("PGSTOW_RECEIVE_WAL_LIVE", "0.5s");
    drop(short.fails(2).stderr_contains("PGSTOW_RECEIVE_WAL_LIVE"));
}

//! Pieces of the segment in progress: which repositories get them, and when they go. That they restore the last
//! commits stands in `stories/pieces.rs`.

use std::fs;

use rustix::process::Signal;

use super::{Site, eventually};
use crate::harness::{
    Cluster, Scratch, Shutdown,
    archive::{pieces_in, stored_in, wait_for_pieces},
    damage::flip,
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

/// One of them can't be read in the first repository, where all that follows it is of no use then.
#[test]
fn what_is_damaged_comes_from_another_repository() {
    let mut site = Site::build(pg(17), second);
    let root = site.stow.root().to_owned();
    let receiver = receive(&site, "1s", &[]);
    let begun =
        "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US+00')";
    let begun = site.stow.cluster.psql(begun);
    let commit = || {
        commit(&site);
        let roots = [&root, &site.scratch.join("second")];
        roots.map(|root| wait_for_pieces(root, &site.stow.cluster).0)
    };
    commit();
    site.stow.backup(&[]);
    for _ in 0..3 {
        commit();
    }
    let [segment, _] = commit();
    let mut pieces = pieces_in(&root);
    pieces.retain(|piece| piece.segment == segment);
    assert!(pieces.len() > 3, "{pieces:?}");
    let rows = site.stow.cluster.psql("select count(*) from t");
    // Server and receiver are lost.
    site.stow.cluster.stop(Shutdown::Kill);
    receiver.signal(Signal::KILL);
    drop(receiver);
    fs::remove_dir_all(site.scratch.join("state/main")).unwrap();
    // Of the pieces that follow one another, from the second on, none is told by any other.
    let second = &pieces[1];
    flip(&second.path);
    let restored = |name: &str, warnings: &[&str]| {
        let to = site.scratch.join(name);
        let words = ["--json", "restore", "--data-dir", to.to_str().unwrap()];
        let mut restore = site.stow.tool.command(&words);
        for warning in warnings {
            restore = restore.expect_warning(warning);
        }
        let report = restore.ok().json();
        let pg = site.stow.cluster.pg.clone();
        pg.verifybackup(&to).unwrap();
        let mut copy = Cluster::existing(&site.scratch, pg, &format!("{name}-run"), &to);
        copy.recover();
        let count = copy.psql("select count(*) from t");
        copy.stop(Shutdown::Fast);
        (count, report)
    };
    let (count, report) = restored("whole", &["may be lost", "comes from repository second"]);
    assert_eq!(count, rows);
    assert_eq!(report["warnings"].to_string().matches("is lost").count(), 0);
    let words = ["find-target", "--since", &begun, "--all", "--json"];
    let found = site.stow.tool.command(&words);
    let found = found
        .expect_warning("may be lost")
        .expect_warning("comes from repository second")
        .expect_warning("can't connect to the server");
    let found = found.ok().json();
    assert_eq!(found["live"]["upto"], report["live"]["upto"]);

    // Another one of them in the other: to and fro.
    let other = pieces_in(&site.scratch.join("second"));
    let last = other
        .iter()
        .rfind(|piece| piece.segment == segment)
        .unwrap();
    flip(&last.path);
    let lost = ["may be lost", "may be lost", "comes from repository second"];
    assert_eq!(restored("both", &lost).0, rows);
    flip(&last.path);

    // In the other one, too: no more is promised than came.
    let same = other.iter().find(|piece| piece.bytes == second.bytes);
    flip(&same.unwrap().path);
    let (count, report) = restored("less", &["may be lost", "may be lost"]);
    assert!(count.parse::<u32>().unwrap() < rows.parse().unwrap());
    let upto = report["live"]["upto"].as_str().unwrap();
    let words = format!("lead to {upto}, and not to");
    assert!(
        report["warnings"].to_string().contains(&words),
        "{report:#}"
    );
}

/// One has the pieces, and another one what lies before them.
#[test]
fn pieces_follow_what_another_repository_has() {
    let mut site = Site::build(pg(15), second);
    let root = site.stow.root().to_owned();
    let second = site.scratch.join("second");
    let receiver = receive(&site, "1s", &[]);
    commit(&site);
    wait_for_pieces(&root, &site.stow.cluster);
    site.stow.backup(&[]);
    commit(&site);
    let last = site.switch();
    for root in [&root, &second] {
        let is_last = |name: &String| name.starts_with(&last);
        eventually("it is stored", || stored_in(root).iter().any(is_last));
    }
    commit(&site);
    for root in [&root, &second] {
        wait_for_pieces(root, &site.stow.cluster);
    }
    let rows = site.stow.cluster.psql("select count(*) from t");
    site.stow.cluster.stop(Shutdown::Kill);
    receiver.signal(Signal::KILL);
    drop(receiver);
    fs::remove_dir_all(site.scratch.join("state/main")).unwrap();
    fs::remove_file(site.stow.wal_object(&last)).unwrap();
    for piece in pieces_in(&second) {
        fs::remove_file(piece.path).unwrap();
    }
    // The backup is in the first alone.
    let warning = "repository second has WAL up to";
    let plan = site.scratch.join("planned");
    let plan = ["restore", "--plan", "--data-dir", plan.to_str().unwrap()];
    let plan = site.stow.tool.command(&plan).expect_warning(warning).ok();
    plan.stderr_contains("pgstow --repo local sync --from second");
    let words = ["--repo", "local", "sync", "--from", "second"];
    site.stow.tool.command(&words).ok();
    let to = site.scratch.join("copy");
    let words = ["restore", "--data-dir", to.to_str().unwrap()];
    let restored = site.stow.tool.command(&words).ok();
    restored.stdout_contains("as far as the pieces of it go");
    let pg = site.stow.cluster.pg.clone();
    pg.verifybackup(&to).unwrap();
    let mut copy = Cluster::existing(&site.scratch, pg, "copy-run", &to);
    copy.recover();
    assert_eq!(copy.psql("select count(*) from t"), rows);
    copy.stop(Shutdown::Fast);
}

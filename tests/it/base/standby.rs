//! Base backups of a standby.

use std::{path::Path, thread, time::Duration};

use crate::harness::{Cluster, PgBin, Scratch, Stow, on_every_major, pg};

on_every_major!(a_standby_is_backed_up);

/// A streaming standby of the cluster.
pub(super) fn standby(scratch: &Scratch, stow: &Stow) -> Cluster {
    let copy = scratch.join("copy");
    stow.cluster.basebackup(&copy, &["--write-recovery-conf"]);
    let pg = stow.cluster.pg.clone();
    let mut standby = Cluster::existing(scratch, pg, "standby", &copy);
    standby.start();
    standby.wait_until("select count(*) from pg_stat_wal_receiver", "1");
    standby
}

fn a_standby_is_backed_up(pg: PgBin) {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg);
    let standby = standby(&scratch, &stow);
    let primary = stow.cluster.host().display().to_string();
    for (number, method) in ["stream", "local"].into_iter().enumerate() {
        let base = stow.base(&["--method", method]);
        let base = base.env("PGSTOW_CLUSTER_HOST", standby.host());
        let output = base.env("PGSTOW_CLUSTER_PRIMARY_HOST", &primary).ok();
        let state = stow.backups()[number].clone();
        assert_eq!(state["state"], "complete");
        assert_eq!(state["backup"]["standby"], true);
        assert_eq!(state["backup"]["method"], method);
        let backup = stow.stored(&output);
        let restored = scratch.join(method);
        backup.unpack(&restored);
        stow.cluster.pg.verifybackup(&restored).unwrap();
    }
}

#[test]
fn without_its_primary_it_stays_pending() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(16));
    let standby = standby(&scratch, &stow);
    // Puts a checkpoint, and with it the start of the backup, into the open segment.
    stow.cluster.psql("create table t as select 1 as n");
    stow.cluster.psql("checkpoint");
    standby.wait_until("select count(*) from t", "1");
    let lsn = stow.cluster.psql("select pg_current_wal_lsn()");
    standby.wait_until(&format!("select pg_last_wal_replay_lsn() >= '{lsn}'"), "t");
    stow.base(&["--wal-timeout", "1s"])
        .env("PGSTOW_CLUSTER_HOST", standby.host())
        .fails(1)
        .stderr_contains("primary_host");
    let id = stow.folders().remove(0);
    // On a primary at work the segment ends by itself.
    stow.cluster.switch_wal();
    stow.base(&["--finish", &id]).ok();
}

#[test]
fn a_primary_that_does_not_answer_is_told() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(18));
    let standby = standby(&scratch, &stow);
    // Puts a checkpoint, and with it the start of the backup, into the open segment.
    stow.cluster.psql("create table t as select 1 as n");
    stow.cluster.psql("checkpoint");
    let lsn = stow.cluster.psql("select pg_current_wal_lsn()");
    standby.wait_until(&format!("select pg_last_wal_replay_lsn() >= '{lsn}'"), "t");
    let base = |primary: &Path, arguments: &[&str], warning: &str| {
        stow.base(arguments)
            .env("PGSTOW_CLUSTER_HOST", standby.host())
            .env("PGSTOW_CLUSTER_PRIMARY_HOST", primary)
            .env("PGSTOW_CONNECT_RETRIES", "0")
            .expect_warning("can't ask the primary to switch to a new WAL segment")
            .expect_warning(warning)
    };
    // Nobody there; then the standby itself, named by mistake.
    let nobody = scratch.folder("nobody");
    base(&nobody, &["--wal-timeout", "1s"], "can't connect")
        .fails(1)
        .stderr_contains("caused by: can't ask the primary")
        .stderr_contains("base --finish");
    base(
        standby.host(),
        &["--wal-timeout", "1s"],
        "recovery is in progress",
    )
    .expect_warning("is still pending")
    .fails(1);
    let states = stow.backups();
    assert!(
        states.iter().all(|one| one["state"] == "pending"),
        "{states:?}"
    );
    // WAL that ends its segment by other means completes it.
    let running = base(&nobody, &[], "can't connect")
        .expect_warning("is still pending")
        .spawn();
    while stow.folders().len() < 3 {
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(Duration::from_millis(1000));
    stow.cluster.switch_wal();
    let output = running.wait();
    assert_eq!(output.status.code(), Some(0), "{output}");
    stow.tool.command(&["verify", "--all", "--wal"]).ok();
}

#[test]
fn a_promotion_meanwhile_is_an_error() {
    for method in ["stream", "local"] {
        a_promotion_is_an_error(method);
    }
}

fn a_promotion_is_an_error(method: &str) {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(17));
    let standby = standby(&scratch, &stow);
    let running = stow
        .base(&["--max-rate", "4MB", "--method", method])
        .env("PGSTOW_CLUSTER_HOST", standby.host())
        .spawn();
    while stow.folders().is_empty() {
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(Duration::from_millis(500));
    standby.promote();
    let output = running.wait();
    assert_eq!(output.status.code(), Some(1), "{output}");
    assert!(output.stderr.contains("promoted"), "{output}");
    assert!(stow.folders().is_empty(), "{output}");
}

//! A standby, and what its promotion changes.

use std::fs;

use super::{Watched, has};
use crate::harness::{Cluster, pg};

#[test]
fn a_standby_is_judged_as_one_and_its_promotion_needs_a_history() {
    let watched = Watched::start(17);
    let stow = &watched.stow;
    let copy = watched.scratch.join("copy");
    stow.cluster.basebackup(&copy, &["--write-recovery-conf"]);
    let mut standby = Cluster::existing(&watched.scratch, pg(17), "standby", &copy);
    standby.start();
    stow.cluster.switch_wal();
    let standby_host = standby.host().to_owned();
    let verdict = |check: &str| {
        let words = ["--json", "monitor", "--only", check];
        let command = stow.tool.command(&words);
        super::verdict(command.env("PGSTOW_CLUSTER_HOST", &standby_host), &[])
    };
    for check in ["connection", "archive_mode", "wal_lag", "timeline", "slots"] {
        has(&verdict(check), "ok", "");
    }
    standby.psql("alter system set archive_mode = off");
    standby.psql("alter system set recovery_target_name = 'never'");
    standby.restart();
    has(
        &verdict("archive_mode"),
        "warning",
        "once this standby is promoted",
    );
    has(&verdict("recovery_target"), "warning", "left over");
    standby.psql("alter system reset archive_mode");
    standby.psql("alter system reset recovery_target_name");
    standby.restart();
    has(&verdict("recovery_target"), "ok", "none is set");

    standby.promote();
    standby.switch_wal();
    has(&verdict("timeline"), "ok", "as it should be");
    has(&verdict("wal_lag"), "ok", "every complete segment");
    has(&verdict("restorable"), "ok", "on timeline 2");
    let history = stow.wal_object("00000002.history");
    let aside = watched.scratch.join("aside");
    fs::rename(&history, &aside).unwrap();
    has(
        &verdict("timeline"),
        "critical",
        "nothing can be restored along it",
    );
    // No backup that would need it.
    let backups = stow.root().join("main/base");
    let away = watched.scratch.join("away");
    fs::rename(&backups, &away).unwrap();
    has(
        &verdict("timeline"),
        "warning",
        "00000002.history is missing",
    );
    fs::rename(&away, &backups).unwrap();
    fs::rename(&aside, &history).unwrap();
    has(&verdict("timeline"), "ok", "as it should be");
}

/// Cut off, it answers as ever.
#[test]
fn a_standby_that_does_not_replay() {
    let watched = Watched::start(16);
    let stow = &watched.stow;
    let copy = watched.scratch.join("copy");
    stow.cluster.basebackup(&copy, &["--write-recovery-conf"]);
    let mut standby = Cluster::existing(&watched.scratch, pg(16), "standby", &copy);
    standby.start();
    standby.wait_until("select count(*) from pg_stat_wal_receiver", "1");
    let lag = |limits: &[(&str, &str)]| {
        let words = ["--json", "monitor", "--only", "wal_lag"];
        let command = stow.tool.command(&words);
        super::verdict(command.env("PGSTOW_CLUSTER_HOST", standby.host()), limits)
    };
    let write = |table: &str| {
        stow.cluster
            .psql(&format!("create table {table} as select 1 as n"));
        stow.cluster.switch_wal();
    };
    let limits = [("WAL_AGE_WARNING", "1s")];
    write("before");
    standby.wait_until(
        "select count(*) from pg_class where relname = 'before'",
        "1",
    );
    std::thread::sleep(std::time::Duration::from_millis(1100));
    // It has all that there is, however long ago that was written.
    has(&lag(&limits), "ok", "every complete segment");

    standby.psql("select pg_wal_replay_pause()");
    for table in ["a", "b", "c", "d"] {
        write(table);
    }
    standby.wait_until("select pg_get_wal_replay_pause_state()", "paused");
    has(&lag(&limits), "warning", "this standby has replayed");
    has(
        &lag(&[("WAL_AGE_CRITICAL", "1s")]),
        "critical",
        "and no transaction since",
    );
    has(
        &lag(&[("WAL_LAG_WARNING", "32MB")]),
        "warning",
        "less than is archived",
    );
    let base = stow.base(&[]).env("PGSTOW_CLUSTER_HOST", standby.host());
    let base = base.env("PGSTOW_CLUSTER_PRIMARY_HOST", stow.cluster.host());
    drop(
        base.expect_warning("this standby has replayed WAL up to")
            .ok(),
    );

    standby.psql("select pg_wal_replay_resume()");
    standby.wait_until("select count(*) from pg_class where relname = 'd'", "1");
    has(&lag(&limits), "ok", "every complete segment");
}

//! The server's settings, and its clock.

use super::{Watched, has};
use crate::harness::{
    Cluster, Scratch, Stow,
    pg::{old_pg, unsupported_pg},
};

#[test]
fn settings_and_clock() {
    let mut watched = Watched::start(17);
    let cluster = &watched.stow.cluster;
    has(&watched.shifted("+1s", "clock"), "ok", "agrees");
    for shift in ["-30s", "+30s"] {
        has(&watched.shifted(shift, "clock"), "warning", "this host's");
    }
    has(&watched.shifted("-90s", "clock"), "critical", "ahead of");

    cluster.set("archive_timeout", "1h");
    watched.is("archive_timeout", &[], "warning", "1 h 0 min");
    cluster.set("archive_timeout", "5min");
    watched.is("archive_timeout", &[], "ok", "5 min 0 s");
    cluster.set("full_page_writes", "off");
    watched.is("full_page_writes", &[], "warning", "off");
    cluster.set("full_page_writes", "on");
    watched.is("version", &[], "ok", "PostgreSQL 17.");

    cluster.set("recovery_target_time", "2026-11-21 02:00:00+00");
    watched.is("recovery_target", &[], "critical", "from its next start on");
    // Taken back, though the server waits for a restart all the same.
    cluster.psql("alter system reset recovery_target_time");
    cluster.reload();
    let pending = "select pending_restart from pg_settings where name = 'recovery_target_time'";
    cluster.wait_until(pending, "t");
    watched.is("recovery_target", &[], "ok", "none is set");
    cluster.set("recovery_target_time", "2026-11-21 02:00:00+00");
    watched.stow.cluster.restart();
    watched.is("recovery_target", &[], "critical", "2026-11-21 02:00:00+00");
    let cluster = &mut watched.stow.cluster;
    cluster.psql("alter system reset recovery_target_time");
    for (name, value) in [
        ("archive_mode", "off"),
        ("wal_level", "minimal"),
        ("max_wal_senders", "0"),
    ] {
        cluster.set(name, value);
    }
    cluster.restart();
    watched.is("recovery_target", &[], "ok", "none is set");
    watched.is("archive_mode", &[], "critical", "off");
    watched.is("wal_level", &[], "critical", "minimal");
    let cluster = &mut watched.stow.cluster;
    for name in [
        "archive_mode",
        "wal_level",
        "max_wal_senders",
        "archive_timeout",
    ] {
        cluster.psql(&format!("alter system reset {name}"));
    }
    cluster.restart();
    // The setting is right again, and what was written meanwhile is of no use.
    watched.is("wal_level", &[], "ok", "replica");
    watched.is("restorable", &[], "critical", "wal_level was minimal at");
    watched.stow.backup(&[]);
    watched.is_well();
}

#[test]
fn without_pg_monitor_it_says_what_it_cannot_see() {
    let watched = Watched::start(18);
    watched.stow.cluster.psql("revoke pg_monitor from pgstow");
    let words = ["--json", "monitor", "--only", "waiting"];
    let unknown = watched.stow.tool.command(&words).fails(3).json();
    has(&unknown["checks"][0], "unknown", "may not see");
    watched.is("wal_lag", &[], "ok", "every complete segment");
    watched.stow.cluster.psql("grant pg_monitor to pgstow");
    watched.is_well();
}

/// The server was put in the place of one that pgstow knows.
#[test]
fn a_version_that_is_not_supported() {
    let watched = Watched::start(15);
    watched.is("version", &[], "ok", "PostgreSQL 15.");
    let other = Scratch::new();
    let old = Cluster::build(&other, unsupported_pg()).start();
    old.psql("create role pgstow login; grant pg_monitor to pgstow");
    let tool = &watched.stow.tool;
    let words = ["--json", "monitor", "--only", "version"];
    let report = tool.command(&words).env("PGSTOW_CLUSTER_HOST", old.host());
    let report = report.fails(2).json();
    has(&report["checks"][0], "critical", "14");
    let base = tool
        .command(&["base"])
        .env("PGSTOW_CLUSTER_HOST", old.host());
    drop(base.fails(1).stderr_contains("needs 15 or newer"));
    drop(old);
    watched.is("version", &[], "ok", "PostgreSQL 15.");
}

#[test]
fn a_version_whose_summaries_lack_changes() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, old_pg());
    let watched = Watched::of(scratch, stow);
    watched.is("version", &[], "ok", "PostgreSQL 18.4");
    watched.stow.cluster.set("summarize_wal", "on");
    watched.is("version", &[], "warning", "18.4 summarizes its WAL wrongly");
    watched.stow.cluster.set("summarize_wal", "off");
    watched.is_well();
}

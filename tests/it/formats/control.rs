//! pg_control, held against `pg_controldata`.

use std::{collections::BTreeMap, path::Path};

use pgstow::postgres::{
    control::{Control, State, WalLevel},
    lsn::{Lsn, TimelineId},
    pgdata,
};

use crate::harness::{Cluster, PgBin, Scratch, Shutdown, on_every_major, user};

on_every_major!(control_says_what_pg_controldata_says);

/// What `pg_controldata` prints, by its labels.
fn controldata(pg: &PgBin, data_dir: &Path) -> BTreeMap<String, String> {
    let text = user::run_ok(pg.command("pg_controldata").env("TZ", "UTC").arg(data_dir));
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines
        .map(|(label, value)| (label.to_owned(), value.trim().to_owned()))
        .collect()
}

fn assert_same(pg: &PgBin, data_dir: &Path) -> Control {
    let control = Control::read(data_dir).unwrap();
    let said = controldata(pg, data_dir);
    let state = match control.state {
        State::StartingUp => "starting up",
        State::ShutDown => "shut down",
        State::ShutDownInRecovery => "shut down in recovery",
        State::ShuttingDown => "shutting down",
        State::InCrashRecovery => "in crash recovery",
        State::InArchiveRecovery => "in archive recovery",
        State::InProduction => "in production",
    };
    let wal_level = match control.wal_level {
        WalLevel::Minimal => "minimal",
        WalLevel::Replica => "replica",
        WalLevel::Logical => "logical",
    };
    let ctime = "%a %b %e %H:%M:%S %Y";
    let timeline = control.min_recovery_timeline.map_or(0, TimelineId::get);
    let end_required = ["no", "yes"][usize::from(control.backup_end_required)];
    for (label, value) in [
        (
            "pg_control version number",
            control.control_version.to_string(),
        ),
        (
            "Catalog version number",
            control.catalog_version.to_string(),
        ),
        ("Database system identifier", control.system.to_string()),
        ("Database cluster state", state.to_owned()),
        (
            "pg_control last modified",
            control.written.format(ctime).to_string(),
        ),
        ("Latest checkpoint location", control.checkpoint.to_string()),
        (
            "Latest checkpoint's REDO location",
            control.redo.to_string(),
        ),
        (
            "Latest checkpoint's TimeLineID",
            control.timeline.to_string(),
        ),
        (
            "Latest checkpoint's full_page_writes",
            ["off", "on"][usize::from(control.full_page_writes)].to_owned(),
        ),
        (
            "Time of latest checkpoint",
            control.checkpoint_time.format(ctime).to_string(),
        ),
        (
            "Minimum recovery ending location",
            control.min_recovery_point.to_string(),
        ),
        ("Min recovery ending loc's timeline", timeline.to_string()),
        (
            "Backup start location",
            control.backup_start_point.to_string(),
        ),
        ("Backup end location", control.backup_end_point.to_string()),
        ("End-of-backup record required", end_required.to_owned()),
        ("wal_level setting", wal_level.to_owned()),
        (
            "max_connections setting",
            control.max_connections.to_string(),
        ),
        (
            "max_worker_processes setting",
            control.max_worker_processes.to_string(),
        ),
        (
            "max_wal_senders setting",
            control.max_wal_senders.to_string(),
        ),
        (
            "max_prepared_xacts setting",
            control.max_prepared_transactions.to_string(),
        ),
        (
            "max_locks_per_xact setting",
            control.max_locks_per_transaction.to_string(),
        ),
        ("Database block size", control.block_size.to_string()),
        (
            "Blocks per segment of large relation",
            control.relation_segment_blocks.to_string(),
        ),
        ("WAL block size", control.wal_block_size.to_string()),
        (
            "Bytes per WAL segment",
            control.segment_size.bytes().to_string(),
        ),
        (
            "Data page checksum version",
            control.data_checksum_version.to_string(),
        ),
    ] {
        assert_eq!(said.get(label), Some(&value), "{pg}: {label}");
    }
    control
}

fn control_says_what_pg_controldata_says(pg: PgBin) {
    let scratch = Scratch::new();
    let mut main = Cluster::build(&scratch, pg.clone())
        .initdb("--wal-segsize=4")
        .conf("wal_level", "logical")
        .conf("max_connections", "41")
        .conf("max_worker_processes", "13")
        .conf("max_wal_senders", "6")
        .conf("max_prepared_transactions", "5")
        .conf("max_locks_per_transaction", "71")
        .start();
    main.psql("create table t as select generate_series(1, 1000) as n");
    main.psql("checkpoint");
    let running = assert_same(&pg, main.data_dir());
    assert_eq!(running.major.number(), pg.major);
    assert_eq!(pgdata::major(main.data_dir()).unwrap(), running.major);
    assert_eq!(
        Some(running.catalog_version),
        running.major.catalog_version()
    );
    assert_eq!(running.segment_size.bytes(), 4 << 20);
    assert!(running.redo < running.checkpoint && !running.is_shut_down());

    let copy = scratch.join("copy");
    main.basebackup(&copy, &["--write-recovery-conf"]);
    let mut standby = Cluster::existing(&scratch, pg.clone(), "standby", &copy);
    standby.start();
    standby.psql("select 1");
    standby.stop(Shutdown::Fast);
    let stopped = assert_same(&pg, &copy);
    assert_eq!(stopped.state, State::ShutDownInRecovery);
    assert!(stopped.min_recovery_point > Lsn::INVALID);
    main.stop(Shutdown::Fast);
    assert!(assert_same(&pg, main.data_dir()).is_shut_down());
}

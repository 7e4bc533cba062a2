//! Backups that hold their own WAL: restored with and without the repository.

use std::fs;

use super::copy::{open, opened, restore, rows};
use crate::harness::archive::stored_in;
use crate::harness::{Cluster, PgBin, Scratch, Shutdown, Stow, on_every_major, pg};

on_every_major!(a_server_that_does_not_archive);

fn timeline(cluster: &Cluster) -> String {
    cluster.psql("select timeline_id from pg_control_checkpoint()")
}

fn a_server_that_does_not_archive(pg: PgBin) {
    let scratch = Scratch::new();
    let stow = Stow::build(&scratch, pg)
        .cluster(|cluster| cluster.initdb("--wal-segsize=1"))
        .no_archiving()
        .start();
    stow.cluster.psql("create table t as select 1 as n");
    stow.backup(&["--standalone"]);
    stow.cluster.psql("insert into t values (2)");
    // With the repository in reach.
    let copy = opened(&scratch, &stow, "near", &[]);
    assert_eq!((rows(&copy), timeline(&copy)), ("1".into(), "2".into()));
    let again = restore(&scratch, &stow, "again", &["--target-immediate"]);
    again.0.ok();
    let settings = fs::read_to_string(again.1.join("postgresql.auto.conf")).unwrap();
    assert!(settings.contains("restore-wal"), "{settings}");
    stow.cluster.pg.verifybackup(&again.1).unwrap();
    // Without it.
    for (name, target) in [("far", &[][..]), ("end", &["--target-immediate"])] {
        let (restore, to) = restore(&scratch, &stow, name, &[&["--offline"], target].concat());
        restore.ok().stdout_contains("restore_command is `false`");
        let settings = fs::read_to_string(to.join("postgresql.auto.conf")).unwrap();
        assert!(settings.contains("restore_command = 'false'"), "{settings}");
        assert!(to.join("recovery.signal").exists());
    }
    let away = scratch.join("away");
    fs::rename(stow.root(), &away).unwrap();
    for name in ["far", "end"] {
        let copy = open(super::copy::copy(&scratch, &stow, name));
        assert_eq!((rows(&copy), timeline(&copy)), ("1".into(), "2".into()));
    }
}

/// A server that was promoted before has a history, which its backup must bring along.
#[test]
fn a_later_timeline_needs_no_repository() {
    let scratch = Scratch::new();
    let mut stow = Stow::build(&scratch, pg(18)).no_archiving().start();
    stow.cluster.psql("create table t as select 1 as n");
    stow.cluster.stop(Shutdown::Fast);
    fs::write(stow.cluster.data_dir().join("standby.signal"), "").unwrap();
    stow.cluster.start();
    stow.cluster.promote();
    stow.backup(&["--standalone"]);
    for (name, options) in [("near", &[][..]), ("far", &["--offline"])] {
        let copy = opened(&scratch, &stow, name, options);
        assert_eq!((rows(&copy), timeline(&copy)), ("1".into(), "3".into()));
    }
}

#[test]
fn only_standalone_backups_can_do_without_the_repository() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(15));
    stow.cluster.psql("create table t as select 1 as n");
    let plain = stow.backup(&[]);
    let refused = |arguments: &[&str], text: &str| {
        let (restore, to) = restore(&scratch, &stow, "refused", arguments);
        let output = restore.fails(1).stderr_contains(text);
        drop(output.stderr_contains("base --standalone"));
        assert!(!to.exists());
    };
    refused(&["--offline"], "no backup holds its own WAL");
    stow.backup(&["--standalone"]);
    refused(&[plain.id(), "--offline"], "doesn't hold its own WAL");
    stow.cluster.psql("insert into t values (2)");
    stow.cluster.switch_wal();
    // With the repository it goes on to the end of the archive, without it to its own.
    for (name, options, expected) in [("near", &[][..], "1,2"), ("far", &["--offline"], "1")] {
        assert_eq!(rows(&opened(&scratch, &stow, name, options)), expected);
    }
}

/// Archiving began after the backup: its own WAL was never archived.
#[test]
fn an_archive_that_begins_behind_the_backup() {
    let scratch = Scratch::new();
    let mut stow = Stow::build(&scratch, pg(16)).no_archiving().start();
    stow.cluster.psql("create table t as select 1 as n");
    let backup = stow.backup(&["--standalone"]);
    stow.cluster.psql("select pg_switch_wal()");
    let archive_wal = stow.tool.shell("archive-wal %p");
    stow.cluster.psql("alter system set archive_mode = 'on'");
    let quoted = archive_wal.replace('\'', "''");
    let command = format!("alter system set archive_command = '{quoted}'");
    stow.cluster.psql(&command);
    stow.cluster.psql("checkpoint");
    stow.cluster.psql("select pg_switch_wal()");
    stow.cluster.restart();
    for _ in 0..3 {
        stow.cluster.switch_wal();
    }
    let start = backup.json()["stop_segment"].as_str().unwrap().to_owned();
    let archived = stored_in(stow.root());
    let first = archived.iter().find(|name| name.contains(".zst")).unwrap();
    assert!(first[..24] > start[..], "{first} is behind {start}");
    let (end, _) = restore(&scratch, &stow, "end", &[]);
    end.fails(1).stderr_contains("is missing");
    let copy = opened(&scratch, &stow, "copy", &["--target-immediate"]);
    assert_eq!(rows(&copy), "1");
}

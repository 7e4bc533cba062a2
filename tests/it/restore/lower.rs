//! Settings that the backed-up server had on its command line, as Patroni gives them.

use super::copy::{copy, open, restore, rows};
use crate::harness::{Scratch, Stow, pg};

#[test]
fn settings_that_recovery_would_refuse_are_named() {
    for major in [15, 18] {
        let scratch = Scratch::new();
        let mut stow = Stow::start(&scratch, pg(major));
        stow.cluster.argument("max_connections=60");
        stow.cluster.restart();
        stow.cluster.psql("create table t as select 1 as n");
        stow.backup(&[]);
        stow.cluster.switch_wal();
        let (restore, _) = restore(&scratch, &stow, "copy", &[]);
        let output = restore
            .ok()
            .stdout_contains("set it to 60 before the start");
        assert!(!output.stdout.contains("max_wal_senders"), "{output}");
        // It is true; and what it says helps.
        let mut refused = copy(&scratch, &stow, "copy");
        let log = match refused.try_start() {
            Ok(()) => refused.log(),
            Err(log) => log,
        };
        assert!(log.contains("insufficient parameter settings"), "{log}");
        drop(refused);
        let mut cluster =
            crate::harness::Cluster::existing(&scratch, pg(major), "again", &scratch.join("copy"));
        cluster.argument("max_connections=60");
        assert_eq!(rows(&open(cluster)), "1");
    }
}

/// A server takes some variables of its clients, and fails where they mean nothing to it.
#[test]
fn variables_of_clients_dont_count() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(15));
    stow.backup(&[]);
    stow.cluster.switch_wal();
    let (restore, _) = restore(&scratch, &stow, "copy", &[]);
    // No warning says that settings could not be read.
    let restored = restore
        .env("PGPORT", "")
        .env("PGDATA", "/nowhere")
        .env("PGCLIENTENCODING", "nothing")
        .ok();
    assert!(!restored.stdout.contains("not known"), "{restored}");
}

//! Tablespaces that are folders in `pg_tblspc`, made where a session alone allowed it.

use super::copy::{copy, open, restore};
use crate::harness::{Cluster, Scratch, Stow, pg};

const SETTING: &str = "allow_in_place_tablespaces=on";

#[test]
fn a_server_that_would_panic_is_warned_of() {
    for major in [15, 18] {
        let scratch = Scratch::new();
        let mut stow = Stow::start(&scratch, pg(major));
        stow.cluster.argument(SETTING);
        stow.cluster.restart();
        stow.cluster.psql("create tablespace inside location ''");
        stow.cluster
            .psql("create table t tablespace inside as select 1 as n");
        stow.backup(&[]);
        stow.cluster.switch_wal();
        let (restore, to) = restore(&scratch, &stow, "copy", &[]);
        restore
            .ok()
            .stdout_contains("recovery would end in a PANIC");
        // It is true; and what it says helps.
        let mut plain = copy(&scratch, &stow, "copy");
        let log = match plain.try_start() {
            Ok(()) => {
                plain.wait_for_end();
                plain.log()
            }
            Err(log) => log,
        };
        assert!(log.contains("PANIC"), "{major}: {log}");
        drop(plain);
        let mut again = Cluster::existing(&scratch, pg(major), "again", &to);
        again.argument(SETTING);
        assert_eq!(open(again).psql("select n from t"), "1");
    }
}

#[test]
fn a_server_that_knows_them_is_not() {
    let scratch = Scratch::new();
    let stow = Stow::build(&scratch, pg(15))
        .cluster(|cluster| cluster.conf("allow_in_place_tablespaces", "on"))
        .start();
    stow.cluster.psql("create tablespace inside location ''");
    stow.backup(&[]);
    stow.cluster.switch_wal();
    let output = restore(&scratch, &stow, "copy", &[]).0.ok();
    assert!(!output.stdout.contains("PANIC"), "{output}");
}

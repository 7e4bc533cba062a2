//! What `restore-done` leaves: a server whose settings can be changed as before.

use super::copy::opened;
use crate::harness::{PgBin, Scratch, Stow, on_every_major};

on_every_major!(settings_can_be_changed_before_the_next_restart);

/// PostgreSQL reads most of what restore-done removes only at a start, so each reload until then
/// says that these can't be changed. Others are, and the next start is clean.
fn settings_can_be_changed_before_the_next_restart(pg: PgBin) {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg);
    stow.cluster.psql("create table t as select 1 as n");
    stow.backup(&[]);
    stow.cluster.psql("insert into t values (2)");
    let lsn = stow.cluster.psql("select pg_current_wal_insert_lsn()");
    stow.cluster.psql("insert into t values (3)");
    stow.cluster.switch_wal();
    let mut copy = opened(&scratch, &stow, "copy", &["--target-lsn", &lsn]);
    copy.set("work_mem", "7MB");
    assert_eq!(copy.psql("show work_mem"), "7MB");
    copy.set("log_checkpoints", "off");
    assert_eq!(copy.psql("show log_checkpoints"), "off");
    copy.restart();
    let before = copy.log().len();
    copy.reload();
    let later = copy.log()[before..].to_owned();
    assert!(!later.contains("cannot be changed"), "{later}");
    let left = "select count(*) from pg_settings where name like 'recovery_target%'
        and source = 'configuration file'";
    assert_eq!(copy.psql(left), "0");
    assert_eq!(copy.psql("show work_mem"), "7MB");
}

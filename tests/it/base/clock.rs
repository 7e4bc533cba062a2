//! Backups by a host whose clock is not the server's.

use crate::harness::{Cluster, Scratch, Stow, pg};

const BASE: [&str; 4] = ["--json", "base", "--checkpoint", "fast"];

/// The time to restore to is the server's, whatever the clock of the host that takes the backup.
#[test]
fn times_are_those_of_the_server() {
    for shift in ["+1h", "-1h"] {
        let scratch = Scratch::new();
        let stow = Stow::start(&scratch, pg(17));
        stow.cluster.psql("create table t as select 1 as n");
        let before = stow.cluster.psql("select clock_timestamp()");
        let output = stow.tool.shifted(shift, &BASE).ok();
        let after = stow.cluster.psql("select clock_timestamp()");
        let backup = stow.stored(&output).json();
        for key in ["start_time", "stop_time"] {
            let time = backup[key].as_str().unwrap();
            let between = format!("select timestamptz '{time}' between '{before}' and '{after}'");
            assert_eq!(stow.cluster.psql(&between), "t", "{key} in {backup}");
        }
        stow.cluster.psql("insert into t values (2)");
        let target = stow.cluster.psql("select clock_timestamp()");
        stow.cluster.psql("insert into t values (3)");
        stow.cluster.switch_wal();
        let restored = scratch.join("restored");
        let bindir = stow.cluster.pg.bindir.display().to_string();
        let to = restored.to_str().unwrap();
        let words = ["restore", "--target-time", &target, "--bindir", &bindir];
        let words = [&words[..], &["--data-dir", to]].concat();
        stow.tool.shifted(shift, &words).ok();
        let mut copy = Cluster::existing(&scratch, pg(17), "copy", &restored);
        copy.recover();
        assert_eq!(copy.psql("select string_agg(n::text, ',') from t"), "1,2");
    }
}

/// Ids stay in the order of the backups, with a warning, when the clock goes back.
#[test]
fn a_clock_that_goes_back_is_told() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(16));
    let first = stow.tool.shifted("+1h", &BASE).ok();
    let second = stow
        .base(&[])
        .expect_warning("the clock of this host is behind that of the newest backup")
        .ok();
    let ids = [&first, &second].map(|output| stow.stored(output).id().to_owned());
    assert!(ids[0] < ids[1], "{ids:?}");
    assert_eq!(stow.folders(), ids);
}

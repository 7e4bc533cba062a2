//! WAL that is missing, or stored only in part.

use std::fs;

use super::copy::{copy, open, opened, restore, rows};
use crate::harness::{Cluster, Scratch, Shutdown, Stow, pg};

#[test]
fn a_missing_segment_is_seen_by_the_plan_and_never_opens_a_database() {
    for major in [15, 18] {
        let scratch = Scratch::new();
        let stow = Stow::start(&scratch, pg(major));
        stow.cluster.psql("create table t as select 1 as n");
        let backup = stow.backup(&[]);
        let mut segments = Vec::new();
        let mut before = String::new();
        for n in 2..5 {
            stow.cluster.psql(&format!("insert into t values ({n})"));
            if n == 2 {
                before = stow.cluster.psql("select pg_current_wal_insert_lsn()");
            }
            segments.push(stow.cluster.switch_wal());
        }
        let stored = stow.wal_object(&segments[1]);
        let away = scratch.join("lost");
        let refused = || {
            let (plan, to) = restore(&scratch, &stow, "refused", &[]);
            plan.fails(1)
                .stderr_contains(&segments[1])
                .stderr_contains("later WAL is there")
                .stderr_contains(&format!("possible are {} from ", backup.id()));
            assert!(!to.exists());
        };
        fs::rename(&stored, &away).unwrap();
        refused();
        // What lies before it is still to be had.
        let old = opened(&scratch, &stow, "old", &["--target-lsn", &before]);
        assert_eq!(rows(&old), "1,2");
        fs::rename(&away, &stored).unwrap();

        restore(&scratch, &stow, "copy", &[]).0.ok();
        fs::rename(&stored, &away).unwrap();
        let mut half = copy(&scratch, &stow, "copy");
        let log = match half.try_start() {
            // A hot standby let us in already.
            Ok(()) => {
                half.wait_for_end();
                half.log()
            }
            Err(log) => log,
        };
        let what = format!("{} is missing, but is not the end", segments[1]);
        assert!(log.contains(&what) && log.contains("FATAL"), "{log}");
        assert!(!log.contains("selected new timeline"), "{log}");
        // Nothing is spoiled.
        fs::rename(&away, &stored).unwrap();
        assert_eq!(rows(&open(half)), "1,2,3,4");
    }
}

#[test]
fn the_partial_segment_of_a_promotion_ends_the_old_timeline() {
    for major in [15, 18] {
        let scratch = Scratch::new();
        let mut stow = Stow::start(&scratch, pg(major));
        stow.cluster.psql("create table t as select 1 as n");
        stow.backup(&[]);
        let folder = scratch.join("standby-data");
        stow.cluster.basebackup(&folder, &["--write-recovery-conf"]);
        let mut standby = Cluster::existing(&scratch, pg(major), "standby", &folder);
        standby.start();
        stow.cluster.psql("insert into t values (2)");
        standby.wait_until("select count(*) from t", "2");
        // The primary is gone with its last segment, which only the standby has.
        stow.cluster.stop(Shutdown::Kill);
        standby.promote();
        standby.psql("insert into t values (3)");
        let first = standby.switch_wal();
        let partial = format!("00000001{}.partial", &first[8..]);
        assert!(stow.wal_object(&partial).exists());

        let (restore, _) = restore(&scratch, &stow, "old", &["--target-timeline", "1"]);
        restore
            .ok()
            .stdout_contains(&format!("{partial} is put into pg_wal"));
        let old = open(copy(&scratch, &stow, "old"));
        assert_eq!(rows(&old), "1,2");
        assert_eq!(rows(&opened(&scratch, &stow, "new", &[])), "1,2,3");
    }
}

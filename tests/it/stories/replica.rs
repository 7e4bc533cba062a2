//! A restore to a time is no time bomb for the replicas that are made of its result.

use super::{Site, WITNESS, no_recovery_settings, typed};
use crate::harness::{Cluster, PgBin, Shutdown, Witness, on_every_major, witness::rows};

on_every_major!(a_replica_of_a_restored_server_stays_a_replica);

/// Rule 44a: with a target left in its settings, the replica would promote itself at the first
/// commit behind that target.
fn a_replica_of_a_restored_server_stays_a_replica(pg: PgBin) {
    let mut site = Site::start(pg);
    site.stow.backup(&[]);
    let witness = Witness::start(site.main(), WITNESS);
    witness.wait_for(100);
    let truth = witness.stop();
    site.stow.cluster.stop(Shutdown::Fast);
    let target = truth.commits[60];
    let time = typed(target.after_time);
    site.pgstow(&["restore", "--replace", "--target-time", &time])
        .ok();
    let main = &mut site.stow.cluster;
    main.recover();
    truth.at_time(target.after_time).check(rows(main, WITNESS));
    no_recovery_settings(main);
    // Nor has the server anything of it in memory once it has read its settings again.
    main.restart();
    let set = "select count(*) from pg_settings
               where (name like 'recovery\\_target%' or name = 'restore_command')
                 and source <> 'default'";
    assert_eq!(main.psql(set), "0");

    let data_dir = site.scratch.join("replica-data");
    let arguments = ["--write-recovery-conf", "--wal-method=stream"];
    site.main().basebackup(&data_dir, &arguments);
    let pg = site.main().pg.clone();
    let mut replica = Cluster::existing(&site.scratch, pg, "replica", &data_dir);
    replica.start();
    let witness = Witness::go_on(site.main(), WITNESS);
    witness.wait_for(50);
    witness.stop();
    let written = site.main().psql(&format!("select count(*) from {WITNESS}"));
    replica.wait_until(&format!("select count(*) from {WITNESS}"), &written);
    assert_eq!(replica.psql("select pg_is_in_recovery()"), "t");
    let timeline = "select timeline_id from pg_control_checkpoint()";
    assert_eq!(site.main().psql(timeline), "2");
    // Promoted, it would go on archiving: its settings are those of the primary.
    assert!(!site.stored_wal().contains(&"00000003.history".to_owned()));
}

//! A server that crashed while its archive lagged behind loses nothing by `restore --replace`.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{Site, WITNESS, no_recovery_settings};
use crate::harness::{Cluster, Load, PgBin, Shutdown, Witness, on_every_major, pg, witness::rows};

on_every_major!(the_last_commits_of_a_crashed_server_are_there);

fn the_last_commits_of_a_crashed_server_are_there(pg: PgBin) {
    let mut site = Site::build(pg, |stow| {
        stow.cluster(|cluster| cluster.initdb("--wal-segsize=1"))
    });
    let load = Load::start(site.main(), 1, 200);
    let witness = Witness::start(site.main(), WITNESS);
    site.stow.backup(&[]);
    witness.wait_for(50);
    site.main().switch_wal();
    // From now on nothing more gets into the archive, for several segments.
    site.main().set("archive_command", "false");
    for _ in 0..3 {
        witness.wait_for(30);
        site.main().psql("select pg_switch_wal()");
    }
    witness.wait_for(30);
    site.stow.cluster.stop(Shutdown::Kill);
    drop(load);
    // A row may be in flight, or the crash came between two of them: `at_end` knows which.
    let truth = witness.stop();

    // A first attempt is killed: the old cluster's WAL is found again all the same.
    let data_dir = site.main().data_dir().to_owned();
    let running = site.pgstow(&["restore", "--replace"]).spawn();
    let limit = Instant::now() + Duration::from_secs(30);
    while !data_dir.join("pgstow-restore.json").exists() {
        assert!(Instant::now() < limit, "{}", running.stderr());
        thread::sleep(Duration::from_millis(1));
    }
    running.signal(Signal::KILL);
    drop(running);
    assert!(!data_dir.join("global/pg_control").exists());
    site.pgstow(&["restore", "--replace"])
        .ok()
        .stdout_contains("are taken from this host");
    let main = &mut site.stow.cluster;
    main.pg.verifybackup(main.data_dir()).unwrap();
    main.recover();
    truth.at_end().check(rows(main, WITNESS));
    no_recovery_settings(main);
    main.amcheck();
    main.switch_wal();

    // The archive gets all of it: the old timeline's last segment too, under its own name.
    let stored = site.stored_wal();
    let partial = stored.iter().filter(|name| name.contains(".partial"));
    assert_eq!(partial.count(), 1, "{stored:?}");
    assert!(
        stored.contains(&"00000002.history".to_owned()),
        "{stored:?}"
    );
    site.restores_to("copy", truth.at_end(), &[]);
    // The crashed cluster lies beside, untouched.
    let parent = data_dir.parent().unwrap();
    let aside = fs::read_dir(parent)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let aside: Vec<_> = aside
        .filter(|path| path.to_str().unwrap().contains("data.old-"))
        .collect();
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert!(aside[0].join("global/pg_control").exists());
}

/// It was promoted while nothing could be archived: no repository has heard of its timeline.
#[test]
fn a_timeline_of_the_crashed_server_alone_is_its_newest() {
    let mut site = Site::build(pg(17), |stow| {
        stow.cluster(|cluster| cluster.initdb("--wal-segsize=1"))
    });
    let main = &mut site.stow.cluster;
    main.psql("create table t as select 1 as n");
    site.stow.backup(&[]);
    let main = &mut site.stow.cluster;
    main.switch_wal();
    main.set("archive_command", "false");
    let switched = |main: &Cluster, row: u32| {
        main.psql(&format!("insert into t values ({row})"));
        main.psql("select pg_switch_wal()");
    };
    switched(main, 2);
    main.psql("insert into t values (3)");
    main.stop(Shutdown::Fast);
    fs::write(main.data_dir().join("standby.signal"), "").unwrap();
    main.start();
    main.promote();
    switched(main, 4);
    main.psql("insert into t values (5)");
    main.stop(Shutdown::Kill);

    site.pgstow(&["restore", "--replace"])
        .ok()
        .stdout_contains("timeline 2 is the newest")
        .stdout_contains("are taken from this host");
    let main = &mut site.stow.cluster;
    main.pg.verifybackup(main.data_dir()).unwrap();
    main.recover();
    let rows = main.psql("select string_agg(n::text, ',' order by n) from t");
    assert_eq!(rows, "1,2,3,4,5");
    let timeline = main.psql("select left(pg_walfile_name(pg_current_wal_lsn()), 8)");
    assert_eq!(timeline, "00000003");
    main.amcheck();
    // From the archive alone, too.
    main.switch_wal();
    let mut copy = site.copy("copy", &[]);
    copy.recover();
    let rows = copy.psql("select string_agg(n::text, ',' order by n) from t");
    assert_eq!(rows, "1,2,3,4,5");
    copy.stop(Shutdown::Fast);
}

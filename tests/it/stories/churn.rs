//! Files come, go, grow and shrink while they are copied.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
};

use super::{Site, judge_and_end};
use crate::harness::{Cluster, PgBin, on_every_major, random::rounds};

on_every_major!(files_come_and_go_meanwhile);

/// One after the other, each in a transaction of its own. `$` is the number of the turn.
const TURN: [&str; 12] = [
    "begin; create table doomed_$ as select n, repeat('x', 500) from generate_series(1, 3000) n;
     create index on doomed_$ (n); rollback",
    "create table brief_$ as select n, repeat('y', 500) from generate_series(1, 3000) n",
    "create unlogged table fleeting_$ as select n from generate_series(1, 1000) n",
    "delete from shrinking where n > 2000",
    "vacuum shrinking",
    "insert into shrinking select n, repeat('z', 500) from generate_series(2001, 9000) n",
    "vacuum full rewritten",
    "truncate cut; insert into cut select generate_series(1, 5000)",
    "reindex table rewritten",
    "drop table brief_$",
    "alter table fleeting_$ set logged; drop table fleeting_$",
    "checkpoint",
];

fn files_come_and_go_meanwhile(pg: PgBin) {
    let site = Site::build(pg, |stow| {
        // The server writes and drops files all the time, and backups take a while.
        stow.setting("max_rate = \"32MB\"").cluster(|cluster| {
            cluster
                .conf("checkpoint_timeout", "30s")
                .conf("max_wal_size", "64MB")
                .conf("bgwriter_delay", "10ms")
        })
    });
    let main = site.main();
    main.psql("create table shrinking as select n, repeat('z', 500) as text from generate_series(1, 9000) n");
    main.psql("create table rewritten as select n, repeat('r', 700) as text from generate_series(1, 9000) n");
    main.psql("create table cut (n int)");
    let (stop, turns) = (AtomicBool::new(false), AtomicU32::new(0));
    let backups: Vec<String> = thread::scope(|scope| {
        scope.spawn(|| churn(main, &stop, &turns));
        let backups = (0..rounds(2, 10)).map(|_| {
            let before = turns.load(Ordering::Relaxed);
            let backup = site.stow.backup(&["--method", "local"]);
            assert!(turns.load(Ordering::Relaxed) > before, "nothing happened");
            backup.id().to_owned()
        });
        let backups = backups.collect();
        stop.store(true, Ordering::Relaxed);
        backups
    });
    let dump = site.main().dump("postgres");
    site.main().switch_wal();
    for id in backups {
        let mut copy = site.copy(&id, &[&id]);
        copy.recover();
        assert!(copy.dump("postgres") == dump, "{id}");
        judge_and_end(copy);
    }
}

fn churn(cluster: &Cluster, stop: &AtomicBool, turns: &AtomicU32) {
    while !stop.load(Ordering::Relaxed) {
        let turn = turns.fetch_add(1, Ordering::Relaxed);
        for statement in TURN {
            cluster.psql(&statement.replace('$', &turn.to_string()));
        }
    }
}

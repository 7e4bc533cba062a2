//! PostgreSQL's own comparisons: a full backup and an incremental one that are both recovered to the
//! same moment, and visibility maps through all that clears them.

use std::{thread, time::Duration};

use super::{Chain, Kind, told_of};

told_of!(combinebackup_002_compare_backups: pg18_summaries = summarizing(18));
told_of!(combinebackup_012_vm_consistency: pg18_summaries = summarizing(18));

fn combinebackup_002_compare_backups(kind: Kind) {
    let mut chain = Chain::start(kind);
    let place = chain.site.scratch.folder("ts").display().to_string();
    chain.sql(&format!(
        "create tablespace ts1 location '{place}'; create database db_will_get_dropped"
    ));
    for name in [
        "change",
        "grow",
        "shrink",
        "get_vacuumed",
        "get_dropped",
        "get_rewritten",
    ] {
        chain.sql(&format!(
            "create table will_{name} as select 1 as a, 'initial test row' as b"
        ));
    }
    for name in ["not_change", "change", "get_dropped"] {
        chain.sql(&format!(
            "create table will_{name}_in_ts tablespace ts1 as select 1 as a, 'initial test row' as b"
        ));
    }
    chain.sql("checkpoint");
    thread::sleep(Duration::from_millis(2500));
    chain.full();
    chain.sql(
        "update will_change set b = 'modified value' where a = 1;
         update will_change_in_ts set b = 'modified value' where a = 1;
         insert into will_grow select g, 'additional row' from generate_series(2, 5000) g;
         truncate will_shrink;
         vacuum will_get_vacuumed;
         drop table will_get_dropped;
         drop table will_get_dropped_in_ts;
         create table newly_created as select 1 as a, 'row for new table' as b;
         create table newly_created_in_ts tablespace ts1 as select 1 as a, 'row for new table' as b;
         vacuum full will_get_rewritten;
         drop database db_will_get_dropped;
         create database db_newly_created",
    );
    chain.incremental();
    // Both to the moment behind the second.
    let first = chain.levels.remove(0);
    let second = &chain.levels[0];
    let both = super::Level {
        backup: first.backup,
        point: second.point.clone(),
        dump: second.dump.clone(),
    };
    chain.prove_newest();
    chain.prove_level(&both);
}

fn combinebackup_012_vm_consistency(kind: Kind) {
    let mut chain = Chain::build(kind, |stow| {
        stow.cluster(|cluster| cluster.no_checksums().conf("autovacuum", "off"))
    });
    let tables = [
        "inserted", "deleted", "moved", "updated", "locked", "copied", "still",
    ];
    for table in tables {
        chain.sql(&format!(
            "create table {table} (id int primary key, val text) with (fillfactor = 70);
             insert into {table} select g, repeat('v', 100) from generate_series(1, 3000) g;
             vacuum (freeze) {table}"
        ));
    }
    chain.sql("checkpoint");
    thread::sleep(Duration::from_millis(2500));
    chain.full();
    let changes = "insert into inserted values (5000, 'new');
         delete from deleted where id % 300 = 0;
         update moved set val = repeat('w', 7000) where id % 500 = 0;
         update updated set val = 'short' where id % 300 = 0;
         select count(*) from (select from locked where id % 300 = 0 for update) locked;
         copy copied from program 'echo 7000,copied' (format csv)";
    chain.sql(changes);
    chain.incremental();
    chain.sql("vacuum; update still set val = 'x' where id = 7");
    chain.incremental();
    chain.prove();
}

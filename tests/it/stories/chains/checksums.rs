//! Clusters without checksums, and those that get them: there a vacuum marks pages as visible to all,
//! and leaves their LSNs as they were.

use std::{thread, time::Duration};

use super::{Chain, Kind, told_of};
use crate::harness::{Shutdown, user};

told_of!(pages_become_visible_to_all_between_two_backups: pg15 = plain(15));
told_of!(checksums_are_switched_between_two_backups: pg16 = plain(16));

fn without_checksums(kind: Kind) -> Chain {
    Chain::build(kind, |stow| {
        stow.cluster(|cluster| cluster.no_checksums().conf("autovacuum", "off"))
    })
}

fn pages_become_visible_to_all_between_two_backups(kind: Kind) {
    let mut chain = without_checksums(kind);
    let rows = "select n, repeat('x', 200) as text from generate_series(1, 9000) n";
    chain.sql(&format!(
        "create table t as {rows}; create index on t (n);
         create table cleared as table t; vacuum cleared;
         create table twice as table t"
    ));
    // Sets hint bits, so that nothing else is left to do.
    chain.sql("select count(*) from t; select count(*) from twice; checkpoint");
    thread::sleep(Duration::from_millis(2500));
    chain.full();
    chain.sql("vacuum t; update cleared set n = 0 where n % 1000 = 5");
    chain.incremental();
    chain.sql("vacuum cleared; vacuum twice");
    chain.incremental();
    let path = chain.sql("select pg_relation_filepath('t')");
    chain.prove();
    // The story is about pages: the files must not have been stored as a whole.
    let changed = path.replace("/5/", "/5/INCREMENTAL.");
    let first = &chain.levels[1].backup;
    let mut parts = first.parts().into_iter();
    assert!(
        parts.any(|part| first.members(&part).contains(&changed)),
        "{changed}"
    );
}

fn checksums_are_switched_between_two_backups(kind: Kind) {
    let mut chain = without_checksums(kind);
    chain.sql("create table t as select n from generate_series(1, 9000) n; create index on t (n)");
    chain.full();
    let switch = |chain: &mut Chain, how: &str, between: &str| {
        let main = &mut chain.site.stow.cluster;
        main.stop(Shutdown::Fast);
        let mut command = main.pg.command("pg_checksums");
        user::run_ok(command.args([how, "--no-sync", "-D"]).arg(main.data_dir()));
        main.start();
        chain.sql(between);
    };
    switch(
        &mut chain,
        "--enable",
        "update t set n = -n where n % 500 = 3",
    );
    chain.full_because("data checksums were switched");
    chain.sql("select count(*) from t; checkpoint");
    thread::sleep(Duration::from_millis(2500));
    chain.incremental();
    // Switched there and back: nobody can tell, and pages were marked meanwhile.
    switch(&mut chain, "--disable", "vacuum t");
    switch(&mut chain, "--enable", "checkpoint");
    chain.incremental();
    chain.prove();
}

//! Incremental backups on incremental backups, through all that happens to files in between: each
//! comes back as it was.

use std::{thread, time::Duration};

use crate::harness::{Load, PgBin, on_every_major, random::rounds};
use crate::stories::{Site, judge_and_end};

on_every_major!(every_backup_of_a_chain_comes_back);

/// What happens between two backups. `$` is the number of the round.
const ROUND: [&str; 18] = [
    "update rows set text = 'changed in $' where n % 97 = $",
    "delete from shrinks where n > 9000 - 1500 * $",
    "vacuum shrinks",
    "insert into regrows select n, repeat('r', 500) from generate_series(1, 3000) n",
    "truncate emptied; insert into emptied select generate_series(1, 100 * $)",
    "vacuum full rewritten",
    "drop table if exists brief",
    "create table brief as select n, $ as round from generate_series(1, 2000) n",
    "create table new_$ as select n from generate_series(1, 500) n",
    "create index on rows (text)",
    "alter table moves set tablespace far",
    "alter table moves set tablespace pg_default",
    "create database copied_$ template template1 strategy file_copy",
    "create database logged_$ template template1 strategy wal_log",
    "create unlogged table fleeting_$ as select n from generate_series(1, 100) n",
    "select nextval('counter') from generate_series(1, 5)",
    "delete from regrows where n > 100",
    "vacuum regrows",
];

fn every_backup_of_a_chain_comes_back(pg: PgBin) {
    let site = Site::start(pg);
    let main = site.main();
    let place = site.scratch.folder("far");
    main.psql(&format!(
        "create tablespace far location '{}'",
        place.display()
    ));
    for name in ["rows", "shrinks", "regrows", "rewritten", "moves", "still"] {
        main.psql(&format!(
            "create table {name} as select n, repeat('{name}', 80) as text from generate_series(1, 9000) n"
        ));
    }
    main.psql("create table emptied (n int)");
    main.psql("create sequence counter");
    main.psql("create index on still (n)");
    main.psql("vacuum analyze");
    main.psql("checkpoint");
    // Files that were written right before a backup are read again by the next one.
    thread::sleep(Duration::from_secs(3));
    site.stow.backup(&[]);
    let mut moments = Vec::new();
    for round in 1..=rounds(3, 5) {
        let load = Load::start(main, 1, 200);
        for statement in ROUND {
            main.psql(&statement.replace('$', &round.to_string()));
        }
        if round == 2 {
            main.psql("checkpoint");
        }
        let backup = site.stow.backup(&["--incremental"]);
        load.stop(main);
        assert_eq!(backup.json()["kind"], "incremental", "{round}");
        let point = format!("after_{round}");
        main.psql(&format!("select pg_create_restore_point('{point}')"));
        let stored = backup.json()["stored_bytes"].as_u64().unwrap();
        moments.push((backup.id().to_owned(), point, main.dump("postgres"), stored));
    }
    site.main().switch_wal();
    for (id, point, dump, _) in moments {
        let space = site.scratch.join(&format!("far-{id}"));
        let oid = site
            .main()
            .psql("select oid from pg_tablespace where spcname = 'far'");
        let space = format!("{oid}={}", space.display());
        let target = ["--target-name", &point, "--tablespace", &space];
        let mut copy = site.copy(&id, &[&[&*id], &target[..]].concat());
        copy.recover();
        assert!(copy.dump("postgres") == dump, "{id}");
        judge_and_end(copy);
    }
    site.pgstow(&["verify", "--all", "--wal"]).ok();
}

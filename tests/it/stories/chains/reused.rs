//! The same path, another file: numbers of relations and of databases that are used again.

use std::{thread, time::Duration};

use super::{Chain, Kind, told_of};
use crate::harness::{Shutdown, user};

told_of!(a_relations_number_is_used_again: pg15 = plain(15));
told_of!(combinebackup_006_db_file_copy: pg17_summaries = summarizing(17));

fn a_relations_number_is_used_again(kind: Kind) {
    let mut chain = Chain::start(kind);
    let rows = "select n, repeat('first', 90) as text from generate_series(1, 2000) n";
    chain.sql(&format!(
        "create table first as {rows}; create index on first (n)"
    ));
    chain.sql("vacuum first; checkpoint");
    let number = chain.sql("select pg_relation_filenode('first')");
    thread::sleep(Duration::from_millis(2500));
    chain.full();
    // Dead rows of catalogs would keep the number.
    chain.sql("drop table first; vacuum pg_class; vacuum pg_type; checkpoint");
    let main = &mut chain.site.stow.cluster;
    main.stop(Shutdown::Fast);
    let mut reset = main.pg.command("pg_resetwal");
    user::run_ok(reset.args(["-o", &number, "-D"]).arg(main.data_dir()));
    main.start();
    let rows = rows.replace("first", "again");
    chain.sql(&format!("create table again as {rows}"));
    assert_eq!(chain.sql("select pg_relation_filenode('again')"), number);
    chain.sql("create index on again (n)");
    // No WAL leads from one side of pg_resetwal to the other.
    chain.incremental();
    chain.prove_newest();
}

/// Copied pages have LSNs from before the parent, and here number, size and path are the parent's.
fn combinebackup_006_db_file_copy(kind: Kind) {
    let mut chain = Chain::start(kind);
    chain.sql("create database one");
    chain.sql_in(
        "one",
        "create table t as select n, 'one' as text from generate_series(1, 9000) n; vacuum t",
    );
    chain.sql("create database two template one strategy file_copy");
    for database in ["one", "two"] {
        let sql = format!("update t set text = '{database}'; vacuum t; create index on t (text)");
        chain.sql_in(database, &sql);
    }
    let create = |template: &str| {
        format!("create database copied oid 100000 template {template} strategy file_copy")
    };
    chain.sql(&create("one"));
    let path = "select pg_relation_filepath('t')";
    let before = chain.sql_in("copied", path);
    thread::sleep(Duration::from_millis(2500));
    chain.full();
    chain.sql("drop database copied");
    chain.sql(&create("two"));
    assert_eq!(chain.sql_in("copied", path), before);
    chain.incremental();
    chain.incremental();
    chain.prove();
}

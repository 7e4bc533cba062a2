//! A table shrinks and grows. In the long form over the end of its first file, which is 1 GB.

use std::{fs, thread, time::Duration};

use super::{Chain, Kind, told_of};
use crate::harness::random::rounds;

told_of!(a_table_shrinks_and_grows: pg18_summaries = summarizing(18));

fn a_table_shrinks_and_grows(kind: Kind) {
    let mut chain = Chain::build(kind, |stow| {
        stow.cluster(|cluster| {
            cluster
                .conf("max_wal_size", "4GB")
                .conf("autovacuum", "off")
        })
    });
    // A page for each row.
    let rows = rounds(300, 140_000);
    let insert = |text: &str, from: u64| {
        format!(
            "insert into t select n, repeat('{text}', 7000) from generate_series({from}, {rows}) n"
        )
    };
    chain.sql("create table t (n int, text text); alter table t alter text set storage plain");
    chain.sql(&insert("a", 1));
    chain.sql("create index on t (n); vacuum t; checkpoint");
    let path = chain.sql("select pg_relation_filepath('t')");
    let second = chain.site.main().data_dir().join(path + ".1");
    let has_second = || fs::metadata(&second).is_ok_and(|found| found.len() > 0);
    assert_eq!(has_second(), rows > 131_072);
    thread::sleep(Duration::from_millis(2500));
    chain.full();
    let cut = |from: u64| format!("delete from t where n >= {from}; vacuum t");
    let most = rows * 9 / 10;
    chain.sql(&cut(most));
    assert!(!has_second());
    chain.incremental();
    // Grows over what was there, and is cut off and grows again between two backups.
    chain.sql(&insert("b", most));
    chain.incremental();
    chain.sql(&cut(rows / 10));
    chain.sql(&insert("c", rows / 5));
    chain.sql(&cut(most));
    chain.sql(&insert("d", most));
    chain.incremental();
    chain.sql(&cut(rows / 10));
    chain.incremental();
    chain.prove();
}

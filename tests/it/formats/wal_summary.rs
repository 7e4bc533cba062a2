//! Summaries of WAL against what the server says is in them.

use std::{collections::BTreeSet, fs::File};

use pgstow::postgres::{
    lsn::{Lsn, TimelineId},
    wal_summary::{self, Change, SummaryName},
};

use crate::harness::{Cluster, PgBin, Scratch, pg};

#[test]
fn summaries_of_17() {
    summaries(pg(17));
}

#[test]
fn summaries_of_18() {
    summaries(pg(18));
}

fn summaries(pg: PgBin) {
    let scratch = Scratch::new();
    let cluster = Cluster::build(&scratch, pg)
        .conf("summarize_wal", "on")
        .start();
    cluster
        .psql("create table t as select n, repeat('x', 500) text from generate_series(1, 90000) n");
    cluster.psql("create index on t (n)");
    cluster.psql("checkpoint");
    cluster.psql("delete from t where n % 10 = 0 or n > 80000");
    cluster.psql("vacuum t");
    cluster.psql("create database d strategy file_copy");
    let here = cluster.psql("select pg_current_wal_insert_lsn()");
    cluster.psql("checkpoint");
    cluster.wait_until(
        &format!("select max(end_lsn) >= '{here}' from pg_available_wal_summaries()"),
        "t",
    );
    let files = cluster.psql("select tli, start_lsn, end_lsn from pg_available_wal_summaries()");
    let mut limits = 0;
    let mut most = 0;
    for file in files.lines() {
        let fields: Vec<&str> = file.split('|').collect();
        let name = SummaryName {
            timeline: TimelineId::new(fields[0].parse().unwrap()).unwrap(),
            start: fields[1].parse::<Lsn>().unwrap(),
            end: fields[2].parse::<Lsn>().unwrap(),
        };
        let path = cluster.data_dir().join(wal_summary::FOLDER);
        let path = path.join(name.to_string());
        let mut found = BTreeSet::new();
        let mut each = |locator: wal_summary::Locator, fork, change| {
            let relation = (locator.tablespace, locator.database, locator.number, fork);
            match change {
                Change::Limit(u32::MAX) => return Ok(()),
                Change::Limit(limit) => found.insert((relation, limit, true)),
                Change::Block(block) => found.insert((relation, block, false)),
            };
            Ok(())
        };
        wal_summary::read(File::open(path).unwrap(), &mut each).unwrap();
        let said = cluster.psql(&format!(
            "select reltablespace, reldatabase, relfilenode, relforknumber, relblocknumber, is_limit_block
             from pg_wal_summary_contents({}, '{}', '{}')",
            fields[0], fields[1], fields[2]
        ));
        let said: BTreeSet<_> = said
            .lines()
            .map(|line| {
                let fields: Vec<&str> = line.split('|').collect();
                let number = |at: usize| fields[at].parse::<u32>().unwrap();
                let relation = (number(0), number(1), number(2), number(3));
                (relation, number(4), fields[5] == "t")
            })
            .collect();
        assert!(found == said, "{name}");
        limits += found
            .iter()
            .filter(|(_, limit, is)| *is && *limit > 0)
            .count();
        most = most.max(found.len());
    }
    // Both kinds of chunks, and a table that was cut off.
    assert!(limits > 0 && most > 4096, "{limits} {most}");
}

//! Checksums of pages, held against `pg_checksums`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use pgstow::postgres::{
    page::{self, Verdict},
    relation_file::{Fork, RelationPath},
};

use super::walk;
use crate::harness::{Cluster, PgBin, Scratch, Shutdown, on_every_major, user};

on_every_major!(pages_are_judged_as_by_pg_checksums);

fn pages_are_judged_as_by_pg_checksums(pg: PgBin) {
    let scratch = Scratch::new();
    let mut main = Cluster::build(&scratch, pg.clone()).start();
    main.psql("create table t as select n, md5(n::text) as text from generate_series(1, 30000) n");
    main.psql("create index on t using gin (string_to_array(text, 'a'))");
    main.psql("create index on t using brin (n)");
    main.psql("create index on t using hash (text)");
    main.psql("create sequence s");
    main.psql("vacuum t");
    let table = main.psql("select pg_relation_filepath('t')");
    main.stop(Shutdown::Fast);

    let mut verdicts = BTreeMap::new();
    let mut forks = BTreeSet::new();
    for (path, folder) in walk(main.data_dir()) {
        let Some(relation) = RelationPath::parse(&path).filter(|_| !folder) else {
            continue;
        };
        let name = String::from_utf8(path).unwrap();
        let bytes = fs::read(main.data_dir().join(&name)).unwrap();
        forks.insert(relation.file.fork);
        for (block, page) in bytes.chunks(8192).enumerate() {
            let verdict = page::verify(page, block as u32);
            assert!(
                matches!(verdict, Verdict::Ok | Verdict::New),
                "{name} {block}: {verdict:?}"
            );
            *verdicts.entry(format!("{verdict:?}")).or_insert(0) += 1;
        }
    }
    assert!(verdicts["Ok"] > 1000, "{verdicts:?}");
    assert_eq!(
        forks,
        [Fork::Main, Fork::FreeSpace, Fork::Visibility].into()
    );

    let table = main.data_dir().join(table);
    let mut bytes = fs::read(&table).unwrap();
    bytes[8192 * 3 + 5000] ^= 0x01;
    fs::write(&table, &bytes).unwrap();
    let words = user::run(
        pg.command("pg_checksums")
            .args(["--check", "-D"])
            .arg(main.data_dir()),
    );
    let Verdict::Mismatch { expected, found } = page::verify(&bytes[8192 * 3..8192 * 4], 3) else {
        panic!("the flipped bit was not found");
    };
    let words = words.unwrap_err();
    let said = format!("calculated checksum {expected:X} but block contains {found:X}");
    assert!(words.contains(&said), "{said}: {words}");
}

//! A plain dump tells its encoding alone; the description beside it tells what else text is in the source.

use super::{Site, stem};
use crate::harness::{PgBin, on_every_major};

fn a_new_database_has_the_locale_of_the_source(pg: PgBin) {
    let site = Site::start(pg);
    let cluster = &site.stow.cluster;
    let told = |name: &str| {
        cluster.psql(&format!(
            "select pg_encoding_to_char(encoding), datlocprovider, datcollate, datctype from pg_database
             where datname = '{name}'"
        ))
    };
    for (number, how) in [
        "encoding 'LATIN1' locale 'C'",
        "encoding 'UTF8' locale 'C.UTF-8'",
        "encoding 'UTF8' lc_collate 'C' lc_ctype 'C.UTF-8'",
    ]
    .iter()
    .enumerate()
    {
        let name = format!("of{number}");
        cluster.psql(&format!("create database {name} {how} template template0"));
        site.sql(&name, "create table t as select 'x'::text as n");
        for format in ["plain", "custom"] {
            let data = site.dump(&name, &["--format", format]);
            site.pgstow(&["restore-dump", &stem(&data), "-d", "copy"])
                .ok();
            assert_eq!(told("copy"), told(&name), "{how} {format}");
            cluster.psql("drop database copy");
        }
        // Text in another encoding than the database's is the same text.
        let data = site.dump(&name, &["--format", "plain", "--", "--encoding=SQL_ASCII"]);
        site.pgstow(&["restore-dump", &stem(&data), "-d", "copy"])
            .ok();
        assert_eq!(told("copy"), told(&name), "{how}");
        cluster.psql("drop database copy");
    }
}
on_every_major!(a_new_database_has_the_locale_of_the_source);

//! Single tables: what comes with them, and what to do where what they need is not there.

use super::{Site, make_shop, stem};
use crate::harness::pg;

#[test]
fn a_table_comes_with_its_schema_into_a_new_database() {
    let site = Site::start(pg(17));
    let cluster = &site.stow.cluster;
    cluster.psql("create database shop");
    site.sql(
        "shop",
        "create schema app; create table app.cust (id serial primary key, name text);
         insert into app.cust (name) values ('ann')",
    );
    for format in ["custom", "plain", "directory", "tar"] {
        site.dump("shop", &["--format", format]);
        let restore = ["restore-dump", "shop", "--table", "cust", "-d", "copy"];
        site.pgstow(&restore).ok();
        assert_eq!(
            site.sql("copy", "select name from app.cust"),
            "ann",
            "{format}"
        );
        cluster.psql("drop database copy");
    }
    // One that is there is left as it is where that fails.
    cluster.psql("create database mine");
    site.pgstow(&[
        "restore-dump",
        "shop",
        "--table",
        "cust",
        "-d",
        "mine",
        "--yes",
    ])
    .fails(1)
    .stderr_contains("schema \"app\" does not exist")
    .stderr_contains("restore the whole schema (--schema)");
    assert_eq!(site.sql("mine", "select to_regnamespace('app')"), "");
    site.assert_clean("mine,shop");
}

#[test]
fn what_a_table_needs_is_told() {
    let site = Site::start(pg(15));
    make_shop(&site.stow.cluster, "shop");
    for format in ["custom", "plain"] {
        let data = site.dump("shop", &["--format", format]);
        let restore = [
            "restore-dump",
            &stem(&data),
            "-d",
            "copy",
            "--table",
            "accounts",
        ];
        site.pgstow(&restore)
            .fails(1)
            .stderr_contains("type \"public.mood\" does not exist")
            .stderr_contains("single tables come without what else they need");
        site.assert_clean("shop");
    }
    // What is there already.
    site.pgstow(&["restore-dump", "shop", "-d", "shop", "--yes"])
        .fails(1)
        .stderr_contains("already exists")
        .stderr_contains("restore-dump --clean` in the place of the whole one");
}

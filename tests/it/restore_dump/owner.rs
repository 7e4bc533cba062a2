//! Whose a database becomes that a restore makes.

use super::{Site, stem};
use crate::harness::{Cluster, PgBin, pg};

const RIGHTS: &str =
    "revoke temporary on database shop from public; grant create on database shop to reader";

fn owner(cluster: &Cluster, name: &str) -> String {
    cluster.psql(&format!(
        "select datdba::regrole, (select array_agg(one::text order by one::text) from unnest(datacl) one)
         from pg_database where datname = '{name}'"
    ))
}

fn a_database_belongs_to_whom_it_belonged_to(pg: PgBin) {
    let site = Site::start(pg.clone());
    let cluster = &site.stow.cluster;
    cluster.psql("create role \"the Keeper\"; create role reader");
    cluster.psql("create database shop owner \"the Keeper\"");
    cluster.psql(RIGHTS);
    site.sql("shop", "create table t as select 1 as n");
    let source = owner(cluster, "shop");
    assert!(source.starts_with("\"the Keeper\"|"), "{source}");
    let mut dumps = Vec::new();
    for format in ["custom", "plain", "directory", "tar"] {
        let data = site.dump("shop", &["--format", format]);
        let restore = ["restore-dump", &stem(&data), "-d", "copy"];
        let report = site.pgstow(&restore).ok().json();
        assert_eq!(report["owner"], "the Keeper", "{report}");
        let restored = owner(cluster, "copy");
        match format {
            // It does not tell the rights.
            "plain" => assert_eq!(restored, "\"the Keeper\"|", "{format}"),
            _ => assert_eq!(restored, source, "{format}"),
        }
        cluster.psql("drop database copy");
        dumps.push(stem(&data));
    }
    let mine = ["restore-dump", "shop", "-d", "mine", "--no-owner"];
    let report = site.pgstow(&mine).ok().json();
    assert_eq!(report["owner"], "postgres", "{report}");
    // Of a single table nobody says that it is the database.
    let one = ["restore-dump", "shop", "-d", "one", "--table", "t"];
    assert_eq!(site.pgstow(&one).ok().json()["owner"], "postgres");

    // Where the role comes with the globals, and where it is not there at all.
    site.pgstow(&["dump", "shop"]).ok();
    let other = Cluster::build(&site.scratch, pg).name("other").start();
    other.psql("create role reader");
    let into_other = |arguments: &[&str]| {
        site.pgstow(&[&["restore-dump"], arguments].concat())
            .env("PGSTOW_CLUSTER_HOST", other.host())
    };
    let told = "database \"bare\" is not given to the Keeper, whose it was in the source";
    let report = into_other(&[&dumps[1], "-d", "bare"])
        .expect_warning(told)
        .ok()
        .stderr_contains("role \"the Keeper\" does not exist")
        .stderr_contains("ALTER DATABASE \"bare\" OWNER TO \"the Keeper\"")
        .json();
    assert_eq!(report["owner"], "postgres", "{report}");
    into_other(&["shop", "--globals"]).ok();
    assert_eq!(owner(&other, "shop"), source);
    site.assert_clean("mine,one,shop");
}

#[test]
fn the_owner_on_15() {
    a_database_belongs_to_whom_it_belonged_to(pg(15));
}

#[test]
fn the_owner_on_18() {
    a_database_belongs_to_whom_it_belonged_to(pg(18));
}

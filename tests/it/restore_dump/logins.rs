//! A database with an event trigger that refuses logins (PostgreSQL 17 and newer).

use super::Site;
use crate::harness::{pg, user};

const GUARD: &str =
    "create function refuse() returns event_trigger language plpgsql as $$ begin raise 'no login here'; end $$;
     create event trigger guard on login execute function refuse();
     alter event trigger guard enable always";

const WITHOUT: &str = "-c event_triggers=off";

#[test]
fn a_trigger_that_refuses_logins_comes_back_and_is_in_no_way() {
    let site = Site::start(pg(18));
    let cluster = &site.stow.cluster;
    cluster.psql("create database guarded");
    site.sql("guarded", "create table t as select 7 as n");
    site.sql("guarded", GUARD);
    // Of the source itself it is somebody's will.
    let dump = || site.pgstow(&["dump", "guarded", "--no-globals"]);
    dump()
        .fails(1)
        .stderr_contains("no login here")
        .stderr_contains(WITHOUT);
    dump().env("PGOPTIONS", WITHOUT).ok();
    site.pgstow(&["verify", "guarded"]).ok();
    site.pgstow(&["verify", "guarded"])
        .env("PGSTOW_VERIFY_PLACE", "server")
        .ok();
    site.pgstow(&["restore-dump", "guarded", "-d", "copy"]).ok();
    site.pgstow(&["restore-dump", "guarded", "--clean", "--yes"])
        .ok();
    for database in ["copy", "guarded"] {
        let mut psql = cluster.client("psql");
        let found = psql.env("PGOPTIONS", WITHOUT).args([
            "-d",
            database,
            "-Atc",
            "select n, evtname, evtenabled from t, pg_event_trigger",
        ]);
        assert_eq!(user::run_ok(found).trim(), "7|guard|A");
    }
    site.assert_clean("copy,guarded");
}

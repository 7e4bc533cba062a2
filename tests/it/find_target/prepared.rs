//! Who restores to between PREPARE TRANSACTION and its end has the transaction open, with its locks: it is said.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Place, of_xid, transaction};
use crate::harness::{Cluster, pg};

/// Prepares a transaction; its number.
fn prepare(main: &Cluster, name: &str, sql: &str) -> u64 {
    let name = name.replace('\'', "''");
    let sql = format!("begin; select pg_current_xact_id(); {sql}; prepare transaction '{name}'");
    main.psql(&sql).parse().unwrap()
}

/// Those that are open before an event, as pg_prepared_xacts has them, but for names that are not known.
fn open(event: &Value) -> BTreeSet<(u64, Option<&str>)> {
    let prepared = event["prepared"].as_array().unwrap().iter();
    let each = prepared.map(|one| (one["xid"].as_u64().unwrap(), one["name"].as_str()));
    each.collect()
}

#[test]
fn what_a_restore_would_hold_open_is_told() {
    let mut place = Place::new(pg(15));
    place.stow.cluster.set("max_prepared_transactions", "4");
    place.stow.cluster.restart();
    let main = place.main();
    main.psql(
        "create table gone as select 1 as id; create table last as select 1 as id; create table other as select 1 as id",
    );
    place.stow.backup(&[]);
    let long = prepare(main, "long before", "insert into other values (2)");
    // More WAL than is read for what came before.
    for number in 0..4 {
        main.psql(&format!("create table between{number} ()"));
        main.switch_wal();
    }
    let since = place.now();
    let gone = prepare(main, "it's gone", "drop table gone");
    let last = transaction(main, "postgres", "drop table last");
    main.psql("commit prepared 'it''s gone'");
    let alone = transaction(
        main,
        "postgres",
        "create table alone (); drop table between0",
    );
    main.psql("rollback prepared 'long before'");
    let after = transaction(main, "postgres", "drop table other");
    main.switch_wal();

    let found = place.found(&["--since", &since]);
    let both = BTreeSet::from([(long, None), (gone, Some("it's gone"))]);
    assert_eq!(open(of_xid(&found, last)), both, "{found:#}");
    // Before its own end it was open, too.
    assert_eq!(open(of_xid(&found, gone)), both);
    assert_eq!(open(of_xid(&found, alone)), BTreeSet::from([(long, None)]));
    assert_eq!(open(of_xid(&found, after)), BTreeSet::new());
    let text = place.pgstow(&["find-target", "--since", &since]).ok();
    text.stdout_contains(&format!(
        "\n    then open, with their locks: prepared transactions 'it''s gone' ({gone}), {long}; COMMIT PREPARED or ROLLBACK PREPARED, "
    ))
    .stdout_contains(&format!(
        "\n    then open, with its locks: prepared transaction {long}; "
    ));
    // From where the beginning is read, its name is known.
    let found = place.found(&["--since", "2020-01-01 00:00:00+00"]);
    let event = of_xid(&found, last);
    let both = BTreeSet::from([(long, Some("long before")), (gone, Some("it's gone"))]);
    assert_eq!(open(event), both);

    // So it is.
    let copy = place.scratch.join("copy");
    let words = of_xid(&found, gone)["restore"].as_array().unwrap();
    let words: Vec<&str> = words.iter().map(|word| word.as_str().unwrap()).collect();
    let to = ["--data-dir", copy.to_str().unwrap()];
    place.pgstow(&[&words[..], &to].concat()).ok();
    let mut copy = Cluster::existing(&place.scratch, main.pg.clone(), "copy-run", &copy);
    copy.recover();
    let held = copy.psql("select transaction || ' ' || gid from pg_prepared_xacts order by 1");
    assert_eq!(held, format!("{long} long before\n{gone} it's gone"));
    let locked = copy.try_psql("postgres", "set lock_timeout = '10ms'; table gone");
    assert!(locked.unwrap_err().contains("lock timeout"));
    copy.psql("rollback prepared 'it''s gone'");
    assert_eq!(copy.psql("table gone"), "1");
}

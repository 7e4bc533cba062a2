//! Who loads a dump truncates tables that he just made: nothing is lost by it, and none of it hides what is.

use super::{Place, losses, of_xid, transaction, with_fate};
use crate::harness::{PgBin, pg, user};

#[test]
fn loads_are_no_losses_on_15() {
    loads_are_no_losses(pg(15));
}

#[test]
fn loads_are_no_losses_on_18() {
    loads_are_no_losses(pg(18));
}

/// With values that need a table beside it, and with indexes.
const TABLES: &str = "
    create table orders (id serial primary key, note text);
    create table items (id int primary key, what text, order_id int references orders);
    create index on items (what);
    insert into orders (note) select repeat(md5(g::text), 100) from generate_series(1, 500) g;
    insert into items select g, 'item ' || g, g from generate_series(1, 500) g";

fn loads_are_no_losses(pg: PgBin) {
    let place = Place::new(pg);
    let main = place.main();
    for database in ["shop", "copy", "passing", "bench"] {
        main.psql(&format!("create database {database}"));
    }
    main.psql_in("shop", TABLES);
    place.stow.backup(&[]);
    let dump = place.scratch.join("shop.dump");
    let dump = dump.to_str().unwrap();
    user::run_ok(
        main.client("pg_dump")
            .args(["-Fc", "-f", dump, "-d", "shop"]),
    );
    let since = place.now();
    let load = |database: &str| {
        let options = ["--exit-on-error", "--jobs=2", "-d", database, dump];
        user::run_ok(main.client("pg_restore").args(options));
    };
    load("copy");
    // Nobody will know the names of these.
    load("passing");
    main.psql("drop database passing");
    user::run_ok(main.client("pgbench").args(["-i", "-q", "bench"]));
    // It is empty, and gone all the same.
    main.psql_in("copy", "create table empty (id int)");
    let dropped = transaction(main, "copy", "drop table empty");
    // Made by the load, as are its indexes; the rows of the other one came and went.
    let emptied = transaction(main, "copy", "truncate orders, items");
    main.psql_in(
        "bench",
        "insert into pgbench_history (tid) values (100); delete from pgbench_history",
    );
    let again = transaction(main, "bench", "truncate pgbench_history");
    let twice = transaction(main, "bench", "truncate pgbench_history");
    main.switch_wal();

    let found = place.found(&["--since", &since]);
    let known: Vec<u64> = losses(&found)
        .iter()
        .filter(|event| event["databases"] == serde_json::json!([]))
        .map(|event| event["xid"].as_u64().unwrap())
        .collect();
    assert_eq!(known, [dropped, emptied, again], "{found:#}");
    assert_eq!(losses(&found).len(), 4, "{found:#}");
    assert_eq!(of_xid(&found, dropped)["relations"][0]["fate"], "dropped");
    assert_eq!(
        with_fate(of_xid(&found, emptied), "truncated"),
        ["copy.public.items", "copy.public.orders"]
    );
    let all = place.found(&["--since", &since, "--all"]);
    assert!(
        of_xid(&all, twice)["relations"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    // No loads; of what was dropped nobody knows the name.
    let orders = place.found(&["--since", &since, "--table", "copy.public.orders"]);
    let told: Vec<_> = losses(&orders)
        .iter()
        .map(|event| event["xid"].as_u64().unwrap())
        .collect();
    assert_eq!(told, [dropped, emptied], "{orders:#}");
}

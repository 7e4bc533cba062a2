//! Five accidents while other work goes on: each is named, and the restore that is printed brings back exactly the
//! state before it.

use serde_json::Value;

use super::{Place, losses, lsn, of_xid, rows, transaction, with_fate};
use crate::harness::{
    Cluster, PgBin, Witness, on_every_major,
    witness::{self, Truth},
};

on_every_major!(accidents_are_found_and_undone);

/// The table of who writes on meanwhile.
const WITNESS: &str = "witness";

/// Without sequences, which every recovery leaves up to 32 numbers ahead (SEQ_LOG_VALS of `sequence.c`).
const TABLES: &str = "
    create table orders (id int primary key, note text);
    insert into orders select g, 'order ' || g from generate_series(1, 2000) g;
    create table log (id int primary key, line text);
    insert into log select g, 'line ' || g from generate_series(1, 2000) g;
    create table items (id int primary key, price int);
    insert into items select g, g from generate_series(1, 2000) g;
    create table invoices (id int primary key, order_id int);
    insert into invoices select g, g from generate_series(1, 500) g;";

/// What the two databases hold.
type State = [Option<String>; 2];

struct Accident {
    /// None: what it did is the only thing that tells it from others.
    xid: Option<u64>,
    before: State,
}

fn accidents_are_found_and_undone(pg: PgBin) {
    let place = Place::new(pg);
    let main = place.main();
    main.psql("create database shop");
    main.psql("create database old_shop");
    main.psql_in("shop", TABLES);
    main.psql_in("old_shop", "create table kept as select 1 as n");
    let witness = Witness::start(main, WITNESS);
    place.stow.backup(&[]);
    // From here on no backup knows the file of this table.
    main.psql_in("shop", "truncate log");
    main.psql_in(
        "shop",
        "insert into log select g, 'new ' || g from generate_series(1, 100) g",
    );
    let since = place.now();

    let in_shop = |sql: &str| {
        witness.wait_for(5);
        let before = state(main);
        let xid = Some(transaction(main, "shop", sql));
        Accident { xid, before }
    };
    let dropped = in_shop("drop table orders");
    let truncated = in_shop("truncate log");
    let emptied = in_shop("delete from items");
    let database = Accident {
        xid: None,
        before: state(main),
    };
    main.psql("drop database old_shop");
    main.psql_in(
        "shop",
        "insert into items select g, g from generate_series(1, 2000) g",
    );
    let migrated = in_shop(
        "alter table items add column currency text default random()::text;
         update items set price = 0;
         drop table invoices;
         create table bills (id int);
         insert into bills values (1)",
    );
    witness.wait_for(5);
    let truth = witness.stop();
    main.switch_wal();

    let found = place.found(&["--since", &since]);
    assert_eq!(losses(&found).len(), 5, "{found:#}");
    let of = |accident: &Accident| of_xid(&found, accident.xid.unwrap());
    assert_eq!(with_fate(of(&dropped), "dropped"), ["shop.public.orders"]);
    assert_eq!(with_fate(of(&truncated), "truncated"), ["shop.public.log"]);
    assert_eq!(rows(of(&emptied), "shop.public.items"), (2000, 0));
    let of_database = losses(&found)
        .into_iter()
        .find(|event| event["databases"] != Value::Array(vec![]));
    let of_database = of_database.unwrap();
    assert_eq!(of_database["databases"][0]["name"], "old_shop");
    let migration = of(&migrated);
    assert_eq!(with_fate(migration, "dropped"), ["shop.public.invoices"]);
    assert_eq!(with_fate(migration, "rewritten"), ["shop.public.items"]);

    let text = place
        .pgstow(&["find-target", "--since", &since])
        .ok()
        .stdout;
    for (number, (accident, event)) in [
        (&dropped, of(&dropped)),
        (&truncated, of(&truncated)),
        (&emptied, of(&emptied)),
        (&database, of_database),
        (&migrated, migration),
    ]
    .into_iter()
    .enumerate()
    {
        let words = printed(&text, event);
        undo(
            &place,
            &format!("copy{number}"),
            &words,
            accident,
            &truth,
            event,
        );
    }
}

/// The databases, as far as they are there.
fn state(cluster: &Cluster) -> State {
    let there = cluster.psql("select datname from pg_database");
    let is_there = |name: &&str| there.lines().any(|line| line == *name);
    ["shop", "old_shop"].map(|name| Some(name).filter(is_there).map(|name| cluster.dump(name)))
}

/// The words of the restore that is printed below an event, behind the program.
#[track_caller]
fn printed(text: &str, event: &Value) -> Vec<String> {
    let what = format!("transaction {} ", event["xid"]);
    let mut lines = text
        .lines()
        .skip_while(|line| !line.contains(&what))
        .skip(1);
    let line = lines.next().unwrap_or_else(|| panic!("no {what}in {text}"));
    let words = line.trim().strip_prefix("before it: pgstow ").unwrap();
    words.split(' ').map(str::to_owned).collect()
}

/// Runs what was printed, into another folder.
#[track_caller]
fn undo(
    place: &Place,
    name: &str,
    words: &[String],
    accident: &Accident,
    truth: &Truth,
    event: &Value,
) {
    let data_dir = place.scratch.join(name);
    // The harness gives the configuration file itself.
    let config = place.stow.tool.config_file().to_str().unwrap();
    assert_eq!(words[..2], ["--config", config], "{words:?}");
    let words: Vec<&str> = words[2..].iter().map(String::as_str).collect();
    let to = ["--data-dir", data_dir.to_str().unwrap()];
    place.pgstow(&[&words[..], &to].concat()).ok();
    let run = format!("{name}-run");
    let mut copy = Cluster::existing(&place.scratch, place.main().pg.clone(), &run, &data_dir);
    copy.recover();
    for (found, expected) in state(&copy).iter().zip(&accident.before) {
        assert!(
            found == expected,
            "{name} is not as it was before {event:#}"
        );
    }
    truth
        .before_lsn(lsn(event))
        .check(witness::rows(&copy, WITNESS));
}

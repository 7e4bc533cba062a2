//! WAL that no repository has yet, but receive-wal on this host; or that it has in pieces.

use std::fs;

use rustix::process::Signal;

use super::{Place, losses, lsn, of_xid, rows, transaction};
use crate::harness::{PgBin, archive::wait_for_pieces, pg};

/// A table of 3000 rows, a backup, a slot, and since when.
fn with_slot(pg: PgBin) -> (Place, String) {
    let place = Place::new(pg);
    let main = place.main();
    main.psql("create table a as select generate_series(1, 3000) as id");
    place.stow.backup(&[]);
    main.switch_wal();
    let since = place.now();
    place.pgstow(&["receive-wal", "--create-slot"]).ok();
    (place, since)
}

#[test]
fn what_was_received_alone_is_found() {
    let (place, since) = with_slot(pg(17));
    let main = place.main();
    let receiver = place.pgstow(&["--json", "receive-wal"]).spawn();
    main.wait_until("select count(*) from pg_stat_replication", "1");
    let deleted = transaction(main, "postgres", "delete from a");
    let behind = main.psql("select pg_current_wal_lsn()");
    main.wait_until(
        &format!("select flush_lsn >= '{behind}' from pg_stat_replication"),
        "t",
    );
    receiver.signal(Signal::TERM);
    receiver.wait();

    let found = place.found(&["--since", &since]);
    assert_eq!(found["received"], 1, "{found:#}");
    assert_eq!(losses(&found).len(), 1);
    let event = of_xid(&found, deleted);
    assert_eq!(rows(event, "postgres.public.a"), (3000, 0));
    // A restore on this host has it, too.
    assert!(event["restore"].is_array(), "{event:#}");
    let target = [
        "--target-lsn",
        &lsn(event).to_string(),
        "--target-exclusive",
    ];
    let copy = place.scratch.join("copy");
    let plan = [
        "--json",
        "restore",
        "--plan",
        "--data-dir",
        copy.to_str().unwrap(),
    ];
    let planned = place.pgstow(&[&plan[..], &target].concat()).ok().json();
    assert_eq!(
        planned["rescued"].as_array().unwrap().len(),
        1,
        "{planned:#}"
    );
    let text = place.pgstow(&["find-target", "--since", &since]).ok();
    drop(text.stdout_contains("receive-wal has them on this host"));
    // What the server archives is read from there.
    main.switch_wal();
    let found = place.found(&["--since", &since]);
    assert_eq!(found["received"], 0, "{found:#}");
    assert_eq!(
        rows(of_xid(&found, deleted), "postgres.public.a"),
        (3000, 0)
    );
}

/// On any host, also when the server and the receiver are gone.
#[test]
fn what_is_there_in_pieces_alone_is_found() {
    let (place, since) = with_slot(pg(16));
    let main = place.main();
    let receiver = place.pgstow(&["receive-wal"]);
    let receiver = receiver.env("PGSTOW_RECEIVE_WAL_LIVE", "1s").spawn();
    let deleted = transaction(main, "postgres", "delete from a");
    let (segment, _) = wait_for_pieces(place.stow.root(), main);
    receiver.signal(Signal::KILL);
    drop(receiver);
    fs::remove_dir_all(place.scratch.join("state/main/receive")).unwrap();

    let found = place.found(&["--since", &since]);
    assert_eq!(found["received"], 0, "{found:#}");
    assert_eq!(found["live"]["segment"], segment.as_str());
    assert_eq!(losses(&found).len(), 1, "{found:#}");
    let event = of_xid(&found, deleted);
    assert_eq!(rows(event, "postgres.public.a"), (3000, 0));
    let text = place.pgstow(&["find-target", "--since", &since]).ok();
    drop(text.stdout_contains(&format!("{segment} is in the repository as far as pieces")));
    // The restore that is printed goes there.
    let target = [
        "--target-lsn",
        &lsn(event).to_string(),
        "--target-exclusive",
    ];
    let copy = place.scratch.join("copy");
    let to = copy.to_str().unwrap();
    let plan = ["--json", "restore", "--plan", "--data-dir", to];
    let planned = place.pgstow(&[&plan[..], &target].concat()).ok().json();
    assert_eq!(planned["live"], found["live"], "{planned:#}");
}

//! What is told beside what happened: other timelines, versions that were not tested, a transaction that isn't there.

use std::fs;

use serde_json::Value;

use super::{Place, losses, lsn, of_xid, transaction};
use crate::harness::{Shutdown, pg, user};

/// Who restored to too early a moment looks again.
#[test]
fn what_another_timeline_has_of_that_time_is_told() {
    let mut place = Place::new(pg(17));
    let main = place.main();
    main.psql("create table a as select 1 as id; create table b as select 1 as id");
    place.stow.backup(&[]);
    let since = place.now();
    let first = transaction(main, "postgres", "drop table a");
    let second = transaction(main, "postgres", "drop table b");
    main.switch_wal();
    // Segments behind the fork are on both.
    main.psql("create table c ()");
    main.switch_wal();
    let look = |place: &Place, words: &[&str]| -> Value {
        place.found(&[&["--since", &since], words].concat())
    };
    let found = look(&place, &[]);
    assert_eq!(losses(&found).len(), 2, "{found:#}");
    assert_eq!(found["warnings"], Value::Array(vec![]));
    let target = lsn(of_xid(&found, first)).to_string();
    place.stow.cluster.stop(Shutdown::Fast);
    let restore = ["restore", "--replace", "--target-lsn", &target];
    let restore = place.pgstow(&[&restore[..], &["--target-exclusive"]].concat());
    restore.ok();
    place.stow.cluster.recover();
    place.main().psql("create table d ()");
    place.main().switch_wal();

    let found = look(&place, &[]);
    assert_eq!(
        (found["timeline"].as_u64(), losses(&found).len()),
        (Some(2), 0)
    );
    let warnings = found["warnings"].as_array().unwrap();
    let [warning] = &warnings[..] else {
        panic!("{warnings:?}")
    };
    let warning = warning.as_str().unwrap();
    for part in [
        "timeline 1 goes on behind ",
        ", where timeline 2 left it: `--timeline 1` looks along it",
    ] {
        assert!(warning.contains(part), "{warning}");
    }
    let text = place.pgstow(&["find-target", "--since", &since]).ok();
    drop(text.stdout_contains(warning));
    let found = look(&place, &["--timeline", "1"]);
    assert_eq!(losses(&found)[1]["xid"], second, "{found:#}");
    assert_eq!(found["warnings"], Value::Array(vec![]));
    // Of another time it has nothing.
    let later = place.found(&[
        "--since",
        "2099-01-01 00:00:00+00",
        "--until",
        "2099-01-02 00:00:00+00",
    ]);
    assert_eq!(later["warnings"], Value::Array(vec![]), "{later:#}");
}

#[test]
fn wal_of_a_version_that_was_not_tested_is_warned_of() {
    let place = Place::new(pg(18));
    place.stow.backup(&[]);
    let words = ["--json", "find-target", "--since", "2020-01-01 00:00:00+00"];
    let told = |code: i32| {
        let found = place.pgstow(&words).fails(code).json();
        let warnings = found["warnings"].to_string();
        warnings.contains("was not tested with the WAL of PostgreSQL 19: more may have happened")
    };
    assert!(!told(0));
    let systems = place.stow.root().join("main/systems");
    let system = fs::read_dir(systems)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let text = fs::read_to_string(&system).unwrap();
    let mut known: Value = serde_json::from_str(&text).unwrap();
    let known = known.as_object_mut().unwrap();
    known.remove("sha256");
    known.insert("postgres_major".to_owned(), 19.into());
    fs::write(&system, serde_json::to_string(known).unwrap()).unwrap();
    user::own(&system);
    // That this WAL is of another version than its system is found, too.
    assert!(told(3));
}

/// Nothing is said of others than what was asked for.
#[test]
fn what_was_asked_for_and_is_not_there_is_told() {
    let place = Place::new(pg(16));
    let main = place.main();
    main.psql("create table a as select g as id from generate_series(1, 3000) g; create table b as select 1 as id");
    place.stow.backup(&[]);
    let since = place.now();
    let parts = transaction(
        main,
        "postgres",
        "do $$ begin begin delete from a; exception when division_by_zero then null; end; end $$",
    );
    main.switch_wal();
    let look = |words: &[&str]| {
        let words = [&["find-target", "--since", &since], words].concat();
        place.pgstow(&words).ok()
    };
    let denied = |text: &str| text.contains("no table was dropped");
    let absent = look(&["--xid", "4000000000"]);
    let absent = absent.stdout_contains(
        "transaction 4000000000 did not end in the WAL that was read of that time",
    );
    assert!(!denied(&absent.stdout), "{absent}");
    let found = place.found(&["--since", &since, "--xid", "4000000000"]);
    let warnings = found["warnings"].to_string();
    assert!(warnings.contains("4000000000 did not end"), "{warnings}");
    let part = (parts + 1).to_string();
    let told = look(&["--xid", &part]).stdout_contains(&format!(
        "transaction {parts}, of which {part} is a part, deleted 3000 rows of postgres.public.a\n"
    ));
    assert!(!told.stdout.contains("did not end"), "{told}");
    let found = place.found(&["--since", &since, "--xid", &part]);
    assert_eq!(of_xid(&found, parts)["part"], parts + 1);
    let whole = look(&["--xid", &parts.to_string()]);
    drop(whole.stdout_contains(&format!("transaction {parts} deleted 3000 rows")));
    // The other table's rows went.
    let other = look(&["--table", "public.b"]);
    let other = other.stdout_contains("as far as is known, public.b was not dropped or truncated");
    assert!(!denied(&other.stdout), "{other}");
}

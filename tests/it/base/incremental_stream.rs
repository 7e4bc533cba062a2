//! `base --incremental --method stream`: the server finds out what has changed.

use std::fs;

use super::{
    incremental::combined,
    summaries::{
        dumps, let_files_age, on_17_and_18, regrow, remove_summaries, restored, restored_with,
        stored_bytes, summarizing, table,
    },
};
use crate::harness::{Cluster, PgBin, Scratch, Shutdown, Stored, Stow, pg, user};

const SENT: [&str; 3] = ["--incremental", "--method", "stream"];

/// Takes an incremental backup that the server sends.
#[track_caller]
fn sent(stow: &Stow, parent: &Stored) -> Stored {
    let backup = stow.backup(&SENT);
    let json = backup.json();
    assert_eq!(json["kind"], "incremental");
    assert_eq!(json["method"], "stream");
    assert_eq!(json["parent"], parent.id());
    backup
}

on_17_and_18!(
    a_chain_that_the_server_sent_is_whole,
    methods_take_turns,
    rows_that_were_cut_off_stay_away
);

fn a_chain_that_the_server_sent_is_whole(pg: PgBin) {
    let scratch = Scratch::new();
    let mut stow = summarizing(&scratch, pg);
    for name in ["t", "still", "shrinks", "rewritten", "emptied"] {
        table(&stow, name, 600);
        stow.cluster.psql(&format!("create index on {name} (n)"));
    }
    stow.cluster.psql("create database old");
    let still = stow.cluster.psql("select pg_relation_filepath('still')");
    let mut chain = vec![stow.backup(&["--method", "stream"])];
    for round in 1..=3 {
        for sql in [
            "update t set text = 'changed' where n % 100 = 7",
            &format!("delete from shrinks where n > {}", 600 - 150 * round),
            "vacuum shrinks",
            "vacuum full rewritten",
            "truncate emptied",
            "insert into emptied select n, 'z' from generate_series(1, 99) n",
            &format!("create database logged_{round} template old strategy wal_log"),
            &format!("create database copied_{round} template old strategy file_copy"),
            &format!("create table new_{round} as select n from generate_series(1, 1000) n"),
            "analyze",
        ] {
            stow.cluster.psql(sql);
        }
        chain.push(sent(&stow, &chain[round - 1]));
    }
    let before = dumps(&stow.cluster);
    stow.tool.command(&["verify", chain[3].id()]).ok();
    let mut copy = restored(&scratch, &stow, &chain[3]);
    assert!(dumps(&copy) == before);
    copy.amcheck();
    copy.stop(Shutdown::Fast);
    copy.pg.checksums(copy.data_dir());

    let to = combined(&scratch, &stow.cluster.pg, stow.root(), &chain);
    stow.cluster.pg.verifybackup(&to).unwrap();
    // The files as they are once put together, however little of them is stored.
    let [full, last] =
        [&chain[0], &chain[3]].map(|backup| backup.json()["bytes"].as_u64().unwrap());
    assert!(last > full, "{last} {full}");
    assert_eq!(stored_bytes(&scratch.join(chain[3].id()), &still), 12);
    stow.cluster.stop(Shutdown::Fast);
    let mut copy = Cluster::existing(&scratch, stow.cluster.pg.clone(), "combined-at", &to);
    let signal = to.join("recovery.signal");
    fs::write(&signal, "").unwrap();
    user::own(&signal);
    let fetch = stow.tool.shell("restore-wal %f %p");
    copy.argument(&format!("restore_command={fetch}"));
    copy.recover();
    assert!(dumps(&copy) == before);
    copy.amcheck();
}

fn methods_take_turns(pg: PgBin) {
    let scratch = Scratch::new();
    let stow = summarizing(&scratch, pg);
    table(&stow, "t", 600);
    stow.cluster.psql("checkpoint");
    let_files_age();
    let change = |n: u32| {
        let update = format!("update t set text = 'changed' where n % 100 = {n}");
        stow.cluster.psql(&update);
    };
    let full = stow.backup(&[]);
    change(1);
    let read = stow.backup(&["--incremental"]);
    assert_eq!(read.json()["method"], "local");
    assert_eq!(read.json()["parent"], full.id());
    change(2);
    let second = sent(&stow, &read);
    change(3);
    let third = sent(&stow, &second);
    let dump = stow.cluster.dump("postgres");
    let mut copy = restored(&scratch, &stow, &third);
    assert!(copy.dump("postgres") == dump);
    copy.amcheck();
    copy.stop(Shutdown::Fast);
    copy.pg.checksums(copy.data_dir());

    // What the file system said of the files is not known of what the server sent.
    let output = stow.base(&["-v", "--incremental"]).ok();
    assert!(
        output
            .stderr
            .contains("was not read from the data directory")
    );
    assert_eq!(stow.stored(&output).json()["kind"], "full");
}

/// The server's own incremental backup would have rows again that were deleted.
fn rows_that_were_cut_off_stay_away(pg: PgBin) {
    let scratch = Scratch::new();
    let stow = summarizing(&scratch, pg);
    table(&stow, "t", 600);
    table(&stow, "shrinks", 600);
    let first = stow.backup(&["--method", "stream"]);
    // What is only cut off, or grows by rows alone, is no reason.
    for sql in [
        "delete from shrinks where n > 200",
        "vacuum shrinks",
        "insert into shrinks select n, repeat('y', 2500) from generate_series(1, 2) n",
    ] {
        stow.cluster.psql(sql);
    }
    sent(&stow, &first);
    regrow(&stow, "t");
    let path = stow.cluster.psql("select pg_relation_filepath('t')");
    let output = stow.base(&[&["-v"], &SENT[..]].concat()).ok();
    let why = format!("a full backup: {path} was cut off and has grown again");
    assert!(output.stderr.contains(&why), "{output}");
    let full = stow.stored(&output);
    assert_eq!(full.json()["kind"], "full");
    assert_eq!(stow.folders().len(), 3);
    let child = sent(&stow, &full);
    let dump = stow.cluster.dump("postgres");
    let copy = restored(&scratch, &stow, &child);
    assert!(copy.dump("postgres") == dump);
    copy.amcheck();
}

/// What the server says where summaries are missing.
const REFUSED: &str = "a full backup: WAL summaries are required on timeline 1";

/// The backup that was made, and what was said of why it is a full one.
#[track_caller]
fn full(stow: &Stow, words: &[&str], why: &str) -> Stored {
    let words = [&["-v"], &SENT[..], words].concat();
    let base = match why {
        // As the server calls the end of what it began.
        REFUSED => stow.base(&words).expect_warning("aborting backup due to"),
        _ => stow.base(&words),
    };
    let output = base.ok();
    assert!(output.stderr.contains(why), "{output}");
    let backup = stow.stored(&output);
    assert_eq!(backup.json()["kind"], "full");
    // Of what the server refused nothing stays.
    assert!(stow.folders().iter().all(|name| name.ends_with("-full")));
    backup
}

#[test]
fn what_the_server_refuses_becomes_a_full_backup() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(18));
    table(&stow, "t", 600);
    full(&stow, &[], "summarize_wal is off");
    stow.cluster.set("summarize_wal", "on");
    remove_summaries(&stow);
    full(&stow, &[], REFUSED);
    remove_summaries(&stow);
    // With a slot that is held for each try.
    let last = full(&stow, &["--standalone"], REFUSED);
    let manifest = last.object("backup_manifest.zst");
    let mut bytes = fs::read(&manifest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&manifest, bytes).unwrap();
    full(&stow, &[], "has a manifest that can't be used");

    let dump = stow.cluster.dump("postgres");
    let copy = restored(
        &scratch,
        &stow,
        &stow.stored_as(stow.folders().last().unwrap()),
    );
    assert!(copy.dump("postgres") == dump);
}

#[test]
fn a_server_of_16_sends_no_incremental_backups() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(16));
    stow.backup(&[]);
    full(&stow, &[], "a stream of PostgreSQL 16 can't be incremental");
}

#[test]
fn tablespaces_have_incremental_files_too() {
    let scratch = Scratch::new();
    let stow = summarizing(&scratch, pg(18));
    let place = scratch.folder("space");
    stow.cluster.psql(&format!(
        "create tablespace ts location '{}'",
        place.display()
    ));
    stow.cluster
        .psql("create table here tablespace ts as select n from generate_series(1, 90000) n");
    stow.cluster.psql("vacuum here");
    let full = stow.backup(&["--method", "stream"]);
    stow.cluster.psql("update here set n = 0 where n = 1");
    let child = sent(&stow, &full);
    let bytes = |backup: &Stored| backup.json()["tablespaces"][0]["bytes"].as_u64().unwrap();
    assert!(bytes(&child) >= bytes(&full) && bytes(&full) > 1 << 20);
    assert!(child.json()["base_bytes"].as_u64() < child.json()["bytes"].as_u64());

    let sum = "select sum(n), count(*) from here";
    let before = stow.cluster.psql(sum);
    let oid = stow
        .cluster
        .psql("select oid from pg_tablespace where spcname = 'ts'");
    let elsewhere = format!("{oid}={}", scratch.join("elsewhere").display());
    let more = ["--tablespace", elsewhere.as_str()];
    let copy = restored_with(&scratch, &stow, &child, &more);
    assert_eq!(copy.psql(sum), before);
}

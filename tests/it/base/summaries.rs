//! `base --incremental` of a server that summarizes its WAL.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use super::{incremental::combined, standby::standby};
use crate::harness::{Cluster, PgBin, Scratch, Shutdown, Stored, Stow, pg, user};

/// What is said when they are used.
const USED: &str = "summaries of the WAL tell which blocks have changed";

/// Makes of `fn name(pg: PgBin)` a test for each version that has summaries.
macro_rules! on_17_and_18 {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn pg17() { super::$name($crate::harness::pg(17)); }
            #[test]
            fn pg18() { super::$name($crate::harness::pg(18)); }
        }
    )+};
}
pub(super) use on_17_and_18;

pub(super) fn summarizing(scratch: &Scratch, pg: PgBin) -> Stow {
    Stow::build(scratch, pg)
        .cluster(|cluster| cluster.conf("summarize_wal", "on"))
        .start()
}

/// A table with two rows in a page, which nobody touches unasked.
pub(super) fn table(stow: &Stow, name: &str, rows: u32) {
    stow.cluster.psql(&format!(
        "create table {name} (n int, text text storage plain) with (autovacuum_enabled = off);
         insert into {name} select n, repeat('x', 3000) from generate_series(1, {rows}) n"
    ));
    // Hint bits are set now: the first reader's change pages too.
    stow.cluster.psql(&format!("vacuum {name}"));
}

/// Has the server summarize its WAL up to now.
fn summarized(stow: &Stow) {
    stow.cluster.psql("checkpoint");
    let here = stow
        .cluster
        .psql("select redo_lsn from pg_control_checkpoint()");
    stow.cluster.wait_until(
        &format!("select max(end_lsn) >= '{here}' from pg_available_wal_summaries()"),
        "t",
    );
}

/// Deletes and cuts off most rows of a table; COPY has it grow again, with pages of zeros that no WAL
/// knows where there were rows before.
pub(super) fn regrow(stow: &Stow, name: &str) {
    let rows = stow.cluster.host().join("rows");
    let rows = rows.display();
    let path = format!("select pg_relation_filepath('{name}')");
    let file = stow.cluster.data_dir().join(stow.cluster.psql(&path));
    // How many pages are added at once is up to the version.
    for count in (200..1000).step_by(40) {
        let select = format!("select n, repeat('r', 900) from generate_series(21, {count}) n");
        for sql in [
            &format!("copy ({select}) to '{rows}'"),
            &format!("delete from {name} where n > 20"),
            &format!("vacuum {name}"),
            &format!("copy {name} from '{rows}'"),
            "checkpoint",
        ] {
            stow.cluster.psql(sql);
        }
        let pages = fs::read(&file).unwrap();
        let zeros = |page: &&[u8]| page.iter().all(|byte| *byte == 0);
        if pages.chunks(8192).filter(zeros).count() > 5 {
            return;
        }
    }
    panic!("no page of zeros");
}

fn summaries(stow: &Stow) -> Vec<PathBuf> {
    let folder = stow.cluster.data_dir().join("pg_wal/summaries");
    let files = fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

pub(super) fn remove_summaries(stow: &Stow) {
    summarized(stow);
    for file in summaries(stow) {
        fs::remove_file(file).unwrap();
    }
}

/// Files that were born within two seconds of their backup's start are stored whole by the next one.
pub(super) fn let_files_age() {
    sleep(Duration::from_secs(3));
}

/// Takes an incremental backup by summaries.
#[track_caller]
fn by_summaries(stow: &Stow) -> Stored {
    let output = stow.base(&["-v", "--incremental"]).ok();
    assert!(output.stderr.contains(USED), "{output}");
    let backup = stow.stored(&output);
    assert_eq!(backup.json()["kind"], "incremental");
    backup
}

/// Bytes of what an unpacked incremental backup has of a relation; its path is the file's own.
pub(super) fn stored_bytes(unpacked: &Path, path: &str) -> u64 {
    let (folder, name) = path.rsplit_once('/').unwrap();
    let changed = unpacked.join(format!("{folder}/INCREMENTAL.{name}"));
    fs::metadata(changed).unwrap().len()
}

/// Restores a backup to the end of the archive, and hands over the recovered server.
#[track_caller]
pub(super) fn restored(scratch: &Scratch, stow: &Stow, backup: &Stored) -> Cluster {
    restored_with(scratch, stow, backup, &[])
}

/// The same with more options of the restore.
#[track_caller]
pub(super) fn restored_with(
    scratch: &Scratch,
    stow: &Stow,
    backup: &Stored,
    more: &[&str],
) -> Cluster {
    stow.cluster.switch_wal();
    let name = format!("restored-{}", backup.id());
    let to = scratch.join(&name);
    let bindir = stow.cluster.pg.bindir.display().to_string();
    let words = [
        "restore",
        backup.id(),
        "--bindir",
        &bindir,
        "--data-dir",
        to.to_str().unwrap(),
    ];
    stow.tool.command(&[&words[..], more].concat()).ok();
    stow.cluster.pg.verifybackup(&to).unwrap();
    let mut copy = Cluster::existing(scratch, stow.cluster.pg.clone(), &format!("{name}-at"), &to);
    copy.recover();
    copy
}

/// Of the server's databases, each as SQL.
pub(super) fn dumps(cluster: &Cluster) -> Vec<String> {
    let databases = cluster.psql(
        "select datname from pg_database where datallowconn and datname <> 'template1' order by 1",
    );
    databases.lines().map(|name| cluster.dump(name)).collect()
}

on_17_and_18!(
    blocks_that_did_not_change_are_not_read,
    a_chain_by_summaries_is_whole,
    summaries_lead_over_a_promotion,
    a_standby_has_summaries_of_its_own
);

fn blocks_that_did_not_change_are_not_read(pg: PgBin) {
    let scratch = Scratch::new();
    let stow = summarizing(&scratch, pg);
    table(&stow, "t", 3000);
    table(&stow, "large", 1500);
    let path = stow.cluster.psql("select pg_relation_filepath('t')");
    stow.cluster.psql("checkpoint");
    let_files_age();
    stow.backup(&[]);
    for table in ["t", "large"] {
        let update = format!("update {table} set text = 'changed' where n in (7, 700)");
        stow.cluster.psql(&update);
    }
    // More of it than goes into a frame.
    stow.cluster
        .psql("update large set text = 'changed' where n > 700");
    let dump = stow.cluster.dump("postgres");
    stow.cluster.psql("checkpoint");
    // The server will not read it again; who does finds a wrong checksum.
    let file = fs::File::options()
        .write(true)
        .open(stow.cluster.data_dir().join(&path))
        .unwrap();
    file.write_all_at(b"damaged", 1000 * 8192 + 5000).unwrap();
    file.sync_all().unwrap();

    let backup = by_summaries(&stow);
    assert_eq!(backup.json()["page_failures"].as_array().unwrap().len(), 0);
    let unpacked = scratch.join("unpacked");
    backup.unpack(&unpacked);
    // Two blocks that were updated, the one where the new rows went, and the header.
    assert!(stored_bytes(&unpacked, &path) <= 8 * 8192);
    let mut copy = restored(&scratch, &stow, &backup);
    assert!(copy.dump("postgres") == dump);
    copy.amcheck();
    copy.stop(Shutdown::Fast);
    copy.pg.checksums(copy.data_dir());

    // Without the summaries the file is read, and the damage is met.
    stow.cluster
        .psql("update t set text = 'again' where ctid = '(4,1)'");
    remove_summaries(&stow);
    let read = stow.base(&["-v", "--incremental"]).fails(3);
    assert!(
        read.stderr.contains("are read, without summaries"),
        "{read}"
    );
    let failures = stow.stored(&read).json()["page_failures"].clone();
    assert_eq!(failures[0]["file"], path);
    assert_eq!(failures[0]["block"], 1000);
}

fn a_chain_by_summaries_is_whole(pg: PgBin) {
    let scratch = Scratch::new();
    let mut stow = summarizing(&scratch, pg);
    for name in [
        "t",
        "shrinks",
        "regrows",
        "copied",
        "rewritten",
        "emptied",
        "dropped",
    ] {
        table(&stow, name, 600);
        stow.cluster.psql(&format!("create index on {name} (n)"));
    }
    stow.cluster.psql("create table still as select 1 as n");
    stow.cluster.psql("create sequence s");
    stow.cluster.psql("create database old");
    stow.cluster.psql("checkpoint");
    let_files_age();
    let mut chain = vec![stow.backup(&[])];
    for round in 1..=2 {
        for sql in [
            "update t set text = 'changed' where n % 100 = 7",
            &format!("delete from shrinks where n > {}", 600 - 150 * round),
            "vacuum shrinks",
            "delete from regrows where n > 100",
            "vacuum regrows",
            "insert into regrows select n, repeat('y', 2500) from generate_series(101, 700) n",
            "vacuum full rewritten",
            "truncate emptied",
            "insert into emptied select n, 'z' from generate_series(1, 99) n",
            "select nextval('s') from generate_series(1, 40)",
            &format!("create database logged_{round} template old strategy wal_log"),
            &format!("create database copied_{round} template old strategy file_copy"),
            "drop table if exists dropped",
            "analyze",
            "checkpoint",
            "update t set text = 'more' where n % 100 = 8",
        ] {
            stow.cluster.psql(sql);
        }
        regrow(&stow, "copied");
        chain.push(by_summaries(&stow));
        // Between two backups, and of one that is old enough to have blocks of its own left out.
        stow.cluster
            .psql_in("old", "create table if not exists o as select 1");
        stow.cluster
            .psql_in("copied_1", &format!("create table c{round} as select 2"));
        let_files_age();
    }
    chain.push(by_summaries(&stow));
    let before = dumps(&stow.cluster);
    let mut copy = restored(&scratch, &stow, &chain[3]);
    assert!(dumps(&copy) == before);
    copy.amcheck();
    copy.stop(Shutdown::Fast);
    copy.pg.checksums(copy.data_dir());

    let to = combined(&scratch, &stow.cluster.pg, stow.root(), &chain);
    stow.cluster.pg.verifybackup(&to).unwrap();
    stow.cluster.stop(Shutdown::Fast);
    let mut copy = Cluster::existing(&scratch, stow.cluster.pg.clone(), "combined-at", &to);
    fs::write(to.join("recovery.signal"), "").unwrap();
    user::own(&to.join("recovery.signal"));
    let fetch = stow.tool.shell("restore-wal %f %p");
    copy.argument(&format!("restore_command={fetch}"));
    copy.recover();
    assert!(dumps(&copy) == before);
    copy.amcheck();
}

fn summaries_lead_over_a_promotion(pg: PgBin) {
    let scratch = Scratch::new();
    let mut stow = summarizing(&scratch, pg);
    table(&stow, "t", 600);
    let path = stow.cluster.psql("select pg_relation_filepath('t')");
    stow.cluster.psql("checkpoint");
    let_files_age();
    let parent = stow.backup(&[]);
    stow.cluster.psql("update t set text = 'on 1' where n = 1");
    stow.cluster.stop(Shutdown::Fast);
    let signal = stow.cluster.data_dir().join("standby.signal");
    fs::write(&signal, "").unwrap();
    user::own(&signal);
    stow.cluster.start();
    stow.cluster.promote();
    // Before its first checkpoint there, the server's control file has the timeline that it left.
    stow.cluster.psql("checkpoint");
    stow.cluster.psql("update t set text = 'on 2' where n = 2");
    let child = by_summaries(&stow);
    assert_eq!(child.json()["timeline"], 2);
    assert_eq!(child.json()["parent"], parent.id());
    let unpacked = scratch.join("unpacked");
    child.unpack(&unpacked);
    assert!(stored_bytes(&unpacked, &path) < 10 * 8192);
    let dump = stow.cluster.dump("postgres");
    let copy = restored(&scratch, &stow, &child);
    assert!(copy.dump("postgres") == dump);
    copy.amcheck();
}

fn a_standby_has_summaries_of_its_own(pg: PgBin) {
    let scratch = Scratch::new();
    let stow = summarizing(&scratch, pg);
    table(&stow, "t", 600);
    let path = stow.cluster.psql("select pg_relation_filepath('t')");
    let standby = standby(&scratch, &stow);
    let change = |n: u32| {
        let update = format!("update t set text = 'changed' where n = {n}");
        stow.cluster.psql(&update);
        stow.cluster.psql("checkpoint");
        let here = stow.cluster.psql("select pg_current_wal_lsn()");
        standby.wait_until(&format!("select pg_last_wal_replay_lsn() >= '{here}'"), "t");
        // A restartpoint.
        standby.psql("checkpoint");
    };
    let base = |words: &[&str]| {
        stow.base(&[&["-v"], words].concat())
            .env("PGSTOW_CLUSTER_HOST", standby.host())
            .env("PGSTOW_CLUSTER_PRIMARY_HOST", stow.cluster.host())
            .ok()
    };
    change(1);
    let_files_age();
    let full = stow.stored(&base(&[]));
    change(2);
    let output = base(&["--incremental"]);
    assert!(output.stderr.contains(USED), "{output}");
    let read = stow.stored(&output);
    assert_eq!(read.json()["standby"], true);
    assert_eq!(read.json()["parent"], full.id());
    let unpacked = scratch.join("unpacked");
    read.unpack(&unpacked);
    assert!(stored_bytes(&unpacked, &path) < 10 * 8192);
    change(3);
    let sent = stow.stored(&base(&["--incremental", "--method", "stream"]));
    assert_eq!(sent.json()["parent"], read.id());
    // Of a standby at rest there is nothing newer.
    let output = base(&["--incremental", "--method", "stream"]);
    assert!(
        output
            .stderr
            .contains("ended behind the standby's last restartpoint"),
        "{output}"
    );
    assert_eq!(stow.stored(&output).json()["kind"], "full");

    let dump = stow.cluster.dump("postgres");
    let copy = restored(&scratch, &stow, &sent);
    assert!(copy.dump("postgres") == dump);
    copy.amcheck();
}

/// Takes an incremental backup for which changed files are read, because of `why`.
#[track_caller]
fn by_reading(stow: &Stow, why: &str) -> Stored {
    let output = stow.base(&["-v", "--incremental"]).ok();
    assert!(output.stderr.contains(why), "{output}");
    assert!(!output.stderr.contains(USED), "{output}");
    let backup = stow.stored(&output);
    assert_eq!(backup.json()["kind"], "incremental");
    backup
}

#[test]
fn where_summaries_lack_something_files_are_read() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(17));
    table(&stow, "t", 600);
    stow.cluster.psql("checkpoint");
    let_files_age();
    stow.backup(&[]);
    let change = |value: &str| {
        let update = format!("update t set text = '{value}' where n % 50 = 1");
        stow.cluster.psql(&update);
    };
    change("off");
    by_reading(&stow, "summarize_wal is off");
    // The server begins with the oldest WAL that it still has.
    stow.cluster.set("summarize_wal", "on");
    change("on");
    by_summaries(&stow);
    change("lost");
    remove_summaries(&stow);
    by_reading(&stow, "they go on behind it");

    change("damaged");
    summarized(&stow);
    let newest = summaries(&stow).pop().unwrap();
    let mut bytes = fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&newest, bytes).unwrap();
    let newest = newest.file_name().unwrap().to_str().unwrap().to_owned();
    let child = by_reading(&stow, &newest);

    let dump = stow.cluster.dump("postgres");
    let copy = restored(&scratch, &stow, &child);
    assert!(copy.dump("postgres") == dump);
    copy.amcheck();
}

//! `base --incremental`: PostgreSQL's own program combines a chain, and what comes out is whole.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::harness::{Cluster, PgBin, Scratch, Shutdown, Stored, Stow, on_every_major, pg, user};

/// Unpacks each backup of a chain, full one first, and combines them as the manual says.
pub(super) fn combined(scratch: &Scratch, pg: &PgBin, root: &Path, chain: &[Stored]) -> PathBuf {
    let folders: Vec<PathBuf> = chain
        .iter()
        .map(|backup| {
            let folder = scratch.join(backup.id());
            backup.unpack(&folder);
            folder
        })
        .collect();
    let to = scratch.join("combined");
    let mut command = match pg.major {
        17.. => pg.command("pg_combinebackup"),
        _ => {
            let mut python = user::command("python3", "KILL");
            python.arg(root.join("combine.py"));
            python
        }
    };
    user::run_ok(command.arg("--output").arg(&to).args(&folders));
    to
}

on_every_major!(a_person_combines_a_chain);

fn a_person_combines_a_chain(pg: PgBin) {
    let scratch = Scratch::new();
    let mut stow = Stow::start(&scratch, pg);
    let sql = |stow: &Stow, sql: &str| {
        stow.cluster.psql(sql);
    };
    sql(
        &stow,
        "create table t as select n, repeat('x', 500) as text from generate_series(1, 20000) n",
    );
    sql(
        &stow,
        "create table still as select n from generate_series(1, 50000) n",
    );
    sql(
        &stow,
        "create table shrinks as select n, repeat('s', 500) as text from generate_series(1, 9000) n",
    );
    sql(
        &stow,
        "create table large as select n, repeat('l', 1000) as text from generate_series(1, 9000) n",
    );
    // Files whose times are too near to the parent's start are read again.
    std::thread::sleep(std::time::Duration::from_secs(3));
    sql(&stow, "checkpoint");
    std::thread::sleep(std::time::Duration::from_secs(3));
    let mut chain = vec![stow.backup(&[])];
    for round in 1..=3 {
        sql(&stow, "update t set text = 'changed' where n % 100 = 7");
        sql(
            &stow,
            "update large set text = 'changed' where n % 1000 = 7",
        );
        sql(
            &stow,
            &format!("delete from shrinks where n > {}", 9000 - 2000 * round),
        );
        sql(&stow, "vacuum shrinks");
        sql(
            &stow,
            &format!("create table new_{round} as select n from generate_series(1, 1000) n"),
        );
        chain.push(stow.backup(&["--incremental"]));
    }
    let json = |backup: &Stored| backup.json();
    for pair in chain.windows(2) {
        assert_eq!(json(&pair[1])["kind"], "incremental");
        assert_eq!(json(&pair[1])["parent"], json(&pair[0])["id"]);
        assert!(
            json(&pair[1])["bytes"].as_u64()
                > json(&pair[0])["bytes"].as_u64().map(|bytes| bytes / 2)
        );
    }
    let still = stow.cluster.psql("select pg_relation_filepath('still')");
    let dump = stow.cluster.dump("postgres");
    stow.cluster.switch_wal();
    let to = combined(&scratch, &stow.cluster.pg, stow.root(), &chain);
    stow.cluster.pg.verifybackup(&to).unwrap();
    let stub = still.replace("/5/", "/5/INCREMENTAL.");
    let stub = scratch.join(chain[3].id()).join(stub);
    assert_eq!(fs::metadata(stub).unwrap().len(), 12);

    let pg = stow.cluster.pg.clone();
    stow.cluster.stop(Shutdown::Fast);
    let mut copy = Cluster::existing(&scratch, pg, "copy", &to);
    let fetch = stow.tool.shell("restore-wal %f %p");
    fs::write(to.join("recovery.signal"), "").unwrap();
    user::own(&to.join("recovery.signal"));
    copy.argument(&format!("restore_command={fetch}"));
    copy.start();
    copy.wait_until("select pg_is_in_recovery()", "f");
    assert!(copy.dump("postgres") == dump);
    copy.amcheck();
    copy.stop(Shutdown::Fast);
    copy.pg.checksums(copy.data_dir());
}

/// The backup that was made, and what was said of why it is a full one.
fn full(stow: &Stow, why: &str) -> Stored {
    let output = stow.base(&["-v", "--incremental"]).ok();
    assert!(output.stderr.contains(why), "{output}");
    let backup = stow.stored(&output);
    assert_eq!(backup.json()["kind"], "full");
    assert!(backup.id().ends_with("-full"));
    backup
}

#[test]
fn where_there_is_nothing_to_build_on_a_full_one_is_made() {
    let scratch = Scratch::new();
    let stow = Stow::build(&scratch, pg(16))
        .setting("chain_max = 2")
        .start();
    full(&stow, "there is no backup to build on");
    stow.backup(&["--method", "stream"]);
    let parent = full(&stow, "was not read from the data directory");

    let chain = [(); 2].map(|()| stow.backup(&["--incremental"]));
    assert_eq!(chain[0].json()["parent"], parent.id());
    full(&stow, "a chain that may not get longer");

    // What the index says decides what is not stored again.
    let newest = stow.backup(&[]);
    let index = newest.object("index.json.zst");
    let mut bytes = fs::read(&index).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&index, bytes).unwrap();
    full(&stow, "has an index that can't be used");

    // As from another host, or another time.
    let newest = stow.backup(&[]);
    newest.rewrite(r#""host": ""#, r#""host": "not-"#);
    full(&stow, "was taken on another host");
}

#[test]
fn policy_chooses() {
    let scratch = Scratch::new();
    let stow = Stow::build(&scratch, pg(18))
        .setting("full_every = \"3s\"")
        .start();
    let kinds = [&[][..], &[], &["--full"], &["--incremental"]].map(|words: &[&str]| {
        let backup = stow.backup(words);
        backup.json()["kind"].as_str().unwrap().to_owned()
    });
    assert_eq!(kinds, ["full", "incremental", "full", "incremental"]);
    std::thread::sleep(std::time::Duration::from_secs(4));
    assert_eq!(stow.backup(&[]).json()["kind"], "full");
}

/// Nothing of a chain is worth anything without what is below.
#[test]
fn a_broken_chain_is_named_and_not_used() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(17));
    stow.cluster.psql("create table t as select 1 as n");
    let first = stow.backup(&[]);
    let second = stow.backup(&[]);
    let child = stow.backup(&["--incremental"]);
    assert_eq!(child.json()["parent"], second.id());
    let grandchild = stow.backup(&["--incremental"]);
    stow.cluster.switch_wal();
    let verified = stow.tool.command(&["--json", "verify"]).ok().json();
    let read: Vec<&str> = verified["backups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|backup| backup["backup"].as_str().unwrap())
        .collect();
    assert_eq!(read, [second.id(), child.id(), grandchild.id()]);

    fs::remove_file(second.parts().pop().unwrap()).unwrap();
    let verify = stow.tool.command(&["verify", grandchild.id()]).fails(3);
    drop(verify.stdout_contains(second.id()));
    for backup in [&second, &child, &grandchild] {
        let list = stow.backups();
        let state = list.iter().find(|one| one["id"] == backup.id()).unwrap();
        assert_eq!(state["state"], "damaged");
    }
    let bindir = stow.cluster.pg.bindir.display().to_string();
    let to = scratch.join("to");
    let words = ["restore", "--bindir", &bindir, "--data-dir"];
    let words = [&words[..], &[to.to_str().unwrap()]].concat();
    let named = [&words[..], &[grandchild.id()]].concat();
    let refused = stow.tool.command(&named).expect_warning(second.id());
    let refused = refused.expect_warning(child.id()).fails(1);
    drop(refused.stderr_contains("builds on"));
    assert!(!to.exists());
    let restored = stow.tool.command(&[&words[..], &["--json"]].concat());
    let restored = [&second, &child, &grandchild]
        .into_iter()
        .fold(restored, |restored, backup| {
            restored.expect_warning(backup.id())
        });
    assert_eq!(restored.ok().json()["backup"], first.id());
}

/// What is there of another state doesn't matter.
#[test]
fn an_incremental_backup_is_restored_over_an_older_state() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(18));
    stow.cluster.psql(
        "create table t as select n, repeat('x', 500) as text from generate_series(1, 9000) n",
    );
    let first = stow.backup(&[]);
    stow.cluster
        .psql("update t set text = 'y' where n % 50 = 0");
    stow.cluster.psql("create table u as select 1 as n");
    let second = stow.backup(&["--incremental"]);
    let dump = stow.cluster.dump("postgres");
    stow.cluster.switch_wal();
    let bindir = stow.cluster.pg.bindir.display().to_string();
    let to = scratch.join("to");
    let restore = |id: &str, more: &[&str]| {
        let words = [
            "restore",
            id,
            "--bindir",
            &bindir,
            "--data-dir",
            to.to_str().unwrap(),
        ];
        let done = stow.tool.command(&[&words[..], more, &["--json"]].concat());
        let done = done.ok().json();
        stow.cluster.pg.verifybackup(&to).unwrap();
        done
    };
    restore(first.id(), &[]);
    // Files that no backup of the chain has blocks of are known by the full one's checksum.
    let folder = to.join("base").join(
        stow.cluster
            .psql("select oid from pg_database where datname = 'template1'")
            .trim(),
    );
    let unchanged = folder.join("1259");
    let mut bytes = std::fs::read(&unchanged).unwrap();
    bytes[5000] ^= 1;
    std::fs::write(&unchanged, bytes).unwrap();
    let delta = restore(second.id(), &["--delta"])["delta"].clone();
    let count = |kind: &str| delta[kind]["files"].as_u64().unwrap();
    assert!(count("stay") > 800 && count("differ") < 60, "{delta}");
    // The 5 MB table is the full backup's but for a fiftieth, and that was put on top of it.
    assert!(
        delta["written_bytes"].as_u64().unwrap() < 12 << 20,
        "{delta}"
    );
    let mut copy = Cluster::existing(&scratch, stow.cluster.pg.clone(), "copy", &to);
    copy.recover();
    assert!(copy.dump("postgres") == dump);
    copy.stop(Shutdown::Fast);
}

/// Without the data directory's own word this would be a chain over two histories: the same timeline,
/// the same positions in the WAL, other rows.
#[test]
fn a_server_that_was_put_back_builds_on_nothing_of_its_former_life() {
    let scratch = Scratch::new();
    let mut stow = Stow::build(&scratch, pg(18))
        .cluster(|cluster| cluster.conf("summarize_wal", "on"))
        .start();
    let sql = |stow: &Stow, sql: &str| {
        stow.cluster.psql(sql);
    };
    sql(
        &stow,
        "create table t as select n, 'start' as v from generate_series(1, 20000) n",
    );
    let first = stow.backup(&[]);
    let data = stow.cluster.data_dir().to_owned();
    let aside = scratch.join("aside");
    let copy = |from: &Path, to: &Path| {
        user::run_ok(
            user::command("cp", "KILL")
                .args(["-a", "--"])
                .args([from, to]),
        );
    };
    stow.cluster.stop(Shutdown::Fast);
    copy(&data, &aside);
    stow.cluster.start();
    // One restart is no reason: the server still has the note of the backup.
    let second = stow.backup(&["--incremental"]);
    assert_eq!(second.json()["parent"], first.id());
    sql(&stow, "update t set v = 'A' where n <= 10000");
    let third = stow.backup(&["--incremental"]);
    assert_eq!(third.json()["parent"], second.id());

    stow.cluster.stop(Shutdown::Fast);
    fs::rename(&data, scratch.join("gone")).unwrap();
    copy(&aside, &data);
    stow.cluster.start();
    sql(&stow, "update t set v = 'B' where n > 10000");
    let behind = |stow: &Stow| {
        let question = format!(
            "select pg_current_wal_insert_lsn() > '{}'",
            third.json()["stop_lsn"].as_str().unwrap()
        );
        stow.cluster.psql(&question) == "t"
    };
    while !behind(&stow) {
        sql(
            &stow,
            "select pg_create_restore_point('x'); select pg_switch_wal()",
        );
    }
    sql(&stow, "checkpoint");
    // The second finds the note of the first, which could have taken the place of the parent's.
    for (method, why) in [
        ("local", "pg_wal has no trace of"),
        ("stream", "was started after"),
    ] {
        // Its WAL is not archived: the archive has the other life's under the same names.
        let words = ["-v", "--incremental", "--standalone", "--method", method];
        let output = stow.base(&words).ok();
        assert!(output.stderr.contains(why), "{output}");
        let newest = stow.stored(&output);
        assert_eq!(newest.json()["kind"], "full");
        fs::remove_dir_all(stow.root().join("main/base").join(newest.id())).unwrap();
    }
}

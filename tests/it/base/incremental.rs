//! `base --incremental`: PostgreSQL's own program combines a chain, and what comes out is whole.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::harness::{Cluster, PgBin, Scratch, Shutdown, Stored, Stow, on_every_major, user};

/// Unpacks each backup of a chain, full one first, and combines them as the manual says.
fn combined(scratch: &Scratch, pg: &PgBin, chain: &[Stored]) -> PathBuf {
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
            // User postgres may not be allowed to enter the checkout.
            let script = scratch.join("combine.py");
            let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
            fs::copy(docs.join("combine.py"), &script).unwrap();
            let mut python = user::command("python3", "KILL");
            python.arg(script);
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
    let to = combined(&scratch, &stow.cluster.pg, &chain);
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

//! Visibility maps and their heap pages in incremental backups: without checksums a page is marked
//! all-visible without a trace in its LSN.

use super::summaries::{let_files_age, restored};
use crate::harness::{PgBin, Scratch, Shutdown, Stored, Stow, on_every_major, pg, user};

on_every_major!(a_page_that_became_all_visible_stays_right);

/// A server without checksums, and a table with an index.
fn without_checksums(scratch: &Scratch, pg: PgBin) -> Stow {
    let mut stow = Stow::start(scratch, pg);
    stow.cluster.stop(Shutdown::Fast);
    let mut disable = stow.cluster.pg.command("pg_checksums");
    user::run_ok(
        disable
            .args(["--disable", "-D"])
            .arg(stow.cluster.data_dir()),
    );
    stow.cluster.start();
    stow.cluster.psql(
        "create table t (n int) with (autovacuum_enabled = off);
         insert into t select generate_series(1, 20000);
         create index on t (n)",
    );
    stow.cluster.psql("checkpoint");
    let_files_age();
    stow
}

/// A row that is deleted in a restored copy is not shown by the index alone.
#[track_caller]
fn judge(scratch: &Scratch, stow: &Stow, backup: &Stored, row: u32) {
    let copy = restored(scratch, stow, backup);
    let by_index = "set enable_seqscan = off; set enable_bitmapscan = off;";
    let select = format!("select n from t where n = {row}");
    let plan = copy.psql(&format!("{by_index} explain {select}"));
    assert!(plan.contains("Index Only Scan"), "{plan}");
    assert_eq!(copy.psql(&format!("{by_index} {select}")), row.to_string());
    // What clears the bit of the map is the mark on the page.
    copy.psql(&format!("delete from t where n = {row}"));
    assert_eq!(copy.psql(&format!("{by_index} {select}")), "");
    copy.amcheck();
}

fn a_page_that_became_all_visible_stays_right(pg: PgBin) {
    let scratch = Scratch::new();
    let stow = without_checksums(&scratch, pg);
    stow.backup(&[]);
    stow.cluster.psql("vacuum t");
    let child = stow.backup(&["--incremental"]);
    assert_eq!(child.json()["kind"], "incremental");
    judge(&scratch, &stow, &child, 777);
    // Now the file is as its parent saw it.
    stow.cluster.psql("checkpoint");
    let_files_age();
    stow.backup(&["--incremental"]);
    let last = stow.backup(&["--incremental"]);
    judge(&scratch, &stow, &last, 888);
}

#[test]
fn summaries_and_the_server_know_marks_without_checksums() {
    let scratch = Scratch::new();
    let stow = without_checksums(&scratch, pg(17));
    stow.cluster.set("summarize_wal", "on");
    let full = stow.backup(&[]);
    let map = |backup: &Stored| {
        let path = stow.cluster.psql("select pg_relation_filepath('t')") + "_vm";
        backup.text("backup_manifest.zst").contains(&path)
    };
    stow.cluster.psql("vacuum t");
    // By the summaries, as none of it is to be read.
    let child = stow.backup(&["--incremental"]);
    assert!(!map(&full) && map(&child));
    judge(&scratch, &stow, &child, 777);
    stow.cluster.psql("delete from t where n % 1000 = 1");
    stow.cluster.psql("vacuum t");
    let sent = stow.backup(&["--incremental", "--method", "stream"]);
    assert_eq!(sent.json()["parent"], child.id());
    judge(&scratch, &stow, &sent, 888);
}

//! Segments of the right names are in the repository, but another life of the server wrote them.

use std::{fs, process::Command};

use crate::harness::{PgBin, Scratch, Shutdown, Stow, pg, user};

#[test]
fn wal_of_before_the_data_directory_was_put_back_does_not_count_local() {
    wal_of_before_the_data_directory_was_put_back_does_not_count(pg(16), "local");
}

#[test]
fn wal_of_before_the_data_directory_was_put_back_does_not_count_stream() {
    wal_of_before_the_data_directory_was_put_back_does_not_count(pg(18), "stream");
}

fn wal_of_before_the_data_directory_was_put_back_does_not_count(pg: PgBin, method: &str) {
    let scratch = Scratch::new();
    let mut stow = Stow::start(&scratch, pg);
    stow.cluster.psql("create table t (life int)");
    stow.backup(&["--method", method]);
    stow.cluster.stop(Shutdown::Fast);
    let data_dir = stow.cluster.data_dir().to_owned();
    let before = scratch.join("before");
    user::run_ok(Command::new("cp").arg("-a").arg(&data_dir).arg(&before));

    stow.cluster.start();
    for _ in 0..5 {
        stow.cluster.psql("insert into t values (1)");
        stow.cluster.switch_wal();
    }
    stow.cluster.stop(Shutdown::Fast);
    fs::remove_dir_all(&data_dir).unwrap();
    fs::rename(&before, &data_dir).unwrap();
    stow.cluster.start();
    stow.cluster.psql("insert into t values (2)");
    stow.cluster.psql("select pg_switch_wal()");
    stow.cluster
        .wait_until("select failed_count > 0 from pg_stat_archiver", "t");

    let words = ["--full", "--method", method, "--wal-timeout", "2s"];
    stow.base(&words)
        .expect_warning("archiving may not work")
        .fails(1)
        .stderr_contains("not restorable yet")
        .stderr_contains(".backup is not, which shows that they are this server's");
    // Nor does `check` take them for what it has sent.
    let output = stow.tool.command(&["--json", "check"]).fails(1);
    let findings = output.json()["findings"].as_array().unwrap().clone();
    let wal = findings.iter().find(|one| one["name"] == "wal").unwrap();
    assert_eq!(wal["state"], "critical", "{wal}");
    let folders = stow.folders();
    assert_eq!(folders.len(), 2);
    let backup = &stow.backups()[1];
    assert_eq!(backup["state"], "pending");
    let note = backup["note"].as_str().unwrap_or_default();
    assert!(note.contains("this server's"), "{backup}");
    stow.tool
        .command(&["base", "--finish", &folders[1]])
        .fails(1)
        .stderr_contains("still pending")
        .stderr_contains("this server's");
}

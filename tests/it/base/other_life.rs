//! Segments of the right names are in the repository, but another life of the server wrote them.

use std::{fs, process::Command};

use pgstow::postgres::lsn::Lsn;

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
    // Who watches is not sent to what fails.
    let pending = |code: i32| {
        let words = ["--json", "monitor", "--only", "pending"];
        let told = stow.tool.command(&words).fails(code).json();
        told["checks"][0].to_string()
    };
    let told = pending(1);
    assert!(
        told.contains("doesn't count yet") && told.contains("mend archiving"),
        "{told}"
    );
    // A note of another life.
    let start: Lsn = backup["backup"]["start_lsn"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let segment = backup["backup"]["start_segment"].as_str().unwrap();
    let note = format!("{segment}.{:08X}.backup", start.0 % (16 << 20));
    let stored = stow.wal_object(segment);
    let note = stored.parent().unwrap().with_file_name(note);
    fs::write(
        &note,
        "START WAL LOCATION: 0/1 (file 000000010000000000000000)\n",
    )
    .unwrap();
    user::own(&note);
    let told = pending(2);
    assert!(
        told.contains("can only be deleted") && told.contains("cleanup --drop-pending"),
        "{told}"
    );
    assert!(!told.contains("--finish"), "{told}");
    let drop_it = ["cleanup", "--drop-pending", &folders[1]];
    stow.tool.command(&drop_it).ok();
    pending(0);
}

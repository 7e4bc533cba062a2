//! `base --method local`: when it is taken, and what it must not take for the server's folder.

use std::{fs, path::Path, process::Command};

use crate::harness::{Cluster, Scratch, Shutdown, Stow, page_cache, pg, user};

fn method(stow: &Stow, arguments: &[&str]) -> String {
    let backup = stow.backup(arguments);
    backup.json()["method"].as_str().unwrap().to_owned()
}

#[test]
fn it_is_taken_where_the_folder_can_be_read() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(16));
    assert_eq!(method(&stow, &[]), "local");
    assert_eq!(method(&stow, &["--method", "stream"]), "stream");

    // A role without the right to the low-level API.
    let functions = "function pg_backup_start(text, boolean), pg_backup_stop(boolean)";
    stow.cluster
        .psql(&format!("revoke execute on {functions} from pgstow"));
    assert_eq!(method(&stow, &[]), "stream");
    drop(
        stow.base(&["--method", "local"])
            .fails(1)
            .stderr_contains("may not call pg_backup_start")
            .stderr_contains("--method stream"),
    );
}

/// A copy has the same system identifier, and may even run beside the server.
#[test]
fn a_copy_is_not_taken_for_the_server() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(15));
    let copy = scratch.join("copy");
    stow.cluster.basebackup(&copy, &[]);
    let local = |says: &str| {
        drop(
            stow.base(&["--method", "local"])
                .env("PGSTOW_CLUSTER_DATA_DIR", &copy)
                .fails(1)
                .stderr_contains(copy.to_str().unwrap())
                .stderr_contains(says),
        );
        let auto = stow.base(&[]).env("PGSTOW_CLUSTER_DATA_DIR", &copy).ok();
        assert_eq!(stow.stored(&auto).json()["method"], "stream");
    };
    local("no server runs on it");
    let mut running = Cluster::existing(&scratch, stow.cluster.pg.clone(), "beside", &copy);
    running.start();
    local("another server runs on it");
    // It may even have been started in the same second, on the same port.
    let (pid_file, of_server) = ("postmaster.pid", stow.cluster.data_dir());
    let line = |folder: &Path, number| {
        let text = fs::read_to_string(folder.join(pid_file)).unwrap();
        text.lines().nth(number).unwrap().to_owned()
    };
    assert_eq!(line(&copy, 3), line(of_server, 3), "the port");
    let text = fs::read_to_string(copy.join(pid_file)).unwrap();
    let text = text.replacen(&line(&copy, 2), &line(of_server, 2), 1);
    fs::write(copy.join(pid_file), text).unwrap();
    local("another server runs on it");
    running.stop(Shutdown::Fast);

    let other = Cluster::build(&scratch, pg(15)).name("other").start();
    let other = other.data_dir().to_owned();
    drop(
        stow.base(&["--method", "local"])
            .env("PGSTOW_CLUSTER_DATA_DIR", &other)
            .fails(1)
            .stderr_contains("it is the cluster"),
    );
}

/// What the server has in memory stays there, and next to nothing else is brought in.
#[test]
fn the_page_cache_stays_as_it_was() {
    let scratch = Scratch::on_disk();
    let mut stow = Stow::build(&scratch, pg(18))
        .cluster(|cluster| cluster.conf("autovacuum", "off"))
        .start();
    let path = |name: &str| {
        stow.cluster.psql(&format!(
            "create table {name} as select n, repeat('x', 1000) from generate_series(1, 20000) n"
        ));
        let path = stow
            .cluster
            .psql(&format!("select pg_relation_filepath('{name}')"));
        stow.cluster.data_dir().join(path)
    };
    let (hot, cold) = (path("hot"), path("cold"));
    stow.cluster.stop(Shutdown::Fast);
    user::run_ok(&mut Command::new("sync"));
    let forget = format!("of={}", cold.display());
    user::run_ok(Command::new("dd").args([
        &*forget,
        "oflag=nocache",
        "conv=notrunc,fdatasync",
        "count=0",
    ]));
    drop(fs::read(&hot).unwrap());
    stow.cluster.start();
    let resident = || [&hot, &cold].map(|file| page_cache::resident(file));
    let before = resident();
    let length = fs::metadata(&hot).unwrap().len();
    assert!(before[0] == length && before[1] < length / 10, "{before:?}");
    assert_eq!(method(&stow, &[]), "local");
    // A page or two that the kernel read ahead may stay.
    let after = resident();
    assert!(after[0] == length && after[1] < length / 10, "{after:?}");
}

#[test]
fn standalone_has_its_wal() {
    let scratch = Scratch::new();
    let stow = Stow::build(&scratch, pg(17)).no_archiving().start();
    stow.cluster.psql("create table t as select 1 as n");
    for method in ["stream", "local"] {
        let backup = stow.backup(&["--standalone", "--method", method]);
        let copy = scratch.join(method);
        backup.unpack(&copy);
        stow.cluster.pg.verifybackup(&copy).unwrap();
        let names = |folder: &str| {
            let entries = fs::read_dir(copy.join(folder)).unwrap();
            let mut names: Vec<_> = entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        let first = backup.json()["start_segment"].as_str().unwrap().to_owned();
        let last = backup.json()["stop_segment"].as_str().unwrap().to_owned();
        assert!(names("pg_wal").contains(&first) && names("pg_wal").contains(&last));
        assert!(names("pg_wal/archive_status").contains(&format!("{first}.done")));
        let mut restored = Cluster::existing(
            &scratch,
            stow.cluster.pg.clone(),
            &format!("run-{method}"),
            &copy,
        );
        restored.start();
        assert_eq!(restored.psql("select n from t"), "1");
        restored.stop(Shutdown::Fast);
    }
}

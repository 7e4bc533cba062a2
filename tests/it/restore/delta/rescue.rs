//! WAL that the archive has not: it outlives the folder that it lay in.

use std::{fs, path::PathBuf};

use crate::{
    harness::{PgBin, Shutdown, on_every_major},
    restore::Story,
};

on_every_major!(the_last_wal_of_the_old_cluster_is_kept_and_used);

fn the_last_wal_of_the_old_cluster_is_kept_and_used(pg: PgBin) {
    let mut story = Story::begin(pg);
    story.insert(1);
    story.base();
    let lsn = story.main.psql("select pg_current_wal_lsn()");
    story
        .main
        .psql("alter system set archive_command = 'false'");
    story.main.reload();
    story.insert(2);
    story.main.psql("select pg_switch_wal()");
    story.insert(3);
    let last = story
        .main
        .psql("select pg_walfile_name(pg_current_wal_lsn())");
    let bindir = story.main.pg.bindir.display().to_string();
    let data_dir = story.main.data_dir().to_owned();
    story.main.stop(Shutdown::Immediate);
    let (tool, own) = (
        &story.archive.tool,
        ["restore", "--bindir", &bindir, "--delta"],
    );
    let restore = |more: &[&str]| tool.command(&[&own, more].concat());
    let wal = fs::read(data_dir.join("pg_wal").join(&last)).unwrap();

    // Killed as soon as the folder can't be started any more: the marker knows where the WAL is.
    let kept = || -> Vec<PathBuf> {
        let beside = fs::read_dir(data_dir.parent().unwrap()).unwrap();
        let paths = beside.map(|entry| entry.unwrap().path());
        let mut kept: Vec<_> = paths
            .filter(|path| path.to_str().unwrap().contains(".old-"))
            .collect();
        kept.sort();
        kept
    };
    let mut running = restore(&[]).spawn();
    while data_dir.join("global/pg_control").exists() && running.is_running() {
        std::thread::yield_now();
    }
    if running.is_running() {
        running.signal(rustix::process::Signal::KILL);
    }
    drop(running);
    if !data_dir.join("global/pg_control").exists() {
        assert!(story.main.try_start().is_err());
    }
    assert_eq!(kept().len(), 1, "{:?}", kept());
    assert_eq!(fs::read(kept()[0].join("pg_wal").join(&last)).unwrap(), wal);
    let text = restore(&[]).ok();
    text.stdout_contains("are taken from this host")
        .stdout_contains("what the repository hasn't got is kept in");
    story.main.start();
    story.main.wait_until("select pg_is_in_recovery()", "f");
    let rows = "select string_agg(n::text, ',' order by n) from t where n > 0";
    assert_eq!(story.main.psql(rows), "1,2,3");
    // The archive has no hole in front of the new timeline.
    story.switch();
    assert_eq!(story.rows("again", &[]), "1,2,3");

    // A target before that WAL doesn't need it; it is kept all the same.
    story.main.stop(Shutdown::Fast);
    for path in kept() {
        fs::remove_dir_all(path).unwrap();
    }
    let restore = |more: &[&str]| story.archive.tool.command(&[&own, more].concat());
    restore(&["--target-lsn", &lsn]).ok();
    let found = kept();
    assert_eq!(found.len(), 1);
    assert!(fs::read_dir(found[0].join("pg_wal")).unwrap().count() > 0);
    story.main.start();
    story.main.wait_until("select pg_is_in_recovery()", "f");
    assert_eq!(story.main.psql(rows), "1");
}

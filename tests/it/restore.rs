//! `restore`: every kind of target, timelines, folders that are in the way, damage.

mod aside;
mod config;
mod copy;
mod damaged;
mod debian;
mod delta;
mod done;
mod formats;
mod guard;
mod histories;
mod holes;
mod in_place;
mod lower;
mod memory;
mod space;
mod standalone;
mod tablespaces;

use std::{
    fs::{self, OpenOptions},
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::process::Signal;

use crate::harness::{
    Archive, Cluster, PgBin, Scratch, Shutdown, Stored, on_every_major, pg, tool::Invocation,
    user::own,
};

on_every_major!(
    every_kind_of_target,
    the_way_along_timelines,
    the_replaced_cluster_gives_its_last_wal,
);

/// A cluster that archives, with a table whose rows tell what is restored.
struct Story {
    scratch: Scratch,
    archive: Archive,
    main: Cluster,
}

impl Story {
    fn begin(pg: PgBin) -> Self {
        let scratch = Scratch::new();
        let archive = Archive::new(&scratch, "zstd:1");
        let mut main = Cluster::build(&scratch, pg)
            .initdb("--wal-segsize=1")
            .archiving(&archive.tool.shell("archive-wal %p"))
            .make();
        archive.register(&main);
        main.start();
        main.psql("create table t (n int)");
        Self {
            scratch,
            archive,
            main,
        }
    }

    fn base(&self) {
        self.pgstow(&["base", "--checkpoint", "fast"])
            .env("PGHOST", self.main.host())
            .env("PGPORT", self.main.port().to_string())
            .env("PGUSER", "postgres")
            .ok();
    }

    fn pgstow(&self, arguments: &[&str]) -> Invocation {
        self.archive.tool.command(arguments)
    }

    fn insert(&self, n: u32) {
        self.main.psql(&format!("insert into t values ({n})"));
    }

    /// Ends the segment, and waits until it is archived.
    fn switch(&self) {
        self.insert(0);
        self.main.switch_wal();
    }

    /// `restore --data-dir NAME ARGUMENTS` into the scratch folder.
    fn restore(&self, name: &str, arguments: &[&str]) -> (Invocation, PathBuf) {
        let to = self.scratch.join(name);
        let bindir = self.main.pg.bindir.display().to_string();
        let mut all = vec![
            "restore",
            "--bindir",
            &bindir,
            "--data-dir",
            to.to_str().unwrap(),
        ];
        all.extend(arguments);
        (self.pgstow(&all), to)
    }

    /// The rows of a restored copy, once it left recovery; zeros are only there to fill segments.
    #[track_caller]
    fn rows(&self, name: &str, arguments: &[&str]) -> String {
        let (invocation, to) = self.restore(name, arguments);
        invocation.ok();
        self.rows_of(name, &to)
    }

    #[track_caller]
    fn rows_of(&self, name: &str, data_dir: &Path) -> String {
        let mut copy = Cluster::existing(
            &self.scratch,
            self.main.pg.clone(),
            &format!("{name}-run"),
            data_dir,
        );
        copy.start();
        copy.wait_until("select pg_is_in_recovery()", "f");
        let rows = copy.psql("select string_agg(n::text, ',' order by n) from t where n > 0");
        copy.stop(Shutdown::Fast);
        let settings = fs::read_to_string(data_dir.join("postgresql.auto.conf")).unwrap();
        assert!(!settings.contains("recovery_"), "{settings}");
        assert!(!settings.contains("restore_command"), "{settings}");
        rows
    }
}

fn every_kind_of_target(pg: PgBin) {
    let story = Story::begin(pg);
    story.insert(1);
    story.base();
    story.insert(2);
    thread::sleep(Duration::from_millis(20));
    let time = story
        .main
        .psql("select clock_timestamp() at time zone 'UTC'")
        + "+00";
    thread::sleep(Duration::from_millis(20));
    story.insert(3);
    let lsn = story.main.psql("select pg_create_restore_point('three')");
    story.insert(4);
    let xid = story.main.psql("select xmin from t where n = 4");
    story.insert(5);
    story.switch();
    for (name, rows, target) in [
        ("latest", "1,2,3,4,5", &[][..]),
        ("immediate", "1", &["--target-immediate"]),
        ("time", "1,2", &["--target-time", &time]),
        ("short", "1,2", &[&time]),
        ("lsn", "1,2,3", &["--target-lsn", &lsn]),
        ("name", "1,2,3", &["--target-name", "three"]),
        ("xid", "1,2,3,4", &["--target-xid", &xid, "--prove"]),
        (
            "before",
            "1,2,3",
            &["--target-xid", &xid, "--target-exclusive"],
        ),
    ] {
        assert_eq!(story.rows(name, target), rows, "{name}");
    }
    let copy = story.restore("judged", &["--target-immediate"]);
    copy.0.ok().stdout_contains("start it by");
    story.main.pg.verifybackup(&copy.1).unwrap();
    // What can't succeed is refused before a byte is written.
    for (target, text) in [
        (
            &["--target-time", "2026-01-01 00:00:00+00"][..],
            "lies before the end of",
        ),
        (
            &["--target-time", "2126-01-01 00:00:00+00"],
            "the last transaction in the repository ended at",
        ),
        (&["--target-lsn", "7/0"], "isn't in the repository yet"),
        (
            &["--target-xid", "1000000", "--prove"],
            "is not in the WAL behind the end of backup",
        ),
        (
            &["--target-name", "nobody", "--prove"],
            "is not in the WAL behind the end of backup",
        ),
        (
            &["--target-timeline", "7"],
            "has nothing of timeline 7; it has 1",
        ),
    ] {
        let (invocation, to) = story.restore("refused", target);
        invocation.fails(1).stderr_contains(text);
        assert!(!to.exists());
    }
}

fn the_way_along_timelines(pg: PgBin) {
    let mut story = Story::begin(pg);
    story.insert(1);
    story.base();
    story.insert(2);
    let lsn = story.main.psql("select pg_current_wal_lsn()");
    story.insert(3);
    story.switch();
    story.main.stop(Shutdown::Fast);
    // Back to before row 3, in the cluster's own place.
    let own_place = story.main.data_dir().to_owned();
    let bindir = story.main.pg.bindir.display().to_string();
    let all = [
        "restore",
        "--bindir",
        &bindir,
        "--replace",
        "--target-lsn",
        &lsn,
    ];
    story.pgstow(&all).ok().stdout_contains("old cluster");
    story.main.start();
    story.main.wait_until("select pg_is_in_recovery()", "f");
    story.insert(4);
    story.switch();
    story.base();
    story.insert(5);
    story.switch();
    assert!(own_place.join("PG_VERSION").exists());
    let first = fs::read_dir(story.scratch.join("repository/main/base")).unwrap();
    let mut ids: Vec<String> = first
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    ids.sort();
    for (name, rows, wish) in [
        ("newest", "1,2,4,5", &[][..]),
        ("through", "1,2,4,5", &[ids[0].as_str()]),
        ("old", "1,2,3", &["--target-timeline", "1"]),
        ("before", "1,2", &["--target-lsn", &lsn]),
    ] {
        assert_eq!(story.rows(name, wish), rows, "{name}");
    }
    let (second, _) = story.restore("foreign", &[&ids[1], "--target-timeline", "1"]);
    second.fails(1).stderr_contains("not part of timeline 1");
}

fn the_replaced_cluster_gives_its_last_wal(pg: PgBin) {
    let mut story = Story::begin(pg);
    story.insert(1);
    story.base();
    story
        .main
        .psql("alter system set archive_command = 'false'");
    story.main.reload();
    story.insert(2);
    story.main.psql("select pg_switch_wal()");
    story.insert(3);
    let bindir = story.main.pg.bindir.display().to_string();
    let restore = |more: &[&str]| {
        let mut all = vec!["restore", "--bindir", &bindir];
        all.extend(more);
        story.archive.tool.command(&all)
    };
    restore(&["--replace"])
        .fails(1)
        .stderr_contains("stop that server first");
    story.main.stop(Shutdown::Immediate);
    restore(&[]).fails(1).stderr_contains("is not empty");
    restore(&["--replace"])
        .ok()
        .stdout_contains("are taken from this host");
    story.main.start();
    story.main.wait_until("select pg_is_in_recovery()", "f");
    assert_eq!(
        story
            .main
            .psql("select string_agg(n::text, ',' order by n) from t"),
        "1,2,3"
    );
    // The archive has no hole in front of the new timeline.
    story.switch();
    assert_eq!(story.rows("again", &[]), "1,2,3");
}

#[test]
fn an_interrupted_restore_cant_be_started_and_is_cleared() {
    let story = Story::begin(pg(15));
    story
        .main
        .psql("create table filler as select repeat('x', 1000) from generate_series(1, 30000)");
    story.insert(1);
    story.base();
    story.switch();
    for moment in 0..10 {
        let (restore, to) = story.restore("copy", &[]);
        let mut running = restore.spawn();
        thread::sleep(Duration::from_millis(40 * moment));
        if running.is_running() {
            running.signal(Signal::KILL);
        }
        drop(running);
        if to.join("global/pg_control").exists() {
            assert_eq!(story.rows_of(&format!("whole-{moment}"), &to), "1");
            fs::remove_dir_all(&to).unwrap();
        } else if to.join("PG_VERSION").exists() {
            let mut copy = Cluster::existing(
                &story.scratch,
                story.main.pg.clone(),
                &format!("half-{moment}"),
                &to,
            );
            assert!(copy.try_start().is_err());
        }
    }
    assert_eq!(story.rows("copy", &[]), "1");
}

#[test]
fn damage_is_named_and_leaves_nothing_that_starts() {
    let story = Story::begin(pg(15));
    story.insert(1);
    story.base();
    let base = story.scratch.join("repository/main/base");
    let backup = fs::read_dir(base).unwrap().next().unwrap().unwrap().path();
    let part = Stored::at(&backup).parts()[0].clone();
    let mut file = OpenOptions::new().write(true).open(&part).unwrap();
    file.seek(SeekFrom::Start(100_000)).unwrap();
    file.write_all(b"not what it was").unwrap();
    let (restore, to) = story.restore("copy", &[]);
    restore
        .fails(1)
        .stderr_contains("part-0001.tar.zst")
        .stderr_contains("restore an older backup");
    assert!(!to.join("global/pg_control").exists());
}

#[test]
fn tablespaces_need_a_place_of_their_own() {
    let story = Story::begin(pg(15));
    let (old, new) = (story.scratch.folder("ts"), story.scratch.join("new ts"));
    own(&old);
    story.main.psql(&format!(
        "create tablespace ts location '{}'",
        old.display()
    ));
    story
        .main
        .psql("create table far tablespace ts as select 7 as n");
    story.insert(1);
    story.base();
    let (unmapped, _) = story.restore("copy", &[]);
    unmapped
        .fails(2)
        .stderr_contains("say where they go: --tablespace");
    let taken = format!("{0}={0}", old.display());
    let (live, _) = story.restore("copy", &["--tablespace", &taken]);
    live.fails(1).stderr_contains("is not empty");
    let moved = format!("{}={}", old.display(), new.display());
    let (restore, to) = story.restore("copy", &["--tablespace", &moved]);
    restore.ok();
    story.main.pg.verifybackup(&to).unwrap();
    let mut copy = Cluster::existing(&story.scratch, story.main.pg.clone(), "run", &to);
    copy.start();
    assert_eq!(copy.psql("select n from far"), "7");
    assert_eq!(copy.psql("show archive_mode"), "off");
}

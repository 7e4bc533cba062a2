//! `restore-wal`, as servers in recovery and standbys call it.

mod prefetch;

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use pgstow::repo::repository::System;
use rustix::process::Signal;

use crate::harness::{
    Archive, Cluster, PgBin, Scratch, Shutdown, on_every_major, pg,
    user::{self, own},
};

on_every_major!(
    recovery_gets_all_that_was_archived,
    a_missing_segment_never_opens_the_database,
    behind_the_last_that_is_needed_all_may_be_gone,
    a_standby_lives_on_while_the_repository_is_away,
);

/// A cluster of 1 MB segments, a copy of it, WAL behind the copy, and its archive.
struct Story {
    scratch: Scratch,
    archive: Archive,
    main: Cluster,
    system: System,
    copy: PathBuf,
    /// The segments that were archived after the copy, whole.
    segments: Vec<String>,
}

impl Story {
    fn begin(pg: PgBin) -> Self {
        let scratch = Scratch::new();
        let archive = Archive::new(&scratch, "zstd:1");
        let mut main = Cluster::build(&scratch, pg)
            .initdb("--wal-segsize=1")
            .archiving(&archive.tool.shell("archive-wal %p"))
            .make();
        let system = archive.register(&main);
        main.start();
        main.psql("create table t (n int)");
        let copy = scratch.join("copy");
        main.basebackup(&copy, &["--wal-method=none"]);
        let mut story = Self {
            scratch,
            archive,
            main,
            system,
            copy,
            segments: Vec::new(),
        };
        for _ in 0..6 {
            story.write();
        }
        story
    }

    /// A row for each segment, and the segment archived.
    fn write(&mut self) {
        self.main
            .psql("insert into t select coalesce(max(n), 0) + 1 from t");
        self.segments.push(self.main.switch_wal());
    }

    fn rows(&self) -> String {
        self.main.psql("select count(*) from t")
    }

    fn object(&self, segment: &str) -> PathBuf {
        self.archive.object(&self.system, segment)
    }

    /// A server that recovers from the copy; not started yet. `arguments` are restore-wal's.
    fn restored(&self, name: &str, arguments: &str, settings: &str) -> Cluster {
        self.recovering(name, "recovery.signal", "", arguments, settings)
    }

    /// With a shell command before each call of restore-wal.
    fn restored_by(&self, before: &str, name: &str, settings: &str) -> Cluster {
        self.recovering(name, "recovery.signal", before, "", settings)
    }

    fn recovering(
        &self,
        name: &str,
        signal: &str,
        before: &str,
        arguments: &str,
        settings: &str,
    ) -> Cluster {
        let data_dir = self.scratch.join(&format!("{name}-data"));
        user::run_ok(
            user::command("cp", "KILL")
                .arg("-a")
                .arg(&self.copy)
                .arg(&data_dir),
        );
        let command = self
            .archive
            .tool
            .shell(&format!("restore-wal {arguments} %f %p"));
        let mut conf = OpenOptions::new()
            .append(true)
            .open(data_dir.join("postgresql.auto.conf"))
            .unwrap();
        let command = format!("{before}{command}").replace('\'', "''");
        writeln!(conf, "restore_command = '{command}'\n{settings}").unwrap();
        let signal = data_dir.join(signal);
        fs::write(&signal, "").unwrap();
        own(&signal);
        Cluster::existing(&self.scratch, self.main.pg.clone(), name, &data_dir)
    }
}

const NO_ARCHIVING: &str = "archive_mode = off";

fn recovery_gets_all_that_was_archived(pg: PgBin) {
    let story = Story::begin(pg);
    let mut restored = story.restored("restored", "", NO_ARCHIVING);
    restored.recover();
    assert_eq!(restored.psql("select count(*) from t"), story.rows());
    let left: Vec<_> = fs::read_dir(restored.data_dir().join("pg_wal"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".tmp"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

fn a_missing_segment_never_opens_the_database(pg: PgBin) {
    let story = Story::begin(pg);
    let object = story.object(&story.segments[3]);
    fs::remove_file(&object).unwrap();
    let mut restored = story.restored("restored", "", NO_ARCHIVING);
    let log = restored.try_recover().unwrap_err();
    let missing = format!("{} is missing, but is not the end", story.segments[3]);
    assert!(log.contains(&missing), "{log}");
    assert!(!log.contains("archive recovery complete"), "{log}");
}

/// Rule 72: recovery decodes ahead of its target, and asks for what lies there.
fn behind_the_last_that_is_needed_all_may_be_gone(pg: PgBin) {
    let story = Story::begin(pg);
    // As after retention: only the last of them is still there.
    let (needed, behind) = story.segments.split_at(1);
    for segment in &behind[..behind.len() - 1] {
        fs::remove_file(story.object(segment)).unwrap();
    }
    let target = format!(
        "{NO_ARCHIVING}\nrecovery_target = 'immediate'\nrecovery_target_action = 'promote'"
    );
    let last = format!("--last {}", needed[0]);
    let mut restored = story.restored("restored", &last, &target);
    restored.recover();
    restored.psql("insert into t values (1)");
}

fn a_standby_lives_on_while_the_repository_is_away(pg: PgBin) {
    let mut story = Story::begin(pg);
    let mut standby = story.recovering("standby", "standby.signal", "", "", "archive_mode = off");
    standby.start();
    standby.wait_until("select count(*) from t", &story.rows());
    let (here, away) = (story.scratch.join("repository"), story.scratch.join("away"));
    fs::rename(&here, &away).unwrap();
    let log = standby.log().len();
    let warned = |standby: &Cluster| standby.log()[log..].matches("WARN in doubt").count();
    for _ in 0..1200 {
        if warned(&standby) >= 2 {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    assert!(warned(&standby) >= 2, "{}", standby.log());
    assert_eq!(standby.psql("select pg_is_in_recovery()"), "t");
    fs::rename(&away, &here).unwrap();
    story.write();
    standby.wait_until("select count(*) from t", &story.rows());
}

#[test]
fn a_fork_is_the_end_of_the_old_timeline_but_a_hole_before_it_is_not() {
    let mut story = Story::begin(pg(17));
    let old_end = story.rows();
    story.main.stop(Shutdown::Immediate);
    // The restored server goes on archiving, on timeline 2.
    let mut second = story.restored("second", "", "");
    second.recover();
    second.psql("insert into t values (1001)");
    second.switch_wal();
    let new_end = second.psql("select count(*) from t");
    second.stop(Shutdown::Fast);

    let start = |name: &str, timeline: &str| {
        let timeline = format!("{NO_ARCHIVING}\nrecovery_target_timeline = '{timeline}'");
        let mut server = story.restored(name, "", &timeline);
        server
            .try_recover()
            .map(|()| server.psql("select count(*) from t"))
    };
    assert_eq!(start("latest", "latest"), Ok(new_end));
    assert_eq!(start("old", "1"), Ok(old_end));
    // The last segment before the fork.
    let last = story.segments.last().unwrap();
    fs::remove_file(story.object(last)).unwrap();
    for (name, timeline) in [("latest-hole", "latest"), ("old-hole", "1")] {
        let log = start(name, timeline).unwrap_err();
        assert!(log.contains(&format!("{last} is missing")), "{log}");
    }
}

#[test]
fn exit_codes_tell_absent_from_doubt() {
    let story = Story::begin(pg(18));
    let fetched = story.scratch.join("fetched");
    let data_dir = story.main.data_dir().to_owned();
    let words = |words: &[&str], folder: &Path| {
        let mut all = vec!["restore-wal"];
        all.extend(words);
        all.push(fetched.to_str().unwrap());
        story
            .archive
            .tool
            .command(&all)
            .env("PGSTOW_RESTORE_WAL_TIME_LIMIT", "2s")
            .current_dir(folder)
    };
    let get = |name: &str| words(&[name], &data_dir);
    let (first, second) = (&story.segments[0], &story.segments[1]);
    get(first).ok();
    fs::remove_file(&fetched).unwrap();
    get("00000001000000000000FFFF").fails(1);
    get("00000002.history").fails(1);
    get("nonsense").fails(126);
    fs::remove_file(story.object(second)).unwrap();
    get(second)
        .fails(126)
        .stderr_contains("of the same timeline is there");
    words(&["--last", first, second], &data_dir).fails(1);
    fs::write(story.object(first), "damage").unwrap();
    get(first).fails(126).stderr_contains("hint: ");
    // Whose WAL?
    let folder = story.scratch.join("away");
    fs::create_dir(&folder).unwrap();
    own(&folder);
    let id = story.system.system_id.to_string();
    words(&["00000002.history"], &folder)
        .fails(126)
        .stderr_contains("--system-id");
    words(&["--system-id", &id, "00000002.history"], &folder).fails(1);
    words(&["--system-id", "12", "00000002.history"], &folder)
        .fails(126)
        .stderr_contains("not registered");
    // The disk is not mounted.
    fs::rename(story.scratch.join("repository"), folder.join("repository")).unwrap();
    for name in ["00000002.history", "00000001000000000000FFFF"] {
        get(name)
            .fails(126)
            .stderr_contains("there is no repository");
    }
    fs::create_dir(story.scratch.join("repository")).unwrap();
    own(&story.scratch.join("repository"));
    get("00000002.history").fails(126);

    let signal = data_dir.join("standby.signal");
    fs::write(&signal, "").unwrap();
    get("00000002.history").expect_warning("in doubt").fails(1);
    get("nonsense").expect_warning("in doubt").fails(1);
    words(&["--strict", "00000002.history"], &data_dir).fails(126);
    words(&["--strict", "nonsense"], &data_dir).fails(126);
    fs::remove_file(&signal).unwrap();
    assert!(!fetched.exists());
}

#[test]
fn sigterm_ends_it_as_sigterm() {
    let story = Story::begin(pg(16));
    // It waits for the hole to close.
    fs::remove_file(story.object(&story.segments[1])).unwrap();
    let fetched = story.scratch.join("fetched");
    let running = story
        .archive
        .tool
        .command(&["restore-wal", &story.segments[1], fetched.to_str().unwrap()])
        .current_dir(story.main.data_dir())
        .spawn();
    thread::sleep(Duration::from_millis(500));
    running.signal(Signal::TERM);
    let status = running.wait().status;
    assert_eq!(status.signal(), Some(Signal::TERM.as_raw()));
}

//! A drill that is stopped or killed, in each of its phases.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::Site;
use crate::harness::pg;

/// What tells that a drill in this folder has come so far.
type Sign = fn(&Path) -> bool;

const PHASES: [(&str, Sign); 4] = [
    ("restore", |folder| folder.join("data/base").is_dir()),
    ("manifest", |folder| {
        folder.join("data/global/pg_control").exists()
    }),
    ("replay", |folder| {
        folder.join("data/postmaster.pid").exists()
    }),
    ("checks", |folder| {
        let text = fs::read_to_string(folder.join("data/postmaster.pid"));
        text.is_ok_and(|text| text.contains("ready"))
    }),
];

pub fn folder(site: &Site) -> Option<PathBuf> {
    let mut entries = fs::read_dir(&site.drills).unwrap().flatten();
    entries.next().map(|entry| entry.path())
}

/// Processes that work in the folder of a drill, or are told of it.
pub fn at_work(site: &Site) -> Vec<String> {
    let drills = site.drills.to_str().unwrap().to_owned();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| {
        let line = fs::read(process.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let cwd = fs::read_link(process.path().join("cwd")).ok();
        let works = cwd.is_some_and(|cwd| cwd.starts_with(&drills));
        (works || line.contains(&drills)).then_some(line)
    });
    lines.collect()
}

#[track_caller]
pub fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < until, "{what}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn nothing_is_left_behind_in_any_phase() {
    let site = Site::start(pg(18));
    site.stow
        .cluster
        .psql("create table much as select n, md5(n::text) from generate_series(1, 200000) n");
    site.stow.backup(&[]);
    site.stow.cluster.switch_wal();
    // Long enough to be killed in.
    let slow = "SELECT pg_sleep(100) IS NOT NULL";
    for (phase, has_come) in PHASES {
        for signal in [Signal::TERM, Signal::KILL] {
            let mut running = site.drill(&[]).env("PGSTOW_DRILL_SQL", slow).spawn();
            wait_for(phase, || {
                folder(&site).is_some_and(|folder| has_come(&folder))
            });
            assert!(running.is_running(), "{phase}: {}", running.stderr());
            running.signal(signal);
            if signal == Signal::TERM {
                assert_eq!(running.wait().status.code(), Some(130), "{phase}");
                site.assert_clean();
                assert_eq!(at_work(&site), [""; 0], "{phase}");
                continue;
            }
            // Not by dropping it, which would kill what it started, too.
            wait_for(phase, || !running.is_running());
            wait_for("a process of a killed drill lives on", || {
                at_work(&site).is_empty()
            });
            assert!(folder(&site).is_some());
        }
        // The next one clears up behind it, in the repository, too.
        let marks = site.stow.root().join("main/restores");
        let marks = || fs::read_dir(&marks).map_or(0, Iterator::count);
        assert_eq!(marks(), 1, "{phase}");
        site.proves(site.drill(&[]));
        assert_eq!(marks(), 0, "{phase}");
    }
}

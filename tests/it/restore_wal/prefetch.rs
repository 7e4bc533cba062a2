//! Prefetch: what is fetched before it is asked for is served whole and right, or not at all.

use std::{
    fs::{self, File, FileTimes},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

use pgstow::repo::repository::System;
use rustix::{
    fs::{FlockOperation, flock},
    process::{Pid, Signal, kill_process},
};

use super::{NO_ARCHIVING, Story};
use crate::{
    archive_wal::{name_of, segments},
    harness::{
        Archive, Cluster, FullDisk, Scratch, Shutdown, pg,
        random::{Random, rounds},
        stand,
        tool::Invocation,
        user,
    },
};

/// As a spool is named, with the id of a start of the host that is over.
const EARLIER: &str = "1-2-3-4";

/// A stopped cluster that stands for one in recovery, and an archive of 1 MB segments.
struct Recovery<'a> {
    scratch: &'a Scratch,
    archive: Archive,
    main: Cluster,
    system: System,
    truth: Vec<PathBuf>,
}

impl<'a> Recovery<'a> {
    fn new(scratch: &'a Scratch, count: usize) -> Self {
        let archive = Archive::new(scratch, "zstd:1");
        let (main, mut truth) = segments(scratch, &archive, count);
        truth.truncate(count);
        let system = archive.register(&main);
        for path in &truth {
            let words = ["archive-wal", path.to_str().unwrap()];
            drop(archive.tool.command(&words).ok());
        }
        Self {
            scratch,
            archive,
            main,
            system,
            truth,
        }
    }

    /// As the startup process calls it.
    fn call(&self, path: &Path) -> Invocation {
        // As it does before.
        let _ = fs::remove_file(self.fetched());
        self.archive
            .tool
            .command(&["restore-wal", name_of(path), "pg_wal/RECOVERYXLOG"])
            .current_dir(self.main.data_dir())
            .leave_children()
    }

    fn fetched(&self) -> PathBuf {
        self.main.data_dir().join("pg_wal/RECOVERYXLOG")
    }

    /// Fetches one, which must be right.
    #[track_caller]
    fn fetch(&self, path: &Path) {
        drop(self.call(path).ok());
        self.is_right(path);
    }

    #[track_caller]
    fn is_right(&self, path: &Path) {
        let same = fs::read(self.fetched()).unwrap() == fs::read(path).unwrap();
        assert!(same, "{}", path.display());
    }

    /// The spool's folder, if there is one.
    fn spool(&self) -> Option<PathBuf> {
        let all = fs::read_dir(self.scratch.join("state/main/spool")).ok()?;
        let mut all = all.map(|entry| entry.unwrap().path());
        all.find(|path| !path.ends_with(EARLIER))
    }

    /// What is in the spool, once nobody adds to it.
    fn spooled(&self) -> Vec<String> {
        let Some(spool) = self.spool() else {
            return Vec::new();
        };
        // It holds this lock from before it begins.
        let running = File::open(spool.join("running")).unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        while flock(&running, FlockOperation::NonBlockingLockExclusive).is_err() {
            assert!(Instant::now() < until, "the prefetcher runs on");
            thread::sleep(Duration::from_millis(2));
        }
        let mut names: Vec<String> = fs::read_dir(spool)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "running")
            .collect();
        names.sort();
        names
    }

    /// The background process, by its words and this test's folder.
    fn prefetcher(&self) -> Option<Pid> {
        let own = self.scratch.join("state");
        let own = own.to_str().unwrap();
        fs::read_dir("/proc").unwrap().find_map(|entry| {
            let path = entry.ok()?.path();
            let words = fs::read(path.join("cmdline")).ok()?;
            let words = String::from_utf8_lossy(&words);
            let is_it = words.contains("--prefetch") && words.contains(own);
            let id = path.file_name()?.to_str()?.parse().ok()?;
            is_it.then(|| Pid::from_raw(id)).flatten()
        })
    }

    fn names(&self, range: std::ops::Range<usize>) -> Vec<String> {
        let paths = self.truth[range].iter();
        paths.map(|path| name_of(path).to_owned()).collect()
    }
}

/// Gives a file in the spool other bytes, and the time that it had.
fn forge(path: &Path, bytes: &[u8]) {
    let made = fs::metadata(path).unwrap().modified().unwrap();
    fs::write(path, bytes).unwrap();
    set_time(path, made);
}

fn set_time(path: &Path, time: SystemTime) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_times(FileTimes::new().set_modified(time)).unwrap();
}

#[test]
fn what_is_fetched_ahead_is_served_and_bounded() {
    let scratch = Scratch::new();
    let recovery = Recovery::new(&scratch, 12);
    let first = |setting: &str, value: &str| {
        let call = recovery.call(&recovery.truth[0]);
        drop(call.env(setting, value).ok());
        recovery.is_right(&recovery.truth[0]);
        let spooled = recovery.spooled();
        let _ = fs::remove_dir_all(scratch.join("state/main/spool"));
        spooled
    };
    assert_eq!(first("PGSTOW_WAL_PREFETCH", "0"), [""; 0]);
    assert_eq!(first("PGSTOW_WAL_PREFETCH", "3"), recovery.names(1..4));
    assert_eq!(
        first("PGSTOW_WAL_PREFETCH_SIZE", "2MB"),
        recovery.names(1..3)
    );

    // Each is moved out of the spool, and the next ones come in time.
    for (number, path) in recovery.truth.iter().enumerate() {
        let call = recovery.call(path).env("PGSTOW_WAL_PREFETCH", "4");
        drop(call.ok());
        recovery.is_right(path);
        let spooled = recovery.spooled();
        assert!(spooled.len() <= 4, "{spooled:?}");
        assert!(!spooled.contains(&name_of(path).to_owned()), "{spooled:?}");
        let behind = recovery.truth.get(number + 1).map(|path| name_of(path));
        assert_eq!(spooled.first().map(String::as_str), behind);
    }
    // For people, who ask in no order, nothing is fetched ahead, and nothing is taken away.
    let _ = fs::remove_dir_all(scratch.join("state/main/spool"));
    let words = ["restore-wal", name_of(&recovery.truth[0]), "somewhere"];
    let call = recovery.archive.tool.command(&words);
    drop(call.current_dir(recovery.main.data_dir()).ok());
    assert_eq!(recovery.spool(), None);
    // Nor at the end of the archive, where a standby asks again and again.
    recovery.fetch(recovery.truth.last().unwrap());
    assert_eq!(recovery.spool(), None);
}

#[test]
fn a_spool_never_serves_what_is_not_whole_or_not_right() {
    let scratch = Scratch::new();
    let recovery = Recovery::new(&scratch, 8);
    let truth = &recovery.truth;
    recovery.fetch(&truth[0]);
    assert_eq!(recovery.spooled().first().unwrap(), name_of(&truth[1]));
    let spool = recovery.spool().unwrap();
    let in_spool = |number: usize| spool.join(name_of(&truth[number]));

    let half = fs::read(&truth[1]).unwrap();
    forge(&in_spool(1), &half[..half.len() / 2]);
    recovery.fetch(&truth[1]);
    // Another segment under the name.
    forge(&in_spool(2), &fs::read(&truth[4]).unwrap());
    recovery.fetch(&truth[2]);
    // Of another system: its identifier is at byte 24 (XLogLongPageHeaderData).
    let mut foreign = fs::read(&truth[3]).unwrap();
    foreign[24] ^= 1;
    forge(&in_spool(3), &foreign);
    recovery.fetch(&truth[3]);
    // Made from an object that was exchanged since.
    let mut other = fs::read(&truth[4]).unwrap();
    *other.last_mut().unwrap() ^= 1;
    forge(&in_spool(4), &other);
    let object = recovery
        .archive
        .object(&recovery.system, name_of(&truth[4]));
    set_time(&object, SystemTime::now());
    recovery.fetch(&truth[4]);
    // Made from an object that is gone: that is for the archive to say.
    fs::remove_file(
        recovery
            .archive
            .object(&recovery.system, name_of(&truth[5])),
    )
    .unwrap();
    let lost = recovery.call(&truth[5]).fails(126);
    drop(lost.stderr_contains("is missing, but is not the end"));

    // Another data directory, and the same after a restart of the host, have spools of their own.
    let moved = spool.with_file_name(EARLIER);
    fs::rename(&spool, &moved).unwrap();
    let mut forged = fs::read(&truth[6]).unwrap();
    *forged.last_mut().unwrap() ^= 1;
    forge(&moved.join(name_of(&truth[6])), &forged);
    recovery.fetch(&truth[6]);
    // That of an earlier start of the host goes.
    assert_eq!(recovery.spooled(), recovery.names(7..8));
    assert!(!moved.exists());
}

#[test]
fn a_system_is_not_served_from_the_spool_of_another_one() {
    let scratch = Scratch::new();
    let recovery = Recovery::new(&scratch, 4);
    recovery.fetch(&recovery.truth[0]);
    assert_eq!(recovery.spooled(), recovery.names(1..4));
    let other = Cluster::build(&scratch, pg(17)).name("other").make();
    recovery.archive.register(&other);
    let words = [
        "restore-wal",
        name_of(&recovery.truth[1]),
        "pg_wal/RECOVERYXLOG",
    ];
    let call = recovery.archive.tool.command(&words);
    drop(
        call.current_dir(other.data_dir())
            .fails(126)
            .stderr_contains("is empty"),
    );
    assert!(!other.data_dir().join("pg_wal/RECOVERYXLOG").exists());
}

/// The session of a process; 0 if its leader is outside this container (what `getsid` of rustix
/// does not expect).
fn session_of(id: Pid) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", id.as_raw_nonzero())).unwrap();
    // The name, in parentheses, may hold anything; then come state, parent, group and session.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').nth(3).unwrap().parse().unwrap()
}

/// Rule: a background process that keeps a descriptor of the server keeps its log collector.
#[test]
fn the_prefetcher_is_a_session_of_its_own_that_holds_nothing_of_the_server() {
    let scratch = Scratch::new();
    let recovery = Recovery::new(&scratch, 40);
    let held = scratch.join("held");
    let command = recovery
        .archive
        .tool
        .shell("restore-wal %f pg_wal/RECOVERYXLOG");
    let command = command.replace("%f", name_of(&recovery.truth[0]));
    let script = format!("exec 5>{0} 57>{0}; {command}", held.display());
    let mut shell = user::command("bash", "KILL");
    shell
        .args(["-c", &script])
        .env("PGSTOW_WAL_PREFETCH", "39")
        .env("PGSTOW_CLUSTER_JOBS", "1")
        .current_dir(recovery.main.data_dir());
    let mut child = shell.spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    let (id, files) = loop {
        assert!(Instant::now() < until, "no prefetcher was seen");
        let Some(id) = recovery.prefetcher() else {
            continue;
        };
        // Stopped, so that it can be looked at.
        stand(id);
        let folder = format!("/proc/{}/fd", id.as_raw_nonzero());
        let files: Vec<PathBuf> = fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
            .collect();
        // It may not have come to it yet.
        if session_of(id) == id.as_raw_nonzero().get() {
            break (id, files);
        }
        kill_process(id, Signal::CONT).unwrap();
    };
    assert!(child.wait().unwrap().success());
    assert!(!files.contains(&held), "{files:?}");
    assert!(
        files.iter().any(|path| path.ends_with("running")),
        "{files:?}"
    );
    let allowed =
        |path: &PathBuf| path == Path::new("/dev/null") || path.starts_with(scratch.join(""));
    assert!(files.iter().all(allowed), "{files:?}");
    kill_process(id, Signal::CONT).unwrap();
    assert_eq!(recovery.spooled(), recovery.names(1..40));
}

#[test]
fn a_spool_on_another_file_system_serves_copies() {
    let scratch = Scratch::new();
    let recovery = Recovery::new(&scratch, 5);
    let state = scratch.join("state/main");
    user::run_ok(user::command("mkdir", "KILL").arg("-p").arg(&state));
    let _disk = FullDisk::mount(&scratch, "state/main/spool", 64 << 20);
    let wal = recovery.main.data_dir().join("pg_wal");
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    assert_ne!(device(&state.join("spool")), device(&wal));
    recovery.fetch(&recovery.truth[0]);
    for path in &recovery.truth[1..] {
        let name = name_of(path).to_owned();
        assert!(recovery.spooled().contains(&name));
        recovery.fetch(path);
        assert!(!recovery.spooled().contains(&name));
    }
    let beside = fs::read_dir(wal).unwrap();
    let beside = beside.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = beside.filter(|name| name.ends_with(".tmp")).collect();
    assert_eq!(left, [""; 0]);
}

#[test]
fn kill_9_of_the_prefetcher_costs_nothing_but_time() {
    let mut random = Random::new("kill_9_of_the_prefetcher_costs_nothing_but_time");
    let scratch = Scratch::new();
    let recovery = Recovery::new(&scratch, 24);
    let mut killed = 0;
    for _ in 0..rounds(2, 20) {
        for path in &recovery.truth {
            recovery.fetch(path);
            if let Some(id) = recovery.prefetcher() {
                thread::sleep(Duration::from_micros(random.below(8000)));
                killed += usize::from(kill_process(id, Signal::KILL).is_ok());
            }
        }
    }
    assert!(killed > 0, "none was killed");
}

#[test]
fn recovery_is_served_from_the_spool_and_its_end_removes_it() {
    let mut story = Story::begin(pg(18));
    for _ in 0..10 {
        story.write();
    }
    // And on over a change of timelines.
    story.main.stop(Shutdown::Fast);
    let done = story.archive.tool.shell("restore-done").replace('\'', "''");
    let settings = format!("recovery_end_command = '{done}'");
    let mut promoted = story.restored("promoted", "", &settings);
    promoted.recover();
    story.main = promoted;
    for _ in 0..10 {
        story.write();
    }
    let state = story.scratch.join("state/main/spool");
    let seen = story.scratch.join("seen");
    // What lies in the spool before each call, for the judge.
    let look = format!(
        "ls {}/* >>{} 2>/dev/null; ",
        state.display(),
        seen.display()
    );
    let settings = format!("{NO_ARCHIVING}\n{settings}");
    let mut restored = story.restored_by(&look, "restored", &settings);
    restored.recover();
    assert_eq!(restored.psql("select count(*) from t"), story.rows());
    let seen = fs::read_to_string(seen).unwrap();
    for timeline in ["00000001", "00000002"] {
        let segments = story.segments.iter();
        let served = segments.filter(|name| name.starts_with(timeline) && seen.contains(*name));
        assert!(served.count() > 5, "{timeline}: {seen}");
    }
    let left: Vec<_> = fs::read_dir(&state).map_or(Vec::new(), Iterator::collect);
    assert!(left.is_empty(), "{left:?}");
}

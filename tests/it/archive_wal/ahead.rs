//! Look-ahead: what waits is stored in the background, and no call believes what isn't true any more.

use std::{
    fs::{self, File, FileTimes},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use pgstow::repo::repository::System;
use rustix::{
    fs::{FlockOperation, flock},
    process::{Pid, Signal, kill_process},
};
use serde_json::Value;

use crate::harness::{
    Archive, Cluster, Load, Scratch, Shutdown, pg,
    random::{Random, rounds},
    tool::Invocation,
    user::{self, own},
};

/// A stopped cluster of 1 MB segments that wait to be archived.
struct Waiting<'a> {
    scratch: &'a Scratch,
    archive: Archive,
    main: Cluster,
    system: System,
    names: Vec<String>,
}

impl<'a> Waiting<'a> {
    fn new(scratch: &'a Scratch, count: usize) -> Self {
        let archive = Archive::new(scratch, "zstd:1");
        let mut main = Cluster::build(scratch, pg(17))
            .initdb("--wal-segsize=1")
            .archiving("false")
            .start();
        let system = archive.register(&main);
        let status = main.data_dir().join("pg_wal/archive_status");
        main.psql("create table t (x text)");
        while ready(&status).len() < count {
            main.psql("insert into t select md5(n::text) from generate_series(1, 5000) n");
        }
        main.stop(Shutdown::Fast);
        let names = ready(&status);
        Self {
            scratch,
            archive,
            main,
            system,
            names,
        }
    }

    /// As the archiver calls it; its report, once what it started has ended.
    fn archive_wal(&self, name: &str) -> Value {
        self.finished(self.call(name))
    }

    fn finished(&self, call: Invocation) -> Value {
        let report = call.ok().json();
        self.wait_for_the_process();
        report
    }

    fn call(&self, name: &str) -> Invocation {
        let path = format!("pg_wal/{name}");
        self.archive
            .tool
            .command(&["--json", "archive-wal", &path])
            .current_dir(self.main.data_dir())
            .leave_children()
    }

    /// It holds this lock from before it begins.
    fn wait_for_the_process(&self) {
        let Ok(running) = File::open(self.state().join("storing-ahead")) else {
            return;
        };
        let until = Instant::now() + Duration::from_secs(60);
        while flock(&running, FlockOperation::NonBlockingLockExclusive).is_err() {
            assert!(Instant::now() < until, "it runs on");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// The cluster's folder for notes.
    fn state(&self) -> PathBuf {
        self.scratch.join("state/main")
    }

    /// What is noted to be stored.
    fn noted(&self) -> Vec<String> {
        let Ok(text) = fs::read(self.state().join("stored-ahead.json")) else {
            return Vec::new();
        };
        let notes: Value = serde_json::from_slice(&text).unwrap();
        notes["segments"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect()
    }

    /// Nothing is noted, nor the object stored.
    fn forget(&self, name: &str) {
        let _ = fs::remove_file(self.state().join("stored-ahead.json"));
        let _ = fs::remove_file(self.object(name));
    }

    fn wal(&self, name: &str) -> PathBuf {
        self.main.data_dir().join("pg_wal").join(name)
    }

    fn object(&self, name: &str) -> PathBuf {
        self.archive.object(&self.system, name)
    }

    /// What is stored as `name` has the bytes of `path`.
    fn is_stored_as(&self, name: &str, path: &Path) -> bool {
        let fetched = self.scratch.join("fetched");
        let words = ["restore-wal", name, fetched.to_str().unwrap()];
        let fetch = self.archive.tool.command(&words);
        drop(fetch.current_dir(self.main.data_dir()).ok());
        fs::read(fetched).unwrap() == fs::read(path).unwrap()
    }
}

fn ready(status: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(status)
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".ready").map(str::to_owned)
        })
        .collect();
    names.sort();
    names
}

/// The background process of a server below `folder`.
fn process(folder: &Path) -> Option<Pid> {
    fs::read_dir("/proc").unwrap().find_map(|entry| {
        let path = entry.ok()?.path();
        let words = fs::read(path.join("cmdline")).ok()?;
        let looks_ahead = String::from_utf8_lossy(&words).contains("--ahead");
        let is_it = looks_ahead && fs::read_link(path.join("cwd")).ok()?.starts_with(folder);
        let id = path.file_name()?.to_str()?.parse().ok()?;
        is_it.then(|| Pid::from_raw(id)).flatten()
    })
}

#[test]
fn one_call_has_stored_what_waits_and_the_others_return_at_once() {
    let scratch = Scratch::new();
    let waiting = Waiting::new(&scratch, 8);
    let (first, rest) = waiting.names.split_first().unwrap();
    let report = waiting.archive_wal(first);
    assert_eq!(report["ahead"], true);
    assert_eq!(report["acknowledged"], false);
    assert_eq!(waiting.noted(), rest);
    // All are there, each with its own bytes, and PostgreSQL's own notes are as they were.
    assert_eq!(waiting.archive.stored().len(), waiting.names.len());
    for name in &waiting.names {
        assert!(waiting.is_stored_as(name, &waiting.wal(name)), "{name}");
    }
    let status = waiting.main.data_dir().join("pg_wal/archive_status");
    assert_eq!(ready(&status), waiting.names);
    let inodes = |names: &[String]| -> Vec<u64> {
        let inode = |name: &String| fs::metadata(waiting.object(name)).unwrap().ino();
        names.iter().map(inode).collect()
    };
    let stored = inodes(rest);
    for name in rest {
        let report = waiting.archive_wal(name);
        assert_eq!(report["acknowledged"], true, "{report}");
        assert_eq!(report["ahead"], false);
    }
    assert_eq!(inodes(rest), stored);
    // Nothing waits behind the last one, so nothing was noted for it, nor is it noted now.
    fs::remove_dir_all(waiting.state()).unwrap();
    let last = rest.last().unwrap();
    assert_eq!(waiting.archive_wal(last)["acknowledged"], false);
    assert!(!waiting.state().exists());
}

#[test]
fn look_ahead_can_be_bounded_and_turned_off_and_people_get_none() {
    let scratch = Scratch::new();
    let waiting = Waiting::new(&scratch, 9);
    let names = &waiting.names;
    let bounded = |name: &str, most: &str| {
        let call = waiting.call(name).env("PGSTOW_WAL_LOOK_AHEAD", most);
        waiting.finished(call)["ahead"] == true
    };
    assert!(!bounded(&names[0], "0"));
    assert_eq!(waiting.archive.stored().len(), 1);
    assert!(bounded(&names[0], "4"));
    assert_eq!(waiting.noted(), names[1..5]);
    // The next range begins once the half of one is used up; what PostgreSQL has is forgotten.
    assert!(!bounded(&names[1], "4"));
    assert!(bounded(&names[2], "4"));
    assert_eq!(waiting.noted(), names[1..9]);
    let status = |name: &str| waiting.wal(&format!("archive_status/{name}.ready"));
    waiting.forget(&names[8]);
    for name in &names[..5] {
        fs::remove_file(status(name)).unwrap();
    }
    assert!(bounded(&names[5], "4"));
    assert_eq!(waiting.noted(), names[6..names.len().min(10)]);
    // Not called by an archiver: it does not wait.
    waiting.forget(&names[8]);
    fs::remove_file(status(&names[5])).unwrap();
    assert!(!bounded(&names[5], "4"));
}

#[test]
fn what_fails_ahead_fails_nobody_but_its_own_call() {
    let scratch = Scratch::new();
    let waiting = Waiting::new(&scratch, 5);
    let [first, second, third, ..] = &waiting.names[..] else {
        unreachable!();
    };
    let whole = fs::read(waiting.wal(third)).unwrap();
    fs::write(waiting.wal(third), &whole[..8192]).unwrap();
    // One worker: nothing was begun behind the one that failed.
    let call = waiting.call(first).env("PGSTOW_CLUSTER_JOBS", "1");
    assert_eq!(waiting.finished(call)["ahead"], true);
    assert_eq!(waiting.noted(), [second.as_str()]);
    // Several compress at once, but none is stored without those before it.
    waiting.forget(second);
    let call = waiting.call(first).env("PGSTOW_CLUSTER_JOBS", "4");
    assert_eq!(waiting.finished(call)["ahead"], true);
    for later in &waiting.names[2..] {
        assert!(!waiting.object(later).exists(), "{later}");
    }
    drop(waiting.call(third).fails(1).stderr_contains("bytes"));
    fs::write(waiting.wal(third), &whole).unwrap();
    waiting.archive_wal(third);
    assert_eq!(waiting.noted()[..], waiting.names[3..]);
}

/// A FIFO stands where the segment's object is: whoever compares with it hangs.
fn make_fifo(object: &Path) {
    let mut fifo = user::command("mkfifo", "KILL");
    user::run_ok(fifo.arg(object));
}

/// A store that never answers for one segment.
#[test]
fn what_hangs_ahead_costs_its_own_call_alone_the_time_limit() {
    let scratch = Scratch::new();
    let waiting = Waiting::new(&scratch, 4);
    let names = &waiting.names;
    // Makes the folder.
    let call = waiting.call(&names[0]);
    drop(call.env("PGSTOW_WAL_LOOK_AHEAD", "0").ok());
    make_fifo(&waiting.object(&names[2]));
    let call = waiting.call(&names[0]).env("PGSTOW_CLUSTER_JOBS", "2");
    drop(call.env("PGSTOW_ARCHIVE_WAL_TIME_LIMIT", "8s").ok());
    // While the process still hangs.
    let report = waiting.call(&names[1]).ok().json();
    assert_eq!(report["acknowledged"], true);
    assert!(process(waiting.main.data_dir()).is_some());
    // It waits a while for the process, then tries itself.
    let own = waiting.call(&names[2]);
    let own = own.env("PGSTOW_ARCHIVE_WAL_TIME_LIMIT", "2s").fails(1);
    drop(own.stderr_contains("not done after"));
    // That of the process ends it.
    waiting.wait_for_the_process();
    assert_eq!(waiting.noted(), [names[1].as_str()]);
    // Whoever inherits it, such as the postmaster of a container, sees nothing that crashed.
    let path = format!("pg_wal/{}", names[2]);
    let words = ["archive-wal", "--ahead", &path];
    let process = waiting.archive.tool.command(&words);
    let process = process.current_dir(waiting.main.data_dir()).spawn();
    thread::sleep(Duration::from_millis(300));
    process.signal(Signal::TERM);
    assert_eq!(process.wait().status.code(), Some(0));
}

/// Each of these makes an acknowledgement a lie, or at least a guess.
#[test]
fn a_stale_acknowledgement_is_never_believed() {
    let scratch = Scratch::new();
    let waiting = Waiting::new(&scratch, 4);
    let name = &waiting.names[1];
    let note = scratch.join("state/main/stored-ahead.json");
    let again = || {
        let _ = fs::remove_file(&note);
        waiting.archive_wal(&waiting.names[0]);
        assert_eq!(waiting.archive_wal(name)["acknowledged"], true);
    };
    let believed = || waiting.archive_wal(name)["acknowledged"] == true;
    let wal = waiting.wal(name);
    let whole = fs::read(&wal).unwrap();

    // Other bytes, with the time that the file had: the store has others, and says so.
    again();
    let times = fs::metadata(&wal).unwrap();
    let times = FileTimes::new().set_modified(times.modified().unwrap());
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(&wal, &changed).unwrap();
    let file = File::options().write(true).open(&wal).unwrap();
    file.set_times(times).unwrap();
    drop(waiting.call(name).fails(1).stderr_contains("other bytes"));
    fs::write(&wal, &whole).unwrap();

    // Another file of the same bytes, as a restore brings it.
    again();
    fs::remove_file(&wal).unwrap();
    fs::write(&wal, &whole).unwrap();
    own(&wal);
    assert!(!believed());

    // A segment under the name of another one, as when it was recycled.
    again();
    let next = waiting.wal(&waiting.names[2]);
    let other = fs::read(&next).unwrap();
    fs::rename(&next, &wal).unwrap();
    drop(waiting.call(name).fails(1).stderr_contains("must begin at"));
    for (path, bytes) in [(&wal, &whole), (&next, &other)] {
        fs::write(path, bytes).unwrap();
        own(path);
    }

    // The object is gone, or cut off.
    again();
    let object = waiting.object(name);
    fs::remove_file(&object).unwrap();
    assert!(!believed());
    assert!(waiting.is_stored_as(name, &wal));
    again();
    File::options()
        .write(true)
        .open(&object)
        .unwrap()
        .set_len(9)
        .unwrap();
    drop(waiting.call(name).fails(1).stderr_contains("damaged"));
    fs::remove_file(&object).unwrap();
    waiting.archive_wal(name);

    // Another repository in the place of the one that has it: a copy with an id of its own, so
    // that nothing else tells them apart.
    again();
    let identity = scratch.join("repository/repository.json");
    let text = fs::read_to_string(&identity).unwrap();
    let id = serde_json::from_str::<Value>(&text).unwrap()["id"].clone();
    fs::write(&identity, r#"{"format": 1, "id": "another"}"#).unwrap();
    assert!(!believed());
    fs::write(&identity, format!(r#"{{"format": 1, "id": {id}}}"#)).unwrap();
    again();
    // The repository is away.
    let (here, away) = (scratch.join("repository"), scratch.join("away"));
    fs::rename(&here, &away).unwrap();
    drop(waiting.call(name).fails(1).stderr_contains("no repository"));
    fs::rename(&away, &here).unwrap();
    assert!(believed());

    // Another cluster's data directory, in which the very same file lies.
    let other = Cluster::build(&scratch, pg(17)).name("other").make();
    let path = wal.to_str().unwrap();
    let report = waiting
        .archive
        .tool
        .command(&["--json", "archive-wal", path])
        .current_dir(other.data_dir())
        .ok()
        .json();
    assert_eq!(report["acknowledged"], false);
    assert!(believed());

    // pg_resetwal -f gives the system another WAL, whose segments have names that were used.
    let reset = waiting.main.pg.bindir.join("pg_resetwal");
    let mut command = user::command(&reset, "KILL");
    command.arg("-f").arg(waiting.main.data_dir());
    user::run_ok(&mut command);
    assert!(!wal.exists());
    drop(waiting.call(name).fails(1).stderr_contains("No such file"));

    // What is no list of acknowledgements is none.
    fs::write(&wal, &whole).unwrap();
    fs::write(&note, "{").unwrap();
    assert!(!believed());
}

#[test]
fn an_acknowledgement_covers_the_repositories_that_it_names_and_no_other() {
    let scratch = Scratch::new();
    let waiting = Waiting::new(&scratch, 4);
    waiting.archive_wal(&waiting.names[0]);
    let name = &waiting.names[1];
    assert_eq!(waiting.archive_wal(name)["acknowledged"], true);
    let second = scratch.join("second");
    let mut copy = user::command("cp", "KILL");
    user::run_ok(copy.arg("-a").arg(scratch.join("repository")).arg(&second));
    // As `init` makes it.
    fs::write(
        second.join("repository.json"),
        r#"{"format": 1, "id": "second"}"#,
    )
    .unwrap();
    fs::remove_dir_all(second.join("main/wal")).unwrap();
    waiting.archive.add_repository("second", &second);
    let report = waiting.archive_wal(name);
    assert_eq!(report["acknowledged"], false);
    assert_eq!(report["ahead"], true);
    let expected: Vec<String> = waiting.names[1..]
        .iter()
        .map(|name| format!("{name}.zst"))
        .collect();
    assert_eq!(crate::harness::archive::stored_in(&second), expected);
    assert_eq!(waiting.archive_wal(name)["acknowledged"], false);
    assert_eq!(waiting.archive_wal(&waiting.names[2])["acknowledged"], true);
}

/// PostgreSQL asks for the same file again and again then: what waits behind it would be nowhere but on its own host.
#[test]
fn one_that_is_away_keeps_no_wal_from_the_others() {
    for asked_for in ["segment", "history", "while it hangs"] {
        let scratch = Scratch::new();
        let waiting = Waiting::new(&scratch, 6);
        let second = scratch.join("second");
        let mut copy = user::command("cp", "KILL");
        user::run_ok(copy.arg("-a").arg(scratch.join("repository")).arg(&second));
        // As `init` makes it.
        let description = r#"{"format": 1, "id": "second"}"#;
        let identity = second.join("repository.json");
        fs::write(&identity, description).unwrap();
        waiting.archive.add_repository("second", &second);
        let mut expected: Vec<String> = waiting
            .names
            .iter()
            .map(|name| format!("{name}.zst"))
            .collect();
        let has_all = |expected: &[String]| waiting.archive.stored() == expected;
        let away = scratch.join("away");
        match asked_for {
            "while it hangs" => {
                fs::remove_file(&identity).unwrap();
                make_fifo(&identity);
                let call = waiting.call(&waiting.names[0]).spawn();
                let until = Instant::now() + Duration::from_secs(60);
                while !has_all(&expected) {
                    assert!(Instant::now() < until, "{:?}", waiting.archive.stored());
                    thread::sleep(Duration::from_millis(20));
                }
                call.signal(Signal::TERM);
                assert_eq!(call.wait().status.code(), Some(1));
                fs::remove_file(&identity).unwrap();
                fs::write(&identity, description).unwrap();
            }
            "history" => {
                let history = "00000002.history";
                fs::write(waiting.wal(history), "1\t0/200000\tno reason\n").unwrap();
                fs::write(waiting.wal(&format!("archive_status/{history}.ready")), "").unwrap();
                own(&waiting.wal(history));
                expected.push(history.to_owned());
                fs::rename(&second, &away).unwrap();
                drop(
                    waiting
                        .call(history)
                        .fails(1)
                        .stderr_contains("no repository"),
                );
            }
            _ => {
                fs::rename(&second, &away).unwrap();
                let call = waiting.call(&waiting.names[0]);
                drop(call.fails(1).stderr_contains("no repository"));
            }
        }
        waiting.wait_for_the_process();
        assert!(has_all(&expected), "{:?}", waiting.archive.stored());
        // So none of it is read again at the next tries.
        assert!(
            waiting
                .names
                .iter()
                .all(|name| waiting.noted().contains(name))
        );
        if away.exists() {
            fs::rename(&away, &second).unwrap();
        }
        for name in &waiting.names {
            assert!(
                waiting
                    .wal(&format!("archive_status/{name}.ready"))
                    .exists()
            );
            let report = waiting.archive_wal(name);
            assert_eq!(report["repositories"].as_array().unwrap().len(), 2);
            for repository in ["local", "second"] {
                let fetched = scratch.join("fetched");
                let to = fetched.to_str().unwrap();
                let words = [
                    "--repo",
                    repository,
                    "restore-wal",
                    "--no-fallback",
                    name,
                    to,
                ];
                let fetch = waiting.archive.tool.command(&words);
                drop(fetch.current_dir(waiting.main.data_dir()).ok());
                let same = fs::read(&fetched).unwrap() == fs::read(waiting.wal(name)).unwrap();
                assert!(same, "{name} in {repository}");
            }
        }
    }
}

/// A backup counts by its `.backup`, and without a `.history` nobody finds what a new timeline begins with.
#[test]
fn one_that_is_away_keeps_no_other_file_from_the_others() {
    let scratch = Scratch::new();
    let waiting = Waiting::new(&scratch, 6);
    let names = &waiting.names;
    let [before, behind] = [1, 5].map(|number: usize| format!("{}.00000028.backup", names[number]));
    let history = "00000002.history".to_owned();
    for (name, text) in [
        (&before, "START WAL LOCATION: 0/100028\n"),
        (&behind, "START WAL LOCATION: 0/500028\n"),
        (&history, "1\t0/900000\tno reason\n"),
    ] {
        fs::write(waiting.wal(name), text).unwrap();
        own(&waiting.wal(name));
        fs::write(waiting.wal(&format!("archive_status/{name}.ready")), "").unwrap();
    }
    // One of which nothing behind it is stored.
    let whole = fs::read(waiting.wal(&names[3])).unwrap();
    fs::write(waiting.wal(&names[3]), &whole[..8192]).unwrap();
    waiting
        .archive
        .add_repository("second", &scratch.join("second"));
    let stored = |rest: &[&String], segments: usize| {
        let segments = names[..segments].iter().map(|name| format!("{name}.zst"));
        let mut all: Vec<String> = segments.chain(rest.iter().copied().cloned()).collect();
        all.sort();
        all
    };
    let asks = || {
        // One worker: what is before one that fails is stored.
        let call = waiting.call(&names[0]).env("PGSTOW_CLUSTER_JOBS", "1");
        drop(call.fails(1).stderr_contains("no repository"));
        waiting.wait_for_the_process();
    };
    asks();
    assert_eq!(waiting.archive.stored(), stored(&[&before, &history], 3));
    fs::write(waiting.wal(&names[3]), &whole).unwrap();
    asks();
    let all = stored(&[&before, &behind, &history], names.len());
    assert_eq!(waiting.archive.stored(), all);
    // What is stored already is noted, and another one is stored alone.
    let noted = waiting.noted();
    assert!(
        noted.contains(&before) && noted.contains(&history),
        "{noted:?}"
    );
    let late = format!("{}.00000060.backup", names[5]);
    fs::copy(waiting.wal(&behind), waiting.wal(&late)).unwrap();
    own(&waiting.wal(&late));
    fs::write(waiting.wal(&format!("archive_status/{late}.ready")), "").unwrap();
    let inode = |name: &str| fs::metadata(waiting.object(name)).unwrap().ino();
    let before_it = inode(&behind);
    asks();
    assert_eq!(inode(&behind), before_it);
    for name in [&before, &behind, &late, &history] {
        let same = fs::read(waiting.object(name)).unwrap() == fs::read(waiting.wal(name)).unwrap();
        assert!(same, "{name}");
        // PostgreSQL's own files are as they were: all have yet to have it.
        assert!(
            waiting
                .wal(&format!("archive_status/{name}.ready"))
                .exists()
        );
        drop(waiting.call(name).fails(1).stderr_contains("no repository"));
    }
}

/// Neither grows with what waits: 2 workers, whatever is behind.
#[test]
fn memory_and_open_files_are_bounded_by_workers() {
    let scratch = Scratch::new();
    let waiting = Waiting::new(&scratch, 40);
    // Makes the folder for notes.
    waiting.archive_wal(&waiting.names[0]);
    let measure = |most: &str| {
        waiting.forget(&waiting.names[0]);
        let _ = fs::remove_dir_all(scratch.join("repository/main/wal"));
        drop(
            waiting
                .call(&waiting.names[0])
                .env("PGSTOW_WAL_LOOK_AHEAD", "0")
                .ok(),
        );
        // The process itself, in the foreground.
        let path = format!("pg_wal/{}", waiting.names[1]);
        let running = waiting
            .archive
            .tool
            .command(&["archive-wal", "--ahead", &path])
            .current_dir(waiting.main.data_dir())
            .env("PGSTOW_WAL_LOOK_AHEAD", most)
            .env("PGSTOW_CLUSTER_JOBS", "2")
            .env("PGSTOW_REPO_COMPRESSION", "zstd:9")
            .spawn();
        let id = running.id();
        let watcher = thread::spawn(move || {
            let mut files = 0;
            // A zombie has none.
            while let Ok(entries) = fs::read_dir(format!("/proc/{id}/fd")) {
                let now = entries.count();
                files = files.max(now);
                thread::sleep(Duration::from_millis(1));
            }
            files
        });
        let (_, memory) = running.watch();
        (waiting.noted().len(), memory, watcher.join().unwrap())
    };
    let (few, few_memory, few_files) = measure("4");
    let (many, many_memory, many_files) = measure("39");
    assert_eq!((few, many), (4, 39));
    assert!(
        many_memory < few_memory + (8 << 20),
        "{few_memory} {many_memory}"
    );
    assert!(many_files < few_files + 8, "{few_files} {many_files}");
}

/// Whether all segments between the first and the last are stored.
fn is_without_hole(archive: &Archive) -> bool {
    let names = archive.stored();
    let mut numbers: Vec<u64> = names
        .iter()
        .filter(|name| name.len() == 24)
        .map(|name| u64::from_str_radix(&name[16..], 16).unwrap())
        .collect();
    numbers.sort_unstable();
    numbers.windows(2).all(|pair| pair[0] + 1 == pair[1])
}

/// Under pgbench, archive-wal and the process that looks ahead are killed at random moments.
/// Whatever PostgreSQL was told to be archived is, byte for byte.
#[test]
fn kill_9_loses_nothing_that_was_acknowledged() {
    let mut random = Random::new("kill_9_loses_nothing_that_was_acknowledged");
    let scratch = Scratch::new();
    let archive = Archive::new(&scratch, "zstd:9");
    let (truth, notes) = (scratch.folder("truth"), scratch.folder("notes"));
    let archive_wal = archive.tool.shell("--json archive-wal %p");
    // Not above 125, which would end the archiver; its exit code is noted after PostgreSQL's view.
    let command = format!(
        "cp %p {truth}/%f; sh -c 'echo $$ >{notes}/pid; exec \"$@\"' sh {archive_wal} >>{notes}/reports \
         && echo %f >>{notes}/acknowledged || exit 1",
        truth = truth.display(),
        notes = notes.display()
    );
    let mut main = Cluster::build(&scratch, pg(18))
        .initdb("--wal-segsize=1")
        .archiving(&command)
        .make();
    archive.register(&main);
    main.start();
    let load = Load::start(&main, 5, 3000);
    let pid = notes.join("pid");
    let (mut killed, mut ahead_killed) = (0, 0);
    let rounds = rounds(15, 100);
    while killed < rounds {
        thread::sleep(Duration::from_millis(random.below(120)));
        let id = fs::read_to_string(&pid).unwrap_or_default();
        let Some(id) = id.trim().parse().ok().and_then(Pid::from_raw) else {
            continue;
        };
        // Emptied, so that nobody is killed twice, whoever has the number then.
        fs::write(&pid, "").unwrap();
        killed += u64::from(kill_process(id, Signal::KILL).is_ok());
        if let Some(id) = process(main.data_dir()).filter(|_| random.below(2) == 0) {
            ahead_killed += u64::from(kill_process(id, Signal::KILL).is_ok());
        }
        // A listing may miss one that comes while it is read, but not twice.
        assert!(is_without_hole(&archive) || is_without_hole(&archive));
    }
    load.stop(&main);
    assert!(ahead_killed > 0, "no process that looks ahead was killed");
    // Failed attempts are repeated after a minute at the latest; a reload wakes the archiver.
    let last = main.switch_wal();
    let acknowledged = fs::read_to_string(notes.join("acknowledged")).unwrap();
    let names: Vec<&str> = acknowledged.lines().collect();
    assert!(names.contains(&last.as_str()));
    let fetched = scratch.join("fetched");
    for name in &names {
        let words = ["restore-wal", name, fetched.to_str().unwrap()];
        let fetch = archive.tool.command(&words);
        drop(fetch.current_dir(main.data_dir()).ok());
        let same = fs::read(&fetched).unwrap() == fs::read(truth.join(name)).unwrap();
        assert!(same, "{name}");
    }
    // What was told archived without its own call storing it is what this is about.
    let reports = fs::read_to_string(notes.join("reports")).unwrap();
    let ahead = reports.matches("\"acknowledged\": true").count();
    assert!(ahead > 0, "no call relied on an earlier one");
}

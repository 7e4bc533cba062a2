//! `archive-wal`, as servers and people call it.

mod ahead;
mod given_up;
mod secrets;

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::harness::{
    Archive, Cluster, FullDisk, Load, PgBin, Scratch,
    archive::{hidden_in, stored_in},
    on_every_major, pg,
    random::Random,
    user,
};

on_every_major!(what_a_server_archives_comes_back);

/// An archive_command that keeps a copy beside, as the truth.
fn copying(archive: &Archive, truth: &Path) -> String {
    let archive_wal = archive.tool.shell("archive-wal %p");
    format!("cp %p {}/%f && {archive_wal}", truth.display())
}

/// Every file in `truth`, fetched by restore-wal, has the same bytes.
fn all_come_back(scratch: &Scratch, archive: &Archive, cluster: &Cluster, truth: &Path) -> usize {
    let names: Vec<String> = fs::read_dir(truth)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let fetched = scratch.join("fetched");
    for name in &names {
        archive
            .tool
            .command(&["restore-wal", name, fetched.to_str().unwrap()])
            .current_dir(cluster.data_dir())
            .ok();
        let same = fs::read(&fetched).unwrap() == fs::read(truth.join(name)).unwrap();
        assert!(same, "{name}");
    }
    names.len()
}

fn what_a_server_archives_comes_back(pg: PgBin) {
    archives_and_compares(pg, 16, "zstd:1");
}

#[test]
fn segments_of_1_and_64_mb_in_every_codec() {
    archives_and_compares(pg(15), 1, "none");
    archives_and_compares(pg(16), 1, "lz4");
    archives_and_compares(pg(17), 64, "gzip:1");
    archives_and_compares(pg(18), 64, "zstd");
}

fn archives_and_compares(pg: PgBin, segment_mb: u32, compression: &str) {
    let scratch = Scratch::new();
    let archive = Archive::new(&scratch, compression);
    let truth = scratch.folder("truth");
    let mut main = Cluster::build(&scratch, pg)
        .initdb(&format!("--wal-segsize={segment_mb}"))
        .archiving(&copying(&archive, &truth))
        .make();
    archive.register(&main);
    main.start();
    let load = Load::start(&main, 1, 500);
    for _ in 0..3 {
        main.switch_wal();
    }
    load.stop(&main);
    // With a .backup file.
    main.basebackup(&scratch.join("copy"), &["--wal-method=none"]);
    main.switch_wal();
    let files = all_come_back(&scratch, &archive, &main, &truth);
    assert!(files >= 5, "{files} files");
    assert!(
        archive
            .stored()
            .iter()
            .any(|name| name.ends_with(".backup"))
    );
    assert_eq!(main.psql("select failed_count from pg_stat_archiver"), "0");
}

#[test]
fn archiving_goes_on_after_a_promotion() {
    let scratch = Scratch::new();
    let archive = Archive::new(&scratch, "zstd");
    let truth = scratch.folder("truth");
    let mut main = Cluster::build(&scratch, pg(18))
        .archiving(&copying(&archive, &truth))
        .make();
    archive.register(&main);
    main.start();
    let copy = scratch.join("copy");
    main.basebackup(&copy, &["--write-recovery-conf"]);
    let mut standby = Cluster::existing(&scratch, pg(18), "standby", &copy);
    standby.start();
    main.psql("create table t as select generate_series(1, 1000)");
    standby.wait_until("select count(*) from t", "1000");
    standby.promote();
    let first = standby.switch_wal();
    assert!(first.starts_with("00000002"));
    standby.switch_wal();
    let stored = archive.stored();
    let has = |name: &str| stored.iter().any(|stored| stored.as_str() == name);
    assert!(has("00000002.history"), "{stored:?}");
    assert!(has(&format!("{first}.zst")), "{stored:?}");
    let partial = format!("00000001{}.partial.zst", &first[8..]);
    assert!(has(&partial), "{stored:?}");
    all_come_back(&scratch, &archive, &standby, &truth);

    // The first segment begins with pages of the old timeline, else this would prove nothing.
    let header = fs::read(truth.join(&first)).unwrap();
    assert_eq!(header[4..8], 1u32.to_le_bytes());

    // The old primary lives on, and wants to store other bytes under a known name: by a history
    // of its own.
    let history = fs::read_to_string(truth.join("00000002.history")).unwrap();
    let other = file(&scratch, "00000002.history", history.replace("0/", "1/"));
    archive
        .tool
        .command(&["archive-wal", other.to_str().unwrap()])
        .current_dir(main.data_dir())
        .fails(1)
        .stderr_contains("with other bytes")
        .stderr_contains("old primary")
        // And by another way: a restored server that could not know of a number.
        .stderr_contains("restore anew while all repositories answer");
}

/// A stopped cluster of 1 MB segments, and some of them.
pub fn segments(scratch: &Scratch, archive: &Archive, count: usize) -> (Cluster, Vec<PathBuf>) {
    let truth = scratch.folder("segments");
    let mut main = Cluster::build(scratch, pg(17))
        .initdb("--wal-segsize=1")
        .archiving(&format!("cp %p {}/%f", truth.display()))
        .start();
    archive.register(&main);
    main.psql("create table t (x text)");
    while fs::read_dir(&truth).unwrap().count() < count {
        main.psql("insert into t select md5(n::text) from generate_series(1, 5000) n");
    }
    main.stop(crate::harness::Shutdown::Fast);
    let mut paths: Vec<_> = fs::read_dir(&truth)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    (main, paths)
}

fn file(scratch: &Scratch, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = scratch.join(name);
    fs::write(&path, content).unwrap();
    path
}

pub fn name_of(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

fn word(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn what_is_wrong_is_refused_and_harms_nothing() {
    let scratch = Scratch::new();
    let archive = Archive::new(&scratch, "zstd");
    let (_main, paths) = segments(&scratch, &archive, 3);
    let (first, second) = (&paths[0], &paths[1]);
    let push = |path: &Path, name: &str| archive.tool.command(&["archive-wal", word(path), name]);
    push(first, name_of(first)).ok();
    let stored = archive.stored();

    let whole = fs::read(second).unwrap();
    let cut = file(&scratch, "cut", &whole[..whole.len() - 8192]);
    let empty = file(&scratch, "empty", "");
    let zeros = file(&scratch, "zeros", vec![0; whole.len()]);
    for (path, name, wrong) in [
        (&cut, name_of(second), "bytes"),
        (&empty, name_of(second), "too short"),
        (&zeros, name_of(second), "zeros"),
        (second, name_of(&paths[2]), "must begin at"),
        (second, "000000010000000000000001.history", "not the name"),
        (&scratch.join("main"), name_of(second), "not a regular file"),
        (&scratch.join("absent"), name_of(second), "No such file"),
    ] {
        push(path, name).fails(1).stderr_contains(wrong);
    }
    let mut other = fs::read(first).unwrap();
    *other.last_mut().unwrap() ^= 1;
    let other = file(&scratch, "other", &other);
    push(&other, name_of(first))
        .fails(1)
        .stderr_contains("is stored already, with other bytes")
        .stderr_contains("offered now:");
    assert_eq!(archive.stored(), stored);
    // The same again is fine.
    push(first, name_of(first)).ok();
    assert_eq!(archive.stored(), stored);
}

#[test]
fn a_second_cluster_is_refused() {
    let scratch = Scratch::new();
    let archive = Archive::new(&scratch, "zstd");
    let mut main = Cluster::build(&scratch, pg(16))
        .archiving(&archive.tool.shell("archive-wal %p"))
        .make();
    archive.register(&main);
    main.start();
    main.switch_wal();
    let stored = archive.stored();
    let other = Cluster::build(&scratch, pg(16))
        .name("other")
        .archiving(&archive.tool.shell("archive-wal %p"))
        .start();
    other.psql("select pg_switch_wal()");
    other.wait_until("select failed_count > 0 from pg_stat_archiver", "t");
    assert_eq!(
        other.psql("select archived_count from pg_stat_archiver"),
        "0"
    );
    assert!(other.log().contains("is not registered for cluster main"));
    assert!(other.log().contains("hint: "));
    assert_eq!(archive.stored(), stored);
}

#[test]
fn a_full_disk_stops_archiving_and_room_lets_it_go_on() {
    let scratch = Scratch::new();
    let disk = FullDisk::mount(&scratch, "disk", 8 << 20);
    let archive = Archive::at(&scratch, disk.path(), "none");
    let mut main = Cluster::build(&scratch, pg(15))
        .initdb("--wal-segsize=1")
        .archiving(&archive.tool.shell("archive-wal %p"))
        .make();
    archive.register(&main);
    main.start();
    main.psql("create table t (x text)");
    while main.psql("select failed_count > 0 from pg_stat_archiver") == "f" {
        main.psql("insert into t select md5(n::text) from generate_series(1, 5000) n");
    }
    assert!(main.log().contains("No space left"));
    assert!(main.log().contains("hint: free space"));
    let stored = archive.stored();
    assert!(stored.iter().all(|name| name.len() == 24), "{stored:?}");
    disk.resize(256 << 20);
    main.switch_wal();
    assert!(archive.stored().len() > stored.len());
}

#[test]
fn every_repository_gets_it_even_if_one_fails() {
    let scratch = Scratch::new();
    let archive = Archive::new(&scratch, "zstd");
    let (_main, paths) = segments(&scratch, &archive, 1);
    let first = scratch.join("repository");
    let second = add_second(&scratch, &archive);
    let away = scratch.join("away");
    fs::rename(&first, &away).unwrap();
    let push = || archive.tool.command(&["archive-wal", word(&paths[0])]);
    push().fails(1).stderr_contains("in repository local");
    assert_eq!(stored_in(&second), [format!("{}.zst", name_of(&paths[0]))]);
    fs::rename(&away, &first).unwrap();
    push().ok();
    assert_eq!(stored_in(&first), stored_in(&second));
    fs::rename(&first, &away).unwrap();
    fs::rename(&second, scratch.join("away too")).unwrap();
    push()
        .fails(1)
        .stderr_contains("in repository local")
        .stderr_contains("in repository second");
}

/// Another repository, which knows the same systems.
fn add_second(scratch: &Scratch, archive: &Archive) -> PathBuf {
    let (first, second) = (scratch.join("repository"), scratch.join("second"));
    user::run_ok(
        user::command("cp", "KILL")
            .arg("-a")
            .arg(&first)
            .arg(&second),
    );
    archive.add_repository("second", &second);
    second
}

#[test]
fn a_repository_that_hangs_holds_up_no_other() {
    let scratch = Scratch::new();
    let archive = Archive::new(&scratch, "zstd");
    let (main, paths) = segments(&scratch, &archive, 1);
    let second = add_second(&scratch, &archive);
    hang(&scratch, &archive, &main);
    let push = archive.tool.command(&["archive-wal", word(&paths[0])]);
    let hung = push.env("PGSTOW_ARCHIVE_WAL_TIME_LIMIT", "5s").fails(1);
    let hung = hung.stderr_contains("not done after 5.0 s, while opening the repository");
    assert!(!hung.stderr.contains("second"), "{}", hung.stderr);
    assert_eq!(stored_in(&second), [format!("{}.zst", name_of(&paths[0]))]);

    // Nor on the way back, and recovery doesn't wait for it again and again.
    let note = scratch.join("state/main/repository-away");
    for _ in 0..2 {
        let fetched = scratch.join("fetched");
        archive
            .tool
            .command(&["restore-wal", name_of(&paths[0]), word(&fetched)])
            .current_dir(main.data_dir())
            .env("PGSTOW_RESTORE_WAL_TIME_LIMIT", "20s")
            .expect_warning("comes from repository second: asking the chosen repository: no answer")
            .ok();
        assert!(fs::read(&fetched).unwrap() == fs::read(&paths[0]).unwrap());
        fs::remove_file(fetched).unwrap();
        let why = fs::read_to_string(&note).unwrap();
        assert!(why.contains("no answer after"), "{why}");
    }
}

/// The store hangs: a FIFO that nobody writes stands where a system is registered.
fn hang(scratch: &Scratch, archive: &Archive, main: &Cluster) {
    let system = archive.register(main);
    let file = scratch.join(&format!(
        "repository/main/systems/{}.json",
        system.system_id
    ));
    fs::remove_file(&file).unwrap();
    user::run_ok(user::command("mkfifo", "KILL").arg(&file));
}

#[test]
fn a_store_that_hangs_ends_at_the_time_limit_or_by_sigterm() {
    let scratch = Scratch::new();
    let archive = Archive::new(&scratch, "zstd");
    let (main, paths) = segments(&scratch, &archive, 1);
    hang(&scratch, &archive, &main);
    let segment = &paths[0];
    let push = || archive.tool.command(&["archive-wal", word(segment)]);
    let begin = Instant::now();
    push()
        .env("PGSTOW_ARCHIVE_WAL_TIME_LIMIT", "1s")
        .fails(1)
        .stderr_contains("not done after 1.0 s, while opening the repository");
    let fetch = || {
        let name = name_of(segment);
        let fetched = scratch.join("fetched");
        archive
            .tool
            .command(&["restore-wal", name, word(&fetched)])
            .env("PGSTOW_RESTORE_WAL_TIME_LIMIT", "1s")
            .current_dir(main.data_dir())
    };
    fetch().fails(126).stderr_contains("not done after 1.0 s");
    fs::write(main.data_dir().join("standby.signal"), "").unwrap();
    fetch().expect_warning("in doubt").fails(1);
    assert!(begin.elapsed() < Duration::from_secs(10));

    let running = push().spawn();
    thread::sleep(Duration::from_millis(300));
    running.signal(Signal::TERM);
    assert_eq!(running.wait().status.code(), Some(1));
}

/// A run may take longer than those that follow: where one came to its end, the next is killed so much sooner.
const SOONER: f64 = 0.7;

/// Stands for a crash of the host as far as a process can: it dies anywhere.
#[test]
fn kill_9_leaves_nothing_half_done() {
    let long = std::env::var_os("PGSTOW_TEST_LONG").is_some();
    let mut random = Random::new("kill_9_leaves_nothing_half_done");
    let scratch = Scratch::new();
    let archive = Archive::new(&scratch, "zstd:12");
    let (main, paths) = segments(&scratch, &archive, 3);
    let system = archive.register(&main);
    let push = |path: &Path| archive.tool.command(&["archive-wal", word(path)]);
    let begin = Instant::now();
    push(&paths[0]).ok();
    let mut usual = begin.elapsed();
    let mut killed = 0;
    for _ in 0..if long { 50 } else { 10 } {
        let path = &paths[random.below(paths.len() as u64) as usize];
        let object = archive.object(&system, name_of(path));
        let _ = fs::remove_file(&object);
        let running = push(path).spawn();
        thread::sleep(usual.mul_f64(random.below(1000) as f64 / 900.0));
        running.signal(Signal::KILL);
        let acknowledged = running.wait().status.success();
        killed += usize::from(!acknowledged);
        if acknowledged {
            usual = usual.mul_f64(SOONER);
        }
        assert!(object.exists() || !acknowledged);
        assert_eq!(hidden_in(&scratch.join("repository")), [] as [PathBuf; 0]);
        assert_eq!(hidden_in(main.data_dir()), [] as [PathBuf; 0]);
        let back = || {
            let fetched = scratch.join("fetched");
            archive
                .tool
                .command(&["restore-wal", name_of(path), word(&fetched)])
                .current_dir(main.data_dir())
                .ok();
            assert!(fs::read(fetched).unwrap() == fs::read(path).unwrap());
        };
        if object.exists() {
            back();
        }
        push(path).ok();
        back();
    }
    assert!(killed > 0, "no run was killed in time");
}

#[test]
fn a_killed_restore_wal_leaves_nothing_or_the_whole_file() {
    let long = std::env::var_os("PGSTOW_TEST_LONG").is_some();
    let mut random = Random::new("a_killed_restore_wal_leaves_nothing_or_the_whole_file");
    let scratch = Scratch::new();
    let archive = Archive::new(&scratch, "none");
    let (main, paths) = segments(&scratch, &archive, 1);
    archive.register(&main);
    archive.tool.command(&["archive-wal", word(&paths[0])]).ok();
    let fetched = main.data_dir().join("pg_wal/RECOVERYXLOG");
    let fetch = || {
        let words = ["restore-wal", name_of(&paths[0]), "pg_wal/RECOVERYXLOG"];
        archive.tool.command(&words).current_dir(main.data_dir())
    };
    let begin = Instant::now();
    fetch().ok();
    let mut usual = begin.elapsed();
    let mut killed = 0;
    for _ in 0..if long { 50 } else { 10 } {
        // As PostgreSQL does before it asks.
        let _ = fs::remove_file(&fetched);
        let running = fetch().spawn();
        thread::sleep(usual.mul_f64(random.below(1000) as f64 / 900.0));
        running.signal(Signal::KILL);
        let ended = running.wait().status.success();
        killed += usize::from(!ended);
        if ended {
            usual = usual.mul_f64(SOONER);
        }
        if let Ok(bytes) = fs::read(&fetched) {
            assert!(bytes == fs::read(&paths[0]).unwrap());
        }
        assert_eq!(hidden_in(main.data_dir()), [] as [PathBuf; 0]);
    }
    assert!(killed > 0, "no run was killed in time");
}

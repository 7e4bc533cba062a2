//! A file that is written without WAL of its own while the parent reads it: the writer is stopped
//! half way, and goes on behind the parent. The WAL that makes its pages lies before the child's
//! start, and their LSNs lie before the parent's.

use std::{
    fs,
    path::Path,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{Chain, Kind, told_of};
use crate::harness::{Cluster, Stored};

told_of!(a_database_is_half_copied:
    pg15 = plain(15), pg18_summaries = summarizing(18));
told_of!(an_index_is_half_built:
    pg16 = plain(16), pg17_summaries = summarizing(17));

/// Facts of files count once they are that old.
const SAFELY: Duration = Duration::from_millis(2500);

const BLOCK: u64 = 8192;

/// A statement in a session of its own, which can be stopped and go on.
struct Worker {
    psql: Child,
    backend: Pid,
}

impl Worker {
    /// Runs the statement; returns a moment before it begins.
    fn start(cluster: &Cluster, statement: &str) -> Self {
        let psql = cluster
            .client("psql")
            .env("PGAPPNAME", "worker")
            .args([
                "-XAtq",
                "-v",
                "ON_ERROR_STOP=1",
                "-c",
                "select pg_sleep(0.3)",
            ])
            .args(["-c", statement])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let sessions = "select pid from pg_stat_activity where application_name = 'worker'";
        let backend = loop {
            if let Ok(pid) = cluster.psql(sessions).parse() {
                break Pid::from_raw(pid).unwrap();
            }
        };
        Self { psql, backend }
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.backend, signal).unwrap();
    }

    fn has_ended(&mut self) -> bool {
        self.psql.try_wait().unwrap().is_some()
    }

    #[track_caller]
    fn finish(mut self) {
        self.signal(Signal::CONT);
        assert!(self.psql.wait().unwrap().success());
    }

    /// Lets it work until `file` has `size` bytes, and stops it; None if it has ended before.
    fn stop_at(&mut self, file: &Path, size: u64) -> Option<u64> {
        let length = || fs::metadata(file).map_or(0, |found| found.len());
        while length() < size {
            if self.has_ended() {
                return None;
            }
        }
        self.signal(Signal::STOP);
        thread::sleep(Duration::from_millis(10));
        Some(length())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Stopped, it would let the server wait. An error says that it has ended.
        let _ = kill_process(self.backend, Signal::CONT);
        let _ = self.psql.kill();
        let _ = self.psql.wait();
    }
}

/// The file at `path` is stored as so many blocks, and as changed blocks later.
#[track_caller]
fn is_stored_in_two_steps(parent: &Stored, child: &Stored, path: &str) {
    let (folder, name) = path.rsplit_once('/').unwrap();
    let members = |backup: &Stored| -> Vec<String> {
        let parts = backup.parts().into_iter();
        parts.flat_map(|part| backup.members(&part)).collect()
    };
    assert!(
        members(parent).iter().any(|member| member == path),
        "{path}"
    );
    let changed = format!("{folder}/INCREMENTAL.{name}");
    assert!(members(child).contains(&changed), "{changed}");
}

fn a_database_is_half_copied(kind: Kind) {
    // A vacuum would give the pages a mark, and this is about their LSNs.
    let mut chain = Chain::build(kind, |stow| {
        stow.cluster(|cluster| cluster.conf("autovacuum", "off"))
    });
    let main = chain.site.main();
    main.psql("create database original");
    // A page for each row.
    let sql = "create table t (n int, text text);
               alter table t alter text set storage plain;
               insert into t select n, repeat('x', 7000) from generate_series(1, 4000) n;
               create index on t (n); checkpoint";
    for statement in sql.split(';') {
        main.psql_in("original", statement);
    }
    let file = main.psql_in("original", "select pg_relation_filenode('t')");
    let path = format!("base/100001/{file}");
    let copied = main.data_dir().join(&path);
    let create = "create database copied template original oid 100001 strategy file_copy";
    // What is copied can't be read meanwhile.
    let dump = main.dump_all();
    let (worker, stopped) = loop {
        let mut worker = Worker::start(main, create);
        match worker.stop_at(&copied, 4 << 20) {
            Some(size) if size < 4000 * BLOCK => break (worker, size),
            _ => worker.finish(),
        }
        main.psql("drop database copied");
    };
    thread::sleep(SAFELY);
    let parent = chain.full_backup();
    chain.note_as(parent, dump);
    assert_eq!(fs::metadata(&copied).unwrap().len(), stopped);
    worker.finish();
    chain.incremental();
    is_stored_in_two_steps(&chain.levels[0].backup, &chain.levels[1].backup, &path);
    chain.prove();
}

/// Blocks of the index are written some time after they were logged. To be stopped in between is a
/// matter of luck.
fn an_index_is_half_built(kind: Kind) {
    let mut chain = Chain::build(kind, |stow| {
        stow.cluster(|cluster| {
            cluster
                .conf("max_parallel_maintenance_workers", "0")
                .conf("checkpoint_timeout", "1h")
        })
    });
    let main = chain.site.main();
    // Few keys in a page: most of the time is spent on pages, not on sorting.
    main.psql(
        "create table t (n int, text text);
         alter table t alter text set storage external;
         insert into t select n, repeat(md5(n::text), 40) from generate_series(1, 40000) n",
    );
    main.psql("vacuum t");
    let (worker, path) = loop {
        main.psql("checkpoint");
        if let Some(stopped) = stopped_between_wal_and_file(main) {
            break stopped;
        }
        main.psql("drop index i");
    };
    thread::sleep(SAFELY);
    chain.full();
    worker.finish();
    chain.incremental();
    is_stored_in_two_steps(&chain.levels[0].backup, &chain.levels[1].backup, &path);
    chain.prove();
}

/// The index's builder, stopped where the WAL has blocks of it that the file has not; None if it
/// came to its end.
fn stopped_between_wal_and_file(main: &Cluster) -> Option<(Worker, String)> {
    let before = files(main);
    let here = || main.psql("select pg_current_wal_insert_lsn()");
    let mut from = here();
    let mut worker = Worker::start(main, "create index i on t (text)");
    let file = loop {
        let new = files(main).into_iter().find(|file| !before.contains(file));
        match new {
            Some(file) => break file,
            None if worker.has_ended() => return None,
            None => {}
        }
    };
    let path = main.data_dir().join(&file);
    let mut size = 64 * BLOCK;
    loop {
        size = worker.stop_at(&path, size)?;
        if is_idle(main) {
            if blocks_in_wal(main, &from, &file) > size / BLOCK {
                return Some((worker, file));
            }
            from = here();
        }
        worker.signal(Signal::CONT);
        size += 40 * BLOCK;
    }
}

/// Whether the others can go on: what is stopped may hold a lock.
fn is_idle(main: &Cluster) -> bool {
    let sql = "select pg_logical_emit_message(true, 'flush', '')";
    let mut psql = main
        .client("psql")
        .args(["-XAtq", "-c", sql])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let limit = Instant::now() + Duration::from_millis(500);
    while Instant::now() < limit {
        if psql.try_wait().unwrap().is_some() {
            return true;
        }
        thread::sleep(Duration::from_millis(2));
    }
    psql.kill().unwrap();
    psql.wait().unwrap();
    false
}

/// Paths of the main forks of the database.
fn files(main: &Cluster) -> Vec<String> {
    let folder = main.data_dir().join("base/5");
    let names = fs::read_dir(folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    names.map(|name| format!("base/5/{name}")).collect()
}

/// The number behind the last block of the relation that the WAL knows.
fn blocks_in_wal(main: &Cluster, from: &str, file: &str) -> u64 {
    let relation = format!("rel 1663/5/{}", file.strip_prefix("base/5/").unwrap());
    // It ends with an error, where the WAL ends.
    let dumped = main
        .pg
        .command("pg_waldump")
        .args(["--start", from, "--path"])
        .arg(main.data_dir().join("pg_wal"))
        .output()
        .unwrap();
    let dumped = String::from_utf8(dumped.stdout).unwrap();
    let blocks = dumped.lines().flat_map(|line| line.split("blkref").skip(1));
    let numbers = blocks
        .filter(|block| block.contains(&relation))
        .map(|block| {
            let (_, rest) = block.split_once(" blk ").unwrap();
            let end = rest
                .find(|letter: char| !letter.is_ascii_digit())
                .unwrap_or(rest.len());
            rest[..end].parse::<u64>().unwrap() + 1
        });
    numbers.max().unwrap_or(0)
}

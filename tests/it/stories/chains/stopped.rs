//! A file that is written without WAL of its own while the parent reads it: the writer is stopped
//! half way, and goes on behind the parent. The WAL that makes its pages lies before the child's
//! start, and their LSNs lie before the parent's.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{Chain, Kind, told_of};
use crate::harness::{Cluster, Shutdown, Stored, stand};

told_of!(a_database_is_half_copied:
    pg15 = plain(15), pg18_summaries = summarizing(18));
told_of!(a_page_is_written_late: pg16 = plain(16));
told_of!(an_index_is_half_built:
    pg16 = plain(16), pg17_summaries = summarizing(17));

/// Facts of files count once they are that old.
pub const SAFELY: Duration = Duration::from_millis(2500);

pub const BLOCK: u64 = 8192;

/// A process of a server that is stopped, and goes on: at the latest when the test ends.
pub struct Process(Pid);

impl Process {
    pub fn of(pid: &str) -> Self {
        Self(Pid::from_raw(pid.parse().unwrap()).unwrap())
    }

    /// Lets it work until `file` has `size` blocks, and stops it; the blocks of the file then, None if
    /// the work has `ended` before.
    pub fn stop_at(
        &mut self,
        file: &Path,
        size: u64,
        ended: &mut dyn FnMut() -> bool,
    ) -> Option<u64> {
        let length = || fs::metadata(file).map_or(0, |found| found.len() / BLOCK);
        while length() < size {
            if ended() {
                return None;
            }
        }
        stand(self.0);
        Some(length())
    }

    pub fn go_on(&self) {
        kill_process(self.0, Signal::CONT).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Stopped, it would let the server wait. An error says that it has ended.
        let _ = kill_process(self.0, Signal::CONT);
    }
}

/// A statement in a session of its own.
struct Worker {
    backend: Process,
    psql: Child,
}

impl Worker {
    /// Returns a moment before the statement begins.
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
        cluster.wait_until(&format!("select count(*) from ({sessions}) session"), "1");
        let backend = Process::of(&cluster.psql(sessions));
        Self { backend, psql }
    }

    fn has_ended(&mut self) -> bool {
        self.psql.try_wait().unwrap().is_some()
    }

    fn stop_at(&mut self, file: &Path, size: u64) -> Option<u64> {
        let psql = &mut self.psql;
        let mut ended = || psql.try_wait().unwrap().is_some();
        self.backend.stop_at(file, size, &mut ended)
    }

    #[track_caller]
    fn finish(mut self) {
        let _ = kill_process(self.backend.0, Signal::CONT);
        assert!(self.psql.wait().unwrap().success());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.psql.kill();
        let _ = self.psql.wait();
    }
}

/// Blocks of the table in the database that is copied.
pub const PAGES: u64 = 4000;

pub const COPY: &str = "create database copied template original oid 100001 strategy file_copy";

/// A database with a large table that was never vacuumed: a vacuum marks pages, and this is about
/// their LSNs. The path that the table has in the copy.
pub fn make_original(main: &Cluster) -> String {
    main.psql("create database original");
    // A page for each row.
    let sql = format!(
        "create table t (n int, text text);
         alter table t alter text set storage plain;
         insert into t select n, repeat('x', 7000) from generate_series(1, {PAGES}) n;
         create index on t (n); checkpoint"
    );
    for statement in sql.split(';') {
        main.psql_in("original", statement);
    }
    let file = main.psql_in("original", "select pg_relation_filenode('t')");
    format!("base/100001/{file}")
}

pub fn is_half(blocks: u64) -> bool {
    blocks > 0 && blocks < PAGES
}

fn members(backup: &Stored) -> Vec<String> {
    let parts = backup.parts().into_iter();
    parts.flat_map(|part| backup.members(&part)).collect()
}

/// The file at `path` is stored as so many blocks, and as changed blocks later.
#[track_caller]
pub fn is_stored_in_two_steps(parent: &Stored, child: &Stored, path: &str) {
    let (folder, name) = path.rsplit_once('/').unwrap();
    assert!(
        members(parent).iter().any(|member| member == path),
        "{path}"
    );
    let changed = format!("{folder}/INCREMENTAL.{name}");
    assert!(members(child).contains(&changed), "{changed}");
}

fn a_database_is_half_copied(kind: Kind) {
    let summaries = kind.summaries;
    let mut chain = Chain::build(kind, |stow| {
        stow.cluster(|cluster| cluster.conf("autovacuum", "off"))
    });
    let main = chain.site.main();
    let path = make_original(main);
    let copied = main.data_dir().join(&path);
    // What is copied can't be read meanwhile.
    let dump = main.dump_all();
    let worker = loop {
        let mut worker = Worker::start(main, COPY);
        if worker.stop_at(&copied, PAGES / 8).is_some_and(is_half) {
            break worker;
        }
        worker.finish();
        main.psql("drop database copied");
    };
    thread::sleep(SAFELY);
    let parent = chain.full_backup();
    chain.note_as(parent, dump);
    assert!(is_half(fs::metadata(&copied).unwrap().len() / BLOCK));
    worker.finish();
    chain.incremental();
    let [parent, child] = [0, 1].map(|level| &chain.levels[level].backup);
    match summaries {
        false => is_stored_in_two_steps(parent, child, &path),
        // The copy was logged when it was done, and the summary names the whole database.
        true => assert!(
            [parent, child]
                .iter()
                .all(|backup| members(backup).contains(&path))
        ),
    }
    chain.prove();
}

/// Luck can't be had for a page among others that is still zeros, so the test writes it itself.
fn a_page_is_written_late(kind: Kind) {
    let mut chain = Chain::build(kind, |stow| {
        stow.cluster(|cluster| cluster.conf("autovacuum", "off"))
    });
    chain.sql("create table t as select n from generate_series(1, 9000) n; create index on t (n)");
    // Sets hint bits, so that nobody changes the page any more.
    let count = "select count(*), sum(n) from t";
    let whole = chain.sql(count);
    chain.sql("checkpoint");
    let path = chain.sql("select pg_relation_filepath('t')");
    let path = chain.site.main().data_dir().join(path);
    let page = fs::read(&path).unwrap()[5 * BLOCK as usize..][..BLOCK as usize].to_vec();
    let write = |chain: &mut Chain, page: &[u8]| {
        let main = &mut chain.site.stow.cluster;
        main.stop(Shutdown::Fast);
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(page, 5 * BLOCK).unwrap();
        main.start();
    };
    thread::sleep(SAFELY);
    write(&mut chain, &[0; BLOCK as usize]);
    chain.full();
    assert_ne!(chain.sql(count), whole);
    write(&mut chain, &page);
    chain.incremental();
    assert_eq!(chain.sql(count), whole);
    chain.prove_newest();
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
    let mut size = 64;
    loop {
        size = worker.stop_at(&path, size)?;
        if is_idle(main) {
            if blocks_in_wal(main, &from, &file) > size {
                return Some((worker, file));
            }
            from = here();
        }
        worker.backend.go_on();
        size += 40;
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

//! What pgstow is for, from end to end: real servers are archived and backed up under load,
//! broken and restored, and PostgreSQL's own programs and an independent writer judge the result.

mod buckets;
mod chains;
mod churn;
mod contents;
mod disk;
mod holes;
mod identity;
mod mutilation;
mod pieces;
mod received;
mod replaced;
mod replica;
mod retention;
mod standby;
mod targets;
mod timelines;

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
};

use pgstow::{postgres::lsn::Lsn, util::clock::readable};
use serde_json::Value;

use crate::harness::{
    Cluster, PgBin, Scratch, Stored, Stow,
    archive::stored_in,
    stow::Builder,
    tool::Invocation,
    witness::{Expected, Truth, rows},
};

/// The table of the witness.
const WITNESS: &str = "witness";

/// A cluster that archives and is backed up, and the place where it is restored to.
struct Site {
    // Dropped in this order: the server ends before its folder goes.
    stow: Stow,
    scratch: Scratch,
    /// Servers of copies that there were so far.
    copies: Cell<u32>,
}

impl Site {
    fn start(pg: PgBin) -> Self {
        Self::build(pg, |stow| stow)
    }

    fn build(pg: PgBin, change: impl FnOnce(Builder<'_>) -> Builder<'_>) -> Self {
        let scratch = Scratch::new();
        let stow = change(Stow::build(&scratch, pg)).start();
        Self {
            stow,
            scratch,
            copies: Cell::new(0),
        }
    }

    fn main(&self) -> &Cluster {
        &self.stow.cluster
    }

    /// `pgstow` with `arguments`, and the server's programs.
    fn pgstow(&self, arguments: &[&str]) -> Invocation {
        self.stow
            .tool
            .command(arguments)
            .env("PGSTOW_CLUSTER_BINDIR", &self.main().pg.bindir)
    }

    /// `pgstow restore` into the folder `name` in the scratch folder.
    fn restore(&self, name: &str, arguments: &[&str]) -> Invocation {
        let data_dir = self.data_dir(name);
        let fixed = ["restore", "--data-dir", data_dir.to_str().unwrap()];
        self.pgstow(&[&fixed, arguments].concat())
    }

    fn data_dir(&self, name: &str) -> PathBuf {
        self.scratch.join(&format!("{name}-data"))
    }

    /// Restores; what is restored is what was backed up, file for file. Not started.
    #[track_caller]
    fn copy(&self, name: &str, arguments: &[&str]) -> Cluster {
        self.restore(name, arguments).ok();
        let copy = self.existing(name);
        copy.pg.verifybackup(copy.data_dir()).unwrap();
        copy
    }

    /// A server on what was restored into `name`.
    fn existing(&self, name: &str) -> Cluster {
        self.copies.set(self.copies.get() + 1);
        let (run, data_dir) = (format!("run{}", self.copies.get()), self.data_dir(name));
        Cluster::existing(&self.scratch, self.main().pg.clone(), &run, &data_dir)
    }

    /// The names of all stored WAL files.
    fn stored_wal(&self) -> Vec<String> {
        stored_in(self.stow.root())
    }

    /// Restores, recovers and judges a copy that nobody needs any longer.
    #[track_caller]
    fn restores_to(&self, name: &str, expected: Expected, arguments: &[&str]) {
        println!("{name}: restore {arguments:?}, {expected:?}");
        let mut copy = self.copy(name, arguments);
        copy.recover();
        expected.check(rows(&copy, WITNESS));
        judge_and_end(copy);
    }
}

/// A server that left recovery is sound in all its parts, and keeps nothing of its restore.
#[track_caller]
fn judge_and_end(mut copy: Cluster) {
    copy.amcheck();
    no_recovery_settings(&copy);
    let checksums = copy.psql("show data_checksums") == "on";
    copy.stop(crate::harness::Shutdown::Fast);
    if checksums {
        copy.pg.checksums(copy.data_dir());
    }
    fs::remove_dir_all(copy.data_dir()).unwrap();
}

/// Rule 44a: what governed this recovery must not govern the next one.
#[track_caller]
fn no_recovery_settings(server: &Cluster) {
    let data_dir = server.data_dir();
    let settings = fs::read_to_string(data_dir.join("postgresql.auto.conf")).unwrap();
    for name in ["recovery_", "restore_command", "primary_"] {
        assert!(!settings.contains(name), "{settings}");
    }
    for name in ["recovery.signal", "standby.signal"] {
        assert!(!data_dir.join(name).exists(), "{name} is still there");
    }
    assert_eq!(
        server.psql(
            "select count(*) from pg_file_settings
             where name like 'recovery\\_%' or name = 'restore_command'"
        ),
        "0"
    );
}

/// The end of a backup: from there on it can be restored to.
fn stop_lsn(backup: &Stored) -> Lsn {
    text(&backup.json()["stop_lsn"]).parse().unwrap()
}

/// In microseconds since 1970.
fn stop_time(backup: &Stored) -> i64 {
    let time = text(&backup.json()["stop_time"]);
    let time = chrono::DateTime::parse_from_rfc3339(&time).unwrap();
    time.timestamp_micros()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// A time in microseconds since 1970 as `--target-time` takes it.
fn typed(time: i64) -> String {
    readable(chrono::DateTime::from_timestamp_micros(time).unwrap())
}

/// `first` and what the same witness saw after it.
fn joined(mut first: Truth, second: Truth) -> Truth {
    assert!(!first.in_flight, "the first ended by itself");
    first.commits.extend(second.commits);
    first.in_flight = second.in_flight;
    first
}

/// The file `name` of what was restored.
fn file(copy: &Cluster, name: &str) -> PathBuf {
    copy.data_dir().join(Path::new(name))
}

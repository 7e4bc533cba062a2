//! `dump`: what it stores, what it says of it, what is kept, and that nothing is left where it failed.

mod chosen;
mod described;
pub mod everything;
mod kept;
mod memory;
mod named;
mod options;
mod round_trip;
mod standby;
mod trouble;
mod watched;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::harness::{Cluster, PgBin, Scratch, Stow, stow::Builder, tool::Invocation};

/// A cluster, a repository, and dumps of the one in the other.
pub struct Site {
    pub scratch: Scratch,
    pub stow: Stow,
}

impl Site {
    pub fn start(pg: PgBin) -> Self {
        Self::with(pg, "")
    }

    /// With further lines for the configuration's end.
    pub fn with(pg: PgBin, lines: &str) -> Self {
        Self::build(pg, lines, |stow| stow)
    }

    pub fn build(pg: PgBin, lines: &str, change: impl FnOnce(Builder<'_>) -> Builder<'_>) -> Self {
        let scratch = Scratch::new();
        let bindir = format!("bindir = \"{}\"", pg.bindir.display());
        let library = pg.bindir.join("../lib");
        let builder = Stow::build(&scratch, pg).no_archiving().setting(&bindir);
        let mut stow = change(builder.setting(lines)).start();
        // The unpacked programs would find Debian's older libpq. Who may read everything is asked of
        // one test alone.
        stow.tool = stow
            .tool
            .env("LD_LIBRARY_PATH", library)
            .env("PGSTOW_CLUSTER_USER", "postgres");
        Self { scratch, stow }
    }

    /// Makes a daily dump, with these global options, as if that were so many days ago.
    #[track_caller]
    pub fn daily_of(&self, days: u32, database: &str, global: &[&str]) {
        let dump = ["dump", database, "--no-globals", "--class", "daily"];
        let arguments = [global, &dump].concat();
        let back = format!("-{days}d");
        drop(self.stow.tool.shifted(&back, &arguments).ok());
    }

    /// `pgstow --json dump ARGUMENTS`.
    pub fn dump(&self, arguments: &[&str]) -> Invocation {
        self.stow
            .tool
            .command(&[&["--json", "dump"], arguments].concat())
    }

    /// Of a dump of one database, without globals, its description.
    #[track_caller]
    pub fn dumped(&self, arguments: &[&str]) -> Dumped {
        let report = self
            .dump(&[&["--no-globals"], arguments].concat())
            .ok()
            .json();
        let [dump] = report["dumps"].as_array().unwrap().as_slice() else {
            panic!("not one dump: {report}");
        };
        self.stored(dump)
    }

    pub fn stored(&self, dump: &Value) -> Dumped {
        let name = dump["name"].as_str().unwrap();
        let description = self.dumps().join(format!("{name}.json"));
        Dumped {
            json: serde_json::from_slice(&fs::read(description).unwrap()).unwrap(),
            data: self
                .dumps()
                .join(name)
                .with_file_name(dump["data"]["name"].as_str().unwrap()),
        }
    }

    /// The folder of all dumps.
    pub fn dumps(&self) -> PathBuf {
        self.stow.root().join("main/dumps")
    }

    /// All files below it, but for links.
    pub fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        let mut folders = vec![self.dumps()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false if path.is_symlink() => {}
                    false => files.push(below(&path, &self.dumps())),
                }
            }
        }
        files.sort();
        files
    }

    /// What `pgstow list --dumps` shows, oldest first.
    #[track_caller]
    pub fn list(&self) -> Vec<Value> {
        let report = self
            .stow
            .tool
            .command(&["--json", "list", "--dumps"])
            .ok()
            .json();
        report["dumps"].as_array().unwrap().clone()
    }
}

fn below(path: &Path, folder: &Path) -> String {
    path.strip_prefix(folder).unwrap().display().to_string()
}

/// A database whose dump takes a while.
fn fill(cluster: &Cluster) {
    cluster.psql(
        "create table filler as
         select n, repeat(md5(n::text), 20) as x from generate_series(1, 120000) n",
    );
}

/// A dump that is stored.
pub struct Dumped {
    /// Its description.
    pub json: Value,
    /// Where its data is.
    pub data: PathBuf,
}

//! `drill`: what can be restored is proven, what can't is found by the right check, and nothing is left behind,
//! neither on disk nor in the repository, but for the report.

mod damaged;
mod foreseen;
mod found;
mod healthy;
mod hindered;
pub mod killed;
mod of_dumps;

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde_json::Value;

use crate::harness::{PgBin, Scratch, Stow, output::Output, tool::Invocation};

pub struct Site {
    pub scratch: Scratch,
    pub stow: Stow,
    /// Where drills are made.
    pub drills: PathBuf,
}

/// A shop with what checks look at: keys, an index, a sequence, two schemas.
const SHOP: &str = "create schema shop; \
     create table shop.customer (id serial primary key, name text not null); \
     create table shop.orders (id serial primary key, customer int not null references shop.customer, \
       placed timestamptz not null default now()); \
     create index on shop.orders (placed); \
     insert into shop.customer (name) select 'c' || n from generate_series(1, 100) n; \
     insert into shop.orders (customer) select 1 + n % 100 from generate_series(1, 5000) n";

impl Site {
    /// With the shop, and without any backup.
    pub fn start(pg: PgBin) -> Self {
        let scratch = Scratch::new();
        let drills = scratch.folder("drills");
        let bindir = format!("bindir = \"{}\"", pg.bindir.display());
        let library = pg.bindir.join("../lib");
        let mut stow = Stow::build(&scratch, pg).setting(&bindir).start();
        stow.tool = stow
            .tool
            .env("LD_LIBRARY_PATH", library)
            .env("PGSTOW_DRILL_SCRATCH", &drills);
        stow.cluster.psql(SHOP);
        Self {
            scratch,
            stow,
            drills,
        }
    }

    pub fn drill(&self, arguments: &[&str]) -> Invocation {
        let fixed = ["--json", "drill"];
        self.stow.tool.command(&[&fixed, arguments].concat())
    }

    /// A drill of which these checks alone fail.
    #[track_caller]
    pub fn finds(&self, drill: Invocation, names: &[&str]) -> Value {
        let output = drill.fails(3);
        assert_eq!(failed(&output), names, "{output}");
        self.assert_clean();
        let report = output.json();
        assert_eq!(report["good"], false);
        report
    }

    /// A drill that finds nothing wrong.
    #[track_caller]
    pub fn proves(&self, drill: Invocation) -> Value {
        let output = drill.ok();
        assert_eq!(failed(&output), [""; 0], "{output}");
        self.assert_clean();
        let report = output.json();
        assert_eq!(report["good"], true);
        report
    }

    /// No folder of a drill is left.
    #[track_caller]
    pub fn assert_clean(&self) {
        let left: Vec<_> = fs::read_dir(&self.drills).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }

    /// All objects of the repository but the reports of drills.
    pub fn objects(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut objects = BTreeMap::new();
        let mut folders = vec![self.stow.root().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    if !path.ends_with("main/drills") {
                        folders.push(path);
                    }
                } else {
                    let bytes = fs::read(&path).unwrap();
                    objects.insert(path, bytes);
                }
            }
        }
        objects
    }
}

/// The names of checks that failed.
#[track_caller]
pub fn failed(output: &Output) -> Vec<String> {
    let report = output.json();
    let checks = report["checks"].as_array().unwrap().iter();
    let failed = checks.filter(|check| check["result"] == "failed");
    failed
        .map(|check| check["name"].as_str().unwrap().to_owned())
        .collect()
}

/// What a check says.
#[track_caller]
pub fn says(report: &Value, name: &str) -> String {
    let mut checks = report["checks"].as_array().unwrap().iter();
    let check = checks.find(|check| check["name"] == name).unwrap();
    let details = check["details"].as_array().unwrap().iter();
    let details: Vec<&str> = details.map(|detail| detail.as_str().unwrap()).collect();
    format!(
        "{}\n{}",
        check["what"].as_str().unwrap(),
        details.join("\n")
    )
}

/// Which result a check has.
#[track_caller]
pub fn result(report: &Value, name: &str) -> String {
    let mut checks = report["checks"].as_array().unwrap().iter();
    let check = checks.find(|check| check["name"] == name).unwrap();
    check["result"].as_str().unwrap().to_owned()
}

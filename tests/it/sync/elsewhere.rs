//! What the chosen repository should have and can't give comes from another one: for a lost table, a dump, a look into
//! the WAL.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{Site, fallback::flip_often, flip, heal::dumps_below};
use crate::harness::{pg, tool::Invocation};

const ROWS: &str = "select count(*), md5(string_agg(t::text, ',' order by id)) from t";
const ELSEWHERE: &str = "comes from repository offsite";
const INSTEAD: &str = "repository offsite is used instead";

/// Brings `t` back into a new database.
struct Back<'a> {
    site: &'a Site,
    truth: String,
    scratch: PathBuf,
}

impl<'a> Back<'a> {
    fn of(site: &'a Site) -> Self {
        Self {
            truth: site.main().psql(ROWS),
            scratch: site.scratch.folder("regained"),
            site,
        }
    }

    fn call(&self, words: &[&str], to: &str) -> Invocation {
        let call = self.site.pgstow(&[words, &["--to-database", to]].concat());
        call.env("PGSTOW_CLUSTER_USER", "postgres")
            .env("PGSTOW_DRILL_SCRATCH", &self.scratch)
    }

    /// With this warning, and all rows.
    #[track_caller]
    fn comes(&self, words: &[&str], to: &str, warning: &str) {
        self.call(words, to).expect_warning(warning).ok();
        let rows = self.site.main().psql_in(to, ROWS);
        assert_eq!(rows, self.truth, "{to}");
    }
}

fn away(site: &Site) -> PathBuf {
    let away = site.scratch.join("away");
    fs::rename(site.stow.root(), &away).unwrap();
    away
}

#[test]
fn a_table_comes_back_from_elsewhere() {
    let site = Site::start(pg(17), "compression = \"zstd:1\"");
    let [full, incremental] = site.fill();
    site.sync(0);
    // What is too young when the full backup begins is stored anew by the incremental one.
    let parts = [full.parts(), incremental.parts()].concat();
    let back = Back::of(&site);
    let table = ["restore", "--table", "postgres.public.t"];
    parts.iter().for_each(|part| flip_often(part));
    back.comes(&table, "parts", ELSEWHERE);
    // Also to who names the repository.
    let named = [&["--repo", "local"], &table[..]].concat();
    back.comes(&named, "named", ELSEWHERE);
    parts.iter().for_each(|part| flip_often(part));
    flip(&incremental.object("index.json.zst"));
    back.comes(&table, "index", ELSEWHERE);
    flip(&incremental.object("index.json.zst"));
    let away = away(&site);
    back.call(&named, "gone").fails(1);
    back.comes(&table, "instead", INSTEAD);
    let planned = [&table[..], &["--plan"]].concat();
    back.call(&planned, "planned").expect_warning(INSTEAD).ok();
    fs::rename(away, site.stow.root()).unwrap();
}

fn the_only_one(root: &Path) -> PathBuf {
    let [dump] = dumps_below(root).try_into().unwrap();
    dump
}

#[test]
fn a_dump_comes_back_from_elsewhere() {
    let site = Site::start(pg(18), "compression = \"zstd:1\"");
    site.fill();
    site.pgstow(&["dump", "postgres", "--no-globals"]).ok();
    site.sync(0);
    let back = Back::of(&site);
    let data = the_only_one(site.stow.root());
    let name = data.file_stem().unwrap().to_str().unwrap().to_owned();
    let (newest, named) = (["restore-dump", "latest"], ["restore-dump", name.as_str()]);
    flip(&data);
    back.comes(&newest, "newest", ELSEWHERE);
    back.comes(&named, "named", ELSEWHERE);
    let chosen = [&["--repo", "local"], &named[..]].concat();
    back.comes(&chosen, "chosen", ELSEWHERE);
    // What both lack stops it.
    let copied = the_only_one(&site.offsite);
    flip(&copied);
    let lost = back.call(&newest, "lost").fails(1);
    lost.stderr_contains("is damaged");
    flip(&copied);
    let kept = site.scratch.join("kept");
    fs::rename(&data, &kept).unwrap();
    back.comes(&newest, "missing", ELSEWHERE);
    fs::rename(&kept, &data).unwrap();
    flip(&data);
    let description = data.with_extension("json");
    fs::write(&description, "nothing").unwrap();
    back.comes(&named, "described", INSTEAD);
    let away = away(&site);
    back.call(&chosen, "gone").fails(1);
    back.comes(&newest, "instead", INSTEAD);
    fs::rename(away, site.stow.root()).unwrap();
}

#[test]
fn what_happened_is_found_elsewhere() {
    let site = Site::start(pg(16), "compression = \"zstd:1\"");
    let [full, incremental] = site.fill();
    let since = site.main().psql(
        "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US+00')",
    );
    let happens = |sql: &str| {
        site.main().psql(sql);
        site.main().switch_wal()
    };
    let segments = [
        "create table first ()",
        "drop table t",
        "create table last ()",
        "create table behind ()",
    ]
    .map(happens);
    site.sync(0);
    let look = |warnings: &[&str]| -> Value {
        let words = ["--json", "find-target", "--since", &since, "--all"];
        let mut look = site.pgstow(&words);
        for warning in warnings {
            look = look.expect_warning(warning);
        }
        look.ok().json()["events"].clone()
    };
    let truth = look(&[]);
    assert!(truth.to_string().contains("\"t\""), "{truth:#}");
    // Damaged, a hole, names.
    flip(&site.stow.wal_object(&segments[1]));
    fs::remove_file(site.stow.wal_object(&segments[2])).unwrap();
    for backup in [&full, &incremental] {
        flip(&backup.object("relations.json.zst"));
    }
    let warnings = [
        &format!("{} {ELSEWHERE}", segments[1]),
        &format!("{} {ELSEWHERE}", segments[2]),
        "the list of names of backup",
    ];
    assert_eq!(look(&warnings), truth);
    // A restore that names the repository would not pass the hole, either.
    let words = ["--repo", "local", "find-target", "--since", &since];
    site.pgstow(&words)
        .expect_warning(&format!("{} {ELSEWHERE}", segments[1]))
        .expect_warning("the list of names of backup")
        .fails(3)
        .stdout_contains(&segments[2]);
    let away = away(&site);
    assert_eq!(look(&[INSTEAD]), truth);
    fs::rename(away, site.stow.root()).unwrap();
    // What came while the first one was away is in the other alone.
    for backup in [&full, &incremental] {
        flip(&backup.object("relations.json.zst"));
    }
    for segment in [&segments[1], &segments[3]] {
        fs::remove_file(site.stow.wal_object(segment)).unwrap();
    }
    let further = "repository offsite is used instead: its WAL leads to";
    assert_eq!(look(&[further]), truth);
}

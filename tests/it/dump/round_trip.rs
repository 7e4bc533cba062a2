//! Every format, restored by PostgreSQL's own programs alone, gives the database that was dumped.

use std::{fs, path::Path};

use super::{
    Dumped, Site,
    everything::{self, NAME, conninfo},
};
use crate::harness::{Cluster, PgBin, Shutdown, keys, on_every_major, pg, user};

/// The database as pg_dump tells it, and all rows of its tables.
#[track_caller]
fn picture(cluster: &Cluster, database: &str) -> String {
    cluster.dump(&conninfo(database))
}

/// The commands for dumps of docs/restore-by-hand.md, as one script.
fn script() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/restore-by-hand.md");
    let page = fs::read_to_string(page).unwrap();
    let blocks = page.split("```sh dumps\n").skip(1);
    let blocks: Vec<&str> = blocks
        .map(|block| block.split("```").next().unwrap())
        .collect();
    assert_eq!(blocks.len(), 5, "the page has lost its commands");
    blocks.concat()
}

/// As the page tells it, with the globals of that name first, if there is one.
#[track_caller]
fn restore_by_hand(
    site: &Site,
    cluster: &Cluster,
    dumped: &Dumped,
    globals: &str,
    database: &str,
) -> String {
    let mut command = user::command("/bin/bash", "KILL");
    command
        .env(
            "PATH",
            format!("{}:/usr/bin:/bin", cluster.pg.bindir.display()),
        )
        .env("LD_LIBRARY_PATH", cluster.pg.bindir.join("../lib"))
        .env("PGHOST", cluster.host())
        .env("PGPORT", cluster.port().to_string())
        .env("DUMPS", site.dumps())
        .env("DUMP", dumped.json["name"].as_str().unwrap())
        .env("GLOBALS", globals)
        .env("KEY", keys::identity_file(&site.scratch))
        .env("DATABASE", database)
        .args(["-o", "pipefail", "-c", &script()]);
    user::run_ok(&mut command)
}

const FORMATS: [&[&str]; 8] = [
    &["--format", "custom"],
    &["--format", "custom", "--level", "0"],
    &["--format", "plain"],
    &["--format", "plain", "--compression", "zstd", "--level", "5"],
    &["--format", "plain", "--compression", "none"],
    &["--format", "directory", "--jobs", "3"],
    &["--format", "directory", "--level", "1"],
    &["--format", "tar"],
];

fn every_format_gives_the_database_back(pg: PgBin) {
    every_format_of(&Site::start(pg));
}

#[test]
fn every_format_gives_the_database_back_where_it_is_encrypted() {
    let site = Site::build(pg(16), "", |stow| stow.encrypted());
    every_format_of(&site);
    assert!(
        site.files()
            .iter()
            .any(|name| name.ends_with(".dir.tar.age"))
    );
}

#[track_caller]
fn every_format_of(site: &Site) {
    let cluster = &site.stow.cluster;
    everything::make(cluster);
    let source = picture(cluster, NAME);
    for (number, format) in FORMATS.iter().enumerate() {
        let dumped = site.dumped(&[&[NAME], *format].concat());
        let copy = format!("copy{number}");
        restore_by_hand(site, cluster, &dumped, "", &copy);
        let restored = picture(cluster, &copy);
        assert!(
            restored == source,
            "{format:?}:\n{}",
            difference(&source, &restored)
        );
        assert_eq!(dumped.json["missing"], serde_json::json!([]), "{format:?}");
    }
}
on_every_major!(every_format_gives_the_database_back);

/// The first line that differs.
fn difference(one: &str, other: &str) -> String {
    let lines = one.lines().zip(other.lines());
    let first = lines.enumerate().find(|(_, (one, other))| one != other);
    match first {
        Some((number, (one, other))) => format!("line {number}:\n{one}\n{other}"),
        None => format!("{} and {} bytes", one.len(), other.len()),
    }
}

/// A database of `of` as the pg_dump of `newer` tells it, but for which version it is of.
fn as_newer(newer: &Cluster, of: &Cluster, database: &str) -> String {
    let mut command = newer.client("pg_dump");
    command
        .env("PGHOST", of.host())
        .env("PGPORT", of.port().to_string())
        .args(["--restrict-key=pgstow", "--no-unlogged-table-data"])
        .args(["-d", &conninfo(database)]);
    let text = user::run_ok(&mut command);
    let lines = text
        .lines()
        .filter(|line| !line.starts_with("-- Dumped from "));
    let text = lines.collect::<Vec<_>>().join("\n");
    // From 16 on a view's columns come without the name of its only table (`get_variable` in
    // `src/backend/utils/adt/ruleutils.c`).
    text.replace("accounts.name,\n    accounts.twice", "name,\n    twice")
}

#[test]
fn a_dump_of_15_goes_into_every_newer_server() {
    let site = Site::start(pg(15));
    everything::make(&site.stow.cluster);
    let globals = site.dump(&[NAME]).ok().json();
    let all = globals["dumps"].as_array().unwrap();
    let [globals, dump] = all.as_slice() else {
        panic!("{all:?}")
    };
    let (globals, dump) = (site.stored(globals), site.stored(dump));
    for major in [16, 17, 18] {
        let name = format!("new{major}");
        let newer = Cluster::build(&site.scratch, pg(major)).name(&name);
        let mut newer = newer.start();
        let globals = globals.json["name"].as_str().unwrap();
        restore_by_hand(&site, &newer, &dump, globals, &name);
        let source = as_newer(&newer, &site.stow.cluster, NAME);
        let restored = as_newer(&newer, &newer, &name);
        assert!(
            restored == source,
            "{name}:\n{}",
            difference(&source, &restored)
        );
        let rows = newer.psql_in(
            &name,
            "select string_agg(name, ',' order by id) from accounts",
        );
        assert!(rows.starts_with("ann,bob"), "{rows}");
        assert_eq!(newer.psql_in(&name, "select count(*) from events"), "3");
        assert_eq!(
            newer.psql_in(&name, "select encode(lo_get(4242), 'hex')"),
            "00010203ff"
        );
        let privileges =
            "select has_table_privilege('reader', '\"odd \"\"schema\"\"\".secret', 'update')";
        assert_eq!(newer.psql_in(&name, privileges), "t");
        newer.stop(Shutdown::Fast);
    }
}

#[test]
fn the_sums_are_those_of_sha256sum() {
    let site = Site::start(pg(17));
    let dumped = site.dumped(&["postgres"]);
    let folder = dumped.data.parent().unwrap();
    let check = || {
        let mut command = user::command("/usr/bin/sha256sum", "KILL");
        let sums = dumped.data.with_extension("sha256");
        user::run(command.arg("-c").arg(sums).current_dir(folder))
    };
    let said = check().unwrap();
    assert!(said.ends_with(": OK"), "{said}");
    let mut bytes = fs::read(&dumped.data).unwrap();
    bytes[100] ^= 1;
    fs::write(&dumped.data, bytes).unwrap();
    assert!(check().is_err());
}

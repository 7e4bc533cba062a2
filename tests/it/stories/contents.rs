//! What is in a cluster comes back as it was: tablespaces in other places, large segments, odd
//! names, unlogged tables, sequences.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::{Site, judge_and_end};
use crate::harness::{PgBin, Shutdown, on_every_major, user};

on_every_major!(all_kinds_of_things_come_back);

const DATABASE: &str = r#"it's a "data base" \ 100% ünïcode"#;

fn all_kinds_of_things_come_back(pg: PgBin) {
    let mut site = Site::build(pg, |stow| {
        stow.cluster(|cluster| {
            let cluster = cluster.initdb("--wal-segsize=64");
            cluster.conf("allow_in_place_tablespaces", "on")
        })
    });
    let spaces = [
        site.scratch.folder("a \"space\"=1"),
        site.scratch.folder("two"),
    ];
    let main = site.main();
    for (space, name) in spaces.iter().zip(["odd \"\" name", "two"]) {
        let path = space.display();
        main.psql(&format!("create tablespace \"{name}\" location '{path}'"));
    }
    main.psql("create tablespace inside location ''");
    let quoted = DATABASE.replace('"', "\"\"");
    main.psql(&format!("create database \"{quoted}\" tablespace two"));
    let sql = |sql: &str| main.psql_in(DATABASE, sql);
    sql(r#"create table "T "" t" (n int primary key) tablespace "odd "" name""#);
    sql("create table within (n int) tablespace inside");
    sql("insert into within select generate_series(1, 700)");
    sql("create unlogged table fleeting (n int primary key)");
    sql("insert into fleeting select generate_series(1, 1000)");
    sql("create sequence s");
    // PostgreSQL 15 and newer have sequences that are not logged, too.
    sql("create unlogged sequence u");
    sql(r#"insert into "T "" t" select generate_series(1, 1000)"#);
    // A file of somebody else, whose name is no text.
    let stray = OsStr::from_bytes(b"it's \"odd\" \xff\n name");
    let path = main.data_dir().join(stray);
    fs::write(&path, "kept").unwrap();
    user::own(&path);
    // So may be left behind where PostgreSQL keeps only links. (With a file there, instead of a
    // folder, it could not recover.)
    let left = Path::new("pg_tblspc/left behind");
    let folder = main.data_dir().join(left);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("one"), "kept").unwrap();
    user::own(&folder);
    user::own(&folder.join("one"));
    site.stow.backup(&[]);

    let sql = |sql: &str| site.main().psql_in(DATABASE, sql);
    sql(r#"insert into "T "" t" select generate_series(1001, 1500)"#);
    sql("create table later tablespace two as select 'x' as x");
    sql("select setval('s', 41)");
    sql("select nextval('s')");
    let point = site
        .main()
        .psql("select pg_create_restore_point('it''s here')");
    assert!(!point.is_empty());
    let dump = site.main().dump(DATABASE);
    sql(r#"delete from "T "" t""#);
    sql("drop table later");
    site.stow.cluster.stop(Shutdown::Fast);

    let moved = [
        site.scratch.join("new one's=place"),
        site.scratch.join("new two"),
    ];
    let oid = oid_of(&site, "two");
    let old = spaces[0].display().to_string().replace('=', "\\=");
    let new = moved[0].display().to_string().replace('=', "\\=");
    let first = format!("{old}={new}");
    let second = format!("{oid}={}", moved[1].display());
    let wish = [
        "--target-name",
        "it's here",
        "--prove",
        "--tablespace",
        &first,
        "--tablespace",
        &second,
    ];
    let mut copy = site.copy("copy", &wish);
    for kept in [PathBuf::from(stray), left.join("one")] {
        let kept = copy.data_dir().join(kept);
        assert_eq!(fs::read_to_string(&kept).unwrap(), "kept");
    }
    copy.recover();
    for space in &moved {
        let places =
            copy.psql("select string_agg(pg_tablespace_location(oid), '|') from pg_tablespace");
        assert!(places.contains(space.to_str().unwrap()), "{places}");
    }
    assert_eq!(
        without_sequences(&copy.dump(DATABASE)),
        without_sequences(&dump)
    );
    let sql = |sql: &str| copy.psql_in(DATABASE, sql);
    assert_eq!(sql(r#"select count(*) from "T "" t""#), "1500");
    assert_eq!(sql("select count(*) from within"), "700");
    assert_eq!(sql("select count(*) from fleeting"), "0");
    sql("insert into fleeting values (1)");
    // A sequence may jump ahead by what it logged in advance, but gives no number twice.
    let next: u64 = sql("select nextval('s')").parse().unwrap();
    assert!((43..=42 + 33).contains(&next), "{next}");
    assert_eq!(sql("select nextval('u')"), "1");
    // pg_checksums can't get past it either.
    fs::remove_dir_all(copy.data_dir().join(left)).unwrap();
    judge_and_end(copy);
}

fn oid_of(site: &Site, tablespace: &str) -> String {
    let backups = site.stow.backups();
    let id = backups.last().unwrap()["id"].as_str().unwrap();
    let backup = site.stow.stored_as(id).json();
    let spaces = backup["tablespaces"].as_array().unwrap();
    let path = site.scratch.join(tablespace).display().to_string();
    let space = spaces
        .iter()
        .find(|space| space["location"] == path.as_str());
    space.unwrap_or_else(|| panic!("{backup}"))["oid"].to_string()
}

/// A dump's lines but for what sequences stand at.
fn without_sequences(dump: &str) -> Vec<&str> {
    let lines = dump.lines();
    lines.filter(|line| !line.contains("setval")).collect()
}

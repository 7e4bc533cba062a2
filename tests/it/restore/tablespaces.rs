//! Tablespaces whose places are no plain words, and no text: Linux lets a path be any bytes.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
};

use super::copy::{copy, open, restore, rows};
use crate::harness::{PgBin, Scratch, Shutdown, Stow, on_every_major, pg, user::own};

on_every_major!(a_place_of_any_bytes_comes_back);

/// A cluster whose group may read all of it.
#[test]
fn folders_keep_their_modes() {
    let scratch = Scratch::new();
    let stow = Stow::build(&scratch, pg(17))
        .cluster(|cluster| cluster.initdb("--allow-group-access"))
        .start();
    let place = scratch.folder("place");
    stow.cluster.psql(&format!(
        "create tablespace s location '{}'",
        place.display()
    ));
    let oid = stow
        .cluster
        .psql("select oid from pg_tablespace where spcname = 's'");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&place), 0o750);
    stow.backup(&[]);
    stow.cluster.switch_wal();
    let moved = scratch.join("moved");
    let space = format!("{oid}={}", moved.display());
    let (restore, to) = restore(&scratch, &stow, "copy", &["--tablespace", &space]);
    restore.ok();
    for folder in [
        "",
        "base",
        "global",
        "pg_tblspc",
        "pg_wal",
        "pg_wal/archive_status",
    ] {
        assert_eq!(mode(&to.join(folder)), 0o750, "{folder}");
    }
    assert_eq!(mode(&moved), 0o750);
    assert_eq!(mode(&to.join("PG_VERSION")), 0o640);
}

fn a_place_of_any_bytes_comes_back(pg: PgBin) {
    let scratch = Scratch::new();
    let mut stow = Stow::start(&scratch, pg);
    // Else the server wants text of the database's encoding.
    let bytes = "create database bytes template template0 encoding 'SQL_ASCII'";
    stow.cluster.psql(bytes);
    let above = scratch.folder("above");
    own(&above);
    let make = |name: &str, folder: &[u8], sql: &str| -> PathBuf {
        let path = above.join(OsStr::from_bytes(folder));
        fs::create_dir(&path).unwrap();
        own(&path);
        let place = above.display();
        let sql = format!("create tablespace {name} location E'{place}/{sql}'");
        stow.cluster.psql_in("bytes", &sql);
        path
    };
    let words = make("words", b"a \"b\\c", "a \"b\\\\c");
    let latin = make("latin", b"\xE9t\xE9 1", "\\351t\\351 1");
    stow.cluster
        .psql("create table t tablespace words as select 1 as n");
    stow.cluster
        .psql("create table u tablespace latin as select 2 as n");
    let backup = stow.backup(&[]);
    stow.cluster.switch_wal();
    let noted = backup.json()["tablespaces"].clone();
    // In the order of names in a folder.
    let mut noted = noted.as_array().unwrap().clone();
    noted.sort_by_key(|space| space["oid"].as_u64());
    assert_eq!(noted[0]["location"], words.to_str().unwrap());
    let hex: String = latin
        .as_os_str()
        .as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(noted[1]["encoded_location"], *hex);
    stow.tool.command(&["list", backup.id()]).ok();

    let moved = [
        format!(
            "{}={}",
            words.display(),
            scratch.join("new words").display()
        ),
        format!(
            "{}={}",
            noted[1]["oid"],
            scratch.join("new latin").display()
        ),
    ];
    let moves = ["--tablespace", &moved[0], "--tablespace", &moved[1]];
    restore(&scratch, &stow, "copy", &moves).0.ok();
    stow.cluster.pg.verifybackup(&scratch.join("copy")).unwrap();
    let moved = open(copy(&scratch, &stow, "copy"));
    assert_eq!(
        (rows(&moved), moved.psql("select n from u")),
        ("1".into(), "2".into())
    );

    // In the cluster's own place, the same paths.
    stow.cluster.stop(Shutdown::Fast);
    let bindir = stow.cluster.pg.bindir.display().to_string();
    let own_place = ["--json", "restore", "--bindir", &bindir, "--replace"];
    let restored = stow.tool.command(&own_place).ok().json();
    assert_eq!(restored["aside"].as_array().unwrap().len(), 3);
    let link = |oid: &serde_json::Value| -> PathBuf {
        let link = Path::new("pg_tblspc").join(oid.to_string());
        fs::read_link(stow.cluster.data_dir().join(link)).unwrap()
    };
    assert_eq!(link(&noted[0]["oid"]), words);
    assert_eq!(link(&noted[1]["oid"]), latin);
    stow.cluster.start();
    stow.cluster.wait_until("select pg_is_in_recovery()", "f");
    assert_eq!(rows(&stow.cluster), "1");
    assert_eq!(stow.cluster.psql("select n from u"), "2");
}

//! What `base` stores can be read without pgstow: by tar, the codec's program, sha256sum and
//! pg_verifybackup.

use std::{
    fs,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use crate::harness::{PgBin, Scratch, Stored, Stow, on_every_major, pg, user};

on_every_major!(a_person_unpacks_and_checks_it);

/// All that makes a data directory odd.
struct Oddities {
    /// Path of a table in a tablespace.
    far: String,
    /// The same, in a tablespace inside the data directory.
    near: String,
    unlogged: String,
}

fn make_odd(scratch: &Scratch, stow: &Stow) -> Oddities {
    let cluster = &stow.cluster;
    // PostgreSQL itself refuses single quotes there.
    let place = scratch.folder("far \"away\" ä");
    cluster.psql(&format!(
        "create tablespace far location '{}'",
        place.display()
    ));
    cluster.psql("create tablespace near location ''");
    let rows = "as select n, repeat('x', 100) as text from generate_series(1, 20000) n";
    for (name, how) in [("far", "tablespace far"), ("near", "tablespace near")] {
        cluster.psql(&format!("create table {name} {how} {rows}"));
    }
    cluster.psql(&format!("create unlogged table unlogged {rows}"));
    cluster.psql(&format!("create table \"it's a \"\"table\"\" ä\" {rows}"));
    let odd = PathBuf::from(std::ffi::OsString::from_vec(b"odd \xFF 'name'".to_vec()));
    let odd = cluster.data_dir().join(odd);
    fs::write(&odd, "odd").unwrap();
    user::own(&odd);
    let temporary = cluster.data_dir().join("base/pgsql_tmp");
    fs::create_dir_all(&temporary).unwrap();
    user::own(&temporary);
    for name in [
        "base/pgsql_tmp/pgsql_tmp1.0",
        "base/5/t3_99",
        "base/5/.DS_Store",
    ] {
        fs::write(cluster.data_dir().join(name), "left").unwrap();
        user::own(&cluster.data_dir().join(name));
    }
    let path = |name: &str| cluster.psql(&format!("select pg_relation_filepath('{name}')"));
    Oddities {
        far: path("far"),
        near: path("near"),
        unlogged: path("unlogged"),
    }
}

fn all_members(backup: &Stored) -> Vec<String> {
    let parts = backup.parts();
    parts.iter().flat_map(|part| backup.members(part)).collect()
}

fn a_person_unpacks_and_checks_it(pg: PgBin) {
    let scratch = Scratch::new();
    let stow = Stow::build(&scratch, pg)
        .repo("part_size = \"4MB\"")
        .cluster(|cluster| cluster.conf("allow_in_place_tablespaces", "on"))
        .start();
    let odd = make_odd(&scratch, &stow);
    let [stream, local] = ["stream", "local"].map(|method| {
        let backup = stow.backup(&["--method", method]);
        assert_eq!(backup.json()["method"], method);
        unpacks_and_is_right(&scratch.join(method), &stow, &odd, &backup);
        // Times and checkpoints go on; what is there, and its size, doesn't.
        let mut members = all_members(&backup);
        members.sort();
        // The server names tablespaces in the order that its file system has.
        let json = backup.json();
        let mut tablespaces = json["tablespaces"].as_array().unwrap().clone();
        tablespaces.sort_by_key(|space| space["oid"].as_u64());
        (members, json["files"].clone(), tablespaces)
    });
    assert_eq!(stream, local);
}

fn unpacks_and_is_right(copy: &Path, stow: &Stow, odd: &Oddities, backup: &Stored) {
    let parts = backup.parts();
    assert!(parts.len() > 3, "{parts:?}");
    assert_eq!(backup.check_sums().matches(": OK").count(), parts.len());
    backup.unpack(copy);
    stow.cluster.pg.verifybackup(copy).unwrap();
    for file in [&odd.far, &odd.near] {
        let (stored, live) = (copy.join(file), stow.cluster.data_dir().join(file));
        assert!(
            fs::read(stored).unwrap() == fs::read(live).unwrap(),
            "{file}"
        );
    }

    let last = backup.members(parts.last().unwrap());
    assert_eq!(last.last().unwrap(), "global/pg_control");
    let members = all_members(backup);
    let has = |name: &str| members.iter().any(|member| member == name);
    assert!(has("odd \\377 'name'"), "{members:?}");
    assert_eq!(
        members
            .iter()
            .filter(|name| *name == "global/pg_control")
            .count(),
        1
    );
    assert!(has(&format!("{}_init", odd.unlogged)) && !has(&odd.unlogged));
    // The folder of a tablespace, without which tar makes it or keeps the link to it.
    let far = odd.far.split('/').take(2).collect::<Vec<_>>().join("/");
    assert!(
        !has(&far) && !has(&format!("{far}/")),
        "{far} in {members:?}"
    );
    for name in [
        "tablespace_map",
        "backup_manifest",
        "postmaster.pid",
        "link",
    ] {
        assert!(!has(name), "{name}");
    }
    let temporary = |name: &&String| name.contains("pgsql_tmp") || name.contains("/t3_");
    assert_eq!(members.iter().find(temporary), None);
    assert!(has("backup_label"));
    let outside = |name: &&String| name.starts_with('/') || name.contains("..");
    assert_eq!(members.iter().find(outside), None);
}

#[test]
fn every_codec_is_a_standard_one() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(17));
    stow.cluster
        .psql("create table t as select repeat('x', 50) from generate_series(1, 50000)");
    let endings = [
        ("zstd:5", ".zst"),
        ("gzip", ".gz"),
        ("lz4", ".lz4"),
        ("none", ""),
    ];
    for (number, (compression, ending)) in endings.into_iter().enumerate() {
        let base = stow.base(&["--manifest-checksums", "sha256"]);
        let output = base.env("PGSTOW_REPO_COMPRESSION", compression).ok();
        let backup = stow.stored(&output);
        let name = format!("part-0001.tar{ending}");
        assert_eq!(backup.parts(), [backup.object(&name)]);
        backup.check_sums();
        let copy = scratch.join(&number.to_string());
        backup.unpack(&copy);
        stow.cluster.pg.verifybackup(&copy).unwrap();
        let manifest = backup.text("backup_manifest.zst");
        assert!(manifest.contains("\"SHA256\"") && !manifest.contains("CRC32C"));
        let json = backup.json();
        let (codec, level) = compression.split_once(':').unwrap_or((compression, ""));
        assert_eq!(json["compression"], codec);
        assert!(level.is_empty() || json["level"] == level.parse::<i32>().unwrap());
    }
}

#[test]
fn segments_of_64_mb() {
    let scratch = Scratch::new();
    let stow = Stow::build(&scratch, pg(16))
        .cluster(|cluster| cluster.initdb("--wal-segsize=64"))
        .start();
    let backup = stow.backup(&[]);
    assert_eq!(backup.json()["segment_size"], 64 << 20);
    let copy = scratch.join("copy");
    backup.unpack(&copy);
    stow.cluster.pg.verifybackup(&copy).unwrap();
}

//! A chain that is unpacked with tar is combined by PostgreSQL's own program and by ours for people,
//! and what comes out is what pgstow restores, byte for byte.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use super::{Chain, Kind, told_of};
use crate::harness::{Stored, user};

told_of!(three_programs_combine_a_chain_to_the_same_bytes:
    pg15 = plain(15), pg17 = plain(17), pg18_summaries = summarizing(18));
told_of!(combinebackup_004_manifest: pg17 = plain(17));
told_of!(combinebackup_005_integrity_and_009_no_full_file: pg15 = plain(15));

/// A backup in a folder of its own, tablespaces beside it.
fn unpacked(chain: &Chain, backup: &Stored) -> PathBuf {
    let folder = chain.site.scratch.join(backup.id());
    if !folder.exists() {
        backup.unpack(&folder);
    }
    folder
}

/// `docs/combine.py`, as it lies in every repository.
fn combine_py(chain: &Chain, to: &Path, folders: &[PathBuf]) -> Result<String, String> {
    let mut python = user::command("python3", "KILL");
    python.arg(chain.site.stow.root().join("combine.py"));
    python.arg("--output").arg(to);
    for oid in tablespaces(folders.last().unwrap()) {
        python.arg(format!("--tablespace={oid}={}-{oid}", to.display()));
    }
    user::run(python.args(folders))
}

fn pg_combinebackup(chain: &Chain, to: &Path, folders: &[PathBuf]) -> Result<String, String> {
    let newest = folders.last().unwrap();
    let mut command = chain.site.main().pg.command("pg_combinebackup");
    command.arg("--output").arg(to);
    for oid in tablespaces(newest) {
        let (old, new) = (newest.display(), to.display());
        command.arg(format!("--tablespace-mapping={old}-{oid}={new}-{oid}"));
    }
    user::run(command.args(folders))
}

fn tablespaces(folder: &Path) -> Vec<String> {
    let links = fs::read_dir(folder.join("pg_tblspc")).unwrap();
    let names = links.map(|link| link.unwrap().file_name().into_string().unwrap());
    names.collect()
}

/// Every file of a folder by its path. Links of tablespaces are followed.
fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![String::new()];
    while let Some(inner) = pending.pop() {
        for entry in fs::read_dir(folder.join(&inner)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let path = if inner.is_empty() {
                name
            } else {
                format!("{inner}/{name}")
            };
            let absolute = folder.join(&path);
            match absolute.is_dir() {
                true => pending.push(path),
                false => drop(found.insert(path, fs::read(absolute).unwrap())),
            }
        }
    }
    found
}

#[track_caller]
fn same(one: &BTreeMap<String, Vec<u8>>, other: &BTreeMap<String, Vec<u8>>, but: &[&str]) {
    let paths: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let differing: Vec<&&String> = paths
        .iter()
        .filter(|path| !but.contains(&path.as_str()) && one.get(**path) != other.get(**path))
        .collect();
    assert!(differing.is_empty(), "{differing:?}");
    assert!(
        one.contains_key("backup_label") && one.len() > 900,
        "{}",
        one.len()
    );
}

fn three_programs_combine_a_chain_to_the_same_bytes(kind: Kind) {
    let mut chain = Chain::start(kind);
    let place = chain.site.scratch.folder("far").display().to_string();
    chain.sql(&format!("create tablespace far location '{place}'"));
    let rows = "select n, repeat('x', 400) as text from generate_series(1, 4000) n";
    for name in ["changes", "shrinks", "still", "dropped"] {
        chain.sql(&format!("create table {name} as {rows}"));
        chain.sql(&format!("create table {name}_far tablespace far as {rows}"));
    }
    chain.sql("vacuum; checkpoint");
    std::thread::sleep(std::time::Duration::from_millis(2500));
    chain.full();
    for round in ["1", "2"] {
        for space in ["", "_far"] {
            let sql = "update changes_ set text = '$' where n % 400 = $; delete from shrinks_ where n > 4000 / $ - 300;
                       vacuum shrinks_; drop table if exists dropped_; create table new_$_ as select 1 as n";
            chain.sql(
                &sql.replace('$', round)
                    .replace("_ ", &format!("{space} "))
                    .replace("_;", &format!("{space};")),
            );
        }
        chain.incremental();
    }
    let folders: Vec<PathBuf> = chain
        .levels
        .iter()
        .map(|level| unpacked(&chain, &level.backup))
        .collect();
    let pg = &chain.site.main().pg;

    let python = chain.site.scratch.join("python");
    combine_py(&chain, &python, &folders).unwrap();
    pg.verifybackup(&python).unwrap();
    let by_python = tree(&python);
    if pg.major >= 17 {
        let own = chain.site.scratch.join("own");
        pg_combinebackup(&chain, &own, &folders).unwrap();
        pg.verifybackup(&own).unwrap();
        // Both hash what they put together, and not by the same function.
        same(&tree(&own), &by_python, &["backup_manifest"]);
    }
    chain.site.main().switch_wal();
    let level = chain.levels.last().unwrap();
    let oid = &tablespaces(&python)[0];
    let space = format!(
        "{oid}={}",
        chain.site.scratch.join("restored-far").display()
    );
    let words = [
        level.backup.id(),
        "--target-immediate",
        "--tablespace",
        &space,
    ];
    let restored = chain.site.copy("restored", &words);
    // What a restore adds, and what it sets for recovery.
    let added = [
        "backup_manifest",
        "postgresql.auto.conf",
        "recovery.signal",
        "pgstow-restore.json",
    ];
    same(&tree(restored.data_dir()), &by_python, &added);
}

/// What is put together has a manifest with the checksums that were asked for.
fn combinebackup_004_manifest(kind: Kind) {
    let mut chain = Chain::start(kind);
    chain.full();
    chain.sql("create table t as select 1 as n");
    let sha224 = ["--incremental", "--manifest-checksums", "sha224"];
    let backup = chain.site.stow.backup(&sha224);
    chain.note(backup);
    chain.site.main().switch_wal();
    let copy = chain.site.copy("copy", &[chain.newest().id()]);
    let manifest = fs::read_to_string(copy.data_dir().join("backup_manifest")).unwrap();
    assert!(manifest.matches("SHA224").count() > 900);
    assert!(!manifest.contains("CRC32C") && !manifest.contains("INCREMENTAL."));
}

fn combinebackup_005_integrity_and_009_no_full_file(kind: Kind) {
    let mut chain = Chain::start(kind.clone());
    chain.sql("create table t as select n from generate_series(1, 90000) n; checkpoint");
    std::thread::sleep(std::time::Duration::from_millis(2500));
    chain.full();
    chain.incremental();
    chain.incremental();
    let mut other = Chain::start(kind);
    other.full();
    other.incremental();
    let folders = |chain: &Chain| -> Vec<PathBuf> {
        chain
            .levels
            .iter()
            .map(|level| unpacked(chain, &level.backup))
            .collect()
    };
    let (own, other) = (folders(&chain), folders(&other));
    let [one, two, three] = [0, 1, 2].map(|number| own[number].clone());
    let to = chain.site.scratch.join("to");
    let refused = |folders: &[&PathBuf], why: &str| {
        let folders: Vec<PathBuf> = folders.iter().map(|folder| (*folder).clone()).collect();
        let said = combine_py(&chain, &to, &folders).unwrap_err();
        assert!(said.contains(why), "{said}");
        let _ = fs::remove_dir_all(&to);
    };
    refused(&[&one, &one], "is a full backup: it must be the first");
    refused(&[&two, &two], "builds on the backup that starts at");
    refused(&[&one, &three], "builds on the backup that starts at");
    refused(&[&one, &three, &two], "builds on the backup that starts at");
    refused(&[&two, &three], "builds on the backup that starts at");
    refused(&[&one, &other[1]], "is of another system");
    combine_py(&chain, &to, &[one.clone(), two.clone(), three.clone()]).unwrap();
    // What was combined is a full backup, from where its newest began.
    let middle = chain.site.scratch.join("middle");
    let end = chain.site.scratch.join("end");
    combine_py(&chain, &middle, &[one.clone(), two.clone()]).unwrap();
    combine_py(&chain, &end, &[middle.clone(), three.clone()]).unwrap();
    same(&tree(&end), &tree(&to), &["backup_manifest"]);
    fs::remove_dir_all(&to).unwrap();
    refused(&[&middle, &two], "builds on the backup that starts at");

    // The file's blocks everywhere, and nowhere the whole of it.
    let path = chain.sql("select pg_relation_filepath('t')");
    let changed = path.replace("/5/", "/5/INCREMENTAL.");
    fs::copy(two.join(&changed), one.join(&changed)).unwrap();
    user::own(&one.join(&changed));
    fs::remove_file(one.join(&path)).unwrap();
    refused(&[&one, &two, &three], "no folder has the whole of");
    fs::remove_file(one.join(&changed)).unwrap();
    refused(&[&one, &two, &three], "nor its changed blocks");
}

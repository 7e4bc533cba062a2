//! The manifest that a restore leaves is the real one: whatever is done to the folder then, as in
//! PostgreSQL's own 003_corruption test, pg_verifybackup finds and names it.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::FileExt,
    path::Path,
};

use super::Site;
use crate::harness::{Cluster, PgBin, on_every_major};

on_every_major!(pg_verifybackup_finds_what_is_done_to_a_restored_folder);

/// What is done to a file, and what pg_verifybackup says of it.
type Mutilation = (&'static str, fn(&Path), &'static str);

const MUTILATIONS: [Mutilation; 6] = [
    (
        "extra_file",
        |path| fs::write(path, "extra").unwrap(),
        "is present on disk but not in the manifest",
    ),
    (
        "pg_xact/0000",
        |path| fs::remove_file(path).unwrap(),
        "is present in the manifest but not on disk",
    ),
    ("global/pg_filenode.map", |path| append(path), "has size"),
    (
        "base/1/PG_VERSION",
        |path| fs::write(path, "").unwrap(),
        "has size",
    ),
    (
        "global/pg_control",
        |path| replace_byte(path),
        "checksum mismatch for file",
    ),
    (
        "backup_label",
        |path| replace_byte(path),
        "checksum mismatch for file",
    ),
];

fn append(path: &Path) {
    let mut file = OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(b"more").unwrap();
}

/// The last byte, whatever it was, is another one.
fn replace_byte(path: &Path) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let at = file.metadata().unwrap().len() - 1;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

fn pg_verifybackup_finds_what_is_done_to_a_restored_folder(pg: PgBin) {
    let site = Site::start(pg);
    site.stow.backup(&[]);
    let copy = site.copy("copy", &["--target-immediate"]);
    let (pg, data_dir) = (&copy.pg, copy.data_dir());
    for (name, mutilate, verdict) in MUTILATIONS {
        let path = data_dir.join(name);
        let before = fs::read(&path).ok();
        mutilate(&path);
        let said = pg.verifybackup(data_dir).unwrap_err();
        assert!(said.contains(verdict) && said.contains(name), "{said}");
        match before {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        pg.verifybackup(data_dir).unwrap();
    }
    // That of 18 can judge the older ones too.
    if pg.major < 17 {
        crate::harness::pg(18).verifybackup(data_dir).unwrap();
    }
    // Another cluster's pg_control. Its CRC-32C is that of every pg_control, since that ends with
    // a CRC-32C of its own: only from 17 on, with the system identifier in the manifest, is it found.
    if pg.major >= 17 {
        let control = data_dir.join("global/pg_control");
        let stranger = Cluster::build(&site.scratch, pg.clone())
            .name("stranger")
            .make();
        let ours = fs::read(&control).unwrap();
        fs::copy(stranger.data_dir().join("global/pg_control"), &control).unwrap();
        let said = pg.verifybackup(data_dir).unwrap_err();
        assert!(said.contains("manifest system identifier is"), "{said}");
        fs::write(&control, ours).unwrap();
    }
    // A manifest that was changed itself.
    let manifest = data_dir.join("backup_manifest");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replacen("PG_VERSION", "PG_VERSIOM", 1)).unwrap();
    let said = pg.verifybackup(data_dir).unwrap_err();
    assert!(said.contains("manifest checksum mismatch"), "{said}");
}

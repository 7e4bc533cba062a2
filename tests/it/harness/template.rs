//! New clusters as copies. initdb takes most of a second of a processor, and a copy of what it made a tenth of that: what it
//! made for a major and its arguments is kept beside the scratch folders. A copy gets a system identifier of its own.

use std::{
    fs::{self, OpenOptions},
    hash::{DefaultHasher, Hash, Hasher},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process,
    time::UNIX_EPOCH,
};

use pgstow::postgres::control;

use super::{PgBin, Scratch, user};

/// Makes the cluster that initdb makes with these arguments.
pub fn make(pg: &PgBin, arguments: &[&str], data_dir: &Path) {
    let mut copy = user::command("cp", "KILL");
    copy.args(["--recursive", "--preserve=mode", "--sparse=always"])
        .arg("--no-target-directory")
        .arg(template(pg, arguments))
        .arg(data_dir);
    user::run_ok(&mut copy);
    identify(data_dir);
}

fn template(pg: &PgBin, arguments: &[&str]) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    let program = pg.bindir.join("initdb");
    let installed = fs::metadata(&program).unwrap().modified().unwrap();
    (program, installed, arguments).hash(&mut hasher);
    let name = format!("initdb{}-{:x}", pg.major, hasher.finish());
    let scratch = Scratch::new();
    let template = scratch.beside(&name);
    if !template.exists() {
        let new = scratch.join("data");
        let mut initdb = pg.command("initdb");
        user::run_ok(initdb.args(arguments).arg("-D").arg(&new));
        // Of several tests that make it at once, one is first.
        let named = fs::rename(&new, &template);
        assert!(template.exists(), "{named:?}");
    }
    template
}

/// Gives the cluster an identifier, of moment and process, as PostgreSQL does (BootStrapXLOG in
/// src/backend/access/transam/xlog.c). It stands in pg_control, and in the first page of each segment of WAL.
fn identify(data_dir: &Path) {
    let now = UNIX_EPOCH.elapsed().unwrap();
    let moment = now.as_secs() << 32 | u64::from(now.subsec_micros()) << 12;
    let new = (moment | u64::from(process::id() & 0xFFF)).to_le_bytes();

    let path = data_dir.join(control::PATH);
    let mut bytes = fs::read(&path).unwrap();
    let crc_at = (8..512).find(|at| crc(&bytes[..*at]) == bytes[*at..at + 4]);
    let crc_at = crc_at.expect("the checksum of pg_control");
    let old = bytes[..8].to_owned();
    bytes[..8].copy_from_slice(&new);
    let checksum = crc(&bytes[..crc_at]);
    bytes[crc_at..crc_at + 4].copy_from_slice(&checksum);
    fs::write(&path, bytes).unwrap();

    // XLogLongPageHeaderData in src/include/access/xlog_internal.h.
    const AT: u64 = 24;
    for entry in fs::read_dir(data_dir.join("pg_wal")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let segment = OpenOptions::new().read(true).write(true).open(path);
            let segment = segment.unwrap();
            let mut found = [0; 8];
            segment.read_exact_at(&mut found, AT).unwrap();
            // One that was made for later has no header yet.
            if found[..] == old {
                segment.write_all_at(&new, AT).unwrap();
            }
        }
    }
}

fn crc(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).to_le_bytes()
}

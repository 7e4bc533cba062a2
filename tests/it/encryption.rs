//! Encrypted repositories: nothing is stored plain that the format encrypts, who has the key gets all of it back,
//! and who has not is told so.

mod drills;
mod dumps;
mod keys;
mod trouble;

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::harness::{
    Cluster, PgBin, Scratch, Shutdown, Stored, Stow,
    keys::{IDENTITY, RECIPIENT},
    on_every_major, pg,
    tool::Invocation,
    user,
};

on_every_major!(a_chain_comes_back_and_nothing_of_it_was_readable);

/// Stands in tables, and so in parts, WAL and dumps.
const MARKER: &str = "a text that nobody else should read";

/// A cluster whose repository is encrypted.
struct Site {
    // Dropped in this order: the server ends before its folder goes.
    stow: Stow,
    scratch: Scratch,
    /// Servers of copies that there were so far.
    copies: Cell<u32>,
}

impl Site {
    /// Without compression: what is plain would be seen.
    fn start(pg: PgBin) -> Self {
        Self::with(pg, "none")
    }

    fn with(pg: PgBin, compression: &str) -> Self {
        let scratch = Scratch::new();
        let bindir = format!("bindir = \"{}\"", pg.bindir.display());
        let library = pg.bindir.join("../lib");
        let mut stow = Stow::build(&scratch, pg)
            .cluster(|cluster| cluster.initdb("--wal-segsize=1"))
            .compression(compression)
            .setting(&bindir)
            .encrypted()
            .start();
        stow.tool = stow.tool.env("LD_LIBRARY_PATH", library);
        let main = &stow.cluster;
        main.psql(&format!(
            "create table t as select n, '{MARKER}'::text as word from generate_series(1, 3000) n"
        ));
        Self {
            stow,
            scratch,
            copies: Cell::new(0),
        }
    }

    fn main(&self) -> &Cluster {
        &self.stow.cluster
    }

    fn pgstow(&self, arguments: &[&str]) -> Invocation {
        self.stow.tool.command(arguments)
    }

    /// Has pgstow.toml say something else.
    fn configure(&self, from: &str, to: &str) {
        let path = self.stow.tool.config_file();
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains(from), "no {from:?} in {text}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    /// No host has the private key from now on.
    fn take_key_away(&self) -> PathBuf {
        let path = self.scratch.join("identity");
        self.configure(&format!(", identity_file = \"{}\"", path.display()), "");
        path
    }

    fn restore(&self, name: &str, arguments: &[&str]) -> (Invocation, PathBuf) {
        let to = self.scratch.join(name);
        let fixed = ["restore", "--data-dir", to.to_str().unwrap()];
        (self.pgstow(&[&fixed, arguments].concat()), to)
    }

    /// Restores, recovers, and compares with what pg_dump told of the original.
    #[track_caller]
    fn comes_back(&self, name: &str, arguments: &[&str], expected: &str) {
        let (restore, to) = self.restore(name, arguments);
        restore.ok();
        let pg = self.main().pg.clone();
        pg.verifybackup(&to).unwrap();
        self.copies.set(self.copies.get() + 1);
        let run = format!("run{}", self.copies.get());
        let mut copy = Cluster::existing(&self.scratch, pg, &run, &to);
        copy.start();
        copy.wait_until("select pg_is_in_recovery()", "f");
        assert!(
            copy.dump("postgres") == expected,
            "{name} is another database"
        );
        copy.amcheck();
        copy.stop(Shutdown::Fast);
    }
}

/// All files below `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(self::files(&path)),
            false => files.push(path),
        }
    }
    files
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

/// Nothing in the repository shows the marker, and what is to be encrypted is.
#[track_caller]
fn assert_unreadable(root: &Path) {
    let mut encrypted = 0;
    for path in files(root) {
        let bytes = fs::read(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(!holds(&bytes, MARKER), "{} is readable", path.display());
        assert!(!holds(&bytes, IDENTITY), "{} holds the key", path.display());
        let is_age = bytes.starts_with(b"age-encryption.org/v1\n");
        assert_eq!(is_age, name.ends_with(".age"), "{}", path.display());
        encrypted += u32::from(is_age);
        // Parts, configuration, segments; lists and documents are the catalog.
        let is_catalog = [".json", ".json.zst", ".history", ".backup", ".sha256"];
        let is_catalog = is_catalog.iter().any(|ending| name.ends_with(ending))
            || ["SHA256SUMS", "backup_manifest.zst", "combine.py", "reserve"].contains(&name);
        assert!(is_age || is_catalog, "{} is plain", path.display());
    }
    assert!(encrypted > 3, "only {encrypted} objects are encrypted");
}

fn a_chain_comes_back_and_nothing_of_it_was_readable(pg: PgBin) {
    let site = Site::start(pg);
    let main = site.main();
    let full = site.stow.backup(&["--full"]);
    main.psql("update t set n = -n where n % 100 = 0");
    let incremental = site.stow.backup(&["--incremental"]);
    assert_eq!(incremental.json()["parent"], full.id());
    main.psql("delete from t where n < 0");
    let expected = main.dump("postgres");
    main.switch_wal();

    assert_unreadable(site.stow.root());
    for backup in [&full, &incremental] {
        assert_eq!(backup.json()["recipients"], serde_json::json!([RECIPIENT]));
        let part = &backup.json()["parts"][0];
        assert!(
            part["name"].as_str().unwrap().ends_with(".tar.age"),
            "{part}"
        );
        assert_ne!(part["sha256"], part["unencrypted_sha256"]);
        backup.check_sums();
    }
    hash_before_encryption(&full);
    let shown = site.pgstow(&["list", full.id()]).ok();
    assert!(shown.stdout.contains(RECIPIENT), "{shown}");
    site.comes_back("copy", &[], &expected);
    let folder = site.scratch.join("copy");
    fs::write(folder.join("global/pg_filenode.map"), "not this").unwrap();
    site.comes_back("copy", &["--delta"], &expected);
    // With a list of recipients a host can do all but read.
    let key = site.take_key_away();
    main.psql("insert into t values (-1, 'more')");
    main.switch_wal();
    site.stow.backup(&["--incremental"]);
    site.pgstow(&["cleanup"]).ok();
    site.pgstow(&["list"]).ok();
    let expected = main.dump("postgres");
    main.switch_wal();
    let with_key = format!("PGSTOW_REPO_ENCRYPTION_IDENTITY_FILE={}", key.display());
    let (name, value) = with_key.split_once('=').unwrap();
    let to = site.scratch.join("late");
    // The server that recovers has no such variable: which is told.
    site.pgstow(&["restore", "--data-dir", to.to_str().unwrap(), "--plan"])
        .env(name, value)
        .ok();
    site.configure(
        "recipients = [",
        &format!("identity_file = \"{value}\", recipients = ["),
    );
    site.comes_back("late", &[], &expected);
}

/// The identity of a part across repositories is told as it is.
#[track_caller]
fn hash_before_encryption(backup: &Stored) {
    let part = &backup.json()["parts"][0];
    let path = backup.object(part["name"].as_str().unwrap());
    let sum = user::run_ok(user::command("bash", "KILL").args([
        "-o",
        "pipefail",
        "-c",
        &format!(
            "age -d -i <(echo {IDENTITY}) '{}' | sha256sum",
            path.display()
        ),
    ]));
    let told = part["unencrypted_sha256"].as_str().unwrap();
    assert!(sum.starts_with(told), "{sum} {told}");
}

fn json(invocation: Invocation) -> Value {
    invocation.ok().json()
}

#[test]
fn every_codec_is_read_by_range() {
    for compression in ["gzip:1", "lz4", "zstd:3"] {
        let site = Site::with(pg(17), compression);
        let main = site.main();
        // Larger than several chunks of age, and jobs of their own.
        main.psql("create table wide as select n, md5(n::text) from generate_series(1, 60000) n");
        site.stow.backup(&["--full"]);
        let expected = main.dump("postgres");
        main.switch_wal();
        site.comes_back("copy", &[], &expected);
        let checked = json(site.pgstow(&["--json", "verify", "--all", "--wal"]));
        assert_eq!(checked["backups"][0]["sealed"], Value::Null, "{checked}");
        assert_eq!(checked["wal"][0]["sealed"], 0, "{checked}");
    }
}

//! `pgstow verify` on damaged repositories: the mutilations of PostgreSQL's own test of
//! pg_verifybackup (003_corruption.pl), applied to what is stored. Each must be found, and
//! named.

#[path = "verify/forged.rs"]
mod forged;
#[path = "verify/known.rs"]
mod known;
#[path = "verify/records.rs"]
pub mod records;

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::harness::{
    Scratch, Stored, Stow,
    damage::{flip, flip_at},
    pg, user,
};

/// A repository with two backups and some WAL behind them.
struct Sound {
    stow: Stow,
    first: Stored,
    backup: Stored,
}

impl Sound {
    fn new(scratch: &Scratch, major: u32, compression: &str) -> Self {
        let stow = Stow::build(scratch, pg(major))
            .compression(compression)
            .repo("part_size = \"4MB\"")
            .start();
        let rows = "select n, md5(n::text) from generate_series(1, 100000) n";
        stow.cluster.psql(&format!("create table t as {rows}"));
        let first = stow.backup(&[]);
        stow.cluster
            .psql("update t set md5 = '' where n % 1000 = 0");
        let backup = stow.backup(&[]);
        stow.cluster.switch_wal();
        // Something in the middle one: between zeros a flipped bit may change nothing.
        let noise = "select md5(random()::text) from generate_series(1, 20000)";
        stow.cluster.psql(&format!("create table noise as {noise}"));
        stow.cluster.switch_wal();
        stow.cluster.switch_wal();
        Self {
            stow,
            first,
            backup,
        }
    }

    /// The findings of `verify`: object, file, problem.
    #[track_caller]
    fn findings(&self, arguments: &[&str], code: i32) -> Vec<[String; 3]> {
        let verify = [&["--json", "verify"], arguments].concat();
        let verify = self.stow.tool.command(&verify);
        let report = verify.fails(code).json();
        let mut findings = Vec::new();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for backup in report["backups"].as_array().unwrap() {
            for found in backup["findings"].as_array().unwrap() {
                findings.push([&found["object"], &found["file"], &found["problem"]].map(text));
            }
        }
        for wal in report["wal"].as_array().unwrap() {
            for found in wal["findings"].as_array().unwrap() {
                findings.push([&found["object"], &Value::Null, &found["what"]].map(text));
            }
        }
        findings
    }

    #[track_caller]
    fn is_sound(&self) {
        assert_eq!(
            self.findings(&["--all", "--wal"], 0),
            Vec::<[String; 3]>::new()
        );
    }

    /// Damages `path`, sees that findings name it and nothing else, and mends it.
    #[track_caller]
    fn damaged(&self, path: &Path, problem: &str, damage: impl FnOnce(&Path)) -> Vec<[String; 3]> {
        let sound = fs::read(path).unwrap();
        damage(path);
        // The newest backup, or WAL.
        let wal = path.starts_with(self.stow.root().join("main/wal"));
        let findings = self.findings(if wal { &["--wal"] } else { &[] }, 3);
        let object = path.display().to_string();
        assert!(!findings.is_empty());
        for [found, ..] in &findings {
            assert_eq!(*found, object, "{findings:?}");
        }
        let named = findings.iter().any(|[_, _, found]| found.contains(problem));
        assert!(named, "no {problem:?} in {findings:?}");
        put(path, &sound);
        findings
    }
}

/// As the server's user would write it.
pub fn put(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    user::own(path);
}

fn truncate(path: &Path) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
}

fn append(path: &Path) {
    let mut file = OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(b"appended").unwrap();
}

fn remove(path: &Path) {
    fs::remove_file(path).unwrap();
}

/// Replaces text in an object, compressed or not.
fn edit<'a>(from: &'a str, to: &'a str) -> impl FnOnce(&Path) + 'a {
    move |path: &Path| {
        let stored = fs::read(path).unwrap();
        let compressed = path.extension().is_some_and(|ending| ending == "zst");
        let plain = match compressed {
            true => zstd::decode_all(&stored[..]).unwrap(),
            false => stored,
        };
        let text = String::from_utf8(plain).unwrap();
        assert!(text.contains(from), "no {from:?} in {text}");
        let text = text.replacen(from, to, 1);
        let stored = match compressed {
            true => zstd::encode_all(text.as_bytes(), 3).unwrap(),
            false => text.into_bytes(),
        };
        fs::write(path, stored).unwrap();
    }
}

#[test]
fn every_damage_of_zstd_is_named() {
    mutilate(17, "zstd:1");
}

#[test]
fn every_damage_of_gzip_is_named() {
    mutilate(15, "gzip:1");
}

#[test]
fn every_damage_of_lz4_is_named() {
    mutilate(16, "lz4");
}

#[test]
fn every_damage_of_plain_files_is_named() {
    mutilate(18, "none");
}

fn mutilate(major: u32, compression: &str) {
    let scratch = Scratch::new();
    let sound = Sound::new(&scratch, major, compression);
    sound.is_sound();
    parts(&sound);
    other_objects(&sound);
    wal(&sound);
    sound.is_sound();
}

fn parts(sound: &Sound) {
    let parts = sound.backup.parts();
    let part = parts
        .iter()
        .max_by_key(|part| sound.backup.members(part).len());
    let part = part.unwrap();

    let findings = sound.damaged(part, "is missing", remove);
    assert_eq!(findings.len(), 1);
    // What lies before the cut is right, unless a large file comes first.
    let spared = parts.iter().filter(|part| {
        let members = files(&sound.backup, part);
        let findings = sound.damaged(part, "bytes instead of", truncate);
        let named = named(&findings);
        assert!(named.contains(members.last().unwrap()), "{findings:?}");
        named.len() < members.len()
    });
    assert!(spared.count() > 0);
    // All files are there: nothing but the part is named.
    let findings = sound.damaged(part, "bytes instead of", append);
    assert_eq!(self::named(&findings), Vec::<String>::new());

    for part in &parts {
        let findings = sound.damaged(part, "SHA-256 differs", flip);
        let members = files(&sound.backup, part);
        let named = self::named(&findings);
        assert!(!named.is_empty(), "{findings:?}");
        assert!(named.iter().all(|name| members.contains(name)), "{named:?}");
    }
    let other = sound.first.parts();
    let findings = sound.damaged(part, "", |path| {
        put(path, &fs::read(&other[0]).unwrap());
    });
    assert!(
        findings.iter().any(|[_, file, _]| file.is_empty()),
        "{findings:?}"
    );
}

/// The files that findings name.
fn named(findings: &[[String; 3]]) -> Vec<String> {
    let files = findings.iter().map(|[_, file, _]| file.clone());
    files.filter(|file| !file.is_empty()).collect()
}

/// Members of a part as `verify` names them: folders without their slash.
fn files(backup: &Stored, part: &Path) -> Vec<String> {
    let members = backup.members(part).into_iter();
    members
        .map(|name| name.trim_end_matches('/').to_owned())
        .collect()
}

fn other_objects(sound: &Sound) {
    let backup = &sound.backup;
    for name in [
        "backup_manifest.zst",
        "index.json.zst",
        "relations.json.zst",
    ] {
        let object = backup.object(name);
        sound.damaged(&object, "is missing", remove);
        sound.damaged(&object, "bytes instead of", truncate);
        sound.damaged(&object, "bytes instead of", append);
        sound.damaged(&object, "SHA-256 differs", flip);
    }
    let sums = backup.object("SHA256SUMS");
    sound.damaged(&sums, "is missing", remove);
    sound.damaged(
        &sums,
        "does not list the parts",
        edit("  part-0001", " *part-0001"),
    );
    sound.damaged(
        &sums,
        "does not list the parts",
        edit("part-0002", "part-0009"),
    );

    let manifest = backup.object("backup_manifest.zst");
    sound.damaged(
        &manifest,
        "PG_VERSIOM",
        edit("\"PG_VERSION\"", "\"PG_VERSIOM\""),
    );
    sound.damaged(&manifest, "", edit("\"Size\": 3", "\"Size\": 4"));
}

fn wal(sound: &Sound) {
    let newest = sound.stow.list()["wal"][0]["newest"]
        .as_str()
        .unwrap()
        .to_owned();
    let number = u64::from_str_radix(&newest[16..], 16).unwrap();
    let middle = format!("{}{:08X}", &newest[..16], number - 1);
    let object = sound.stow.wal_object(&middle);
    sound.damaged(&object, "", truncate);
    sound.damaged(&object, "", append);
    // Before the zeros behind the switch, compressed or not.
    sound.damaged(&object, "", |path| flip_at(path, 10_000));

    // Not beside it, where it would be found as what doesn't belong.
    let aside = sound.stow.root().join("aside");
    fs::rename(&object, &aside).unwrap();
    let findings = sound.findings(&["--wal"], 3);
    let missing = ["missing, though WAL before and behind it is there"];
    assert_eq!(findings[0][0], middle);
    assert_eq!(findings[0][2..], missing.map(str::to_owned));
    // Under the name of another segment.
    let before = sound
        .stow
        .wal_object(&format!("{}{:08X}", &newest[..16], number - 2));
    put(&object, &fs::read(before).unwrap());
    let findings = sound.findings(&["--wal"], 3);
    assert_eq!(PathBuf::from(&findings[0][0]), object, "{findings:?}");
    assert_eq!(findings.len(), 1);
    let verify = sound.stow.tool.command(&["verify", "--wal"]).fails(3);
    let means = format!("can be restored to any moment before {middle}");
    drop(verify.stdout_contains(&means));
    fs::rename(&aside, &object).unwrap();
}

#[test]
fn all_backups_are_not_all_wal() {
    let scratch = Scratch::new();
    let sound = Sound::new(&scratch, 16, "zstd:1");
    // Needed by no backup to become consistent.
    let object = sound.stow.wal_object(&sound.stow.cluster.switch_wal());
    put(&object, b"damaged");
    for words in [&["--all"][..], &[]] {
        let words = [&["--json", "verify"], words].concat();
        let report = sound.stow.tool.command(&words).ok().json();
        assert_eq!(report["wal"], serde_json::json!([]), "{words:?}");
    }
    assert_eq!(sound.findings(&["--wal"], 3).len(), 1);
    assert_eq!(sound.findings(&["--all", "--wal"], 3).len(), 1);
}

/// What a server can do without is no reason to give a backup up, and a lost part does not drown
/// the rest in its files.
#[test]
fn what_it_means_for_a_restore_is_said() {
    let scratch = Scratch::new();
    let sound = Sound::new(&scratch, 15, "zstd:1");
    let told = |object: &str, text: &str| {
        let path = sound.backup.object(object);
        let whole = fs::read(&path).unwrap();
        put(&path, b"");
        let output = sound.stow.tool.command(&["verify"]).fails(3);
        put(&path, &whole);
        output.stdout_contains(text).stdout
    };
    // Believed, because a person may have to mend one, but not in silence.
    let description = sound.backup.object("backup.json");
    let (whole, json) = (fs::read(&description).unwrap(), sound.backup.json());
    put(&description, json.to_string().as_bytes());
    assert_eq!(sound.stow.backups()[1]["state"], "complete");
    let verify = sound.stow.tool.command(&["verify"]).fails(3);
    drop(verify.stdout_contains("has no hash of its own"));
    put(&description, &whole);

    told("SHA256SUMS", "can do without what is damaged");
    told("backup_manifest.zst", "can do without what is damaged");
    told("index.json.zst", "would stop at the damage");
    let text = told("part-0001.tar.zst", "would stop at the damage");
    assert!(text.contains("--json names all"), "{text}");
    assert!(text.lines().count() < 60, "{text}");
}

/// A description that can't be read costs one backup, not all that is about the others.
#[test]
fn a_damaged_description_is_named_and_stands_alone() {
    let scratch = Scratch::new();
    let sound = Sound::new(&scratch, 16, "zstd:1");
    let description = sound.backup.object("backup.json");
    let state = |number: usize| sound.stow.backups()[number]["state"].clone();
    let stop_time = sound.backup.json()["stop_time"].to_string();
    let earlier = stop_time.replacen("20", "19", 1);
    let own = format!("\"id\": \"{}\"", sound.backup.id());
    let other = own.replacen("20", "19", 1);
    for (problem, damage) in [
        ("can't be understood", (false, "{", "[")),
        ("has format 2", (false, "\"format\": 1", "\"format\": 2")),
        ("describes backup 19", (false, &*own, &*other)),
        ("is not as it was written", (true, &*stop_time, &*earlier)),
    ] {
        sound.damaged(&description, problem, |path| {
            match damage {
                (true, from, to) => edit(from, to)(path),
                (false, from, to) => sound.backup.rewrite(from, to),
            }
            assert_eq!(
                (state(0), state(1)),
                ("complete".into(), "unreadable".into())
            );
            let list = sound.stow.tool.command(&["list"]).ok();
            drop(list.stdout_contains("UNREADABLE").stdout_contains(problem));
            let third = sound.stow.backup(&[]);
            fs::remove_dir_all(third.folder()).unwrap();
        });
    }
    sound.damaged(&description, "can't be understood", truncate);
    sound.is_sound();
}

#[test]
fn without_backups_there_is_nothing_to_verify() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(17));
    stow.tool
        .command(&["verify"])
        .fails(1)
        .stderr_contains("there is no backup to verify");
    stow.tool.command(&["verify", "--wal"]).ok();
}

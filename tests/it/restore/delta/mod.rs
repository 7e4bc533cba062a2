//! `restore --delta`: whatever the folder held, it is then as a restore to an empty one is.

mod kills;
mod owned;
mod rescue;
mod tree;

use std::{
    fs::{self, File, FileTimes, OpenOptions},
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use serde_json::Value;

use self::tree::{assert_same, tree};
use super::copy::{copy, open, restore};
use crate::harness::{
    Cluster, Load, PgBin, Scratch, Shutdown, Stored, Stow, on_every_major, pg, tool::Invocation,
    user,
};

on_every_major!(whatever_was_there_the_result_is_that_of_an_empty_folder);

/// A cluster with a tablespace and a backup, restored to `copy`, which then went its own way.
struct Site {
    scratch: Scratch,
    stow: Stow,
    backup: Stored,
    oid: String,
    /// The contents at the end of the backup.
    dump: String,
}

impl Site {
    fn begin(pg: PgBin) -> Self {
        Self::build(pg, |stow| stow)
    }

    fn build(pg: PgBin, change: impl FnOnce(Builder<'_>) -> Builder<'_>) -> Self {
        let scratch = Scratch::new();
        let plain = Stow::build(&scratch, pg)
            .cluster(|cluster| cluster.initdb("--wal-segsize=1").initdb("--data-checksums"));
        let stow = change(plain).start();
        let place = scratch.folder("ts");
        let main = &stow.cluster;
        main.psql(&format!(
            "create tablespace ts location '{}'",
            place.display()
        ));
        drop(Load::start(main, 2, 1000));
        main.psql("create table far tablespace ts as select g n, md5(g::text) t from generate_series(1, 20000) g");
        main.wait_until(
            "select count(*) from pg_stat_activity where application_name = 'pgbench'",
            "0",
        );
        let oid = main.psql("select oid from pg_tablespace where spcname = 'ts'");
        let backup = stow.backup(&[]);
        main.switch_wal();
        let dump = main.dump("postgres");
        Self {
            scratch,
            stow,
            backup,
            oid,
            dump,
        }
    }

    /// `restore --target-immediate ARGUMENTS` to NAME, its tablespace to NAME-ts.
    fn restore(&self, name: &str, arguments: &[&str]) -> Invocation {
        let place = self.scratch.join(&format!("{name}-ts"));
        let moved = format!("{}={}", self.oid, place.display());
        let fixed = ["--target-immediate", "--tablespace", &moved];
        restore(
            &self.scratch,
            &self.stow,
            name,
            &[&fixed, arguments].concat(),
        )
        .0
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    /// What `restore --delta` to NAME says, as JSON.
    #[track_caller]
    fn delta(&self, name: &str, arguments: &[&str]) -> Value {
        let fixed = ["--json", "--delta"];
        self.restore(name, &[&fixed, arguments].concat())
            .ok()
            .json()
    }

    /// Restores to `copy`, and lets the copy live for a while.
    fn lived(&self) -> Cluster {
        self.restore("copy", &[]).ok();
        let mut cluster = open(copy(&self.scratch, &self.stow, "copy"));
        drop(Load::go_on(&cluster, 2000));
        cluster.psql("create table mine as select 1 as n; drop table far");
        cluster.psql("vacuum full pgbench_tellers");
        cluster
            .psql("create table other tablespace ts as select g n from generate_series(1, 5000) g");
        cluster.psql("checkpoint");
        cluster.stop(Shutdown::Immediate);
        cluster
    }

    /// A file of that table's in `copy`, which must not run.
    fn relation(&self, table: &str) -> PathBuf {
        let name = self
            .stow
            .cluster
            .psql(&format!("select pg_relation_filepath('{table}')"));
        self.path("copy").join(name)
    }

    /// Compares `copy` with `empty`, a restore to an empty folder, and asks PostgreSQL.
    #[track_caller]
    fn judge(&self) {
        if !self.path("empty").exists() {
            self.restore("empty", &[]).ok();
        }
        assert_same(&tree(&self.path("copy")), &tree(&self.path("empty")));
        self.stow
            .cluster
            .pg
            .verifybackup(&self.path("copy"))
            .unwrap();
        let run = Cluster::existing(
            &self.scratch,
            self.stow.cluster.pg.clone(),
            &format!("judged-{}", fs::read_dir(self.path("")).unwrap().count()),
            &self.path("copy"),
        );
        let mut cluster = open(run);
        assert!(cluster.dump("postgres") == self.dump, "another dump");
        cluster.stop(Shutdown::Fast);
        cluster.pg.checksums(cluster.data_dir());
    }
}

type Builder<'a> = crate::harness::stow::Builder<'a>;

fn mtime(path: &Path) -> i64 {
    fs::metadata(path).unwrap().mtime()
}

/// Changes bytes, and nothing that `stat` shows.
fn flip(path: &Path, at: u64) {
    let times = FileTimes::new().set_modified(fs::metadata(path).unwrap().modified().unwrap());
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[!byte[0]], at).unwrap();
    file.set_times(times).unwrap();
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    user::own(path);
}

fn folder(path: &Path) {
    fs::create_dir(path).unwrap();
    user::own(path);
}

fn whatever_was_there_the_result_is_that_of_an_empty_folder(pg: PgBin) {
    let site = Site::begin(pg);
    site.lived();
    let copy = site.path("copy");
    let outside = site.scratch.folder("outside");
    folder(&outside.join("inner"));
    for name in ["file", "linked", "inner/file"] {
        write(&outside.join(name), b"not PostgreSQL's");
    }
    let before = tree(&outside);

    flip(&site.relation("pgbench_accounts"), 100_000);
    let file = OpenOptions::new()
        .append(true)
        .open(site.relation("pgbench_branches"))
        .unwrap();
    file.set_len(file.metadata().unwrap().len() + 8192).unwrap();
    let shorter = site.relation("pg_class");
    let file = File::options().write(true).open(&shorter).unwrap();
    file.set_len(8192).unwrap();
    fs::remove_file(site.relation("pg_proc")).unwrap();
    // Links to what is elsewhere, in the places of a file and of folders, and where nothing belongs.
    let replaced = site.relation("pg_type");
    fs::remove_file(&replaced).unwrap();
    symlink(outside.join("file"), &replaced).unwrap();
    fs::remove_dir_all(copy.join("pg_xact")).unwrap();
    symlink(outside.join("inner"), copy.join("pg_xact")).unwrap();
    symlink(&outside, copy.join("base/link")).unwrap();
    symlink(&outside, copy.join("pg_tblspc/1")).unwrap();
    // Another name of a file elsewhere, of the right size.
    let linked = site.relation("pg_index");
    fs::copy(&linked, outside.join("linked")).unwrap();
    user::own(&outside.join("linked"));
    let before = {
        let mut before = before;
        before.extend(tree(&outside));
        before
    };
    fs::remove_file(&linked).unwrap();
    fs::hard_link(outside.join("linked"), &linked).unwrap();
    // A folder in the place of a file, a file in that of a folder.
    let folded = site.relation("pg_am");
    fs::remove_file(&folded).unwrap();
    folder(&folded);
    write(&folded.join("inside"), b"x");
    fs::remove_dir_all(copy.join("pg_multixact")).unwrap();
    write(&copy.join("pg_multixact"), b"x");
    // What a server leaves, and what people do.
    folder(&copy.join("base/pgsql_tmp"));
    folder(&copy.join("pg_replslot/slot"));
    for name in [
        "base/pgsql_tmp/pgsql_tmp1.0",
        "pg_replslot/slot/state",
        "backup_label.old",
        "tablespace_map",
        "standby.signal",
        "postmaster.opts",
        "pg_stat/pgstat.stat",
        "pg_wal/archive_status/0000000100000000000000AA.ready",
        "notes of mine",
    ] {
        write(&copy.join(name), b"extra");
    }
    let set_mode = |name: &str, mode| {
        fs::set_permissions(copy.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode("PG_VERSION", 0o644);
    // Folders that are closed to writing: what belongs there, and what doesn't.
    for name in ["base", "global", "pg_replslot/slot"] {
        set_mode(name, 0o500);
    }
    // Another version's files in the tablespace are another cluster's.
    folder(&site.path("copy-ts").join("PG_9.6_201608131"));
    write(&site.path("copy-ts").join("PG_9.6_201608131/1"), b"old");
    folder(
        &site
            .path("copy-ts")
            .join(format!("PG_{}_1", site.stow.cluster.pg.major)),
    );

    let done = site.delta("copy", &[]);
    let delta = &done["delta"];
    assert!(delta["stay"]["files"].as_u64().unwrap() > 800, "{delta}");
    assert!(delta["differ"]["files"].as_u64().unwrap() > 3, "{delta}");
    assert!(delta["missing"]["files"].as_u64().unwrap() > 3, "{delta}");
    assert!(delta["extra"]["files"].as_u64().unwrap() > 9, "{delta}");
    let written = delta["written_bytes"].as_u64().unwrap();
    let differ =
        delta["differ"]["bytes"].as_u64().unwrap() + delta["missing"]["bytes"].as_u64().unwrap();
    assert!(written < differ, "{delta}");
    for name in [
        "PG_9.6_201608131/1",
        &format!("PG_{}_1", site.stow.cluster.pg.major),
    ] {
        let path = site.path("copy-ts").join(name);
        assert!(path.exists(), "{name}");
    }
    fs::remove_dir_all(site.path("copy-ts").join("PG_9.6_201608131")).unwrap();
    fs::remove_dir(
        site.path("copy-ts")
            .join(format!("PG_{}_1", site.stow.cluster.pg.major)),
    )
    .unwrap();
    site.judge();
    assert_same(&tree(&outside), &before);
}

#[test]
fn what_is_right_is_neither_fetched_nor_written() {
    let site = Site::build(pg(16), |stow| stow.repo("part_size = \"4MB\""));
    site.restore("copy", &[]).ok();
    let target = site.relation("pgbench_accounts");
    flip(&target, 3 * 8192 + 5);
    let (inode, kept) = (
        fs::metadata(&target).unwrap().ino(),
        fs::metadata(site.path("copy/PG_VERSION")).unwrap(),
    );
    // Nothing but the parts of what differs and of pg_control is opened.
    let stored = site.backup.parts();
    assert!(stored.len() > 3, "{stored:?}");
    let index: Value = serde_json::from_str(&site.backup.text("index.json.zst")).unwrap();
    let part_of = |path: &str| {
        let mut files = index["files"].as_array().unwrap().iter();
        let entry = files.find(|entry| entry["path"] == path).unwrap();
        entry["part"].as_u64().unwrap()
    };
    let name = target.strip_prefix(site.path("copy")).unwrap();
    let mut needed = ["postgresql.auto.conf", "global/pg_control"]
        .map(part_of)
        .to_vec();
    needed.push(part_of(name.to_str().unwrap()));
    let hidden: Vec<PathBuf> = stored
        .iter()
        .filter(|part| {
            let part = part.display().to_string();
            !needed
                .iter()
                .any(|number| part.contains(&format!("part-{number:04}")))
        })
        .cloned()
        .collect();
    assert!(!hidden.is_empty());
    site.restore("empty", &[]).ok();
    for part in &hidden {
        let size = fs::metadata(part).unwrap().len();
        write(part, &vec![0; size as usize]);
    }
    let done = site.delta("copy", &[]);
    let differ = &done["delta"]["differ"];
    assert_eq!(differ["files"], 2, "{done}");
    assert_eq!(done["delta"]["missing"]["files"], 1, "{done}");
    // A page, pg_control, and the settings that restore wrote.
    let written = done["delta"]["written_bytes"].as_u64().unwrap();
    assert!(written <= 3 * 8192, "{done}");
    assert_eq!(fs::metadata(&target).unwrap().ino(), inode);
    let now = fs::metadata(site.path("copy/PG_VERSION")).unwrap();
    assert_eq!(
        (now.ino(), now.ctime_nsec()),
        (kept.ino(), kept.ctime_nsec())
    );
    site.judge();
}

#[test]
fn times_are_trusted_only_where_they_prove_something() {
    let site = Site::begin(pg(17));
    // Of template0, as initdb left it, clearly before the backup began.
    thread::sleep(Duration::from_secs(4));
    let backup = site.stow.backup(&[]);
    site.stow.cluster.switch_wal();
    let site = Site { backup, ..site };
    site.restore("copy", &[]).ok();
    let old = site.path("copy/base/4/1255");
    let backup = site.backup.json()["start_time"]
        .as_str()
        .unwrap()
        .to_owned();
    let begun = chrono::DateTime::parse_from_rfc3339(&backup)
        .unwrap()
        .timestamp();
    assert!(mtime(&old) < begun - 2, "{} {begun}", mtime(&old));
    flip(&old, 10);
    // The wish says not to read it, so the damage stays; nobody else would overlook it.
    let done = site.delta("copy", &["--trust-times"]);
    assert_eq!(done["delta"]["differ"]["files"], 1, "{done}");
    site.stow
        .cluster
        .pg
        .verifybackup(&site.path("copy"))
        .unwrap_err();
    // An interrupted restore leaves times that prove nothing.
    fs::write(
        site.path("copy/pgstow-restore.json"),
        format!(
            "{{\"cluster\":\"main\",\"backup\":\"{}\",\"replaced\":null}}",
            site.backup.id()
        ),
    )
    .unwrap();
    user::own(&site.path("copy/pgstow-restore.json"));
    fs::remove_file(site.path("copy/global/pg_control")).unwrap();
    let done = site.delta("copy", &["--trust-times"]);
    assert_eq!(done["delta"]["differ"]["files"], 2, "{done}");
    site.judge();
}

/// A file that no link of a chain changed is written once, by the oldest, when its time proved nothing yet; the
/// newest one knows better.
#[test]
fn a_chain_gives_files_the_times_of_its_newest_backup() {
    let site = Site::begin(pg(16));
    let main = &site.stow.cluster;
    main.psql("create table fresh as select 1 as n");
    main.psql("checkpoint");
    let fresh = main.psql("select pg_relation_filepath('fresh')");
    drop(site.stow.backup(&[]));
    thread::sleep(Duration::from_secs(4));
    let backup = site.stow.backup(&["--incremental"]);
    main.switch_wal();
    let there = mtime(&main.data_dir().join(&fresh));
    let site = Site { backup, ..site };
    site.restore("copy", &[]).ok();
    let copy = site.path("copy").join(&fresh);
    assert_eq!(mtime(&copy), there);
    // So it is not read again where times are trusted.
    flip(&copy, 10);
    let done = site.delta("copy", &["--trust-times"]);
    assert!(mtime(&copy) == there, "{done}");
    let pg = &site.stow.cluster.pg;
    pg.verifybackup(&site.path("copy")).unwrap_err();
}

#[test]
fn a_plan_tells_all_and_changes_nothing() {
    let site = Site::begin(pg(18));
    site.lived();
    flip(&site.relation("pg_proc"), 10);
    let before = (tree(&site.path("copy")), tree(&site.path("copy-ts")));
    let planned = site.delta("copy", &["--plan"]);
    assert_eq!(planned["state"], "planned");
    assert!(planned["delta"]["written_bytes"].is_null());
    assert_same(&tree(&site.path("copy")), &before.0);
    assert_same(&tree(&site.path("copy-ts")), &before.1);
    let text = site.restore("copy", &["--delta", "--plan"]).ok();
    let extra = planned["delta"]["extra"]["files"].as_u64().unwrap();
    text.stdout_contains(&format!("{extra} files ("))
        .stdout_contains("what is right there stays");
    // A folder that is another user's, which can't be written in; root can give away, and take back.
    let foreign = site.path("copy/pg_stat");
    if user::is_root() {
        std::os::unix::fs::chown(&foreign, Some(0), Some(0)).unwrap();
        for words in [&["--delta", "--plan"][..], &["--delta"]] {
            site.restore("copy", words)
                .fails(1)
                .stderr_contains("copy/pg_stat belongs to another user (id 0)");
        }
        user::own(&foreign);
        assert_same(&tree(&site.path("copy")), &before.0);
    }
    let done = site.delta("copy", &[]);
    for kind in ["stay", "differ", "missing"] {
        assert_eq!(done["delta"][kind], planned["delta"][kind], "{kind}");
    }
    // pg_control is in neither, and counts as extra once it has lost its name.
    assert_eq!(done["delta"]["extra"]["files"].as_u64().unwrap(), extra + 1);
    site.judge();
    // Where nothing is, nothing is used again.
    let fresh = site.delta("fresh", &[]);
    assert!(fresh["delta"].is_null());
    assert_same(&tree(&site.path("fresh")), &tree(&site.path("empty")));
}

/// A relation of several files, the last of which shrank or grew.
#[test]
fn large_relations() {
    if std::env::var_os("PGSTOW_TEST_LONG").is_none() {
        return;
    }
    let site = Site::begin(pg(15));
    let main = &site.stow.cluster;
    main.psql(
        "create table large as select repeat(md5(g::text), 60) t from generate_series(1, 560000) g",
    );
    // Else the copy would write hint bits into each of its pages.
    main.psql("vacuum freeze large");
    let backup = site.stow.backup(&[]);
    main.switch_wal();
    let site = Site {
        dump: main.dump("postgres"),
        backup,
        ..site
    };
    site.restore("copy", &[]).ok();
    let mut cluster = open(copy(&site.scratch, &site.stow, "copy"));
    cluster.psql("update large set t = 'x' where ctid < '(200,1)'");
    cluster.psql("delete from large where ctid > '(131500,1)'");
    cluster.psql("vacuum large");
    cluster.psql("checkpoint");
    cluster.stop(Shutdown::Immediate);
    drop(cluster);
    let first = site.relation("large");
    assert!(fs::metadata(&first).unwrap().len() == 1 << 30);
    flip(&first, (1 << 30) - 1);
    let done = site.delta("copy", &[]);
    let written = done["delta"]["written_bytes"].as_u64().unwrap();
    assert!(written < 200 << 20, "{done}");
    site.judge();
}

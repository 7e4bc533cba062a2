//! The commands of docs/restore-by-hand.md, executed as they stand there, restore a cluster, from a full
//! backup and from a chain.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use crate::harness::{Archive, Cluster, PgBin, Scratch, keys, pg, user};

/// All shell blocks of the page, as one script.
fn script() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/restore-by-hand.md");
    let page = fs::read_to_string(page).unwrap();
    let blocks = page.split("```sh\n").skip(1);
    let blocks: Vec<&str> = blocks
        .map(|block| block.split("```").next().unwrap())
        .collect();
    assert!(blocks.len() > 8, "the page has lost its commands");
    blocks.concat()
}

/// The restored server, which the page starts as a daemon.
struct Restored<'a> {
    pg: &'a PgBin,
    data_dir: PathBuf,
    socket_dir: PathBuf,
}

impl Restored<'_> {
    fn client(&self, program: &str) -> Command {
        let mut command = self.pg.command(program);
        command
            .env("PGHOST", &self.socket_dir)
            .env("PGPORT", "5433")
            .env("PGUSER", "postgres");
        command
    }

    #[track_caller]
    fn psql(&self, sql: &str) -> String {
        user::run_ok(self.client("psql").args(["-XAtqd", "postgres", "-c", sql]))
    }
}

impl Drop for Restored<'_> {
    fn drop(&mut self) {
        let mut stop = self.pg.command("pg_ctl");
        stop.args(["stop", "-m", "immediate", "-D"])
            .arg(&self.data_dir);
        // An error says that it never started.
        let _ = user::run(&mut stop);
    }
}

/// As Debian has it: the configuration outside, with a folder that is included and empty, and the
/// live server's own port, socket folder and pid file.
fn move_configuration(scratch: &Scratch, main: &mut Cluster) {
    let etc = scratch.folder("etc");
    fs::create_dir(etc.join("conf.d")).unwrap();
    user::own(&etc.join("conf.d"));
    let names = ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"];
    for name in names {
        fs::rename(main.data_dir().join(name), etc.join(name)).unwrap();
    }
    let mut text = fs::read_to_string(etc.join(names[0])).unwrap();
    for (name, value) in [
        ("data_directory", main.data_dir()),
        ("hba_file", &etc.join(names[1])),
        ("ident_file", &etc.join(names[2])),
        ("external_pid_file", &scratch.join("main.pid")),
        ("unix_socket_directories", main.host()),
        ("include_dir", Path::new("conf.d")),
    ] {
        text += &format!("{name} = '{}'\n", value.display());
    }
    fs::write(etc.join(names[0]), text).unwrap();
    let config_file = etc.join(names[0]);
    main.argument(&format!("config_file={}", config_file.display()));
}

/// What the page is tried on.
#[derive(Clone, Copy, PartialEq)]
enum Case {
    Plain,
    /// The configuration lies outside of the data directory.
    Debian,
    /// An incremental backup on another one.
    Chain,
    /// The same, encrypted.
    Sealed,
    /// Of the last segment there are pieces alone.
    Pieces,
}

fn the_page_restores(pg: PgBin, compression: &str, case: Case) {
    let debian = case == Case::Debian;
    let scratch = Scratch::new();
    let archive = match case {
        Case::Sealed => Archive::encrypted(&scratch, compression),
        _ => Archive::new(&scratch, compression),
    };
    let is_chain = matches!(case, Case::Chain | Case::Sealed);
    let mut main = Cluster::build(&scratch, pg.clone())
        .initdb("--wal-segsize=1")
        .archiving(&archive.tool.shell("archive-wal %p"))
        .make();
    archive.register(&main);
    if debian {
        move_configuration(&scratch, &mut main);
    }
    main.start();
    let tablespace = scratch.folder("ts");
    main.psql(&format!(
        "create tablespace ts location '{}'",
        tablespace.display()
    ));
    main.psql("create table near as select n, repeat('x', 100) from generate_series(1, 5000) n");
    main.psql("create table far (n int primary key) tablespace ts");
    main.psql("insert into far select generate_series(1, 5000)");
    // What a backup of a standby holds: the copy must not become one.
    let signal = main.data_dir().join("standby.signal");
    fs::write(&signal, "").unwrap();
    user::own(&signal);
    main.psql("alter system set primary_conninfo = 'host=/nowhere'");
    let base = |kind: &str| {
        let output = archive
            .tool
            .command(&["--json", "base", "--checkpoint", "fast", kind])
            .env("PGHOST", main.host())
            .env("PGUSER", "postgres")
            .ok();
        output.json()["backup"]["id"].as_str().unwrap().to_owned()
    };
    let mut backup = base("--full");
    if is_chain {
        // A tablespace that goes, and one that comes: each backup of the chain has others.
        main.psql("insert into far select generate_series(5001, 5500)");
        let gone = scratch.folder("gone");
        main.psql(&format!(
            "create tablespace gone location '{}'",
            gone.display()
        ));
        main.psql("create table went (n int) tablespace gone");
        let second = base("--incremental");
        main.psql("drop table went");
        main.psql("drop tablespace gone");
        let late = scratch.folder("late");
        main.psql(&format!(
            "create tablespace late location '{}'",
            late.display()
        ));
        main.psql("create table came tablespace late as select generate_series(1, 700) n");
        main.psql("insert into far select generate_series(5501, 6000)");
        let third = base("--incremental");
        for (child, parent) in [(&second, &backup), (&third, &second)] {
            let place = format!("repository/main/base/{child}/backup.json");
            let text = fs::read_to_string(scratch.join(&place)).unwrap();
            assert!(
                text.contains(&format!("\"parent\": \"{parent}\"")),
                "{text}"
            );
        }
        backup = third;
    }
    let next = main.psql("select max(n) + 1 from far");
    main.psql(&format!(
        "insert into far select generate_series({next}, 7000)"
    ));
    main.psql("delete from near where n > 4000");
    thread::sleep(Duration::from_millis(20));
    let target = main.psql("select clock_timestamp()");
    thread::sleep(Duration::from_millis(20));
    main.psql("drop table near");
    main.psql("insert into far values (8000)");
    match case {
        Case::Pieces => store_pieces(&scratch.join("repository"), &main),
        _ => drop(main.switch_wal()),
    }

    // Folders that are missing and that are empty.
    let spaces = main.psql("select oid, spcname from pg_tablespace where oid > 16383 order by 1");
    let spaces: Vec<(&str, PathBuf)> = spaces
        .lines()
        .map(|space| space.split_once('|').unwrap())
        .map(|(oid, name)| match name {
            "ts" => (oid, scratch.join("moved-ts")),
            _ => (oid, scratch.folder("moved-late")),
        })
        .collect();
    let pairs = spaces
        .iter()
        .map(|(oid, folder)| format!("{oid}={}", folder.display()));
    let pairs: Vec<String> = pairs.collect();
    let restored = Restored {
        pg: &pg,
        data_dir: scratch.join("restored"),
        socket_dir: match debian {
            true => main.host().to_owned(),
            false => scratch.folder("run"),
        },
    };
    let output = user::run_ok(
        user::command("/bin/sh", "KILL")
            .args(["-c", &script()])
            .env("REPO", scratch.join("repository"))
            .env("BACKUP", &backup)
            .env("TARGET", &target)
            .env("DATA", &restored.data_dir)
            .env("TABLESPACES", pairs.join(" "))
            .env("PGBIN", &pg.bindir)
            .env("LD_LIBRARY_PATH", pg.bindir.join("../lib"))
            .env("PGHOST", &restored.socket_dir)
            .env("PGPORT", "5433")
            .env("KEY", keys::identity_file(&scratch)),
    );
    assert!(
        output.contains("part-0001.tar") && output.contains(": OK"),
        "{output}"
    );
    assert!(output.contains("backup successfully verified"), "{output}");

    assert_eq!(
        restored.psql("select count(*), max(n) from near"),
        "4000|4000"
    );
    assert_eq!(
        restored.psql("select count(*), max(n) from far"),
        "7000|7000"
    );
    assert_eq!(restored.psql("show archive_mode"), "off");
    assert_eq!(restored.psql("show port"), "5433");
    for (oid, folder) in &spaces {
        let link = restored.data_dir.join("pg_tblspc").join(oid);
        assert_eq!(fs::read_link(link).unwrap(), *folder);
        assert_eq!(fs::read_dir(folder).unwrap().count(), 1, "{oid}");
    }
    if is_chain {
        assert_eq!(spaces.len(), 2);
        assert_eq!(restored.psql("select count(*) from came"), "700");
        assert_eq!(restored.psql("select to_regclass('went') is null"), "t");
        assert!(!scratch.join("restored.chain").exists());
    }
    user::run_ok(restored.client("pg_amcheck").args([
        "--all",
        "--install-missing",
        "--heapallindexed",
    ]));
    // No time bomb for the next replica is left.
    let settings = fs::read_to_string(restored.data_dir.join("postgresql.auto.conf")).unwrap();
    assert!(!settings.contains("recovery_target"), "{settings}");
    assert!(!settings.contains("restore_command"), "{settings}");
    assert_eq!(
        restored.psql("select timeline_id from pg_control_checkpoint()"),
        "2"
    );
    drop(restored);
    if debian {
        let pid = fs::read_to_string(scratch.join("main.pid")).unwrap();
        assert!(Path::new("/proc").join(pid.trim()).exists());
    }
    assert_eq!(main.psql("select count(*) from far"), "7001");
}

/// Stores what the server has flushed of its last segment in three pieces that overlap, and waits until all before
/// it is archived.
fn store_pieces(root: &Path, main: &Cluster) {
    main.wait_until(
        "select count(*) from pg_ls_archive_statusdir() where name like '%.ready'",
        "0",
    );
    let now = main.psql(
        "select file_name, file_offset from pg_walfile_name_offset(pg_current_wal_flush_lsn())",
    );
    let (segment, offset) = now.split_once('|').unwrap();
    let offset: usize = offset.parse().unwrap();
    let bytes = fs::read(main.data_dir().join("pg_wal").join(segment)).unwrap();
    let system = main.psql("select system_identifier from pg_control_system()");
    let folder = root.join(format!("main/wal/{system}/live/{segment}"));
    fs::create_dir_all(&folder).unwrap();
    let third = offset / 3;
    for range in [0..third, 0..2 * third, third..offset] {
        let name = format!("{:08X}-{:08X}.zst", range.start, range.end);
        let piece = zstd::encode_all(&bytes[range], 1).unwrap();
        fs::write(folder.join(name), piece).unwrap();
    }
}

#[test]
fn pieces_on_15() {
    the_page_restores(pg(15), "zstd", Case::Pieces);
}

#[test]
fn pieces_on_18() {
    the_page_restores(pg(18), "zstd", Case::Pieces);
}

#[test]
fn debian_on_15() {
    the_page_restores(pg(15), "zstd", Case::Debian);
}

#[test]
fn debian_on_18() {
    the_page_restores(pg(18), "zstd", Case::Debian);
}

#[test]
fn zstd_on_15() {
    the_page_restores(pg(15), "zstd", Case::Plain);
}

#[test]
fn gzip_on_15() {
    the_page_restores(pg(15), "gzip", Case::Plain);
}

#[test]
fn lz4_on_15() {
    the_page_restores(pg(15), "lz4", Case::Plain);
}

#[test]
fn zstd_on_18() {
    the_page_restores(pg(18), "zstd", Case::Plain);
}

#[test]
fn gzip_on_18() {
    the_page_restores(pg(18), "gzip", Case::Plain);
}

#[test]
fn lz4_on_18() {
    the_page_restores(pg(18), "lz4", Case::Plain);
}

#[test]
fn chain_on_15() {
    the_page_restores(pg(15), "zstd", Case::Chain);
}

#[test]
fn chain_on_17() {
    the_page_restores(pg(17), "zstd", Case::Chain);
}

#[test]
fn chain_on_18() {
    the_page_restores(pg(18), "zstd", Case::Chain);
}

#[test]
fn encrypted_on_15() {
    the_page_restores(pg(15), "gzip", Case::Sealed);
}

#[test]
fn encrypted_on_18() {
    the_page_restores(pg(18), "zstd", Case::Sealed);
}

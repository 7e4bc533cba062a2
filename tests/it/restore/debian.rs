//! Debian's layout: configuration in a folder of its own, which names the live server's port, socket
//! folder and pid file. A copy starts by the command that `restore` prints, beside the live server.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::copy::open;
use crate::harness::{Cluster, PgBin, Scratch, Shutdown, Stow, pg, user};

/// As pg_createcluster makes it.
struct Debian {
    stow: Stow,
    scratch: Scratch,
    /// The configuration's folder.
    etc: PathBuf,
    pid_file: PathBuf,
}

impl Debian {
    fn start(pg: PgBin) -> Self {
        let scratch = Scratch::new();
        let stow = Stow::start(&scratch, pg);
        let etc = scratch.folder("etc");
        let pid_file = scratch.folder("var-run").join("main.pid");
        let mut debian = Self {
            stow,
            scratch,
            etc,
            pid_file,
        };
        debian.move_configuration();
        let main = &debian.stow.cluster;
        main.psql("create table t as select 1 as n");
        debian
    }

    fn move_configuration(&mut self) {
        let main = &mut self.stow.cluster;
        main.stop(Shutdown::Fast);
        let data_dir = main.data_dir().to_owned();
        let path = |name: &str| self.etc.join(name);
        for name in ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"] {
            fs::rename(data_dir.join(name), path(name)).unwrap();
        }
        fs::create_dir(path("conf.d")).unwrap();
        fs::set_permissions(path("conf.d"), fs::Permissions::from_mode(0o755)).unwrap();
        user::own(&path("conf.d"));
        let mut text = fs::read_to_string(path("postgresql.conf")).unwrap();
        for (name, value) in [
            ("data_directory", data_dir.as_path()),
            ("hba_file", &path("pg_hba.conf")),
            ("ident_file", &path("pg_ident.conf")),
            ("external_pid_file", &self.pid_file),
            ("unix_socket_directories", main.host()),
            ("include_dir", Path::new("conf.d")),
        ] {
            text += &format!("{name} = '{}'\n", value.display());
        }
        // TCP is everybody's on this host; the socket folder is this test's.
        text += &format!("listen_addresses = ''\nport = {}\n", main.port());
        fs::write(path("postgresql.conf"), text).unwrap();
        main.argument(&format!(
            "config_file={}",
            path("postgresql.conf").display()
        ));
        main.start();
    }

    fn backup(&self) {
        self.stow.backup(&[]);
        self.stow.cluster.switch_wal();
    }

    #[track_caller]
    fn restore(&self, name: &str, arguments: &[&str]) -> Value {
        let to = self.scratch.join(name).display().to_string();
        let bindir = self.stow.cluster.pg.bindir.display().to_string();
        let fixed = ["restore", "--json", "--bindir", &bindir, "--data-dir", &to];
        let restore = self.stow.tool.command(&[&fixed, arguments].concat());
        restore.ok().json()
    }
}

impl Debian {
    /// Runs the command that a restore printed.
    #[track_caller]
    fn started(&self, restored: &Value) -> Copy<'_> {
        let copy = Copy {
            pg: &self.stow.cluster.pg,
            data_dir: restored["data_dir"].as_str().unwrap().into(),
            host: self.stow.cluster.host(),
        };
        let command = restored["start_command"].as_str().unwrap();
        let mut shell = user::command("/bin/sh", "KILL");
        let lib = copy.pg.bindir.join("../lib");
        // The server keeps the output of its pg_ctl open.
        let line = format!("{command} >{}.out 2>&1", copy.data_dir.display());
        let started = user::run(shell.args(["-c", &line]).env("LD_LIBRARY_PATH", lib));
        if let Err(error) = started {
            let read = |ending: &str| {
                let path = format!("{}.{ending}", copy.data_dir.display());
                fs::read_to_string(path).unwrap_or_default()
            };
            panic!("{error}\n{}\n{}", read("out"), read("log"));
        }
        copy
    }

    /// Where a restored configuration file lies.
    fn restored(&self, restored: &Value, name: &str) -> PathBuf {
        let config = Path::new(restored["config"].as_str().unwrap());
        config.join(self.etc.strip_prefix("/").unwrap()).join(name)
    }
}

/// A copy that its own command started.
struct Copy<'a> {
    pg: &'a PgBin,
    data_dir: PathBuf,
    host: &'a Path,
}

impl Copy<'_> {
    /// The port in the fourth line of postmaster.pid (src/include/utils/pidfile.h).
    fn port(&self) -> String {
        let text = fs::read_to_string(self.data_dir.join("postmaster.pid")).unwrap();
        text.lines().nth(3).unwrap().to_owned()
    }

    #[track_caller]
    fn psql(&self, sql: &str) -> String {
        let mut psql = self.pg.command("psql");
        psql.env("PGHOST", self.host)
            .env("PGPORT", self.port())
            .env("PGUSER", "postgres")
            .args(["-XAtqd", "postgres", "-c", sql]);
        user::run_ok(&mut psql)
    }

    #[track_caller]
    fn wait_until_open(&self) {
        let limit = Instant::now() + Duration::from_secs(60);
        while self.psql("select pg_is_in_recovery()") != "f" {
            assert!(Instant::now() < limit, "it is still in recovery");
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn stop(&self) {
        let mut stop = self.pg.command("pg_ctl");
        stop.args(["stop", "-m", "fast", "-D"]).arg(&self.data_dir);
        // An error says that it never started, or was stopped.
        let _ = user::run(&mut stop);
    }
}

impl Drop for Copy<'_> {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Without the folder the server does not start.
#[test]
fn an_empty_folder_that_is_included_comes_back() {
    let debian = Debian::start(pg(15));
    debian.backup();
    let restored = debian.restore("copy", &[]);
    let folder = debian.restored(&restored, "conf.d");
    let mode = fs::metadata(&folder).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755, "{}", folder.display());
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

/// Neither while it runs nor when it stops: pg_lsclusters would show the live server as down.
#[test]
fn a_copy_leaves_the_live_servers_pid_file_alone() {
    let debian = Debian::start(pg(15));
    debian.backup();
    let before = fs::read_to_string(&debian.pid_file).unwrap();
    let restored = debian.restore("copy", &[]);
    assert_eq!(
        restored["emptied"],
        serde_json::json!(["external_pid_file"])
    );
    let to = debian.scratch.join("copy");
    let mut copy = Cluster::existing(&debian.scratch, pg(15), "copy-run", &to);
    for (name, path) in [
        ("config_file", debian.restored(&restored, "postgresql.conf")),
        ("data_directory", to.clone()),
    ] {
        copy.argument(&format!("{name}={}", path.display()));
    }
    let mut copy = open(copy);
    assert_eq!(copy.psql("select n from t"), "1");
    assert_eq!(fs::read_to_string(&debian.pid_file).unwrap(), before);
    copy.stop(Shutdown::Fast);
    assert_eq!(fs::read_to_string(&debian.pid_file).unwrap(), before);
    // It is the copy's, not recovery's.
    let settings = fs::read_to_string(to.join("postgresql.auto.conf")).unwrap();
    assert!(settings.contains("external_pid_file = ''\n"), "{settings}");
    assert!(!settings.contains("restore_command"), "{settings}");
}

/// In its own place it is the cluster's own.
#[test]
fn the_cluster_itself_keeps_its_pid_file() {
    let mut debian = Debian::start(pg(15));
    debian.backup();
    debian.stow.cluster.stop(Shutdown::Fast);
    let own = debian.stow.cluster.data_dir().to_owned();
    let restored = debian.restore(own.to_str().unwrap(), &["--replace"]);
    assert_eq!(restored["emptied"], serde_json::json!([]));
    debian.stow.cluster.start();
    assert!(debian.pid_file.exists());
}

/// README.md: "Try a restore today, beside the live cluster, and start it with the command that it
/// prints".
fn the_printed_command_starts_a_copy_beside_the_live_server(pg: PgBin) {
    let debian = Debian::start(pg);
    debian.backup();
    let live = &debian.stow.cluster;
    let restored = debian.restore("copy", &[]);
    assert_eq!(restored["port"]["taken"], live.port());
    let copy = debian.started(&restored);
    assert_ne!(copy.port(), live.port().to_string());
    assert_eq!(copy.port(), restored["port"]["free"].to_string());
    copy.wait_until_open();
    assert_eq!(copy.psql("select n from t"), "1");
    copy.psql("insert into t values (2)");
    assert_eq!(live.psql("select n from t"), "1");
    // A second one gets a third port.
    let again = debian.restore("again", &[]);
    assert_ne!(again["port"]["free"], restored["port"]["free"]);
    let second = debian.started(&again);
    second.wait_until_open();
    assert_eq!(second.psql("select n from t"), "1");
    second.stop();
    copy.stop();
    let pid = fs::read_to_string(&debian.pid_file).unwrap();
    let pid = Path::new("/proc").join(pid.trim());
    assert!(pid.exists(), "the live server's pid file is its own");
    assert_eq!(live.psql("select n from t"), "1");
}

#[test]
fn the_printed_command_starts_a_copy_beside_the_live_server_15() {
    the_printed_command_starts_a_copy_beside_the_live_server(pg(15));
}

#[test]
fn the_printed_command_starts_a_copy_beside_the_live_server_18() {
    the_printed_command_starts_a_copy_beside_the_live_server(pg(18));
}

#[test]
fn a_port_that_is_free_is_kept() {
    let debian = Debian::start(pg(15));
    let main = debian.etc.join("postgresql.conf");
    let text = fs::read_to_string(&main).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    fs::write(&main, format!("{text}port = {port}\n")).unwrap();
    debian.backup();
    let taken = debian.restore("taken", &[]);
    assert_eq!(taken["port"]["taken"], port);
    drop(listener);
    let restored = debian.restore("copy", &[]);
    assert!(restored["port"].is_null(), "{restored}");
    let command = restored["start_command"].as_str().unwrap();
    assert!(!command.contains("-p "), "{command}");
}

/// The copy was started with these files, and tuned.
#[test]
fn a_repeated_restore_keeps_changes_in_the_configuration_beside() {
    let debian = Debian::start(pg(15));
    debian.backup();
    let beside = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains(".config-")).count()
    };
    let first = debian.restore("copy", &[]);
    assert!(first["config_aside"].is_null(), "{first}");
    let main = debian.restored(&first, "postgresql.conf");
    // What nobody changed is of no use, and what is missing is no change.
    fs::remove_file(debian.restored(&first, "pg_ident.conf")).unwrap();
    let second = debian.restore("copy", &["--replace"]);
    assert!(second["config_aside"].is_null(), "{second}");
    assert!(debian.restored(&second, "pg_ident.conf").exists());

    let stored = fs::read_to_string(&main).unwrap();
    fs::write(&main, stored.clone() + "work_mem = '7MB'\n").unwrap();
    thread::sleep(Duration::from_secs(1));
    let third = debian.restore("copy", &["--replace"]);
    let aside = PathBuf::from(third["config_aside"].as_str().unwrap());
    let kept = main.strip_prefix(first["config"].as_str().unwrap());
    let kept = fs::read_to_string(aside.join(kept.unwrap())).unwrap();
    assert!(kept.ends_with("work_mem = '7MB'\n"), "{kept}");
    assert_eq!(fs::read_to_string(&main).unwrap(), stored);

    // A file that somebody added is a change, too.
    let added = debian.restored(&third, "conf.d/mine.conf");
    fs::write(&added, "work_mem = '8MB'\n").unwrap();
    thread::sleep(Duration::from_secs(1));
    let fourth = debian.restore("copy", &["--replace"]);
    assert!(fourth["config_aside"].is_string() && !added.exists());
    assert_eq!(beside(&debian.scratch.join("")), 3);
}

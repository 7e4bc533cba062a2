//! Our own private server: started, asked, stopped, and gone with whoever started it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use pgstow::{
    error::Kind,
    postgres::{
        pgdata,
        postmaster::{NAME, Postmaster},
        programs::{Programs, Search},
        server::{self, Options, Server},
        version::Major,
    },
    util::cancel::Cancel,
};

use crate::harness::{PgBin, on_every_major, pg};

on_every_major!(it_starts_answers_and_stops);

/// A folder of the server's user with a new cluster in it.
struct Place {
    folder: PathBuf,
    options: Options,
}

impl Place {
    fn new(pg: &PgBin, name: &str) -> Self {
        let folder = PathBuf::from(format!(
            "/tmp/pgstow-{name}-{}-{}",
            pg.major,
            std::process::id()
        ));
        let account = server::unprivileged_account().unwrap();
        server::create_folder(&folder, account.as_ref()).unwrap();
        let programs = Programs::at(&pg.bindir).unwrap();
        let data_dir = folder.join("data");
        let cancel = Cancel::default();
        server::initdb(
            &programs,
            &data_dir,
            account.as_ref(),
            &["--wal-segsize=1"],
            &cancel,
        )
        .unwrap();
        let options = Options {
            programs,
            data_dir,
            account,
            socket_dir: folder.clone(),
            port: 5432,
            log: folder.join("server.log"),
            settings: vec![("shared_buffers".to_owned(), "8MB".to_owned())],
            patience: Duration::from_secs(60),
        };
        Self { folder, options }
    }

    fn start(&self) -> Server {
        Server::start(self.options.clone(), &Cancel::default()).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

fn psql(server: &Server, bindir: &Path, sql: &str) -> String {
    let output = Command::new(bindir.join("psql"))
        .args(["-XAt", "-U", server::SUPERUSER, "-d", "postgres", "-c", sql])
        .arg("-h")
        .arg(server.socket_dir())
        .args(["-p", &server.port().to_string()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn is_gone(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z "))
}

fn wait_until_gone(pid: u32) {
    let until = Instant::now() + Duration::from_secs(30);
    while !is_gone(pid) {
        assert!(Instant::now() < until, "process {pid} is still there");
        thread::sleep(Duration::from_millis(20));
    }
}

fn it_starts_answers_and_stops(pg: PgBin) {
    let place = Place::new(&pg, "answers");
    let data_dir = &place.options.data_dir;
    let mut server = place.start();
    assert_eq!(psql(&server, &pg.bindir, "show listen_addresses"), "");
    assert_eq!(psql(&server, &pg.bindir, "show shared_buffers"), "8MB");
    assert_eq!(psql(&server, &pg.bindir, "show data_checksums"), "on");
    assert_eq!(
        pgdata::major(data_dir).unwrap(),
        Major::new(pg.major).unwrap()
    );
    assert!(server.is_running());

    let found = Postmaster::running(data_dir).unwrap().unwrap();
    assert_eq!((found.pid, found.port), (server.pid(), Some(5432)));
    assert_eq!(found.socket_dir.as_deref(), Some(server.socket_dir()));
    let refused = Postmaster::refuse_running(data_dir).unwrap_err();
    assert!(
        refused.message().contains(&server.pid().to_string()),
        "{refused}"
    );

    let pid = server.pid();
    server.stop().unwrap();
    assert!(is_gone(pid));
    Postmaster::refuse_running(data_dir).unwrap();

    let pid = place.start().pid();
    assert!(is_gone(pid), "a dropped server ends");

    let crashed = place.start();
    crashed.stop_immediately().unwrap();
    assert!(place.start().is_running());
    let log = fs::read_to_string(&place.options.log).unwrap();
    assert!(
        log.contains("database system was not properly shut down"),
        "{log}"
    );
}

#[test]
fn a_server_that_does_not_start_says_why() {
    let mut place = Place::new(&pg(15), "says-why");
    place.options.settings = vec![("shared_buffers".to_owned(), "lots".to_owned())];
    let error = Server::start(place.options.clone(), &Cancel::default()).unwrap_err();
    let line = error.in_one_line();
    assert!(
        line.contains("did not start") && line.contains("\"lots\""),
        "{line}"
    );
    assert!(!place.options.data_dir.join(NAME).exists());

    place.options.settings.clear();
    place.options.socket_dir = place.folder.join("x".repeat(100));
    let error = Server::start(place.options.clone(), &Cancel::default()).unwrap_err();
    assert!(error.message().contains("107 bytes") && error.hint_text().is_some());

    place.options.socket_dir = place.folder.clone();
    let cancel = Cancel::default();
    cancel.set();
    let error = Server::start(place.options.clone(), &cancel).unwrap_err();
    assert_eq!(error.kind(), Kind::Interrupted);
    assert_eq!(Postmaster::running(&place.options.data_dir).unwrap(), None);
}

#[test]
fn it_ends_with_the_thread_that_started_it() {
    let place = Place::new(&pg(15), "ends-with");
    let options = place.options.clone();
    let starter = thread::spawn(move || {
        let server = Server::start(options, &Cancel::default()).unwrap();
        let pid = server.pid();
        // As a killed process: nothing is dropped.
        std::mem::forget(server);
        pid
    });
    let pid = starter.join().unwrap();
    wait_until_gone(pid);
}

#[test]
fn debians_programs_are_found() {
    let programs = Search::of_this_host(None).find(Some(Major::V15)).unwrap();
    assert_eq!(programs.major(), Major::V15);
    assert!(programs.pg_controldata().is_ok());
    let named = Search::of_this_host(Some(pg(18).bindir))
        .find(None)
        .unwrap();
    assert_eq!(named.major(), Major::V18);
}

//! A real PostgreSQL cluster in the scratch folder: made, started, asked, stopped. Its server is a
//! child of the test, reached by a unix socket, and gone when the test ends, however it ends.

use std::{
    fs::{self, File, OpenOptions},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use pgstow::postgres::control::{Control, State};
use rustix::process::{Pid, Signal, kill_process};

use super::{PgBin, Scratch, user};

/// For servers to start and stop, under load on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);

/// The superuser of every test cluster.
pub const SUPERUSER: &str = "postgres";

#[derive(Clone, Copy, Debug)]
pub enum Shutdown {
    /// Checkpoint, then stop: SIGINT.
    Fast,
    /// Stop at once, recovery at the next start: SIGQUIT.
    Immediate,
    /// kill -9 of the postmaster.
    Kill,
}

pub struct Cluster {
    pub pg: PgBin,
    data_dir: PathBuf,
    socket_dir: PathBuf,
    log: PathBuf,
    tcp: bool,
    port: u16,
    arguments: Vec<String>,
    server: Option<Child>,
}

impl Cluster {
    /// A cluster whose data directory is there already, such as a restored one.
    pub fn existing(scratch: &Scratch, pg: PgBin, name: &str, data_dir: &Path) -> Self {
        Self::stopped(scratch, pg, name, data_dir, false)
    }

    pub(super) fn stopped(
        scratch: &Scratch,
        pg: PgBin,
        name: &str,
        data_dir: &Path,
        tcp: bool,
    ) -> Self {
        let socket_dir = scratch.folder(name);
        let port = if tcp { free_port() } else { 5432 };
        Self {
            pg,
            data_dir: data_dir.to_owned(),
            log: socket_dir.join("server.log"),
            socket_dir,
            tcp,
            port,
            arguments: Vec::new(),
            server: None,
        }
    }

    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The folder of its unix socket: libpq's `host`.
    pub fn host(&self) -> &Path {
        &self.socket_dir
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A setting, `name=value`, for the command line of each start.
    pub fn argument(&mut self, setting: &str) {
        self.arguments.extend(["-c".into(), setting.into()]);
    }

    /// All that the server wrote to its log so far.
    pub fn log(&self) -> String {
        fs::read(&self.log).map_or(String::new(), |log| {
            String::from_utf8_lossy(&log).into_owned()
        })
    }

    #[track_caller]
    pub fn start(&mut self) {
        if let Err(log) = self.try_start() {
            panic!("{} did not start:\n{log}", self.pg);
        }
    }

    /// Starts the server and waits until it accepts connections (of a standby or in recovery:
    /// read-only ones); else its log of this start.
    pub fn try_start(&mut self) -> Result<(), String> {
        assert!(self.server.is_none(), "the server runs already");
        let already_logged = self.log().len();
        let log = log_file(&self.log);
        let mut command = self.pg.command_dying_by("postgres", "QUIT");
        command
            .arg("-D")
            .arg(&self.data_dir)
            .args(["-c", &format!("port={}", self.port), "-c"])
            .arg(format!(
                "unix_socket_directories={}",
                self.socket_dir.display()
            ))
            .args([
                "-c",
                if self.tcp {
                    "listen_addresses=127.0.0.1"
                } else {
                    "listen_addresses="
                },
            ])
            // A restored postgresql.conf may send the log elsewhere, where no test sees it.
            .args([
                "-c",
                "logging_collector=off",
                "-c",
                "log_destination=stderr",
            ])
            .args(&self.arguments)
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let mut server = command.spawn().unwrap();
        let limit = Instant::now() + PATIENCE;
        while !self.accepts_connections(&server) {
            if server.try_wait().unwrap().is_some() {
                return Err(self.log()[already_logged..].to_owned());
            }
            if Instant::now() > limit {
                end(&mut server, Signal::QUIT);
                return Err(format!(
                    "not ready after {PATIENCE:?}:\n{}",
                    &self.log()[already_logged..]
                ));
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.server = Some(server);
        Ok(())
    }

    /// postmaster.pid has the process id in its first line and the state in its eighth
    /// (src/include/utils/pidfile.h).
    fn accepts_connections(&self, server: &Child) -> bool {
        let Ok(text) = fs::read_to_string(self.data_dir.join("postmaster.pid")) else {
            return false;
        };
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        lines.first() == Some(&server.id().to_string().as_str())
            && matches!(lines.get(7), Some(&"ready" | &"standby"))
    }

    /// Whether the server has left recovery; None once it has ended. It notes that in pg_control,
    /// when it is so (StartupXLOG in src/backend/access/transam/xlog.c).
    pub(super) fn has_recovered(&mut self) -> Option<bool> {
        let server = self.server.as_mut().expect("the server runs");
        match server.try_wait().unwrap() {
            Some(_) => None,
            None => Some(Control::read(&self.data_dir).unwrap().state == State::InProduction),
        }
    }

    pub fn stop(&mut self, how: Shutdown) {
        let mut server = self.server.take().expect("the server runs");
        let backends = children(&server);
        end(
            &mut server,
            match how {
                Shutdown::Fast => Signal::INT,
                Shutdown::Immediate => Signal::QUIT,
                Shutdown::Kill => Signal::KILL,
            },
        );
        // The others notice a killed postmaster only in a moment; until then none can start.
        while backends.iter().any(|process| is_alive(process)) || self.is_at_work() {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether a process works in the data directory, as all of a server's do: one may have been
    /// started in the moment of the kill.
    fn is_at_work(&self) -> bool {
        let works_there = |process: fs::DirEntry| {
            fs::read_link(process.path().join("cwd")).is_ok_and(|folder| folder == self.data_dir)
        };
        let processes = fs::read_dir("/proc").unwrap();
        processes.flatten().any(works_there)
    }

    pub fn restart(&mut self) {
        self.stop(Shutdown::Fast);
        self.start();
    }

    /// Waits until the server ends by itself, as after `recovery_target_action = shutdown`.
    #[track_caller]
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let mut server = self.server.take().expect("the server runs");
        wait(&mut server, PATIENCE).unwrap_or_else(|| {
            end(&mut server, Signal::QUIT);
            panic!("the server still ran after {PATIENCE:?}:\n{}", self.log())
        })
    }

    /// On return, new sessions see the settings as they are in the files now.
    #[track_caller]
    pub fn reload(&self) {
        let before = self.psql("select pg_conf_load_time()");
        self.psql("select pg_reload_conf()");
        self.wait_until(&format!("select pg_conf_load_time() > '{before}'"), "t");
    }

    /// Promotes a standby, and waits until it is one no more.
    #[track_caller]
    pub fn promote(&self) {
        assert_eq!(self.psql("select pg_promote(true, 60)"), "t");
    }

    /// ALTER SYSTEM and a reload.
    #[track_caller]
    pub fn set(&self, name: &str, value: &str) {
        let value = value.replace('\'', "''");
        self.psql(&format!("alter system set {name} = '{value}'"));
        self.reload();
    }

    /// One of the major's client programs, set up to connect to this cluster as superuser.
    pub fn client(&self, program: &str) -> Command {
        let mut command = self.pg.command(program);
        command
            .env("PGHOST", &self.socket_dir)
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", SUPERUSER)
            .env("PGDATABASE", "postgres");
        command
    }

    /// The answer to `sql`: columns separated by `|`, rows by newlines.
    #[track_caller]
    pub fn psql(&self, sql: &str) -> String {
        self.psql_in("postgres", sql)
    }

    #[track_caller]
    pub fn psql_in(&self, database: &str, sql: &str) -> String {
        self.try_psql(database, sql)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    pub fn try_psql(&self, database: &str, sql: &str) -> Result<String, String> {
        user::run(self.client("psql").args([
            "-XAtq",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            database,
            "-c",
            sql,
        ]))
    }

    /// Asks again until the answer to `sql` is `value`; an error is an answer too.
    #[track_caller]
    pub fn wait_until(&self, sql: &str, value: &str) {
        let limit = Instant::now() + PATIENCE;
        loop {
            let answer = self.try_psql("postgres", sql);
            if answer.as_deref() == Ok(value) {
                return;
            }
            assert!(
                Instant::now() < limit,
                "{sql} is not {value:?} after {PATIENCE:?}, but {answer:?}\n{}",
                self.log()
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends the current WAL segment and waits until the archiver has stored it.
    #[track_caller]
    pub fn switch_wal(&self) -> String {
        // Without a record there would be nothing to switch.
        self.psql("select pg_logical_emit_message(false, 'test', '')");
        let segment = self.psql("select pg_walfile_name(pg_switch_wal())");
        self.wait_until(
            &format!("select last_archived_wal >= '{segment}' from pg_stat_archiver"),
            "t",
        );
        segment
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            end(&mut server, Signal::QUIT);
        }
    }
}

fn log_file(path: &Path) -> File {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    user::own(path);
    file
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// The processes that a postmaster has started, by their folder in /proc.
fn children(server: &Child) -> Vec<PathBuf> {
    let list = fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.id()));
    let list = list.expect("/proc");
    let pids = list.split_whitespace();
    pids.map(|pid| Path::new("/proc").join(pid)).collect()
}

/// A process that has ended, but that nobody has waited for, has no command line.
fn is_alive(process: &Path) -> bool {
    fs::read(process.join("cmdline")).is_ok_and(|line| !line.is_empty())
}

/// Sends `signal` and waits for the end; SIGKILL for a server that does not listen.
fn end(server: &mut Child, signal: Signal) {
    // An error says that it has ended already.
    let _ = kill_process(Pid::from_child(server), signal);
    if wait(server, PATIENCE).is_none() {
        let _ = server.kill();
        let _ = server.wait();
    }
}

fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let limit = Instant::now() + limit;
    while Instant::now() < limit {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(5));
    }
    None
}

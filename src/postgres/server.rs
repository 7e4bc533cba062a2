//! A private PostgreSQL server of our own, for the demo and for drills: no TCP, a unix socket in a
//! folder of its own, and an end together with ours.

use std::{
    fs::{self, File},
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, geteuid, kill_process};

use super::{
    postmaster::{self, Postmaster, Status},
    programs::Programs,
};
use crate::{
    error::{Error, IoContext, Kind, Result},
    util::{account::Account, cancel::Cancel, fs::open_log, process, units},
};

/// The superuser of clusters that [`initdb`] makes.
pub const SUPERUSER: &str = "postgres";

/// How long a fast shutdown may take before it becomes an immediate one.
const FAST: Duration = Duration::from_secs(60);
/// How long an immediate one may take before the server is killed.
const IMMEDIATE: Duration = Duration::from_secs(10);

/// The user that PostgreSQL's programs run as: None for our own, as long as we are not root,
/// which PostgreSQL refuses; then `postgres`, or `nobody` on a host without that user.
pub fn unprivileged_account() -> Result<Option<Account>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    match Account::named("postgres") {
        Err(error) if error.kind() == Kind::NotFound => Account::named("nobody").map(Some),
        other => other.map(Some),
    }
}

/// Makes a private folder that the server's user owns; the folder above must exist.
pub fn create_folder(path: &Path, account: Option<&Account>) -> Result<()> {
    crate::util::fs::create_folders(path, 0o700, None)?;
    if let Some(account) = account {
        chown(path, Some(account.uid), Some(account.gid)).at("change the owner of", path)?;
    }
    Ok(())
}

/// Makes a new cluster in `data_dir`, with page checksums, in UTF-8, that trusts whoever reaches
/// its socket. The folder above must belong to `account`. `options` as initdb takes them.
pub fn initdb(
    programs: &Programs,
    data_dir: &Path,
    account: Option<&Account>,
    options: &[&str],
    cancel: &Cancel,
) -> Result<()> {
    const LIMIT: Duration = Duration::from_secs(300);
    let mut command = as_account(Command::new(programs.initdb()?), account);
    command
        .args(["--auth=trust", "--data-checksums", "--encoding=UTF8"])
        .args(["--no-locale", "--no-sync", "--username", SUPERUSER])
        .args(options)
        .arg("-D")
        .arg(data_dir);
    process::run(&mut command, LIMIT, cancel)
        .map(drop)
        .map_err(|error| {
            if error.kind() == Kind::Interrupted {
                return error;
            }
            let user = account.map_or("you", |account| &account.name);
            error
                .context(format!("can't make a cluster in {}", data_dir.display()))
                .hint(format!(
                    "{user} must be able to enter every folder above it: try one below /tmp."
                ))
        })
}

/// Runs `command` as `account`, in a folder that everybody may enter.
pub fn as_account(mut command: Command, account: Option<&Account>) -> Command {
    if let Some(account) = account {
        // Drops root's other groups, too.
        command.gid(account.gid).uid(account.uid);
    }
    command.current_dir("/");
    command
}

/// What a server needs to run.
#[derive(Clone, Debug)]
pub struct Options {
    pub programs: Programs,
    /// Absolute, of `account`.
    pub data_dir: PathBuf,
    pub account: Option<Account>,
    /// Absolute, of `account`: holds the socket.
    pub socket_dir: PathBuf,
    /// Part of the socket's name only.
    pub port: u16,
    /// What the server says is added to this file.
    pub log: PathBuf,
    /// Settings that go before those of postgresql.conf.
    pub settings: Vec<(String, String)>,
    /// How long it may take until it accepts connections, recovery included.
    pub patience: Duration,
}

/// A running server, stopped when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    options: Options,
}

impl Server {
    /// Starts a server and waits until it accepts connections; one in recovery, read-only ones.
    ///
    /// Start it from a thread that lives as long as the server is needed: it ends with that thread
    /// (see [`process::dying_with_us`]), so that it survives no `kill -9` of ours.
    pub fn start(options: Options, cancel: &Cancel) -> Result<Self> {
        check_socket_path(&options.socket_dir, options.port)?;
        let log = open_log(&options.log)?;
        let logged = log.metadata().at("read", &options.log)?.len();
        let errors = log.try_clone().at("open", &options.log)?;
        let mut command = command(&options)?;
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        let child = command
            .spawn()
            .map_err(|error| Error::io("run", Path::new(command.get_program()), error))?;
        let mut server = Self { child, options };
        match server.wait_until_ready(cancel) {
            Ok(()) => Ok(server),
            Err(error) => {
                let words = last_words(&server.options.log, logged);
                Err(if words.is_empty() {
                    error
                } else {
                    error.because(words)
                })
            }
        }
    }

    fn wait_until_ready(&mut self, cancel: &Cancel) -> Result<()> {
        let data_dir = self.options.data_dir.display().to_string();
        let until = Instant::now() + self.options.patience;
        while !self.is_ready() {
            cancel.check()?;
            if let Some(status) = self.ended()? {
                return Err(Error::failed(format!(
                    "the server on {data_dir} did not start ({status})"
                )));
            }
            if Instant::now() >= until {
                let patience = units::duration(self.options.patience);
                return Err(Error::new(
                    Kind::TimedOut,
                    format!("the server on {data_dir} accepts no connections after {patience}"),
                ));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// The server itself notes in postmaster.pid how far it has come.
    fn is_ready(&self) -> bool {
        let text = fs::read_to_string(self.options.data_dir.join(postmaster::NAME));
        let found = text.ok().and_then(|text| Postmaster::parse(&text));
        found.is_some_and(|found| found.pid == self.pid() && found.status == Some(Status::Ready))
    }

    fn ended(&mut self) -> Result<Option<std::process::ExitStatus>> {
        self.child
            .try_wait()
            .map_err(|error| Error::failed("can't wait for the server").because(error))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// libpq's `host`: the folder of the socket.
    pub fn socket_dir(&self) -> &Path {
        &self.options.socket_dir
    }

    pub fn port(&self) -> u16 {
        self.options.port
    }

    pub fn data_dir(&self) -> &Path {
        &self.options.data_dir
    }

    /// False once the server ended by itself.
    pub fn is_running(&mut self) -> bool {
        matches!(self.ended(), Ok(None))
    }

    /// Stops it in order, with a checkpoint; an error where it had to be ended the hard way.
    pub fn stop(mut self) -> Result<()> {
        if self.end(Signal::INT, FAST)? {
            return Ok(());
        }
        self.end_hard();
        Err(Error::new(
            Kind::TimedOut,
            format!(
                "the server on {} did not shut down within {}",
                self.options.data_dir.display(),
                units::duration(FAST)
            ),
        ))
    }

    /// Ends it without a checkpoint, as a crash would.
    pub fn stop_immediately(mut self) -> Result<()> {
        self.end(Signal::QUIT, IMMEDIATE).map(drop)
    }

    /// For a server that didn't stop in order. Nobody is left who could do more than this.
    fn end_hard(&mut self) {
        if !self.end(Signal::QUIT, IMMEDIATE).is_ok_and(|ended| ended) {
            let _ = self.end(Signal::KILL, IMMEDIATE);
        }
    }

    /// Sends `signal` and waits; false where the server is still there after `limit`.
    fn end(&mut self, signal: Signal, limit: Duration) -> Result<bool> {
        // It was not waited for yet, so that its id can't belong to another process.
        if self.ended()?.is_some() {
            return Ok(true);
        }
        kill_process(Pid::from_child(&self.child), signal)
            .map_err(|error| Error::failed("can't stop the server").because(error))?;
        let until = Instant::now() + limit;
        while self.ended()?.is_none() {
            if Instant::now() >= until {
                return Ok(false);
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(true)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.end(Signal::INT, FAST).is_ok_and(|ended| ended) {
            self.end_hard();
        }
    }
}

fn command(options: &Options) -> Result<Command> {
    let command = process::dying_with_us(&options.programs.postgres()?, "QUIT");
    let mut command = as_account(command, options.account.as_ref());
    let mut set = |name: &str, value: &str| {
        command.arg("-c").arg(format!("{name}={value}"));
    };
    set("listen_addresses", "");
    set("port", &options.port.to_string());
    set(
        "unix_socket_directories",
        &options.socket_dir.to_string_lossy(),
    );
    set("unix_socket_permissions", "0700");
    // A restored postgresql.conf may send the log where nobody looks.
    set("logging_collector", "off");
    set("log_destination", "stderr");
    for (name, value) in &options.settings {
        set(name, value);
    }
    command.arg("-D").arg(&options.data_dir);
    // A group of its own: Ctrl-C is for us, and we stop the server in order.
    command.process_group(0);
    Ok(command)
}

/// The path of a socket fits 107 bytes (`sun_path` of `struct sockaddr_un`).
pub fn check_socket_path(folder: &Path, port: u16) -> Result<()> {
    let path = folder.join(format!(".s.PGSQL.{port}"));
    if path.as_os_str().len() <= 107 {
        return Ok(());
    }
    Err(Error::failed(format!(
        "the path of the server's socket is longer than 107 bytes: {}",
        path.display()
    ))
    .hint("choose a folder with a shorter path, such as one below /tmp."))
}

/// The last lines that came to the log behind its first `skip` bytes.
fn last_words(log: &Path, skip: u64) -> String {
    use std::io::{Seek, SeekFrom};
    let opened = File::open(log).and_then(|mut file| {
        file.seek(SeekFrom::Start(skip))?;
        Ok(file)
    });
    opened.map_or_else(|_| String::new(), process::last_lines)
}

//! The built `pgstow`, run as the server's user in a clean environment.
//!
//! An invocation ends in what the test expects of it: [`Invocation::ok`] or
//! [`Invocation::fails`]. A warning that the test did not announce fails it.

use std::{
    ffi::OsString,
    fs::{self, File},
    os::unix::{fs::symlink, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::{
    PgBin, Scratch,
    output::{Output, judge_warnings},
    user,
};

/// Longer than any single command of a test takes, shorter than the runner's own limit.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Tool {
    folder: PathBuf,
    program: PathBuf,
    config: Option<PathBuf>,
    env: Vec<(OsString, OsString)>,
}

impl Tool {
    /// Puts the program into the scratch folder, since the server's user may not be allowed to
    /// enter the build folder. Its home is there too.
    pub fn new(scratch: &Scratch) -> Self {
        Self::of(scratch, "pgstow", Path::new(env!("CARGO_BIN_EXE_pgstow")))
    }

    /// Any `program`, under `name` in the scratch folder.
    fn of(scratch: &Scratch, name: &str, program: &Path) -> Self {
        let folder = scratch.folder(&format!("{name}-home"));
        let inside = folder.join(name);
        // A link costs nothing, where both are on one file system.
        let program = program.canonicalize().unwrap();
        if fs::hard_link(&program, &inside).is_err() {
            fs::hard_link(copied(&program, scratch), &inside).unwrap();
        }
        let env = vec![("HOME".into(), folder.clone().into())];
        Self {
            folder,
            program: inside,
            config: None,
            env,
        }
    }

    /// Writes the configuration file that every invocation is given.
    pub fn config(mut self, toml: &str) -> Self {
        let path = self.folder.join("pgstow.toml");
        fs::write(&path, toml).unwrap();
        user::own(&path);
        self.config = Some(path);
        self
    }

    /// The configuration file, for who runs the program by other means.
    #[track_caller]
    pub fn config_file(&self) -> &Path {
        self.config.as_deref().expect("a configuration")
    }

    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Has the programs of `pg` first on its PATH.
    pub fn with_path(self, pg: &PgBin) -> Self {
        let path = format!("{}:/usr/bin:/bin", pg.bindir.display());
        self.env("PATH", path)
    }

    /// `pgstow ARGUMENTS`.
    pub fn command(&self, arguments: &[&str]) -> Invocation {
        self.command_as(&self.program, arguments)
    }

    /// Called through a link, as `archive-wal` and its like.
    pub fn linked(&self, name: &str, arguments: &[&str]) -> Invocation {
        let link = self.folder.join(name);
        if !link.exists() {
            symlink(&self.program, &link).unwrap();
        }
        self.command_as(&link, arguments)
    }

    /// `pgstow ARGUMENTS` that sees a clock wrong by `shift`, such as `-1h`.
    pub fn shifted(&self, shift: &str, arguments: &[&str]) -> Invocation {
        let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
        assert!(Path::new(library).is_file(), "run tests/setup.sh");
        // Only for the program itself: the library must not see how the user changes.
        let mut command = user::command("/usr/bin/env", "KILL");
        command
            .arg(format!("LD_PRELOAD={library}"))
            .args([
                &format!("FAKETIME={shift}"),
                "FAKETIME_DONT_FAKE_MONOTONIC=1",
            ])
            .arg(&self.program);
        self.invocation(command, arguments)
    }

    fn command_as(&self, program: &Path, arguments: &[&str]) -> Invocation {
        self.invocation(user::command(program, "KILL"), arguments)
    }

    fn invocation(&self, mut command: Command, arguments: &[&str]) -> Invocation {
        // A group of its own, so that what it starts can be ended with it.
        command
            .process_group(0)
            .current_dir(&self.folder)
            .envs(self.env.iter().cloned());
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        command.args(arguments);
        Invocation {
            command,
            folder: self.folder.clone(),
            limit: PATIENCE,
            announced: Vec::new(),
        }
    }

    /// A shell command for `archive_command` and `restore_command`: `arguments` are written as
    /// they stand, so that `%p` and `%f` work.
    pub fn shell(&self, arguments: &str) -> String {
        let quote =
            |path: &Path| format!("'{}'", path.display().to_string().replace('\'', r"'\''"));
        let config = self.config.as_deref().map_or(String::new(), |config| {
            format!(" --config {}", quote(config))
        });
        format!("{}{config} {arguments}", quote(&self.program))
    }
}

#[must_use = "an invocation runs by ok(), fails() or spawn()"]
pub struct Invocation {
    command: Command,
    folder: PathBuf,
    limit: Duration,
    announced: Vec<String>,
}

impl Invocation {
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.command.env(name, value.into());
        self
    }

    pub fn current_dir(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Lets what it started live on when it ends; else that is killed with its group.
    pub fn leave_children(mut self) -> Self {
        let own = rustix::process::getpgrp();
        self.command.process_group(own.as_raw_nonzero().get());
        self
    }

    /// How long it may take before it is killed and the test fails.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// A warning with `text` must come; every other one still fails the test.
    pub fn expect_warning(mut self, text: &str) -> Self {
        self.announced.push(text.to_owned());
        self
    }

    /// Exit code 0.
    #[track_caller]
    pub fn ok(self) -> Output {
        self.fails(0)
    }

    /// This exit code.
    #[track_caller]
    pub fn fails(self, code: i32) -> Output {
        let output = self.spawn().wait();
        assert_eq!(output.status.code(), Some(code), "exit code of {output}");
        output
    }

    /// Starts it, for tests that do something meanwhile.
    pub fn spawn(mut self) -> Running {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Into files: a pipe would have to be read meanwhile, and stays open as long as any
        // process that inherited it.
        let stdout = self.folder.join(format!("{number}.stdout"));
        let stderr = self.folder.join(format!("{number}.stderr"));
        self.command
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&stderr).unwrap());
        let child = self.command.spawn().unwrap();
        Running {
            child,
            stdout,
            stderr,
            invocation: self,
        }
    }
}

/// An invocation that runs. Dropped, it is killed with all that it started.
pub struct Running {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    invocation: Invocation,
}

impl Running {
    pub fn signal(&self, signal: Signal) {
        kill_process(self.process(), signal).unwrap();
    }

    pub fn process(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What it wrote to standard error so far.
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// As [`Running::wait`], with its peak memory in bytes.
    #[track_caller]
    pub fn watch(mut self) -> (Output, u64) {
        let status = format!("/proc/{}/status", self.id());
        let mut peak = 0;
        while self.is_running() {
            // Gone between the two, it is a zombie without memory.
            let text = fs::read_to_string(&status).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            if let Some(kib) = line.and_then(|line| line.trim().strip_suffix(" kB")) {
                peak = peak.max(kib.trim().parse::<u64>().unwrap() * 1024);
            }
            thread::sleep(Duration::from_millis(5));
        }
        assert!(peak > 0);
        (self.wait(), peak)
    }

    /// Waits for the end. Panics at the time limit, and for warnings that were not announced
    /// or did not come.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        let limit = Instant::now() + self.invocation.limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                Instant::now() < limit,
                "{:?} still ran after {:?}\n{}",
                self.invocation.command,
                self.invocation.limit,
                self.stderr()
            );
            thread::sleep(Duration::from_millis(2));
        };
        let output = Output {
            command: format!("{:?}", self.invocation.command),
            status,
            stdout: read(&self.stdout),
            stderr: read(&self.stderr),
        };
        if let Err(reason) = judge_warnings(&output.stderr, status, &self.invocation.announced) {
            panic!("{reason} in {output}");
        }
        output
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error says that the group has ended.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// A copy of a program beside the scratch folders, for all tests: such programs are large.
fn copied(program: &Path, scratch: &Scratch) -> PathBuf {
    let modified = |path: &Path| fs::metadata(path).and_then(|found| found.modified());
    let built = modified(program).unwrap();
    let name = program.display().to_string().replace('/', "-");
    let copy = scratch.beside(name.trim_start_matches('-'));
    if modified(&copy).ok() != Some(built) {
        // Of several tests that copy it at once, the last one's stays.
        let new = scratch.join("program");
        fs::copy(program, &new).unwrap();
        File::open(&new).unwrap().set_modified(built).unwrap();
        fs::rename(&new, &copy).unwrap();
    }
    copy
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// /bin/sh stands in for pgstow.
    fn shell(scratch: &Scratch) -> Tool {
        Tool::of(scratch, "sh", Path::new("/bin/sh"))
    }

    #[test]
    fn runs_in_a_clean_environment_as_the_servers_user() {
        let scratch = Scratch::new();
        let tool = shell(&scratch)
            .env("PGPORT", "1")
            .with_path(&crate::harness::pg(17));
        let script = "id -u; echo $HOME; env | cut -d= -f1 | sort | tr '\\n' ' '; which initdb";
        let output = tool.command(&["-c", script]).ok();
        let lines: Vec<_> = output.stdout.lines().collect();
        let uid = if user::is_root() {
            user::ids().0
        } else {
            rustix::process::getuid().as_raw()
        };
        assert_eq!(lines[0], uid.to_string());
        assert_eq!(lines[1], scratch.join("sh-home").display().to_string());
        assert!(
            lines[2].starts_with("HOME LC_ALL PATH PGPORT PWD "),
            "{output}"
        );
        assert!(lines[2].ends_with("/17/bin/initdb"), "{output}");
    }

    #[test]
    fn ends_what_runs_too_long_with_its_children() {
        let scratch = Scratch::new();
        let script = "sleep 1000 & echo $! >&2; wait";
        let mut running = shell(&scratch)
            .command(&["-c", script])
            .limit(Duration::from_millis(50))
            .spawn();
        while running.stderr().is_empty() {
            assert!(running.is_running());
        }
        let sleeper = running.stderr().trim().to_owned();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| running.wait()));
        assert!(outcome.is_err());
        // The kill is waited for with the shell alone: its child may take a moment more. A
        // zombie's command line is empty.
        let lives =
            || fs::read(format!("/proc/{sleeper}/cmdline")).is_ok_and(|line| !line.is_empty());
        let until = Instant::now() + Duration::from_secs(20);
        while lives() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(!lives(), "{sleeper} lives on");
    }

    #[test]
    fn a_signal_reaches_the_program_itself() {
        let scratch = Scratch::new();
        let script = "trap 'exit 7' TERM; echo ready >&2; while :; do sleep 0.01; done";
        let running = shell(&scratch).command(&["-c", script]).spawn();
        while running.stderr().is_empty() {}
        running.signal(Signal::TERM);
        assert_eq!(running.wait().status.code(), Some(7));
    }

    #[test]
    fn what_was_said_can_be_judged() {
        let scratch = Scratch::new();
        let folder = scratch.folder("elsewhere");
        let script = "pwd >&2; echo \"$WHAT\"; echo warning: old >&2; exit 3";
        let output = shell(&scratch)
            .command(&["-c", script])
            .env("WHAT", r#"{"n": 1}"#)
            .current_dir(&folder)
            .expect_warning("old")
            .fails(3)
            .stdout_contains("n")
            .stderr_contains("/elsewhere");
        assert_eq!(output.json()["n"], 1);
    }

    #[test]
    fn pgstow_itself_runs_under_its_names() {
        let scratch = Scratch::new();
        let tool = Tool::new(&scratch);
        tool.command(&["--version"]).ok();
        tool.linked("archive-wal", &["--help"]).ok();
        let tool = tool.config("");
        let line = tool.shell("archive-wal %p");
        assert!(line.ends_with("pgstow.toml' archive-wal %p"), "{line}");
    }
}

//! The user that servers and pgstow run as: `postgres` where the tests are root, because
//! PostgreSQL refuses root; else whoever runs the tests.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::chown,
    path::Path,
    process::{Command, Output, Stdio},
};

const NAME: &str = "postgres";

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A command in a clean environment, run as that user, that gets `death_signal` when the thread
/// that starts it ends, so that nothing outlives a killed test. (Hence no test starts a server
/// in a thread of its own.)
pub fn command(program: impl AsRef<OsStr>, death_signal: &str) -> Command {
    // setpriv sets the signal and then executes the program under its own process id.
    let mut command = Command::new("/usr/bin/setpriv");
    command.args(["--pdeathsig", death_signal]);
    if is_root() {
        command.args([
            &format!("--reuid={NAME}"),
            &format!("--regid={NAME}"),
            "--init-groups",
        ]);
    }
    command
        .arg("--")
        .arg(program)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null());
    command
}

/// Gives a file or folder to that user.
pub fn own(path: &Path) {
    if is_root() {
        let (uid, gid) = ids();
        chown(path, Some(uid), Some(gid))
            .unwrap_or_else(|error| panic!("chown {}: {error}", path.display()));
    }
}

/// User and group id of [`NAME`].
pub fn ids() -> (u32, u32) {
    let passwd = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let line = passwd
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{NAME}:x:")))
        .unwrap_or_else(|| panic!("no user {NAME}: run tests/setup.sh"));
    let mut fields = line.split(':').map(|field| field.parse().unwrap());
    (fields.next().unwrap(), fields.next().unwrap())
}

/// Runs `command` to its end; its standard output without the last newline, or its standard error.
pub fn run(command: &mut Command) -> Result<String, String> {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    if status.success() {
        let text = String::from_utf8(stdout).expect("output in UTF-8");
        Ok(text.trim_end_matches('\n').to_owned())
    } else {
        let (stdout, stderr) = (
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr),
        );
        Err(format!("{command:?}: {status}\n{stdout}{stderr}"))
    }
}

/// As [`run`], for what must succeed.
#[track_caller]
pub fn run_ok(command: &mut Command) -> String {
    run(command).unwrap_or_else(|error| panic!("{error}"))
}

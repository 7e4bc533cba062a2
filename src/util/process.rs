//! Runs programs that end: no shell, their output caught, a time limit, an error that names the
//! program and its last words.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{cancel::Cancel, pipe, units};
use crate::error::{Error, Kind, Result};

/// How many lines of a program's standard error or log an error shows.
const LAST_WORDS: usize = 5;

/// Of util-linux.
const SETPRIV: &str = "setpriv";

/// For what may take days: a dump of a large database.
pub const NO_LIMIT: Duration = Duration::from_secs(10 * 365 * 86_400);

/// `program` such that Linux sends it `signal` when the thread that started it ends, where util-linux is
/// installed; without it, it outlives a `kill -9` of ours.
pub fn dying_with_us(program: &Path, signal: &str) -> Command {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let setpriv = FOUND.get_or_init(|| {
        let folders = ["/usr/bin", "/bin"].map(PathBuf::from);
        find(SETPRIV, folders).filter(|setpriv| may_run(setpriv))
    });
    match setpriv {
        Some(setpriv) => {
            // It sets the signal, then becomes the program under the same process id.
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", signal, "--"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// Not in the sandbox of our units, which leaves it no capset(2): there systemd ends all that a unit started.
fn may_run(setpriv: &Path) -> bool {
    let mut command = Command::new(setpriv);
    command
        .args(["--pdeathsig", "KILL", "--", "/bin/true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Runs `command` to its end and gives its standard output.
pub fn run(command: &mut Command, limit: Duration, cancel: &Cancel) -> Result<Vec<u8>> {
    let mut output = Vec::new();
    run_into(command, &mut output, limit, cancel)?;
    Ok(output)
}

/// Runs `command` to its end, its standard output going to `sink` as it comes.
pub fn run_into(
    command: &mut Command,
    sink: &mut (impl Write + Send),
    limit: Duration,
    cancel: &Cancel,
) -> Result<()> {
    run_to_any_end(command, sink, limit, cancel)?
        .success()
        .map(drop)
}

/// As [`run_to_any_end`], with `input` as the program's standard input: as much of it as that takes.
pub fn run_with_input(
    command: &mut Command,
    input: impl Read + Send,
    sink: &mut (impl Write + Send),
    limit: Duration,
    cancel: &Cancel,
) -> Result<End> {
    run_between(command, Some(input), sink, last_lines, limit, cancel)
}

/// As [`run_with_input`], every line of the program's standard error going to `heard` as it comes.
pub fn run_heard(
    command: &mut Command,
    input: Option<impl Read + Send>,
    sink: &mut (impl Write + Send),
    heard: &mut (impl FnMut(&str) + Send),
    limit: Duration,
    cancel: &Cancel,
) -> Result<End> {
    let words = |stderr| {
        last_lines(Heard {
            reader: stderr,
            line: Vec::new(),
            heard,
        })
    };
    run_between(command, input, sink, words, limit, cancel)
}

/// Hands over lines while they are read.
struct Heard<'a, R, F> {
    reader: R,
    line: Vec<u8>,
    heard: &'a mut F,
}

impl<R: Read, F: FnMut(&str)> Read for Heard<'_, R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        /// What a line has beyond that is left out.
        const LONGEST: usize = 4096;
        let count = self.reader.read(buffer)?;
        for part in buffer[..count].split_inclusive(|byte| *byte == b'\n') {
            let room = LONGEST.saturating_sub(self.line.len());
            self.line.extend(part.iter().take(room));
            if part.ends_with(b"\n") {
                (self.heard)(String::from_utf8_lossy(&self.line).trim_end());
                self.line.clear();
            }
        }
        if count == 0 && !self.line.is_empty() {
            (self.heard)(String::from_utf8_lossy(&self.line).trim_end());
            self.line.clear();
        }
        Ok(count)
    }
}

/// How a program ended.
#[derive(Debug)]
pub struct End {
    program: String,
    pub status: ExitStatus,
    /// The last lines of its standard error.
    words: String,
}

impl End {
    /// What it said on its standard error; an error if it failed.
    pub fn success(self) -> Result<String> {
        match self.status.success() {
            true => Ok(self.words),
            false => Err(self.failure()),
        }
    }

    /// The last lines of what it said on its standard error.
    pub fn words(&self) -> &str {
        &self.words
    }

    /// For who takes this end for a failure.
    pub fn failure(self) -> Error {
        let error = Error::failed(format!("{} failed ({})", self.program, self.status));
        match self.words.is_empty() {
            true => error,
            false => error.because(self.words),
        }
    }
}

/// As [`run_into`], but what the exit code means is for the caller to judge.
///
/// The program is killed, with all that it started, when `limit` is over, a stop is asked for, or
/// `sink` takes no more.
pub fn run_to_any_end(
    command: &mut Command,
    sink: &mut (impl Write + Send),
    limit: Duration,
    cancel: &Cancel,
) -> Result<End> {
    run_between(command, None::<io::Empty>, sink, last_lines, limit, cancel)
}

fn run_between(
    command: &mut Command,
    input: Option<impl Read + Send>,
    sink: &mut (impl Write + Send),
    words: impl FnOnce(ChildStderr) -> String + Send,
    limit: Duration,
    cancel: &Cancel,
) -> Result<End> {
    let program = name_of(command);
    let mut child = command
        .stdin(match input {
            Some(_) => Stdio::piped(),
            None => Stdio::null(),
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own can be killed whole.
        .process_group(0)
        .spawn()
        .map_err(|error| Error::io("run", Path::new(command.get_program()), error))?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        let fed = scope.spawn(move || match (input, stdin) {
            (Some(mut input), Some(stdin)) => pipe::feed(&mut input, stdin),
            _ => Ok(()),
        });
        let copied = scope.spawn(move || match stdout {
            Some(stdout) => pipe::drain(stdout, sink),
            None => Ok(()),
        });
        let words = scope.spawn(move || stderr.map_or_else(String::new, words));
        let ended = wait(&mut child, &program, limit, cancel, || {
            copied.is_finished() && words.is_finished()
        });
        if ended.is_err() {
            kill_group(&mut child);
        }
        let (copied, fed) = (copied.join(), fed.join());
        let words = words.join().unwrap_or_default();
        let status = ended?;
        if let Ok(Err(error)) = copied {
            return Err(in_between("take the output of", &program, error));
        }
        if let Ok(Err(error)) = fed {
            return Err(in_between("read what goes to", &program, error));
        }
        Ok(End {
            program,
            status,
            words,
        })
    })
}

/// An error of who reads or writes beside a program; our own tell more than we could.
fn in_between(doing: &str, program: &str, error: io::Error) -> Error {
    Error::passed(error, |error| Error::io(doing, Path::new(program), error))
}

/// The program's name without its folder.
/// Not that of setpriv, which becomes the program ([`dying_with_us`]).
fn name_of(command: &Command) -> String {
    let own = command.get_program();
    let wraps = Path::new(own).ends_with(SETPRIV);
    let inner = command.get_args().skip_while(|word| *word != "--").nth(1);
    let program = inner.filter(|_| wraps).unwrap_or(own);
    let name = Path::new(program).file_name().unwrap_or(program);
    name.to_string_lossy().into_owned()
}

/// Waits until the program ended and its output was read: what it started may still write.
fn wait(
    child: &mut Child,
    name: &str,
    limit: Duration,
    cancel: &Cancel,
    output_ended: impl Fn() -> bool,
) -> Result<ExitStatus> {
    let until = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        let ended = child
            .try_wait()
            .map_err(|error| Error::failed(format!("can't wait for {name}")).because(error))?;
        if let Some(status) = ended.filter(|_| output_ended()) {
            return Ok(status);
        }
        cancel.check()?;
        if Instant::now() >= until {
            let limit = units::duration(limit);
            return Err(Error::new(
                Kind::TimedOut,
                format!("{name} did not end within {limit}"),
            ));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

fn kill_group(child: &mut Child) {
    // Both fail only where nothing is left to kill or to wait for.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    let _ = child.wait();
}

/// The last lines of a text, for messages: few, short, bytes that are no UTF-8 replaced. What
/// can't be read is left out.
pub fn last_lines(mut reader: impl Read) -> String {
    const LENGTH: usize = 2048;
    let mut kept = Vec::with_capacity(3 * LENGTH);
    let mut buffer = [0; LENGTH];
    loop {
        match reader.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => break,
            Ok(count) => kept.extend_from_slice(&buffer[..count]),
        }
        if kept.len() > 2 * LENGTH {
            kept.drain(..kept.len() - LENGTH);
        }
    }
    let text = String::from_utf8_lossy(&kept);
    let lines: Vec<&str> = text.trim_end().lines().map(str::trim_end).collect();
    lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n")
}

/// The first of `folders` that holds an executable file `name`; its path there.
pub fn find(name: &str, folders: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
    let mut candidates = folders.into_iter().map(|folder| folder.join(name));
    candidates.find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    fn try_run(script: &str, limit: Duration) -> Result<Vec<u8>> {
        run(&mut sh(script), limit, &Cancel::default())
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn output_and_last_words() {
        assert_eq!(try_run("echo one; echo two >&2", LONG).unwrap(), b"one\n");
        let error = try_run("seq 1 9 >&2; exit 3", LONG).unwrap_err();
        assert_eq!(
            error.in_one_line(),
            "sh failed (exit status: 3): 5\n6\n7\n8\n9"
        );
        let error = try_run("kill -9 $$", LONG).unwrap_err();
        assert!(error.message().contains("signal: 9"), "{error}");
        let missing = run(&mut Command::new("/nowhere/tool"), LONG, &Cancel::default());
        assert_eq!(missing.unwrap_err().kind(), Kind::NotFound);
    }

    #[test]
    fn more_output_than_a_pipe_holds() {
        let output = try_run(
            "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2",
            LONG,
        );
        assert_eq!(output.unwrap().len(), 300_000);
        let error = try_run("yes no | head -c 300000 >&2; false", LONG).unwrap_err();
        assert!(error.in_one_line().len() < 100, "{}", error.in_one_line());
    }

    #[test]
    fn what_takes_too_long_is_killed_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let script = format!("sleep 60 & echo $! > {}; wait", pid.display());
        let error = try_run(&script, Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.kind(), Kind::TimedOut);
        let pid = fs::read_to_string(pid).unwrap();
        // Gone, or a zombie that nobody waited for yet; its pipes close a moment earlier.
        let lives = || {
            fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
                .is_ok_and(|state| !state.contains(") Z "))
        };
        let until = Instant::now() + Duration::from_secs(30);
        while lives() {
            assert!(Instant::now() < until, "process {pid} lives on");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_stop_that_was_asked_for_ends_it() {
        let cancel = Cancel::default();
        let asked = cancel.clone();
        let asker = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            asked.set();
        });
        let error = run(&mut sh("sleep 60"), LONG, &cancel).unwrap_err();
        asker.join().unwrap();
        assert_eq!(error.kind(), Kind::Interrupted);
    }

    #[test]
    fn a_sink_that_takes_no_more_ends_it() {
        let mut full = &mut [0_u8; 10][..];
        let error = run_into(&mut sh("yes"), &mut full, LONG, &Cancel::default()).unwrap_err();
        assert!(error.message().contains("output of sh"), "{error}");
    }

    #[test]
    fn programs_are_executable_files() {
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("sh");
        fs::write(&plain, "").unwrap();
        let folders = || [folder.path().to_owned(), PathBuf::from("/bin")];
        assert_eq!(find("sh", folders()), Some(PathBuf::from("/bin/sh")));
        fs::set_permissions(&plain, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find("sh", folders()), Some(plain));
        assert_eq!(find("bin", [PathBuf::from("/")]), None);
    }
}

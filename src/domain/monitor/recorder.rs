//! Notes runs in the history that `runs` reads.
//!
//! A line is one write at the end of the file, under a lock that only keeps it from being lost when
//! another run trims the file. A crash in between leaves half a line, which readers pass over and
//! the next writer ends. It is a note, no promise: a job goes on where none can be left.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tracing::warn;

use super::{
    runs::{self, Begun, Ended, FILE, Line, Told},
    state_file,
};
use crate::{
    error::{Error, IoContext, Result},
    util::{clock, fs::open_log, host},
};

const LOCK: &str = "runs.lock";

/// Years of daily runs. Beyond it the older half goes.
const MOST: u64 = 1 << 20;

/// Whoever holds the lock writes a line; longer than this only what is stopped takes.
const PATIENCE: Duration = Duration::from_secs(5);

/// A run that goes on.
#[derive(Debug)]
pub struct Recorder<'a> {
    state: &'a Path,
    run: String,
}

impl<'a> Recorder<'a> {
    /// Notes that a run of `job` begins.
    pub fn begin(state: &'a Path, job: &str, repository: &str) -> Self {
        Self::begin_as(state, job, repository, host::invocation())
    }

    fn begin_as(state: &'a Path, job: &str, repository: &str, invocation: Option<String>) -> Self {
        let begun = clock::now();
        let process = std::process::id();
        // Threads of one process may begin in the same moment.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let run = format!("{}-{process}-{number}", begun.timestamp_micros());
        let line = Line::Begun(Begun {
            run: run.clone(),
            job: job.to_owned(),
            repository: repository.to_owned(),
            begun,
            boot_id: host::boot_id(),
            process,
            process_start: host::process_start(process).unwrap_or_default(),
            invocation,
        });
        let recorder = Self { state, run };
        recorder.note(&line);
        recorder
    }

    /// Notes the failure of a run that systemd calls `invocation`, unless that did so itself: it was
    /// killed, or did not come as far as to begin. Whether it had not.
    pub fn fail_for(
        state: &'a Path,
        job: &str,
        invocation: &str,
        exit_code: u8,
        error: &Error,
    ) -> bool {
        let runs = runs::read(state).unwrap_or_default();
        let mut newest = runs.into_iter().rev();
        // One of `base` may have had a cleanup within it.
        let own =
            newest.find(|run| run.job == job && run.invocation.as_deref() == Some(invocation));
        let recorder = match own {
            Some(run) if run.ended.is_some() => return false,
            Some(run) => Self { state, run: run.id },
            None => Self::begin_as(state, job, "", Some(invocation.to_owned())),
        };
        recorder.end(exit_code, Told::default(), Some(error));
        true
    }

    /// Notes how it ended.
    pub fn end(self, exit_code: u8, told: Told, error: Option<&Error>) {
        self.note(&Line::Ended(Ended {
            run: self.run.clone(),
            ended: clock::now(),
            exit_code,
            told,
            error: error.map(Error::in_one_line),
        }));
    }

    fn note(&self, line: &Line) {
        if let Err(error) = append(self.state, line) {
            warn!(
                "this run is not noted in the history of runs: {}",
                error.in_one_line()
            );
        }
    }
}

fn append(state: &Path, line: &Line) -> Result<()> {
    let mut bytes = serde_json::to_vec(line)
        .map_err(|error| Error::failed("can't word a run").because(error))?;
    bytes.push(b'\n');
    // It ends with its file.
    let _lock = state_file::lock(state, LOCK, PATIENCE)?;
    let path = state.join(FILE);
    let mut file = open_log(&path)?;
    state_file::give_to_owner(state, &path)?;
    let length = file.metadata().at("look at", &path)?.len();
    if length > 0 && !ends_with_a_line(&path, length)? {
        bytes.insert(0, b'\n');
    }
    file.write_all(&bytes).at("write", &path)?;
    file.sync_data().at("sync", &path)?;
    if length > MOST {
        trim(state, &path)?;
    }
    Ok(())
}

fn ends_with_a_line(path: &Path, length: u64) -> Result<bool> {
    let mut file = File::open(path).at("read", path)?;
    let mut last = [0];
    file.seek(SeekFrom::Start(length - 1)).at("read", path)?;
    file.read_exact(&mut last).at("read", path)?;
    Ok(last == *b"\n")
}

fn trim(state: &Path, path: &Path) -> Result<()> {
    let all = fs::read(path).at("read", path)?;
    let half = all.len() / 2;
    let next = all[half..].iter().position(|byte| *byte == b'\n');
    let kept = next.map_or(&[][..], |at| &all[half + at + 1..]);
    state_file::write(state, FILE, kept)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{
        super::runs::{RunState, newest, read},
        *,
    };

    fn states(state: &Path) -> Vec<RunState> {
        read(state).unwrap().iter().map(|run| run.state).collect()
    }

    #[test]
    fn runs_begin_and_end_and_half_a_line_harms_none() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("main");
        assert_eq!(read(&state).unwrap(), []);
        let first = Recorder::begin(&state, "base", "local");
        assert_eq!(states(&state), [RunState::Running]);
        let told = Told {
            bytes: Some(7),
            ..Told::default()
        };
        first.end(0, told.clone(), None);
        let runs = read(&state).unwrap();
        assert_eq!((runs[0].exit_code, &runs[0].told), (Some(0), &told));
        assert!(runs[0].duration().is_some());

        let path = state.join(FILE);
        // Errors name hosts and files.
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o007, 0, "{mode:o}");

        // A writer that was killed.
        open_log(&path).unwrap().write_all(b"{\"run\":\"x").unwrap();
        let failed = Recorder::begin(&state, "verify", "local");
        failed.end(1, Told::default(), Some(&Error::failed("no")));
        Recorder::begin(&state, "verify", "local").end(3, Told::default(), None);
        let expected = [RunState::Done, RunState::Failed, RunState::Findings];
        assert_eq!(states(&state), expected);
        let runs = read(&state).unwrap();
        assert_eq!(runs[1].error.as_deref(), Some("no"));
        let newest = newest(&runs);
        assert_eq!(newest["verify"].exit_code, Some(3));
        assert_eq!(newest["base"].exit_code, Some(0));
    }

    #[test]
    fn a_run_that_could_not_note_its_end_is_noted_for_it_once() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("main");
        let error = Error::failed("oom-kill");
        let fail = |invocation| Recorder::fail_for(&state, "base", invocation, 137, &error);
        // It told its end itself.
        Recorder::begin_as(&state, "base", "local", Some("a".to_owned())).end(
            1,
            Told::default(),
            Some(&Error::failed("no")),
        );
        assert!(!fail("a"));
        // It was killed, or did not even begin.
        Recorder::begin_as(&state, "base", "local", Some("b".to_owned()));
        // A cleanup within it has ended.
        let within = Recorder::begin_as(&state, "cleanup", "local", Some("b".to_owned()));
        within.end(0, Told::default(), None);
        for invocation in ["b", "c"] {
            assert!(fail(invocation) && !fail(invocation), "{invocation}");
        }
        let runs = read(&state).unwrap();
        let noted: Vec<_> = runs
            .iter()
            .filter(|run| run.job == "base")
            .map(|run| (run.state, run.exit_code, run.error.as_deref()))
            .collect();
        let oom = (RunState::Failed, Some(137), Some("oom-kill"));
        let own = (RunState::Failed, Some(1), Some("no"));
        assert_eq!(noted, [own, oom, oom]);
    }

    #[test]
    fn the_history_does_not_grow_for_ever_and_many_may_write() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("main");
        let error = Error::failed("x".repeat(10_000));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..40 {
                        Recorder::begin(&state, "verify", "local").end(
                            3,
                            Told::default(),
                            Some(&error),
                        );
                    }
                });
            }
        });
        let length = fs::metadata(state.join(FILE)).unwrap().len();
        assert!(length < MOST + 32_000, "{length}");
        let runs = read(&state).unwrap();
        assert!(runs.len() > 20, "{}", runs.len());
        assert!(runs.iter().all(|run| run.state == RunState::Findings));
    }
}

//! The history of runs, in the state folder: `runs.jsonl`, a line when one begins and one when it
//! ends. What ended without a second line was killed.
//!
//! A line is one write at the end of the file, under a lock that only keeps it from being lost when
//! another run trims the file. A crash in between leaves half a line, which readers pass over and
//! the next writer ends. It is a note, no promise: a job goes on where none can be left.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, chown},
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::{
    error::{Error, IoContext, Kind, Result},
    repo::backup_id::BackupId,
    util::{
        clock::{self, Time},
        fs::{create_folders, open_lock, open_log, write_over},
        host,
    },
};

const FILE: &str = "runs.jsonl";
const LOCK: &str = "runs.lock";
const FILE_MODE: u32 = 0o640;
const FOLDER_MODE: u32 = 0o750;

/// Years of daily runs. Beyond it the older half goes.
const MOST: u64 = 1 << 20;

/// Whoever holds the lock writes a line; longer than this only what is stopped takes.
const PATIENCE: Duration = Duration::from_secs(5);

/// A run, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Run {
    pub job: String,
    pub repository: String,
    pub begun: Time,
    pub state: RunState,
    /// None while it runs, and where it was killed.
    pub ended: Option<Time>,
    pub exit_code: Option<u8>,
    #[serde(flatten)]
    pub told: Told,
    /// Why it failed.
    pub error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    Running,
    Done,
    /// Done, and found something that a person must look at.
    Findings,
    Failed,
    /// Its process ended without a word.
    Killed,
}

/// What a run tells of its work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Stored or read.
    pub bytes: Option<u64>,
    /// The backup that it made.
    pub backup: Option<BackupId>,
    /// Backups that were read again and are whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub whole: Vec<BackupId>,
    /// Backups that were read again and are not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<BackupId>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Begun(Begun),
    Ended(Ended),
}

#[derive(Debug, Serialize, Deserialize)]
struct Begun {
    run: String,
    job: String,
    repository: String,
    begun: Time,
    boot_id: String,
    process: u32,
    process_start: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Ended {
    run: String,
    ended: Time,
    exit_code: u8,
    #[serde(flatten)]
    told: Told,
    error: Option<String>,
}

impl Run {
    pub fn duration(&self) -> Option<Duration> {
        let ended = self.ended? - self.begun;
        Some(ended.max(TimeDelta::zero()).to_std().unwrap_or_default())
    }

    pub fn has_failed(&self) -> bool {
        matches!(self.state, RunState::Failed | RunState::Killed)
    }
}

/// A run that goes on.
#[derive(Debug)]
pub struct Recorder<'a> {
    state: &'a Path,
    run: String,
}

impl<'a> Recorder<'a> {
    /// Notes that a run of `job` begins.
    pub fn begin(state: &'a Path, job: &str, repository: &str) -> Self {
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
        });
        let recorder = Self { state, run };
        recorder.note(&line);
        recorder
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
    create_folders(state, FOLDER_MODE, None)?;
    let lock_path = state.join(LOCK);
    let lock = open_lock(&lock_path)?;
    give_to_owner(state, &lock_path)?;
    hold(&lock, &lock_path)?;
    let path = state.join(FILE);
    let mut file = open_log(&path)?;
    give_to_owner(state, &path)?;
    let length = file.metadata().at("look at", &path)?.len();
    if length > 0 && !ends_with_a_line(&path, length)? {
        bytes.insert(0, b'\n');
    }
    file.write_all(&bytes).at("write", &path)?;
    file.sync_data().at("sync", &path)?;
    if length > MOST {
        trim(&path)?;
        give_to_owner(state, &path)?;
    }
    // The lock ends with its file.
    Ok(())
}

/// Waits for the lock, but not for ever.
fn hold(lock: &File, path: &Path) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(fs::TryLockError::Error(error)) => return Err(error).at("lock", path),
            Err(fs::TryLockError::WouldBlock) if Instant::now() >= until => {
                let what = format!("another process holds {}", path.display());
                return Err(Error::new(Kind::TimedOut, what));
            }
            Err(fs::TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn ends_with_a_line(path: &Path, length: u64) -> Result<bool> {
    let mut file = File::open(path).at("read", path)?;
    let mut last = [0];
    file.seek(SeekFrom::Start(length - 1)).at("read", path)?;
    file.read_exact(&mut last).at("read", path)?;
    Ok(last == *b"\n")
}

fn trim(path: &Path) -> Result<()> {
    let all = fs::read(path).at("read", path)?;
    let half = all.len() / 2;
    let next = all[half..].iter().position(|byte| *byte == b'\n');
    let kept = next.map_or(&[][..], |at| &all[half + at + 1..]);
    write_over(path, FILE_MODE, kept)
}

/// A file that root makes belongs to whom the folder belongs, who runs the next job.
fn give_to_owner(state: &Path, path: &Path) -> Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let (folder, file) = (
        fs::metadata(state).at("look at", state)?,
        fs::metadata(path).at("look at", path)?,
    );
    if folder.uid() == file.uid() {
        return Ok(());
    }
    chown(path, Some(folder.uid()), Some(folder.gid())).at("give its owner to", path)
}

/// All runs that are kept, oldest first. None where nothing was noted yet.
pub fn read(state: &Path) -> Result<Vec<Run>> {
    let path = state.join(FILE);
    match fs::read(&path).at("read", &path) {
        Err(error) if error.kind() == Kind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
        Ok(bytes) => Ok(parse(&bytes)),
    }
}

/// The runs of a history; lines that say nothing are passed over.
pub fn parse(bytes: &[u8]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        match serde_json::from_slice(line) {
            Ok(Line::Begun(begun)) => {
                let state = match begun.lives() {
                    true => RunState::Running,
                    false => RunState::Killed,
                };
                known.insert(begun.run, runs.len());
                runs.push(Run {
                    job: begun.job,
                    repository: begun.repository,
                    begun: begun.begun,
                    state,
                    ended: None,
                    exit_code: None,
                    told: Told::default(),
                    error: None,
                });
            }
            Ok(Line::Ended(ended)) => {
                // Its beginning may have been trimmed away.
                let Some(run) = known.get(&ended.run).and_then(|at| runs.get_mut(*at)) else {
                    continue;
                };
                run.state = match ended.exit_code {
                    0 => RunState::Done,
                    3 => RunState::Findings,
                    _ => RunState::Failed,
                };
                run.ended = Some(ended.ended);
                run.exit_code = Some(ended.exit_code);
                run.told = ended.told;
                run.error = ended.error;
            }
            Err(_) => {}
        }
    }
    runs
}

impl Begun {
    fn lives(&self) -> bool {
        self.boot_id == host::boot_id()
            && host::process_start(self.process) == Some(self.process_start)
    }
}

/// The newest run of each job that isn't running any more, by job.
pub fn newest(runs: &[Run]) -> BTreeMap<&str, &Run> {
    let ended = runs.iter().filter(|run| run.state != RunState::Running);
    ended.map(|run| (run.job.as_str(), run)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

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

        // A writer that was killed.
        let path = state.join(FILE);
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
    fn a_process_that_is_gone_was_killed() {
        let line = |process: u32| {
            format!(
                "{{\"run\":\"{process}\",\"job\":\"base\",\"repository\":\"local\",\
                 \"begun\":\"2026-11-21T02:00:00Z\",\"boot_id\":\"{}\",\"process\":{process},\
                 \"process_start\":{}}}\n",
                host::boot_id(),
                host::process_start(std::process::id()).unwrap()
            )
        };
        let text = line(std::process::id()) + &line(u32::MAX);
        let runs = parse(text.as_bytes());
        assert_eq!(runs[0].state, RunState::Running);
        assert_eq!(runs[1].state, RunState::Killed);
        assert!(runs[1].has_failed());
    }

    #[test]
    fn the_history_does_not_grow_for_ever_and_many_may_write() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("main");
        let told = Told {
            damaged: vec!["20261121T020000Z-full".parse().unwrap(); 500],
            ..Told::default()
        };
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..40 {
                        Recorder::begin(&state, "verify", "local").end(3, told.clone(), None);
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

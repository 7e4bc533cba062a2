//! The history of runs, in the state folder: `runs.jsonl`, a line when one begins and one when it
//! ends. What ended without a second line was killed. Written by `recorder`.

use std::{collections::BTreeMap, path::Path, time::Duration};

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::{
    error::Result,
    repo::backup_id::BackupId,
    util::{clock::Time, fs::read_if_there, host},
};

/// Its name in the state folder.
pub const FILE: &str = "runs.jsonl";

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
    /// Why it failed, or what it found.
    pub error: Option<String>,
    #[serde(skip)]
    pub id: String,
    /// As systemd calls it.
    #[serde(skip)]
    pub invocation: Option<String>,
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

impl RunState {
    /// For people; what they must look at in capitals.
    pub fn word(self) -> &'static str {
        match self {
            RunState::Running => "running",
            RunState::Done => "done",
            RunState::Findings => "FINDINGS",
            RunState::Failed => "FAILED",
            RunState::Killed => "KILLED",
        }
    }
}

/// What a run tells of its work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Stored, read or deleted.
    pub bytes: Option<u64>,
    /// The backup that it made.
    pub backup: Option<BackupId>,
}

/// A line of the history.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    Begun(Begun),
    Ended(Ended),
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Begun {
    pub run: String,
    pub job: String,
    pub repository: String,
    pub begun: Time,
    /// Together they name a process for ever.
    pub boot_id: String,
    pub process: u32,
    pub process_start: u64,
    /// As systemd calls it; None: it was not started by a unit.
    #[serde(default)]
    pub invocation: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Ended {
    pub run: String,
    pub ended: Time,
    pub exit_code: u8,
    #[serde(flatten)]
    pub told: Told,
    pub error: Option<String>,
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

/// All runs that are kept, oldest first. None where nothing was noted yet.
pub fn read(state: &Path) -> Result<Vec<Run>> {
    let bytes = read_if_there(&state.join(FILE))?;
    Ok(bytes.map_or(Vec::new(), |bytes| parse(&bytes)))
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
                known.insert(begun.run.clone(), runs.len());
                runs.push(Run {
                    job: begun.job,
                    repository: begun.repository,
                    begun: begun.begun,
                    state,
                    ended: None,
                    exit_code: None,
                    told: Told::default(),
                    error: None,
                    id: begun.run,
                    invocation: begun.invocation,
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
        host::lives(&self.boot_id, self.process, self.process_start)
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
}

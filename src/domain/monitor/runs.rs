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
    /// What it found one by one, worded the same at each run, so that new ones can be told from old ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<String>,
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

    /// Whether it is one of `job` in that run of a unit of systemd, and found something.
    pub fn is_found_by(&self, job: &str, invocation: &str) -> bool {
        let is_own = self.job == job && self.invocation.as_deref() == Some(invocation);
        is_own && self.state == RunState::Findings
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

/// Runs of a job in one repository: what is well there says nothing of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strand<'a> {
    pub job: &'a str,
    /// None where there is but one.
    pub repository: Option<&'a str>,
    /// It is the first, which commands mean where none is named.
    is_first: bool,
}

impl<'a> Strand<'a> {
    /// Those that run in `repository`, of all these. A run that did not come as far as to know of any was to be one in
    /// the first.
    pub fn of(job: &'a str, repository: &str, all: &'a [String]) -> Self {
        let number = all.iter().position(|name| name == repository);
        let number = number.unwrap_or_default();
        Self {
            job,
            repository: all
                .get(number)
                .filter(|_| all.len() > 1)
                .map(String::as_str),
            is_first: number == 0,
        }
    }

    /// All that have ended runs, by job; `repositories`: all that are set. What ran in others is over.
    pub fn all(runs: &'a [Run], repositories: &'a [String]) -> Vec<Self> {
        let strands = newest(runs).into_keys().flat_map(|job| {
            let one = repositories
                .is_empty()
                .then(|| Self::of(job, "", repositories));
            let each = repositories
                .iter()
                .map(move |name| Self::of(job, name, repositories));
            one.into_iter().chain(each)
        });
        let mut strands: Vec<Self> = strands.collect();
        strands.retain(|strand| strand.newest(runs).is_some());
        strands
    }

    /// Those that have ended, newest first.
    pub fn ended<'b>(&self, runs: &'b [Run]) -> impl Iterator<Item = &'b Run> + Clone {
        let (job, repository, is_first) = (
            self.job.to_owned(),
            self.repository.map(str::to_owned),
            self.is_first,
        );
        let holds = move |run: &&Run| {
            let is_there =
                |name: &String| run.repository == *name || (is_first && run.repository.is_empty());
            run.job == job && repository.as_ref().is_none_or(is_there)
        };
        let ended = runs
            .iter()
            .rev()
            .filter(|run| run.state != RunState::Running);
        ended.filter(holds)
    }

    pub fn newest<'b>(&self, runs: &'b [Run]) -> Option<&'b Run> {
        self.ended(runs).next()
    }

    /// For people: the job, and the repository where there are several.
    pub fn name(&self) -> String {
        match self.repository {
            Some(repository) => format!("{} {repository}", self.job),
            None => self.job.to_owned(),
        }
    }

    /// How to run it by hand.
    pub fn call(&self) -> String {
        match self.repository.filter(|_| !self.is_first) {
            Some(repository) => format!("pgstow --repo {repository} {}", self.job),
            None => format!("pgstow {}", self.job),
        }
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

    #[test]
    fn runs_of_one_repository_say_nothing_of_another() {
        let run = |repository: &str, state| Run {
            job: "base".to_owned(),
            repository: repository.to_owned(),
            begun: "2026-11-21T02:00:00Z".parse().unwrap(),
            state,
            ended: None,
            exit_code: None,
            told: Told::default(),
            error: None,
            id: String::new(),
            invocation: None,
        };
        let runs = [
            run("b", RunState::Failed),
            run("gone", RunState::Failed),
            run("a", RunState::Done),
            run("b", RunState::Running),
        ];
        let told = |runs: &[Run], names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let strands = Strand::all(runs, &names);
            let told = strands
                .iter()
                .map(|one| (one.name(), one.newest(runs).unwrap().state));
            told.collect::<Vec<_>>()
        };
        let of = |name: &str, state| (name.to_owned(), state);
        let both = [of("base a", RunState::Done), of("base b", RunState::Failed)];
        assert_eq!(told(&runs, &["a", "b", "c"]), both);
        // One that did not come as far as to know its repository.
        let early = [runs.as_slice(), &[run("", RunState::Killed)]].concat();
        assert_eq!(told(&early, &["a", "b"])[0], of("base a", RunState::Killed));
        assert_eq!(told(&early, &["a", "b"])[1], both[1]);
        // Where there is one, all are of it.
        for names in [&["a"][..], &[]] {
            assert_eq!(told(&runs, names), [of("base", RunState::Done)]);
        }
        let names = ["a".to_owned(), "b".to_owned()];
        let calls = ["a", "b", ""].map(|name| Strand::of("base", name, &names).call());
        assert_eq!(
            calls,
            ["pgstow base", "pgstow --repo b base", "pgstow base"]
        );
    }
}

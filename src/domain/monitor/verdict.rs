//! What a check says: a state, the reason, what to do, and the figures that it judged.

use serde::{Deserialize, Serialize};

use crate::{
    domain::setup::finding::{self, Finding},
    error::{Error, Kind},
    util::units,
};

/// In this order the worst of several is found: what can't be seen may be critical.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ok,
    /// Works today; somebody should look.
    Warning,
    /// Could not be looked at.
    Unknown,
    /// Backups, or restores from them, fail or soon will.
    Critical,
}

impl State {
    /// As monitoring systems know it.
    pub fn word(self) -> &'static str {
        match self {
            State::Ok => "OK",
            State::Warning => "WARNING",
            State::Unknown => "UNKNOWN",
            State::Critical => "CRITICAL",
        }
    }

    /// The number that a plugin for Nagios ends with.
    pub fn number(self) -> u8 {
        match self {
            State::Ok => 0,
            State::Warning => 1,
            State::Critical => 2,
            State::Unknown => 3,
        }
    }
}

impl From<finding::State> for State {
    fn from(state: finding::State) -> Self {
        match state {
            finding::State::Ok => State::Ok,
            finding::State::Warning => State::Warning,
            finding::State::Critical => State::Critical,
        }
    }
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    Seconds,
    Bytes,
    Percent,
    Count,
}

/// A measured value, with the thresholds that it was held against.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    pub name: &'static str,
    pub value: f64,
    pub unit: Unit,
    pub warning: Option<f64>,
    pub critical: Option<f64>,
}

/// Check and object together are the same from run to run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    pub check: &'static str,
    /// Which of several was looked at: a repository, a disk, a job; None where there is one.
    pub object: Option<String>,
    pub state: State,
    pub reason: String,
    /// What to do; always there unless the state is ok.
    pub hint: Option<String>,
    pub figures: Vec<Figure>,
    /// What it found, where that may be several things or one after another: each with its object, so that who is told
    /// of changes hears of a new one beside an old one. Empty: its state says it all.
    #[serde(skip)]
    pub findings: Vec<Finding>,
}

impl Verdict {
    pub fn ok(check: &'static str, reason: impl Into<String>) -> Self {
        Self {
            check,
            object: None,
            state: State::Ok,
            reason: in_one_line(&reason.into()),
            hint: None,
            figures: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// With a hint that is left out where the state is ok.
    pub fn new(
        check: &'static str,
        state: State,
        reason: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            state,
            hint: (state != State::Ok).then(|| hint.into()),
            ..Self::ok(check, reason)
        }
    }

    /// What failed so that nothing could be judged.
    pub fn of_error(check: &'static str, state: State, error: &Error) -> Self {
        let of_kind = match error.kind() {
            Kind::NotFound => "see that its disk is mounted and its path is right.",
            Kind::TimedOut => {
                "see whether the host, the server or the file system behind it answers."
            }
            Kind::Damaged => {
                "it is not as pgstow wrote it: see what changed it, then put back a whole one or delete it."
            }
            _ => "see the log of what the reason names; `pgstow -v monitor` tells more.",
        };
        let hint = error.hint_text().unwrap_or(of_kind);
        Self::new(check, state, error.in_one_line(), hint)
    }

    /// The findings of `check` on the same thing, as one verdict: the worst decides.
    pub fn of_findings(check: &'static str, fine: &str, findings: Vec<Finding>) -> Self {
        // The first of those: what comes behind may be of no use before that is mended.
        let Some(worst) = findings.iter().rev().max_by_key(|one| one.state) else {
            return Self::ok(check, fine);
        };
        let state = State::from(worst.state);
        let hint = worst.hint.clone().unwrap_or_default();
        let reasons: Vec<&str> = findings.iter().map(|one| one.what.as_str()).collect();
        Self::new(check, state, reasons.join("; "), hint).having(findings)
    }

    /// With what it found one by one, of which only what is about something can be told apart.
    #[must_use]
    pub fn having(mut self, findings: Vec<Finding>) -> Self {
        let bad = |one: &Finding| one.object.is_some() && one.state != finding::State::Ok;
        self.findings = findings.into_iter().filter(bad).collect();
        self
    }

    #[must_use]
    pub fn about(mut self, object: &str) -> Self {
        self.object = Some(object.to_owned());
        self
    }

    /// Of a repository that isn't the first: its hint names it.
    #[must_use]
    pub fn naming(mut self, repository: &str) -> Self {
        self.hint = self.hint.map(|hint| finding::naming(&hint, repository));
        let findings = self.findings.into_iter();
        self.findings = findings.map(|one| one.naming(repository)).collect();
        self
    }

    #[must_use]
    pub fn with(mut self, figure: Figure) -> Self {
        self.figures.push(figure);
        self
    }

    /// Check and object, for people.
    pub fn title(&self) -> String {
        match &self.object {
            Some(object) => format!("{} {object}", self.check),
            None => self.check.to_owned(),
        }
    }
}

/// What others say may have line ends, which tables and lines for programs have no room for.
fn in_one_line(text: &str) -> String {
    let words: Vec<&str> = text
        .split(char::is_control)
        .map(str::trim)
        .filter(|words| !words.is_empty())
        .collect();
    words.join(" ")
}

/// The worst of them; nothing judged is ok.
pub fn worst(verdicts: &[Verdict]) -> State {
    let states = verdicts.iter().map(|verdict| verdict.state);
    states.max().unwrap_or(State::Ok)
}

/// How many there are of each state, for people.
pub fn tally(verdicts: &[Verdict]) -> String {
    let count = |state| verdicts.iter().filter(|one| one.state == state).count();
    format!(
        "{} critical, {} unknown, {}, {} ok",
        count(State::Critical),
        count(State::Unknown),
        units::count(count(State::Warning) as u64, "warning"),
        count(State::Ok)
    )
}

//! What a check found: plain, for printing, JSON and alerts.

use serde::Serialize;

use crate::error::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ok,
    /// Works today; somebody should look.
    Warning,
    /// Backups, or restores from them, will fail.
    Critical,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, in one word.
    pub name: &'static str,
    pub state: State,
    pub what: String,
    /// What to do; always there unless the state is ok.
    pub hint: Option<String>,
}

impl Finding {
    pub fn ok(name: &'static str, what: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Ok,
            what: what.into(),
            hint: None,
        }
    }

    pub fn warning(name: &'static str, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Warning,
            what: what.into(),
            hint: Some(hint.into()),
        }
    }

    pub fn critical(name: &'static str, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            state: State::Critical,
            ..Self::warning(name, what, hint)
        }
    }

    /// What could not even be looked at is critical.
    pub fn of_error(name: &'static str, error: &Error) -> Self {
        let hint = error.hint_text();
        Self::critical(
            name,
            error.in_one_line(),
            hint.unwrap_or("mend this, then run `pgstow check` again."),
        )
    }
}

/// The worst of them; nothing found is ok.
pub fn worst(findings: &[Finding]) -> State {
    let states = findings.iter().map(|finding| finding.state);
    states.max().unwrap_or(State::Ok)
}

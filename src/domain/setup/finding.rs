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
    /// What exactly it is about, the same from run to run, so that a second one can be told from the first: a segment,
    /// a backup. None: nothing beside it could be found by the same name.
    #[serde(skip)]
    pub object: Option<String>,
}

impl Finding {
    pub fn ok(name: &'static str, what: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Ok,
            what: what.into(),
            hint: None,
            object: None,
        }
    }

    pub fn warning(name: &'static str, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Warning,
            what: what.into(),
            hint: Some(hint.into()),
            object: None,
        }
    }

    pub fn critical(name: &'static str, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            state: State::Critical,
            ..Self::warning(name, what, hint)
        }
    }

    #[must_use]
    pub fn about(mut self, object: impl ToString) -> Self {
        self.object = Some(object.to_string());
        self
    }

    /// Of a repository that isn't the first.
    #[must_use]
    pub fn naming(mut self, repository: &str) -> Self {
        self.hint = self.hint.map(|hint| naming(&hint, repository));
        self
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

/// The hint for what is wrong in a repository that isn't the first: commands mean that one where none is named. `check`
/// looks at all of them.
pub fn naming(hint: &str, repository: &str) -> String {
    if hint.contains("--repo") {
        return hint.to_owned();
    }
    let mut named = hint.to_owned();
    for before in ["`", "run: "] {
        let (call, of_it) = (
            format!("{before}pgstow "),
            format!("{before}pgstow --repo {repository} "),
        );
        named = named
            .replace(&call, &of_it)
            .replace(&format!("{of_it}check"), &format!("{call}check"));
    }
    named
}

/// The worst of them; nothing found is ok.
pub fn worst(findings: &[Finding]) -> State {
    let states = findings.iter().map(|finding| finding.state);
    states.max().unwrap_or(State::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_name_the_repository_that_they_are_for() {
        for (hint, named) in [
            (
                "take one with `pgstow base --full`.",
                "take one with `pgstow --repo b base --full`.",
            ),
            (
                "run: pgstow base --finish x",
                "run: pgstow --repo b base --finish x",
            ),
            (
                "`pgstow --repo b base` takes one",
                "`pgstow --repo b base` takes one",
            ),
            (
                "then run `pgstow check` again.",
                "then run `pgstow check` again.",
            ),
            ("see the check `repository`.", "see the check `repository`."),
        ] {
            assert_eq!(naming(hint, "b"), named);
        }
    }
}

//! How an invocation of pgstow ended, and whether it said only what the test expects.

use std::{fmt, process::ExitStatus};

/// Errors are announced by expecting a failure, warnings one by one.
pub fn judge_warnings(
    stderr: &str,
    status: ExitStatus,
    announced: &[String],
) -> Result<(), String> {
    let mut missing: Vec<&String> = announced.iter().collect();
    for line in stderr.lines() {
        missing.retain(|text| !line.contains(*text));
        let words: Vec<_> = line.split([' ', ':']).collect();
        let says = |severities: &[&str]| {
            let first = words[0].to_ascii_uppercase();
            severities.contains(&first.as_str())
                || words.iter().any(|word| severities.contains(word))
        };
        let unexpected =
            says(&["WARN", "WARNING"]) || says(&["ERROR", "FATAL", "PANIC"]) && status.success();
        if unexpected && !announced.iter().any(|text| line.contains(text)) {
            return Err(format!("unannounced {line:?}"));
        }
    }
    match missing.first() {
        Some(text) => Err(format!("no warning {text:?}")),
        None => Ok(()),
    }
}

/// How an invocation ended.
pub struct Output {
    pub command: String,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Standard error has `text`.
    #[track_caller]
    pub fn stderr_contains(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "no {text:?} in {self}");
        self
    }

    /// Standard output has `text`.
    #[track_caller]
    pub fn stdout_contains(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "no {text:?} in {self}");
        self
    }

    /// Standard output, which is one JSON document.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self}"))
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            command,
            status,
            stdout,
            stderr,
        } = self;
        write!(
            f,
            "{command}\n{status}\nstdout:\n{stdout}\nstderr:\n{stderr}"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn judge(stderr: &str, code: i32, announced: &[&str]) -> Result<(), String> {
        let announced: Vec<String> = announced.iter().map(|text| text.to_string()).collect();
        judge_warnings(stderr, ExitStatus::from_raw(code << 8), &announced)
    }

    #[test]
    fn only_announced_warnings_pass() {
        let warning = "done\nwarning: slow disk\n";
        assert!(judge(warning, 0, &[]).is_err());
        assert!(judge(warning, 1, &[]).is_err());
        assert!(judge(warning, 0, &["slow disk"]).is_ok());
        assert!(judge(warning, 0, &["slow disk", "hot"]).is_err());
        assert!(judge("2026-11-21 02:00:00 WARN slow disk", 0, &[]).is_err());
        assert!(judge("WARNING: slow disk", 0, &["quick"]).is_err());
        assert!(judge("error: no disk", 0, &[]).is_err());
        assert!(judge("error: no disk", 1, &[]).is_ok());
        assert!(judge("copied 3 files without an error", 0, &[]).is_ok());
    }
}

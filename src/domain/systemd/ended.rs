//! A run of a unit that has ended, as systemd tells it to the unit that it calls then.

use super::{jobs::Job, systemctl::words_of_run};
use crate::{
    error::{Error, Result},
    util::cancel::Cancel,
};

/// Lines of the journal that a reason has.
const LINES: usize = 5;

/// How the history notes a run that was ended by a signal.
const KILLED: u8 = 137;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedUnit {
    /// Such as `pgstow-base@main`.
    pub unit: String,
    pub job: &'static Job,
    pub cluster: String,
    /// `success`, `exit-code`, `signal`, `timeout`, `oom-kill` ...
    pub result: String,
    /// A number, or the name of a signal.
    pub status: String,
    /// systemd's name of this run.
    pub invocation: String,
}

impl EndedUnit {
    /// `unit` as `systemd/pgstow-alert@.service` has it as its instance, with `:findings` behind it or
    /// not; `variable`: of those that systemd sets (systemd.exec(5), `$MONITOR_SERVICE_RESULT`).
    pub fn new(unit: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let unit = unit.strip_suffix(":findings").unwrap_or(unit);
        let names = unit
            .strip_prefix("pgstow-")
            .and_then(|rest| rest.split_once('@'));
        let (job, cluster) = names.ok_or_else(|| {
            Error::usage(format!("{unit:?} is no unit of a job"))
                .hint("jobs have units such as pgstow-base@main.")
        })?;
        let told = |name: &str| {
            variable(name).ok_or_else(|| {
                Error::usage(format!("{name} is not set")).hint(
                    "systemd sets it, from version 251 on, for units that OnFailure= or OnSuccess= names.",
                )
            })
        };
        Ok(Self {
            unit: unit.to_owned(),
            job: Job::named(job)?,
            cluster: cluster.to_owned(),
            result: told("MONITOR_SERVICE_RESULT")?,
            status: variable("MONITOR_EXIT_STATUS").unwrap_or_default(),
            invocation: told("MONITOR_INVOCATION_ID")?,
        })
    }

    pub fn is_success(&self) -> bool {
        self.result == "success"
    }

    pub fn exit_code(&self) -> u8 {
        self.status.parse().unwrap_or(KILLED)
    }

    /// What happened, and the run's last words, if the journal can be read.
    pub fn error(&self, cancel: &Cancel) -> Error {
        let status = match self.status.as_str() {
            "" => String::new(),
            status => format!(", status {status}"),
        };
        let error = Error::failed(format!(
            "unit {} failed: {}{status}",
            self.unit, self.result
        ))
        .hint(format!(
            "what it said: journalctl _SYSTEMD_INVOCATION_ID={}",
            self.invocation
        ));
        match words_of_run(&self.invocation, LINES, cancel) {
            Ok(words) if !words.is_empty() => error.because(words.join(" | ")),
            _ => error,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_systemd_tells() {
        let told = |unit: &str, status: &'static str| {
            EndedUnit::new(unit, |name| match name {
                "MONITOR_SERVICE_RESULT" => Some("signal".to_owned()),
                "MONITOR_EXIT_STATUS" => Some(status.to_owned()),
                "MONITOR_INVOCATION_ID" => Some("ab".to_owned()),
                _ => None,
            })
        };
        let unit = told("pgstow-incremental@main:findings", "KILL").unwrap();
        assert_eq!((unit.job.command, unit.cluster.as_str()), ("base", "main"));
        assert_eq!(unit.exit_code(), 137);
        assert_eq!(told("pgstow-verify@a", "203").unwrap().exit_code(), 203);
        for unit in ["", "pgstow-base", "cron@main", "pgstow-dance@main"] {
            assert!(told(unit, "1").is_err(), "{unit:?}");
        }
        let error = EndedUnit::new("pgstow-base@main", |_| None).unwrap_err();
        assert!(error.message().contains("is not set"), "{error}");
    }
}

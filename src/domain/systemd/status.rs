//! How the jobs of a cluster stand: when they run next, how the last run went, what it said.

use std::{collections::BTreeMap, path::Path};

use serde::Serialize;
use tracing::warn;

use super::{
    jobs::JOBS,
    place::{Place, Scheduler, require_systemd},
    systemctl::{last_words, show},
};
use crate::{
    error::{Error, Kind, Result},
    util::cancel::Cancel,
};

/// Lines of the journal for each job.
const LINES: usize = 5;

#[derive(Debug, Serialize)]
pub struct JobStatus {
    pub job: &'static str,
    /// As systemd has it: `enabled`, `disabled` ...
    pub timer: String,
    /// Whether the timer runs.
    pub active: bool,
    /// As systemd words it, in UTC.
    pub next_run: Option<String>,
    /// None where it did not run since the host was started.
    pub last_run: Option<String>,
    pub result: LastResult,
    /// Of the last run; None where it had none.
    pub exit_code: Option<i32>,
    /// As systemd calls the last run.
    #[serde(skip)]
    pub invocation: Option<String>,
    pub log: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LastResult {
    /// It did not run since the host was started.
    None,
    Running,
    Done,
    Findings,
    Failed,
}

impl JobStatus {
    /// Whether nobody needs to look.
    pub fn is_good(&self) -> bool {
        let result = !matches!(self.result, LastResult::Findings | LastResult::Failed);
        self.active && self.timer == "enabled" && result
    }
}

/// All jobs, in the order of the table; an error of kind `NotFound` where none has a timer.
pub fn gather(cluster: &str, cancel: &Cancel) -> Result<Vec<JobStatus>> {
    let crontab = Place::new(Scheduler::Cron, None).crontab_of(cluster);
    require_systemd().map_err(|error| match &crontab {
        Some(path) => cron_runs(error.message(), path),
        None => error,
    })?;
    let timers: Vec<String> = JOBS.iter().map(|job| job.timer_name(cluster)).collect();
    let services: Vec<String> = JOBS.iter().map(|job| job.service_name(cluster)).collect();
    let of_timer = "LoadState,UnitFileState,ActiveState,NextElapseUSecRealtime";
    let timers = show(&timers, of_timer, cancel)?;
    if timers.iter().all(|timer| {
        timer
            .get("LoadState")
            .is_none_or(|state| state == "not-found")
    }) {
        let what = format!("cluster {cluster} has no timers of systemd on this host");
        return Err(match crontab {
            Some(path) => cron_runs(&what, &path),
            None => Error::new(Kind::NotFound, what).hint("`pgstow systemd install` makes them."),
        });
    }
    if let Some(path) = crontab {
        warn!(
            "{} runs the same jobs a second time: `pgstow systemd remove --cron` removes it",
            path.display()
        );
    }
    let of_service =
        "ActiveState,Result,ExecMainCode,ExecMainStatus,ExecMainStartTimestamp,InvocationID";
    let services = show(&services, of_service, cancel)?;
    let mut all = Vec::new();
    for (job, (timer, service)) in JOBS.iter().zip(timers.iter().zip(&services)) {
        let missing = timer
            .get("LoadState")
            .is_none_or(|state| state == "not-found");
        if job.optional() && missing {
            continue;
        }
        let text = |unit: &BTreeMap<String, String>, name: &str| unit.get(name).cloned();
        let started = text(service, "ExecMainStartTimestamp");
        all.push(JobStatus {
            job: job.name,
            timer: text(timer, "UnitFileState").unwrap_or_else(|| "missing".to_owned()),
            active: timer
                .get("ActiveState")
                .is_some_and(|state| state == "active"),
            next_run: text(timer, "NextElapseUSecRealtime"),
            result: result(service),
            exit_code: started.as_ref().and_then(|_| exit_code(service)),
            invocation: text(service, "InvocationID"),
            // Not LastTriggerUSec of the timer: that begins with the moment in which it was installed.
            last_run: started,
            log: last_words(&job.service_name(cluster), LINES, cancel)?,
        });
    }
    Ok(all)
}

fn cron_runs(what: &str, crontab: &Path) -> Error {
    let what = format!(
        "{what}; its jobs are run by cron, from {}",
        crontab.display()
    );
    Error::new(Kind::NotFound, what)
        .hint("`pgstow list --runs` shows how they ended, `pgstow monitor` judges them.")
}

/// Of one that a signal ended what a shell, and the history of runs, has: 128 and its number.
fn exit_code(service: &BTreeMap<String, String>) -> Option<i32> {
    let number: i32 = service.get("ExecMainStatus")?.parse().ok()?;
    // CLD_KILLED and CLD_DUMPED of waitid(2).
    let by_signal = matches!(
        service.get("ExecMainCode").map(String::as_str),
        Some("2" | "3")
    );
    Some(if by_signal { 128 + number } else { number })
}

fn result(service: &BTreeMap<String, String>) -> LastResult {
    let value = |name: &str| service.get(name).map_or("", String::as_str);
    match (value("ActiveState"), value("Result")) {
        ("activating", _) => LastResult::Running,
        ("failed", _) => LastResult::Failed,
        (_, "success") if value("ExecMainStartTimestamp").is_empty() => LastResult::None,
        // Exit code 3, which SuccessExitStatus= of the units lets pass.
        (_, "success") if value("ExecMainStatus") == "3" => LastResult::Findings,
        (_, "success") => LastResult::Done,
        _ => LastResult::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_killed_has_the_code_of_a_shell() {
        for (code, status, expected) in [("1", "3", 3), ("2", "9", 137), ("3", "11", 139)] {
            let pairs = [("ExecMainCode", code), ("ExecMainStatus", status)];
            let service = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(exit_code(&service.into()), Some(expected));
        }
    }

    #[test]
    fn results_of_services() {
        for (active, result_word, status, started, expected) in [
            ("inactive", "success", "0", "", LastResult::None),
            ("inactive", "success", "0", "Sat", LastResult::Done),
            ("inactive", "success", "3", "Sat", LastResult::Findings),
            ("activating", "success", "0", "Sat", LastResult::Running),
            ("failed", "exit-code", "1", "Sat", LastResult::Failed),
            ("failed", "resources", "0", "", LastResult::Failed),
            ("inactive", "oom-kill", "0", "Sat", LastResult::Failed),
        ] {
            let pairs = [
                ("ActiveState", active),
                ("Result", result_word),
                ("ExecMainStatus", status),
                ("ExecMainStartTimestamp", started),
            ];
            let service = pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into();
            assert_eq!(result(&service), expected, "{pairs:?}");
        }
    }
}

//! This host: its disks, what earlier runs left in the history, and systemd's timers.

use super::{
    super::{
        facts::{Facts, disks::Disk, timers::Timer},
        runs::{Run, RunState, Strand},
        thresholds::Limits,
        verdict::{State, Unit, Verdict},
    },
    known::Yardstick,
};
use crate::{
    domain::setup::finding::Finding,
    error::Result,
    util::{clock::readable, fs::Room, units},
};

/// Name of the check of jobs.
pub const RUNS: &str = "runs";

/// Name of the check of the state folder, which has no object.
pub const STATE: &str = "state";

pub fn all(facts: &Facts, by: Yardstick<'_>) -> Vec<Verdict> {
    let used = by.thresholds.disk_used;
    let mut verdicts: Vec<Verdict> = facts.disks.iter().map(|one| disk(one, used)).collect();
    verdicts.push(state(&facts.state, used));
    verdicts.extend(jobs(facts, by));
    verdicts.extend(timers(facts));
    verdicts
}

fn disk(disk: &Disk, limits: Limits<u64>) -> Verdict {
    const NAME: &str = "disk";
    let room = match &disk.room {
        Ok(room) => room,
        Err(error) => {
            return Verdict::of_error(NAME, State::Unknown, error).about(&disk.name);
        }
    };
    let percent = room.percent_used();
    let full = disk.full_in.map_or_else(String::new, |full| {
        let (time, of) = (units::duration(full.time), units::duration(full.rate_of));
        format!(", full in {time} at the rate of the last {of}")
    });
    let what = format!(
        "{percent} % used, {} free{full} ({})",
        units::bytes(room.available),
        disk.path.display()
    );
    let hint = "free space, or give the file system more: a full one stops archiving, and then the server.";
    Verdict::new(NAME, limits.judge(percent), what, hint)
        .about(&disk.name)
        .with(limits.figure("used", percent, Unit::Percent))
}

/// The folder for notes of this host.
fn state(room: &Result<Room>, limits: Limits<u64>) -> Verdict {
    const WITHOUT: &str = "without notes, alerts are sent again at every run, runs are forgotten, and nobody knows which WAL was given up.";
    let room = match room {
        Ok(room) => room,
        Err(error) => {
            let mut verdict = Verdict::of_error(STATE, State::Critical, error);
            verdict.hint = Some(format!(
                "let the user who runs pgstow write there, with room to do so, or set another state_dir: {WITHOUT}"
            ));
            return verdict;
        }
    };
    let percent = room.percent_used();
    let free = units::bytes(room.available);
    let what = format!("can be written to; {percent} % of its file system used, {free} free");
    let hint = format!("free space there, or set a state_dir on another disk: {WITHOUT}");
    Verdict::new(STATE, limits.judge(percent), what, hint).with(limits.figure(
        "used",
        percent,
        Unit::Percent,
    ))
}

/// How the newest runs of each job ended, in each repository.
fn jobs(facts: &Facts, by: Yardstick<'_>) -> Vec<Verdict> {
    let runs = match &facts.runs {
        Ok(runs) => runs,
        Err(error) => return vec![Verdict::of_error(RUNS, State::Unknown, error)],
    };
    let strands = Strand::all(runs, by.repositories);
    if strands.is_empty() {
        return vec![Verdict::ok(RUNS, "no run is noted yet")];
    }
    let limits = by.thresholds.failed_runs;
    let judged = strands.iter().filter_map(|one| job(runs, one, limits));
    judged.collect()
}

/// How the newest runs of a job ended; None: no end of one is noted.
pub fn job(runs: &[Run], strand: &Strand<'_>, limits: Limits<u64>) -> Option<Verdict> {
    let mut ended = strand.ended(runs);
    let last = ended.clone().next()?;
    let failed = ended.by_ref().take_while(|run| run.has_failed()).count() as u64;
    let state = match last.state {
        // Done, but somebody must look at what it found.
        RunState::Findings => State::Warning,
        _ => limits.judge(failed),
    };
    let again = match last.state {
        RunState::Findings => " with the same options",
        _ => "",
    };
    let call = strand.call();
    let hint = format!("`pgstow list --runs` shows all; mend it, then run `{call}`{again}.");
    let verdict = Verdict::new(RUNS, state, how_it_ended(last, failed), hint);
    let figure = limits.figure("failed", failed, Unit::Count);
    let verdict = verdict.about(&strand.name()).with(figure);
    Some(match last.state {
        RunState::Findings => {
            let hint = verdict.hint.clone().unwrap_or_default();
            verdict.having(findings(last, &hint))
        }
        _ => verdict,
    })
}

fn findings(run: &Run, hint: &str) -> Vec<Finding> {
    let each = run.told.found.iter();
    each.map(|what| Finding::warning(RUNS, what, hint).about(what))
        .collect()
}

fn how_it_ended(run: &Run, failed: u64) -> String {
    let begun = readable(run.begun);
    let again = match failed {
        0 | 1 => String::new(),
        _ => format!("; {failed} in a row"),
    };
    let why = run.error.as_ref().map(|why| format!(": {why}"));
    let why = why.unwrap_or_default();
    match run.state {
        RunState::Running => format!("runs since {begun}"),
        RunState::Done => format!("the run of {begun} was well"),
        RunState::Findings => format!("the run of {begun} found something{why}"),
        RunState::Failed => format!("the run of {begun} failed{why}{again}"),
        RunState::Killed => format!("the run of {begun} was killed{again}"),
    }
}

fn timers(facts: &Facts) -> Vec<Verdict> {
    const NAME: &str = "timers";
    match &facts.timers {
        Err(error) => vec![Verdict::of_error(NAME, State::Unknown, error)],
        Ok(None) => vec![Verdict::ok(NAME, "not applicable: no systemd runs here")],
        Ok(Some(timers)) if timers.is_empty() => {
            vec![Verdict::ok(
                NAME,
                "not applicable: systemd has no timers of pgstow for this cluster",
            )]
        }
        Ok(Some(timers)) => timers.iter().map(timer).collect(),
    }
}

fn timer(timer: &Timer) -> Verdict {
    const NAME: &str = "timers";
    let last = timer.last.as_deref().unwrap_or("never");
    let (state, what) = match (timer.active.as_str(), timer.enabled.as_str()) {
        ("active", "enabled" | "enabled-runtime" | "static" | "generated") => {
            let next = timer.next.as_deref().unwrap_or("unknown");
            (State::Ok, format!("last: {last}; next: {next}"))
        }
        ("active", enabled) => (
            State::Warning,
            format!("is {enabled}: it won't run after the next start of this host; last: {last}"),
        ),
        (active, _) => (
            State::Critical,
            format!("is {active}: it doesn't run; last: {last}"),
        ),
    };
    let hint = format!("run: systemctl enable --now {}", timer.name);
    Verdict::new(NAME, state, what, hint).about(&timer.name)
}

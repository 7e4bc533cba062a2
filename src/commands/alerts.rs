//! What `monitor` and jobs tell through the door, and `pgstow monitor --test-alert`.

use std::{
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    context::Context,
    options::{AlertOptions, FailedUnitOptions},
    report::{Outcome, Report},
};
use crate::{
    domain::monitor::{
        alert::News,
        checks,
        door::{self, Door},
        recorder::Recorder,
        runs::{self, Run, Strand},
        thresholds::Limits,
        verdict::{State, Verdict},
    },
    error::{Error, Kind, Result},
    util::{
        cancel::Cancel,
        clock::{self, Time, readable},
        errand::Errand,
        meter::Meter,
        units,
    },
};

/// The job that notes no run.
const MONITOR: &str = "monitor";

/// For notes in the state folder.
const READING: Duration = Duration::from_secs(3);

impl Door {
    fn of(context: &Context, alerts: &AlertOptions) -> Self {
        Self {
            cluster: context.settings.cluster.name.as_str().to_owned(),
            state: context.settings.state_folder(),
            notifiers: alerts.notifiers.clone(),
            limit: alerts.limit,
        }
    }
}

/// Tells of verdicts; `seen`: when it was begun to look.
pub fn tell(
    context: &Context,
    alerts: &AlertOptions,
    verdicts: &[Verdict],
    seen: Time,
) -> Result<()> {
    context.meter.begin("sending alerts", 0);
    // Its unit may have failed before, which nobody but the next run knows to be over.
    let runs = Verdict::ok(checks::RUNS, "it runs again").about(MONITOR);
    let news = News {
        verdicts: [verdicts, &[runs]].concat(),
        seen,
        of_job: false,
    };
    Door::of(context, alerts).tell(news, &context.cancel)
}

/// Whether each notifier could be reached: asked for while other things are looked at.
#[derive(Debug)]
pub struct Asked {
    names: Vec<String>,
    /// None where there is nobody to be reached.
    answer: Option<Errand<Vec<Verdict>>>,
}

impl Asked {
    pub fn send(context: &Context, alerts: &AlertOptions) -> Self {
        let state = context.settings.state_folder();
        let names = alerts.notifiers.iter().map(|one| one.name.clone());
        let names: Vec<String> = names.collect();
        let asked = names.clone();
        let what = format!("reading {}", state.display());
        let read = move || door::verdicts(&state, &asked);
        Self {
            answer: (!names.is_empty()).then(|| Errand::send(what, read)),
            names,
        }
    }

    /// An error only if a stop was asked for.
    pub fn wait(self, until: Instant, cancel: &Cancel) -> Result<Vec<Verdict>> {
        let Some(answer) = self.answer else {
            return Ok(Vec::new());
        };
        match answer.wait(until, cancel) {
            Err(error) if error.kind() == Kind::Interrupted => Err(error),
            Err(error) => {
                let unknown = Verdict::of_error(door::CHECK, State::Unknown, &error);
                let names = self.names.iter();
                Ok(names.map(|name| unknown.clone().about(name)).collect())
            }
            verdicts => verdicts,
        }
    }
}

/// Tells how a run of `job` ended that is noted in the history; as `monitor` would see it, so that it
/// isn't told twice. Never an error: the job has ended as it has. One that a person stopped is left
/// to `monitor`.
pub fn run_ended(
    context: &Context,
    settings: Result<(AlertOptions, Limits<u64>)>,
    job: &'static str,
    error: Option<&Error>,
) {
    if context.cancel.is_set() {
        return;
    }
    let (alerts, limits) = match settings {
        Ok((alerts, _)) if alerts.notifiers.is_empty() => return,
        Ok(settings) => settings,
        Err(error) => {
            tracing::warn!("nobody is told of this run: {}", error.in_one_line());
            return;
        }
    };
    context.meter.begin("sending alerts", 0);
    let runs = history(&context.settings.state_folder(), &context.cancel);
    let own = context.settings.repo().map(|repo| repo.name.as_str());
    let strand = Strand::of(job, own.unwrap_or_default(), &context.settings.named);
    let verdict = judge(&runs, &strand, error, limits);
    // An error only says that a stop was asked for.
    let _ = Door::of(context, &alerts).tell(of_job(verdict), &context.cancel);
}

/// The runs that are noted, as far as that can be read.
fn history(state: &Path, cancel: &Cancel) -> Vec<Run> {
    let (what, state) = (format!("reading {}", state.display()), state.to_owned());
    let reading = Errand::send(what, move || runs::read(&state));
    let runs = reading.wait(Instant::now() + READING, cancel);
    runs.unwrap_or_default()
}

fn of_job(verdict: Verdict) -> News {
    News {
        verdicts: vec![verdict],
        seen: clock::now(),
        of_job: true,
    }
}

fn judge(runs: &[Run], strand: &Strand<'_>, error: Option<&Error>, limits: Limits<u64>) -> Verdict {
    let noted = checks::job(runs, strand, limits);
    let name = strand.name();
    let mut verdict = match (noted, error) {
        (Some(verdict), _) => verdict,
        // No note could be left.
        (None, Some(error)) => Verdict::of_error(checks::RUNS, limits.judge(1), error).about(&name),
        (None, None) => Verdict::ok(checks::RUNS, "the run was well").about(&name),
    };
    if verdict.state != State::Ok
        && let Some(hint) = error.and_then(Error::hint_text)
    {
        verdict.hint = Some(hint.to_owned());
    }
    if verdict.state == State::Ok
        && error.is_none()
        && let Some(run) = strand.newest(runs)
    {
        verdict.reason = success(run);
    }
    verdict
}

fn success(run: &Run) -> String {
    let mut told = vec![format!("the run of {} was well", readable(run.begun))];
    told.extend(run.told.backup.as_ref().map(|id| format!("backup {id}")));
    told.extend(run.told.bytes.map(units::bytes));
    told.extend(
        run.duration()
            .map(|time| format!("in {}", units::duration(time))),
    );
    told.join(", ")
}

/// What was told of a unit.
#[derive(Debug, Serialize)]
pub struct UnitReport {
    unit: String,
    /// None: the job told it itself, or nothing was wrong.
    told: Option<Verdict>,
    /// What one of its commands found, of which systemd knows nothing, since it keeps the status of the last one.
    found: Option<String>,
}

/// Tells of a unit of systemd that failed what its job could not tell: it was killed, or could not be
/// started, or found no settings. It is noted in the history, so that `monitor` says the same.
pub fn unit_failed(
    options: &FailedUnitOptions,
    cancel: &Cancel,
    meter: &Meter,
) -> Result<UnitReport> {
    let unit = &options.unit;
    let state = options.state_dir.join(&unit.cluster);
    let report = |told, found| UnitReport {
        unit: unit.unit.clone(),
        told,
        found,
    };
    let job = unit.job.command;
    // With 2 it judged, and told, though it could note nothing where the state folder is what is wrong.
    let has_judged = || unit.exit_code() == 2 || door::has_monitored(&state, &unit.invocation);
    let told_itself = job == MONITOR && has_judged();
    // With exit code 3 it told its findings.
    if unit.is_success() || told_itself {
        let found = (unit.is_success() && unit.exit_code() == 0).then(|| {
            let runs = history(&state, cancel);
            let found = runs
                .iter()
                .rev()
                .find(|run| run.is_found_by(job, &unit.invocation))?;
            let why = found
                .error
                .clone()
                .unwrap_or_else(|| "see `pgstow list --runs`".to_owned());
            Some(format!(
                "{job} in repository {} found something: {why}",
                found.repository
            ))
        });
        return Ok(report(None, found.flatten()));
    }
    meter.begin("sending alerts", 0);
    let error = unit.error(cancel);
    let verdict = match job {
        MONITOR => {
            let strand = Strand::of(job, "", &[]);
            judge(&[], &strand, Some(&error), options.failed_runs)
        }
        _ => {
            let code = unit.exit_code();
            let news = Recorder::fail_for(&state, job, &unit.invocation, code, &error);
            let runs = history(&state, cancel);
            let is_own =
                |run: &&Run| run.job == job && run.invocation.as_ref() == Some(&unit.invocation);
            let own = runs.iter().rev().find(is_own);
            let own = own.map_or("", |run| run.repository.as_str());
            let strand = Strand::of(job, own, &options.repositories);
            let mut verdict = judge(&runs, &strand, news.then_some(&error), options.failed_runs);
            // Such as a time limit, of which the run knows only that it was to stop.
            if !news && unit.result != "exit-code" {
                verdict.reason += &format!(" (systemd: {})", unit.result);
            }
            verdict
        }
    };
    let door = Door {
        cluster: unit.cluster.clone(),
        state,
        notifiers: options.alerts.notifiers.clone(),
        limit: options.alerts.limit,
    };
    door.tell(of_job(verdict.clone()), cancel)?;
    Ok(report(Some(verdict), None))
}

impl Report for UnitReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        match (&self.told, &self.found) {
            (Some(verdict), _) => writeln!(out, "{}: {}", self.unit, verdict.reason),
            // With the priority of an error in the journal, as the line of the unit itself (sd-daemon(3)).
            (None, Some(found)) => writeln!(out, "<3>{} needs a look: {found}", self.unit),
            (None, None) => writeln!(out, "{}: there is nothing more to tell", self.unit),
        }
    }

    fn is_good_news(&self) -> bool {
        self.found.is_none()
    }
}

/// How the test of each notifier went.
#[derive(Debug, Serialize)]
pub struct TestReport {
    alerts: Vec<Tested>,
}

#[derive(Debug, Serialize)]
struct Tested {
    name: String,
    delivered: bool,
    /// Delivered or not.
    error: Option<String>,
    hint: Option<String>,
}

pub fn test(context: &Context, alerts: &AlertOptions) -> Result<TestReport> {
    if alerts.notifiers.is_empty() {
        return Err(Error::usage("no alert is set")
            .hint("docs/alerts.md shows how: [alert.NAME] in pgstow.toml."));
    }
    context.meter.begin("sending alerts", 0);
    let sent = Door::of(context, alerts).test(&context.cancel)?;
    let tested = sent.into_iter().map(|(name, sent)| {
        let delivered = sent.is_ok();
        let error = match sent {
            Ok(complaint) => complaint,
            Err(error) => Some(error),
        };
        Tested {
            name,
            delivered,
            error: error.as_ref().map(Error::in_one_line),
            hint: error.and_then(|error| error.hint_text().map(str::to_owned)),
        }
    });
    Ok(TestReport {
        alerts: tested.collect(),
    })
}

impl Report for TestReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let width = self.alerts.iter().map(|one| one.name.chars().count()).max();
        let width = width.unwrap_or_default();
        for Tested {
            name,
            delivered,
            error,
            hint,
        } in &self.alerts
        {
            let how = match (delivered, error) {
                (true, None) => "sent".to_owned(),
                (true, Some(error)) => format!("SENT, BUT NOT TO ALL  {error}"),
                (false, error) => format!("NOT SENT  {}", error.as_deref().unwrap_or_default()),
            };
            writeln!(out, "{name:<width$}  {how}")?;
            if let Some(hint) = hint {
                writeln!(out, "{:width$}  hint: {hint}", "")?;
            }
        }
        Ok(())
    }

    fn is_good_news(&self) -> bool {
        self.outcome() == Outcome::Done
    }

    fn outcome(&self) -> Outcome {
        match self.alerts.iter().all(|one| one.error.is_none()) {
            true => Outcome::Done,
            false => Outcome::Unknown,
        }
    }
}

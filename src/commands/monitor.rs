//! `pgstow monitor`: gathers facts, judges them, and tells people and monitoring systems.

use std::{
    io::{self, Write},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    alerts::{self, Asked},
    context::Context,
    options::MonitorOptions,
    report::{Outcome, Report},
};
use crate::{
    domain::{
        monitor::{
            alert::{News, Wishes},
            changes,
            checks::{self, Yardstick, backups, dumps},
            exposition,
            facts::{Facts, Subject, Watched},
            message::Message,
            metrics, nagios,
            page::Page,
            verdict::{State, Verdict, tally, worst},
        },
        retention::policy::Policy,
        setup::archive_command::ArchiveCommand,
    },
    error::Result,
    util::{
        clock::{self, Time},
        errand::Errand,
        fs::write_over,
        host, http,
    },
};

/// For the node exporter and web servers, which are other users.
const READABLE: u32 = 0o644;

/// For page and metrics, to all places at the same time.
const DELIVERY: Duration = Duration::from_secs(3);

#[derive(Debug, Serialize)]
pub struct MonitorReport {
    cluster: String,
    time: Time,
    /// The worst of all verdicts.
    state: State,
    checks: Vec<Verdict>,
    #[serde(skip)]
    nagios: bool,
    /// If that is all that is to be said: what changed, or nothing did.
    #[serde(skip)]
    changes: Option<Option<Message>>,
}

pub fn run(context: &Context, options: &MonitorOptions) -> Result<MonitorReport> {
    let begun = clock::now();
    context.meter.begin("looking at server and repositories", 0);
    let subject = subject(context, options.limit)?;
    let until = Instant::now() + options.limit;
    let notifiers = Asked::send(context, &options.alerts);
    let stock = options.page.is_some().then(|| {
        let policies = context.settings.repos.iter();
        let policies: Vec<Policy> = policies.map(|repo| repo.retention.clone()).collect();
        subject.send_for_stock(&policies, &context.cancel)
    });
    let info = context.settings.cluster.connection.resolve();
    let facts = Facts::gather(&subject, info, &context.cancel)?;
    let shelves = stock.map(|sent| sent.wait(until, &context.cancel));
    let shelves = shelves.transpose()?.unwrap_or_default();
    let now = clock::now();
    let command = context.archive_command(&options.archive_call)?;
    let mut verdicts = checks::all(&facts, yardstick(context, options, &command, now));
    verdicts.extend(notifiers.wait(until, &context.cancel)?);
    let cluster = context.settings.cluster.name.as_str();
    // A page without some checks would look better than things are.
    let page = options.page.is_some().then(|| {
        let page = Page {
            cluster,
            host: &host::name(),
            now,
            facts: &facts,
            verdicts: &verdicts,
            shelves: &shelves,
        };
        page.html()
    });
    let chosen = |verdict: &Verdict| {
        options.only.is_empty() || options.only.iter().any(|name| name == verdict.check)
    };
    verdicts.retain(chosen);
    let metrics = options.textfile.is_some() || options.pushgateway.is_some();
    let metrics = metrics.then(|| {
        let wanted = metrics::Wanted {
            cluster,
            now,
            plain: options.plain_names,
            repositories: &context.settings.named,
        };
        exposition::text(&metrics::families(&facts, &verdicts, wanted)).into_bytes()
    });
    verdicts.extend(deliver(context, options, cluster, page, metrics));
    alerts::tell(context, &options.alerts, &verdicts, begun)?;
    let changes = options.changes.map(|wishes| {
        let news = News {
            verdicts: verdicts.clone(),
            seen: begun,
            of_job: false,
        };
        changed(context, news, wishes)
    });
    Ok(MonitorReport {
        cluster: cluster.to_owned(),
        time: now,
        state: worst(&verdicts),
        checks: verdicts,
        nagios: options.nagios,
        // Where nobody knows what was said, all is.
        changes: changes.and_then(Result::ok),
    })
}

/// What is new of it to who reads the output.
fn changed(context: &Context, news: News, wishes: Wishes) -> Result<Option<Message>> {
    let state = context.settings.state_folder();
    let what = format!("looking in {} for what was said", state.display());
    let looking = Errand::send(what, move || changes::since_last(&state, &news, wishes));
    let items = looking.wait(Instant::now() + DELIVERY, &context.cancel)?;
    let cluster = context.settings.cluster.name.as_str();
    let message = || Message::new(cluster, &host::name(), clock::now(), &items);
    Ok((!items.is_empty()).then(message))
}

fn yardstick<'a>(
    context: &'a Context,
    options: &'a MonitorOptions,
    command: &'a ArchiveCommand,
    now: Time,
) -> Yardstick<'a> {
    Yardstick {
        thresholds: &options.thresholds,
        command,
        wanted: &options.wanted,
        slot: &options.slot,
        repositories: &context.settings.named,
        now,
    }
}

/// All that is looked at, within `limit`.
pub(super) fn subject(context: &Context, limit: Duration) -> Result<Subject> {
    let settings = &context.settings;
    // Refuses where none is set.
    settings.repo()?;
    let repositories = settings.repos.iter();
    Ok(Subject {
        cluster: settings.cluster.name.clone(),
        data_dir: settings.cluster.data_dir.clone(),
        repositories: repositories
            .map(|repo| Watched {
                name: repo.name.clone(),
                location: repo.location.clone(),
                keys: Arc::clone(&repo.keys),
            })
            .collect(),
        synced: settings.synced.clone(),
        state_folder: settings.state_folder(),
        limit,
    })
}

/// Hands page and metrics on; who can't be reached is a verdict as all others are.
fn deliver(
    context: &Context,
    options: &MonitorOptions,
    cluster: &str,
    page: Option<String>,
    metrics: Option<Vec<u8>>,
) -> Vec<Verdict> {
    const NAME: &str = "delivery";
    let until = Instant::now() + DELIVERY;
    let mut sent = Vec::new();
    if let (Some(path), Some(html)) = (&options.page, page) {
        sent.push((write(path, html.into_bytes()), "the page is", "page"));
    }
    if let Some(metrics) = metrics {
        const THEY: &str = "the metrics are";
        if let Some(path) = &options.textfile {
            sent.push((write(path, metrics.clone()), THEY, "textfile"));
        }
        if let Some(url) = &options.pushgateway {
            context.meter.begin("sending metrics", 0);
            let group = pushgateway(url, cluster);
            let put = move || http::put(&group, exposition::CONTENT_TYPE, &metrics, DELIVERY);
            sent.push((Errand::send("sending metrics", put), THEY, "pushgateway"));
        }
    }
    let sent = sent.into_iter();
    sent.map(
        |(errand, what, to)| match errand.wait(until, &context.cancel) {
            Ok(()) => Verdict::ok(NAME, format!("{what} there")).about(to),
            Err(error) => Verdict::of_error(NAME, State::Unknown, &error).about(to),
        },
    )
    .collect()
}

/// A file for other users, whole or not at all.
fn write(path: &Path, bytes: Vec<u8>) -> Errand<()> {
    let to = path.to_owned();
    Errand::send(format!("writing {}", path.display()), move || {
        write_over(&to, READABLE, &bytes)
    })
}

/// The address of this host's and cluster's group of metrics, unless the whole address was given. Many clusters are
/// called `main`.
fn pushgateway(url: &str, cluster: &str) -> String {
    match url.contains("/metrics/job/") {
        true => url.to_owned(),
        false => format!(
            "{}/metrics/job/pgstow/instance/{}/cluster/{cluster}",
            url.trim_end_matches('/'),
            host::name()
        ),
    }
}

impl MonitorReport {
    fn write<'a>(
        &self,
        shown: impl Iterator<Item = &'a Verdict>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        match &self.changes {
            None => {}
            Some(None) => return Ok(()),
            Some(Some(message)) => return writeln!(out, "{}", message.text),
        }
        if self.nagios {
            return writeln!(out, "{}", nagios::line(&self.cluster, &self.checks));
        }
        let shown: Vec<(&Verdict, String)> =
            shown.map(|verdict| (verdict, verdict.title())).collect();
        let width = shown.iter().map(|(_, title)| title.chars().count()).max();
        let width = width.unwrap_or_default();
        for (verdict, title) in shown {
            let state = match verdict.state {
                State::Ok => "ok",
                State::Warning => "warning",
                State::Unknown => "unknown",
                State::Critical => "CRITICAL",
            };
            writeln!(out, "{state:<8}  {title:<width$}  {}", verdict.reason)?;
            if let Some(hint) = &verdict.hint {
                writeln!(out, "{:8}  {:width$}  hint: {hint}", "", "")?;
            }
        }
        writeln!(out, "{}: {}", self.state.word(), tally(&self.checks))
    }
}

impl Report for MonitorReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        self.write(self.checks.iter(), out)
    }

    fn bad_news(&self, out: &mut dyn Write) -> io::Result<()> {
        let bad = self.checks.iter();
        self.write(bad.filter(|one| one.state != State::Ok), out)
    }

    fn is_good_news(&self) -> bool {
        match &self.changes {
            // Recovery is good news that is to be said.
            Some(changes) => changes.is_none(),
            None => self.state == State::Ok && !self.nagios,
        }
    }

    fn outcome(&self) -> Outcome {
        match self.state {
            State::Ok => Outcome::Done,
            State::Warning => Outcome::Findings,
            State::Unknown => Outcome::Unknown,
            State::Critical => Outcome::Failed,
        }
    }
}

/// The answer of a healthcheck.
#[derive(Debug, Serialize)]
pub struct HealthReport {
    healthy: bool,
    reason: String,
}

/// Judges the ages of the newest good backup and of the newest good dump alone, of whatever there is.
pub fn healthcheck(context: &Context, options: &MonitorOptions) -> Result<HealthReport> {
    let subject = subject(context, options.limit)?;
    let holdings = subject.holdings(&context.cancel)?;
    let command = context.archive_command(&options.archive_call)?;
    let by = yardstick(context, options, &command, clock::now());
    let dump = dumps::newest_of_all(&holdings, by);
    let (backup, _) = backups::ages(&holdings, None, by.thresholds, by.now);
    let has_backups = holdings.iter().any(|holding| match &holding.stored {
        Ok(stored) => !stored.archive.backups.is_empty(),
        Err(_) => true,
    });
    // Where neither was made yet: what is to be made is missed.
    let dump = dump.or_else(|| (by.wanted.spoken_of && !has_backups).then(dumps::none_yet));
    let backup = (has_backups || dump.is_none()).then_some(backup);
    let judged: Vec<Verdict> = backup.into_iter().chain(dump).collect();
    let reasons: Vec<&str> = judged.iter().map(|one| one.reason.as_str()).collect();
    Ok(HealthReport {
        healthy: matches!(worst(&judged), State::Ok | State::Warning),
        reason: reasons.join("; "),
    })
}

impl Report for HealthReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let word = if self.healthy { "healthy" } else { "unhealthy" };
        writeln!(out, "{word}: {}", self.reason)
    }

    fn is_good_news(&self) -> bool {
        self.healthy
    }

    fn outcome(&self) -> Outcome {
        match self.healthy {
            true => Outcome::Done,
            false => Outcome::Findings,
        }
    }
}

//! The one door through which `monitor` and jobs tell of themselves.
//!
//! Under a lock, so that two runs at once say a thing once: what is wrong is noted, then sent to all
//! notifiers at the same time, then noted as told. Killed in between, the next run says it once
//! more. Nothing here is an error of who calls: what fails is warned of, noted, and a verdict of the
//! next `monitor`. It all ends after a time limit, whatever hangs.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    alert::{self, Item, Kind, News, Plan, Wishes},
    ledger::Ledger,
    mail::Mail,
    message::Message,
    state_file,
    verdict::{State, Verdict},
    webhook::Webhook,
};
use crate::{
    error::{self, Error, Result},
    util::{cancel::Cancel, clock, errand::Errand, host},
};

const LOCK: &str = "alerts.lock";

/// For notes of a test, on a slow disk.
const NOTING: Duration = Duration::from_secs(2);

/// Name of the check.
pub const CHECK: &str = "alerts";

/// Who is told, and of what.
#[derive(Clone, Debug)]
pub struct Door {
    pub cluster: String,
    pub state: PathBuf,
    pub notifiers: Vec<Notifier>,
    /// For all of it: waiting for another run that sends, sending to all of them, noting.
    pub limit: Duration,
}

#[derive(Clone, Debug)]
pub struct Notifier {
    pub name: String,
    pub wishes: Wishes,
    pub way: Way,
}

#[derive(Clone, Debug)]
pub enum Way {
    Mail(Mail),
    Webhook(Webhook),
}

/// None: delivered; delivered, but not to everybody; not delivered.
type Sent = Result<Option<Error>>;

impl Notifier {
    fn send(&self, message: &Message, limit: Duration) -> Sent {
        match &self.way {
            Way::Mail(mail) => mail.send(message, limit),
            Way::Webhook(webhook) => webhook.send(message, limit).map(|()| None),
        }
    }
}

impl Door {
    /// Says what is new of it. An error only if a stop was asked for.
    pub fn tell(&self, news: News, cancel: &Cancel) -> Result<()> {
        if self.notifiers.is_empty() {
            return Ok(());
        }
        let own = self.clone();
        let until = Instant::now() + self.limit;
        let telling = Errand::send("sending alerts", move || {
            own.tell_in_turn(&news, until);
            Ok(())
        });
        match telling.wait(until, cancel) {
            Err(error) if error.kind() == error::Kind::Interrupted => Err(error),
            Err(error) => {
                tracing::warn!("alerts may not be sent: {}", error.in_one_line());
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn tell_in_turn(&self, news: &News, until: Instant) {
        // Whoever has it may need as long; the rest is for sending.
        let lock = state_file::lock(&self.state, LOCK, self.limit / 2);
        let locked = match &lock {
            Ok(_) => true,
            Err(error) if error.kind() == error::Kind::TimedOut => {
                tracing::warn!("alerts are left to the next run: {}", error.in_one_line());
                return;
            }
            // Better twice than never.
            Err(error) => {
                tracing::warn!("who was told what can't be noted: {}", error.in_one_line());
                false
            }
        };
        let before = Ledger::read(&self.state).unwrap_or_else(|error| {
            tracing::warn!("who was told what is not known: {}", error.in_one_line());
            Ledger::default()
        });
        let now = clock::now();
        let mut ledger = before.clone();
        ledger
            .notifiers
            .retain(|name, _| self.notifiers.iter().any(|one| one.name == *name));
        let plans: Vec<Plan> = self
            .notifiers
            .iter()
            .map(|notifier| {
                let account = ledger.account(&notifier.name);
                let plan = alert::plan(
                    &account.known,
                    &for_one(news, notifier),
                    now,
                    notifier.wishes,
                );
                account.known = plan.untold.clone();
                plan
            })
            .collect();
        let mut noted = before;
        let mut note = |ledger: &Ledger| {
            if !locked || *ledger == noted {
                return;
            }
            match ledger.write(&self.state) {
                Ok(()) => noted.clone_from(ledger),
                Err(error) => tracing::warn!("alerts are not noted: {}", error.in_one_line()),
            }
        };
        note(&ledger);
        let messages = plans.iter().map(|plan| self.message(&plan.items, now));
        // So that how it went is noted before who calls goes on.
        let sent = self.send(messages.collect(), until - self.limit / 10);
        for ((notifier, plan), sent) in self.notifiers.iter().zip(plans).zip(sent) {
            // Without anything to say both plans are the same, and noted.
            let Some(sent) = sent else { continue };
            let account = ledger.account(&notifier.name);
            let sent = sent.wait();
            let complaint = complaint(&sent);
            if let Some(error) = complaint {
                tracing::warn!("alert {}: {}", notifier.name, error.in_one_line());
            }
            account.note(complaint, now);
            if sent.is_ok() {
                account.known = plan.told;
                account.delivered = Some(now);
            }
            // At once: the next one may take its time.
            note(&ledger);
        }
        if let (false, Some(invocation)) = (news.of_job, host::invocation()) {
            ledger.monitored = Some(invocation);
            note(&ledger);
        }
    }

    /// Sends a test to all, whatever they want to hear: their names, and how it went.
    pub fn test(&self, cancel: &Cancel) -> Result<Vec<(String, Sent)>> {
        let now = clock::now();
        let item = Item {
            kind: Kind::Test,
            check: CHECK.to_owned(),
            object: None,
            state: State::Ok,
            before: State::Ok,
            since: None,
            reason: "a test, sent by `pgstow monitor --test-alert`".to_owned(),
            hint: None,
        };
        let messages = self
            .notifiers
            .iter()
            .map(|_| self.message(std::slice::from_ref(&item), now));
        let sent = self.send(messages.collect(), Instant::now() + self.limit);
        let mut told = Vec::new();
        for (notifier, sent) in self.notifiers.iter().zip(sent.into_iter().flatten()) {
            let sent = sent.wait();
            cancel.check()?;
            told.push((notifier.name.clone(), sent));
        }
        let (door, troubles) = (
            self.clone(),
            told.iter()
                .map(|(name, sent)| {
                    let error = complaint(sent).map(copy);
                    (name.clone(), error)
                })
                .collect::<Vec<_>>(),
        );
        let noting = Errand::send("noting alerts", move || {
            let _lock = state_file::lock(&door.state, LOCK, NOTING)?;
            let mut ledger = Ledger::read(&door.state)?;
            for (name, error) in troubles {
                ledger.account(&name).note(error.as_ref(), now);
            }
            ledger.write(&door.state)
        });
        if let Err(error) = noting.wait(Instant::now() + NOTING * 2, cancel) {
            tracing::warn!("the test is not noted: {}", error.in_one_line());
        }
        Ok(told)
    }

    /// None where nothing is to be said.
    fn message(&self, items: &[Item], now: clock::Time) -> Option<Message> {
        (!items.is_empty()).then(|| Message::new(&self.cluster, &host::name(), now, items))
    }

    /// To all at the same time.
    fn send(&self, messages: Vec<Option<Message>>, until: Instant) -> Vec<Option<Sending>> {
        let limit = until.saturating_duration_since(Instant::now());
        let all = self.notifiers.iter().zip(messages);
        all.map(|(notifier, message)| {
            let (notifier, message) = (notifier.clone(), message?);
            let what = format!("sending to {}", notifier.name);
            let errand = Errand::send(what, move || notifier.send(&message, limit));
            Some(Sending { errand, until })
        })
        .collect()
    }
}

/// A message on its way.
struct Sending {
    errand: Errand<Option<Error>>,
    until: Instant,
}

impl Sending {
    fn wait(self) -> Sent {
        // A stop that was asked for ends the process all the same: who waits for us looks for it.
        self.errand.wait(self.until, &Cancel::default())
    }
}

/// What there is to complain of.
fn complaint(sent: &Sent) -> Option<&Error> {
    match sent {
        Ok(complaint) => complaint.as_ref(),
        Err(error) => Some(error),
    }
}

fn copy(error: &Error) -> Error {
    let copy = Error::new(error.kind(), error.in_one_line());
    match error.hint_text() {
        Some(hint) => copy.hint(hint),
        None => copy,
    }
}

/// Nobody is told of himself: he would have heard of it.
fn for_one(news: &News, notifier: &Notifier) -> News {
    let mut news = news.clone();
    let of_himself = |verdict: &Verdict| {
        verdict.check == CHECK && verdict.object.as_deref() == Some(notifier.name.as_str())
    };
    news.verdicts.retain(|verdict| !of_himself(verdict));
    news
}

/// Whether that run of `monitor` by systemd told what it found.
pub fn has_monitored(state: &Path, invocation: &str) -> bool {
    let ledger = Ledger::read(state).unwrap_or_default();
    ledger.monitored.as_deref() == Some(invocation)
}

/// Whether each notifier could be reached when it was last tried.
pub fn verdicts(state: &Path, names: &[String]) -> Result<Vec<Verdict>> {
    let ledger = Ledger::read(state)?;
    let verdict = |name: &String| {
        let account = ledger.notifiers.get(name);
        let trouble = account.and_then(|one| one.trouble.as_ref());
        let delivered = account.and_then(|one| one.delivered);
        match (trouble, delivered) {
            (Some(trouble), _) => {
                let since = clock::readable(trouble.since);
                let what = format!("can't be reached since {since}: {}", trouble.error);
                let hint = "mend it, then run `pgstow monitor --test-alert`.";
                let hint = trouble.hint.as_deref().unwrap_or(hint);
                Verdict::new(CHECK, State::Warning, what, hint)
            }
            (None, Some(at)) => {
                let at = clock::readable(at);
                Verdict::ok(CHECK, format!("was last told something at {at}"))
            }
            (None, None) => Verdict::ok(CHECK, "there was nothing to tell yet"),
        }
        .about(name)
    };
    Ok(names.iter().map(verdict).collect())
}

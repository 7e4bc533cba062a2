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
    book::{Book, Unnoted},
    checks,
    ledger::{self, Account, Ledger, Sent},
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
        let before = Ledger::read(&self.state, ledger::FILE).unwrap_or_else(|error| {
            tracing::warn!("who was told what is not known: {}", error.in_one_line());
            Ledger::default()
        });
        let now = clock::now();
        let mut ledger = before.clone();
        ledger
            .notifiers
            .retain(|name, _| self.notifiers.iter().any(|one| one.name == *name));
        // Who can be reached is noted already, and looks different once this run has tried.
        let mut lasting = news.clone();
        lasting.verdicts.retain(|verdict| verdict.check != CHECK);
        for notifier in &self.notifiers {
            let account = ledger.account(&notifier.name);
            account.known = alert::plan(&account.known, &lasting, now, notifier.wishes).untold;
        }
        // Who is silent relies on notes: those of the last change may be missing.
        let is_bad = news.verdicts.iter().any(|one| one.state != State::Ok);
        let mut book = Book {
            state: &self.state,
            noted: (!is_bad).then_some(before),
            works: locked,
        };
        book.note(&ledger);
        let mark = lock.as_ref().ok().map(Unnoted);
        if let (true, Some(since)) = (book.works, mark.as_ref().and_then(Unnoted::since)) {
            // Whoever heard of it hears that it is over.
            for account in ledger.notifiers.values_mut() {
                alert::was_told(&mut account.known, checks::STATE, since);
            }
            book.note(&ledger);
        }
        // What has gone bad is told again then, at every run, for want of a note that it was told.
        if !book.works {
            for account in ledger.notifiers.values_mut() {
                account.known = alert::untold(&account.known, news);
            }
        }
        // Who could not be reached is tried first: the others are told whether he can now. Of each other these are
        // told behind that, when it is known.
        let is_lost = |one: &&Notifier| ledger.notifiers[&one.name].trouble.is_some();
        let (lost, others): (Vec<&Notifier>, Vec<&Notifier>) =
            self.notifiers.iter().partition(is_lost);
        let end = until - self.limit / 10;
        let left = end.saturating_duration_since(Instant::now());
        let about_lost = |verdict: &Verdict| lost.iter().any(|one| is_about(verdict, one));
        let first = News {
            verdicts: without(&news.verdicts, about_lost),
            ..news.clone()
        };
        let turn = lost.iter().map(|one| (*one, &first)).collect();
        let tried = self.tell_these(turn, &mut ledger, &mut book, end - left / 2);
        let mut news = news.clone();
        for notifier in tried.reached {
            let of_him = |one: &&mut Verdict| is_about(one, notifier);
            for verdict in news.verdicts.iter_mut().filter(of_him) {
                *verdict = Verdict::ok(CHECK, "can be reached").about(&notifier.name);
            }
        }
        let of_lost = News {
            verdicts: without(&news.verdicts, |verdict| !about_lost(verdict)),
            of_job: false,
            ..news
        };
        let mut turn: Vec<_> = others.iter().map(|one| (*one, &news)).collect();
        let has_failed = |one: &&&Notifier| tried.failed.iter().any(|bad| bad.name == one.name);
        let again = lost.iter().filter(|one| !has_failed(one));
        turn.extend(again.map(|one| (*one, &of_lost)));
        self.tell_these(turn, &mut ledger, &mut book, end);
        if let (false, Some(invocation)) = (news.of_job, host::invocation()) {
            ledger.monitored = Some(invocation);
            book.note(&ledger);
        }
        if let Some(mark) = mark {
            mark.set((!book.works).then_some(now));
        }
    }

    /// Tells each his news, all at the same time.
    fn tell_these<'n>(
        &self,
        turn: Vec<(&'n Notifier, &News)>,
        ledger: &mut Ledger,
        book: &mut Book<'_>,
        until: Instant,
    ) -> Tried<'n> {
        let now = clock::now();
        let plan = |(notifier, news): &(&Notifier, &News)| {
            let account = ledger.account(&notifier.name);
            let news = for_one(news, notifier);
            let mut plan = alert::plan(&account.known, &news, now, notifier.wishes);
            // Else nobody would ever know that he can be reached again.
            if plan.items.is_empty() {
                plan.items.extend(reached_again(&notifier.name, account));
            }
            plan
        };
        let plans: Vec<Plan> = turn.iter().map(plan).collect();
        let messages = plans.iter().map(|plan| self.message(&plan.items, now));
        let notifiers: Vec<&Notifier> = turn.iter().map(|(notifier, _)| *notifier).collect();
        // So that how it went is noted before who calls goes on.
        let sent = send(&notifiers, messages.collect(), until);
        let mut tried = Tried::default();
        for ((notifier, plan), sent) in notifiers.into_iter().zip(plans).zip(sent) {
            // Without anything to say both plans are the same, and noted.
            let Some(sent) = sent else { continue };
            let account = ledger.account(&notifier.name);
            let sent = sent.wait();
            match complaint(&sent) {
                Some(error) => tracing::warn!("alert {}: {}", notifier.name, error.in_one_line()),
                None => tried.reached.push(notifier),
            }
            account.note(&sent, now);
            match sent {
                Ok(_) => account.known = plan.told,
                Err(_) => tried.failed.push(notifier),
            }
            // At once: the next one may take its time.
            book.note(ledger);
        }
        tried
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
        let all: Vec<&Notifier> = self.notifiers.iter().collect();
        let message = |_| self.message(std::slice::from_ref(&item), now);
        let messages = all.iter().map(message).collect();
        let sent = send(&all, messages, Instant::now() + self.limit);
        let mut told = Vec::new();
        for (notifier, sent) in self.notifiers.iter().zip(sent.into_iter().flatten()) {
            let sent = sent.wait();
            cancel.check()?;
            told.push((notifier.name.clone(), sent));
        }
        let copied = |(name, sent): &(String, Sent)| {
            let sent = match sent {
                Ok(complaint) => Ok(complaint.as_ref().map(copy)),
                Err(error) => Err(copy(error)),
            };
            (name.clone(), sent)
        };
        let (door, results): (_, Vec<_>) = (self.clone(), told.iter().map(copied).collect());
        let noting = Errand::send("noting alerts", move || {
            let _lock = state_file::lock(&door.state, LOCK, NOTING)?;
            let mut ledger = Ledger::read(&door.state, ledger::FILE)?;
            for (name, sent) in results {
                ledger.account(&name).note(&sent, now);
            }
            ledger.write(&door.state, ledger::FILE)
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
}

/// How it went with those that there was something to say to.
#[derive(Default)]
struct Tried<'n> {
    /// Without any complaint.
    reached: Vec<&'n Notifier>,
    failed: Vec<&'n Notifier>,
}

fn without(verdicts: &[Verdict], which: impl Fn(&Verdict) -> bool) -> Vec<Verdict> {
    let others = verdicts.iter().filter(|verdict| !which(verdict));
    others.cloned().collect()
}

/// To all at the same time.
fn send(
    notifiers: &[&Notifier],
    messages: Vec<Option<Message>>,
    until: Instant,
) -> Vec<Option<Sending>> {
    let limit = until.saturating_duration_since(Instant::now());
    let all = notifiers.iter().zip(messages);
    all.map(|(notifier, message)| {
        let (notifier, message) = (Notifier::clone(notifier), message?);
        let what = format!("sending to {}", notifier.name);
        let errand = Errand::send(what, move || notifier.send(&message, limit));
        Some(Sending { errand, until })
    })
    .collect()
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

/// What is to be said to who could not be reached, when nothing else is.
fn reached_again(name: &str, account: &Account) -> Option<Item> {
    let trouble = account.trouble.as_ref().filter(|_| !account.is_reached())?;
    Some(Item {
        kind: Kind::Recovery,
        check: CHECK.to_owned(),
        object: Some(name.to_owned()),
        state: State::Ok,
        before: State::Warning,
        since: Some(trouble.since),
        reason: format!("can be reached again; it could not: {}", trouble.error),
        hint: None,
    })
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
    news.verdicts.retain(|verdict| !is_about(verdict, notifier));
    news
}

fn is_about(verdict: &Verdict, notifier: &Notifier) -> bool {
    verdict.check == CHECK && verdict.object.as_deref() == Some(notifier.name.as_str())
}

/// Whether that run of `monitor` by systemd told what it found.
pub fn has_monitored(state: &Path, invocation: &str) -> bool {
    let ledger = Ledger::read(state, ledger::FILE).unwrap_or_default();
    ledger.monitored.as_deref() == Some(invocation)
}

/// Whether each notifier could be reached when it was last tried.
pub fn verdicts(state: &Path, names: &[String]) -> Result<Vec<Verdict>> {
    let ledger = Ledger::read(state, ledger::FILE)?;
    let verdict = |name: &String| {
        let account = ledger.notifiers.get(name);
        let trouble = account.and_then(|one| one.trouble.as_ref());
        let delivered = account.and_then(|one| one.delivered);
        match (trouble, delivered) {
            (Some(trouble), _) => {
                let since = clock::readable(trouble.since);
                let what = format!("can't be reached since {since}: {}", trouble.error);
                let mend = trouble.hint.as_deref().unwrap_or("mend it.");
                let again = "`pgstow monitor --test-alert` tries it again";
                let hint = match account.is_some_and(Account::is_reached) {
                    true => format!("{mend} {again}."),
                    false => format!("{mend} {again}, and each run of `pgstow monitor`."),
                };
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

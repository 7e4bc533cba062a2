//! What a notifier is told: changes of state, reminders of what lasts, what is well again. Pure: of
//! what it knows, the verdicts and the time.
//!
//! It counts as told only once it was delivered; until then it is said again at each run. What went
//! bad and was well again before anybody could be told is told, too. Of a check that finds several things each new one
//! is told, whatever the state was before.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::{
    checks,
    noticed::Noticed,
    verdict::{State, Verdict},
};
use crate::util::clock::Time;

/// How long it is kept that something is well: for runs that looked before it was.
const KEPT: TimeDelta = TimeDelta::days(1);

/// What a notifier wants to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wishes {
    pub failure: bool,
    pub recovery: bool,
    /// Each run of a job that was well.
    pub success: bool,
    /// What lasts is said again so often; None: never.
    pub remind: Option<Duration>,
}

/// What a notifier knows of each check and object.
pub type Known = BTreeMap<String, Entry>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// As it was last seen.
    state: State,
    /// Since when, and why then.
    since: Time,
    reason: String,
    /// As the notifier knows it, and when that was delivered.
    told: State,
    told_at: Option<Time>,
    /// What was found one by one; None: noted by a version that told of states alone.
    #[serde(default)]
    findings: Option<Noticed>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// With the state before as the same: something new was found.
    Failure,
    /// It still is as it was told.
    Reminder,
    Recovery,
    /// It failed and is well again, and nobody could be told.
    Missed,
    Success,
    /// Asked for by a person.
    Test,
}

/// One thing to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    pub kind: Kind,
    pub check: String,
    pub object: Option<String>,
    pub state: State,
    /// The state that was told before.
    pub before: State,
    /// Since when it is (of a recovery: was) bad.
    pub since: Option<Time>,
    pub reason: String,
    pub hint: Option<String>,
}

/// What happened.
#[derive(Clone, Debug)]
pub struct News {
    pub verdicts: Vec<Verdict>,
    /// When it was looked at.
    pub seen: Time,
    /// A job has ended: that it was well may be news.
    pub of_job: bool,
}

/// What to say, and what the notifier knows then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub items: Vec<Item>,
    /// Once that was delivered.
    pub told: Known,
    /// Until then.
    pub untold: Known,
}

impl Item {
    /// Check and object, for people.
    pub fn title(&self) -> String {
        match &self.object {
            Some(object) => format!("{} {object}", self.check),
            None => self.check.clone(),
        }
    }
}

pub fn plan(known: &Known, news: &News, now: Time, wishes: Wishes) -> Plan {
    let mut plan = Plan {
        items: Vec::new(),
        told: known.clone(),
        untold: known.clone(),
    };
    let verdicts = &news.verdicts;
    for verdict in verdicts {
        if !checks::is_consequence(verdict, verdicts) {
            plan.add(known, verdict, news, now, wishes);
        }
    }
    for known in [&mut plan.told, &mut plan.untold] {
        known.retain(|_, entry| {
            let bad = entry.state != State::Ok || entry.told != State::Ok;
            bad || (now - entry.since).abs() < KEPT
        });
    }
    plan
}

/// What is known where nobody can note that what is bad now was told: not that.
pub fn untold(known: &Known, news: &News) -> Known {
    let mut known = known.clone();
    for verdict in news.verdicts.iter().filter(|one| one.state != State::Ok) {
        known.remove(&verdict.title());
    }
    known
}

/// Has it be known that something was told as critical since then, of which there is no note.
pub fn was_told(known: &mut Known, title: &str, since: Time) {
    let is_noted = known.get(title).is_some_and(|one| one.told != State::Ok);
    if !is_noted {
        let told = Entry {
            state: State::Critical,
            since,
            reason: "nothing could be noted".to_owned(),
            told: State::Critical,
            told_at: Some(since),
            findings: None,
        };
        known.insert(title.to_owned(), told);
    }
}

impl Plan {
    fn add(&mut self, known: &Known, verdict: &Verdict, news: &News, now: Time, wishes: Wishes) {
        let title = verdict.title();
        let before = known.get(&title);
        // Another run has looked later. A clock that was set back must not silence us.
        let changed = before.map(Entry::changed);
        if changed.is_some_and(|at| news.seen < at && at <= now) {
            return;
        }
        let before = before.cloned().unwrap_or(Entry {
            state: State::Ok,
            since: news.seen,
            reason: String::new(),
            told: State::Ok,
            told_at: None,
            findings: Some(Noticed::default()),
        });
        let noticed = before
            .findings
            .clone()
            .unwrap_or_else(|| Noticed::told_as(verdict));
        let noticed = noticed.seen(verdict, news.seen);
        let mut seen = match verdict.state == before.state {
            true => before.clone(),
            false => Entry {
                state: verdict.state,
                since: news.seen,
                reason: verdict.reason.clone(),
                ..before.clone()
            },
        };
        let new = noticed.new_of(verdict);
        seen.findings = Some(noticed.clone());
        let Some(kind) = before.kind(verdict.state, !new.is_empty(), news.of_job, now, wishes)
        else {
            if seen != before {
                self.told.insert(title.clone(), seen.clone());
                self.untold.insert(title, seen);
            }
            return;
        };
        let told = Entry {
            told: verdict.state,
            told_at: Some(now),
            findings: Some(noticed.told(verdict)),
            ..seen.clone()
        };
        if !wishes.want(kind) {
            self.told.insert(title.clone(), told.clone());
            self.untold.insert(title, told);
            return;
        }
        let beside = noticed.beside(verdict, &new);
        self.items.push(Item {
            kind,
            check: verdict.check.to_owned(),
            object: verdict.object.clone(),
            state: verdict.state,
            before: before.told,
            since: match kind {
                Kind::Failure => Some(beside.as_ref().map_or(seen.since, |one| one.since)),
                Kind::Reminder => Some(seen.since),
                Kind::Recovery | Kind::Missed => Some(before.since),
                Kind::Success | Kind::Test => None,
            },
            reason: match kind {
                Kind::Missed => format!("was {}: {}", before.state.word(), before.reason),
                _ => beside
                    .as_ref()
                    .map_or_else(|| verdict.reason.clone(), |one| one.reason.clone()),
            },
            hint: beside.map_or_else(|| verdict.hint.clone(), |one| one.hint),
        });
        match kind {
            // Said once: a later success is as good.
            Kind::Success | Kind::Test => {}
            Kind::Recovery | Kind::Missed => {
                // What is bad stays so until it was told that it is not.
                self.told.insert(title, told);
            }
            Kind::Failure | Kind::Reminder => {
                self.told.insert(title.clone(), told);
                self.untold.insert(title, seen);
            }
        }
    }
}

impl Entry {
    /// When something of it was last seen to change.
    fn changed(&self) -> Time {
        let found = self.findings.as_ref().and_then(Noticed::newest);
        found.map_or(self.since, |found| found.max(self.since))
    }

    /// What there is to say of a state; `is_new`: something was found in it that was not told. None: nothing new.
    fn kind(
        &self,
        state: State,
        is_new: bool,
        of_job: bool,
        now: Time,
        wishes: Wishes,
    ) -> Option<Kind> {
        match (state, self.told) {
            (State::Ok, State::Ok) if self.state != State::Ok => Some(Kind::Missed),
            (State::Ok, State::Ok) => of_job.then_some(Kind::Success),
            (State::Ok, _) if of_job && !wishes.recovery && wishes.success => Some(Kind::Success),
            (State::Ok, _) => Some(Kind::Recovery),
            (state, told) if state != told || is_new => Some(Kind::Failure),
            _ => {
                let remind = TimeDelta::from_std(wishes.remind?).ok()?;
                // A clock that was set back must not silence it.
                let due = self.told_at.is_none_or(|at| (now - at).abs() >= remind);
                due.then_some(Kind::Reminder)
            }
        }
    }
}

impl Wishes {
    fn want(self, kind: Kind) -> bool {
        match kind {
            Kind::Failure | Kind::Reminder | Kind::Missed => self.failure,
            Kind::Recovery => self.recovery,
            Kind::Success => self.success,
            Kind::Test => true,
        }
    }
}

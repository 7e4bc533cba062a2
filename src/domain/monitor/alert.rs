//! What a notifier is told: changes of state, reminders of what lasts, what is well again. Pure: of
//! what it knows, the verdicts and the time.
//!
//! It counts as told only once it was delivered; until then it is said again at each run. What went
//! bad and was well again before anybody could be told is told, too. Of a check that finds several things each new one
//! is told, whatever the state was before.

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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::domain::setup::finding::Finding;

    const ALL: Wishes = Wishes {
        failure: true,
        recovery: true,
        success: true,
        remind: Some(Duration::from_secs(3600)),
    };

    /// A moment, in minutes.
    fn at(minute: i64) -> Time {
        Time::from_timestamp(1_800_000_000 + 60 * minute, 0).unwrap()
    }

    fn verdict(state: State) -> Verdict {
        Verdict::new("disk", state, format!("{state:?} indeed"), "do it").about("data")
    }

    /// A notifier over time.
    struct Listener {
        known: Known,
        wishes: Wishes,
    }

    impl Listener {
        fn new(wishes: Wishes) -> Self {
            let known = Known::new();
            Self { known, wishes }
        }

        /// What it is told at that time, of a state; `heard`: whether it can be delivered.
        fn hears(&mut self, minute: i64, state: State, of_job: bool, heard: bool) -> Vec<Kind> {
            let news = News {
                verdicts: vec![verdict(state)],
                seen: at(minute),
                of_job,
            };
            let plan = plan(&self.known, &news, at(minute), self.wishes);
            self.known = match heard {
                true => plan.told,
                false => plan.untold,
            };
            plan.items.iter().map(|item| item.kind).collect()
        }
    }

    use State::{Critical, Ok, Unknown, Warning};

    #[test]
    fn changes_are_told_once_and_what_lasts_from_time_to_time() {
        let mut listener = Listener::new(ALL);
        for (minute, state, expected) in [
            (0, Ok, None),
            (5, Warning, Some(Kind::Failure)),
            (10, Warning, None),
            (64, Warning, None),
            (65, Warning, Some(Kind::Reminder)),
            (70, Critical, Some(Kind::Failure)),
            (75, Unknown, Some(Kind::Failure)),
            (80, Warning, Some(Kind::Failure)),
            (85, Ok, Some(Kind::Recovery)),
            (90, Ok, None),
            (95, Critical, Some(Kind::Failure)),
            // A clock that was set back by a year.
            (-525_600, Critical, Some(Kind::Reminder)),
        ] {
            let told = listener.hears(minute, state, false, true);
            assert_eq!(told, Vec::from_iter(expected), "{minute}");
        }
    }

    #[test]
    fn what_was_not_delivered_is_told_again_and_none_is_lost() {
        let mut listener = Listener::new(ALL);
        for (minute, state, heard, expected) in [
            (0, Critical, false, Some(Kind::Failure)),
            (5, Critical, false, Some(Kind::Failure)),
            (10, Ok, false, Some(Kind::Missed)),
            (15, Ok, true, Some(Kind::Missed)),
            (20, Ok, true, None),
            (25, Warning, true, Some(Kind::Failure)),
            (30, Ok, false, Some(Kind::Recovery)),
            (35, Ok, true, Some(Kind::Recovery)),
            (40, Ok, true, None),
        ] {
            let told = listener.hears(minute, state, false, heard);
            assert_eq!(told, Vec::from_iter(expected), "{minute}");
        }
    }

    #[test]
    fn a_success_is_said_once_whether_it_arrives_or_not() {
        let mut listener = Listener::new(ALL);
        assert_eq!(listener.hears(0, Ok, true, false), [Kind::Success]);
        assert_eq!(listener.hears(5, Ok, false, true), []);
        assert_eq!(listener.hears(10, Ok, true, true), [Kind::Success]);
    }

    #[test]
    fn each_hears_what_it_wants() {
        let on = |failure, recovery, success| Wishes {
            failure,
            recovery,
            success,
            remind: None,
        };
        use Kind::{Failure, Recovery, Success};
        // Well, failed, failed, well, well.
        for (wishes, expected) in [
            (
                on(true, true, false),
                [None, Some(Failure), None, Some(Recovery), None],
            ),
            (
                on(true, false, false),
                [None, Some(Failure), None, None, None],
            ),
            (
                on(false, true, false),
                [None, None, None, Some(Recovery), None],
            ),
            (
                on(false, false, true),
                [Some(Success), None, None, Some(Success), Some(Success)],
            ),
            (
                on(true, true, true),
                [
                    Some(Success),
                    Some(Failure),
                    None,
                    Some(Recovery),
                    Some(Success),
                ],
            ),
            (on(false, false, false), [None; 5]),
        ] {
            let mut listener = Listener::new(wishes);
            let states = [Ok, Warning, Warning, Ok, Ok];
            for (minute, (state, expected)) in (0..).zip(states.into_iter().zip(expected)) {
                let told = listener.hears(minute, state, true, true);
                assert_eq!(told, Vec::from_iter(expected), "{wishes:?} {minute}");
            }
        }
    }

    #[test]
    fn who_looked_before_a_change_says_nothing_of_it() {
        let mut listener = Listener::new(ALL);
        assert_eq!(listener.hears(10, Critical, true, true), [Kind::Failure]);
        let late = |listener: &Listener, state| {
            let news = News {
                verdicts: vec![verdict(state)],
                seen: at(9),
                of_job: false,
            };
            plan(&listener.known, &news, at(13), ALL)
        };
        assert_eq!(late(&listener, Ok).items, []);
        assert_eq!(late(&listener, Ok).told, listener.known);
        assert_eq!(listener.hears(12, Ok, true, true), [Kind::Recovery]);
        assert_eq!(late(&listener, Critical).items, []);
        // What is well is forgotten one day.
        listener.hears(12 + 24 * 60, Ok, false, true);
        assert_eq!(listener.known, Known::new());
    }

    /// Of a check that finds several things, each new one is told, and which were told before.
    #[test]
    fn a_second_finding_is_told_beside_the_first() {
        let find = |objects: &[(&str, bool)]| {
            let finding = |(object, is_critical): &(&str, bool)| match is_critical {
                true => {
                    Finding::critical("x", format!("{object} is gone"), format!("get {object}"))
                }
                false => {
                    Finding::warning("x", format!("{object} is worn"), format!("oil {object}"))
                }
            };
            let findings = objects.iter().map(|one| finding(one).about(one.0));
            Verdict::of_findings("damaged", "whole", findings.collect())
        };
        let (a, b, c) = (("a", true), ("b", true), ("c", false));
        let mut known = Known::new();
        let mut minute = 0;
        let mut hears = |known: &mut Known, verdict: Verdict, heard: bool| {
            minute += 5;
            let news = News {
                verdicts: vec![verdict],
                seen: at(minute),
                of_job: false,
            };
            let wishes = Wishes {
                remind: None,
                ..ALL
            };
            let plan = plan(known, &news, at(minute), wishes);
            *known = if heard { plan.told } else { plan.untold };
            let items = plan.items.into_iter();
            let told: Vec<_> = items
                .map(|one| (one.kind, one.reason, one.hint, one.since))
                .collect();
            told
        };
        let failure = |reason: &str, hint: &str, minute| {
            let hint = Some(hint.to_owned());
            vec![(Kind::Failure, reason.to_owned(), hint, Some(at(minute)))]
        };
        let nothing = vec![];
        assert_eq!(
            hears(&mut known, find(&[a]), true),
            failure("a is gone", "get a", 5)
        );
        assert_eq!(hears(&mut known, find(&[a]), true), nothing);
        // The state stays as it is. It is said until it is heard, and since when.
        let more = failure("new: b is gone; told before: a is gone", "get b", 15);
        assert_eq!(hears(&mut known, find(&[a, b]), false), more);
        assert_eq!(hears(&mut known, find(&[a, b]), true), more);
        assert_eq!(hears(&mut known, find(&[a, b]), true), nothing);
        // One that is less bad than the worst.
        let less = failure(
            "new: c is worn; told before: a is gone; b is gone",
            "oil c",
            30,
        );
        assert_eq!(hears(&mut known, find(&[a, b, c]), true), less);
        // It grows worse.
        let worse = failure(
            "new: c is gone; told before: a is gone; b is gone",
            "get c",
            30,
        );
        assert_eq!(hears(&mut known, find(&[a, b, ("c", true)]), true), worse);
        // What could not be looked at is not forgotten; what is gone is.
        let unknown = Verdict::new("damaged", Unknown, "why", "x");
        assert_eq!(hears(&mut known, unknown, true).len(), 1);
        assert_eq!(hears(&mut known, find(&[a]), true)[0].1, "a is gone");
        let again = failure("new: b is gone; told before: a is gone", "get b", 50);
        assert_eq!(hears(&mut known, find(&[a, b]), true), again);
        assert_eq!(hears(&mut known, find(&[b]), true), nothing);
        let well = hears(&mut known, find(&[]), true);
        assert_eq!((well[0].0, well[0].3), (Kind::Recovery, Some(at(45))));
        assert_eq!(hears(&mut known, find(&[b]), true).len(), 1);

        // Notes of a version that knew states alone: all that is found counts as told.
        let old = r#"{"damaged": {"state": "critical", "since": "2026-11-22T10:00:00Z", "reason": "a is gone",
            "told": "critical", "told_at": "2026-11-22T10:00:00Z"}}"#;
        let mut known: Known = serde_json::from_str(old).unwrap();
        assert_eq!(hears(&mut known, find(&[a, b]), true), nothing);
        let more = "new: c is worn; told before: a is gone; b is gone";
        assert_eq!(hears(&mut known, find(&[a, b, c]), true)[0].1, more);
        let text = serde_json::to_string(&known).unwrap();
        assert_eq!(serde_json::from_str::<Known>(&text).unwrap(), known);
    }

    #[test]
    fn consequences_are_not_told_beside_their_cause() {
        let unknown = |check: &'static str| Verdict::new(check, Unknown, "why", "x");
        let lost = |check| Verdict::new(check, Critical, "gone", "x");
        let titles = |verdicts: Vec<Verdict>| -> Vec<String> {
            let news = News {
                verdicts,
                seen: at(0),
                of_job: false,
            };
            let plan = plan(&Known::new(), &news, at(0), ALL);
            assert_eq!(plan.untold.len(), plan.items.len());
            plan.items.iter().map(Item::title).collect()
        };
        let slots = || unknown("slots");
        assert_eq!(titles(vec![lost("connection"), slots()]), ["connection"]);
        assert_eq!(
            titles(vec![Verdict::ok("connection", "is"), slots()]),
            ["slots"]
        );
        let of_nas = |verdict: Verdict| verdict.about("nas");
        let told = titles(vec![
            of_nas(lost("repository")),
            of_nas(unknown("damaged")),
            unknown("damaged").about("local"),
            // What it may have is of no other's age.
            unknown("backup_age"),
            unknown("dump_age").about("shop"),
            unknown("disk").about("repo.nas"),
            unknown("disk").about("data"),
        ]);
        assert_eq!(told, ["repository nas", "damaged local", "disk data"]);
        assert_eq!(titles(vec![unknown("backup_age")]), ["backup_age"]);
    }

    #[test]
    fn an_item_says_since_when_and_what_it_was() {
        let mut listener = Listener::new(ALL);
        listener.hears(0, Critical, false, true);
        let news = News {
            verdicts: vec![verdict(Ok)],
            seen: at(7),
            of_job: false,
        };
        let item = plan(&listener.known, &news, at(8), ALL).items.remove(0);
        assert_eq!(
            (item.kind, item.state, item.before),
            (Kind::Recovery, Ok, Critical)
        );
        assert_eq!(item.since, Some(at(0)));
        assert_eq!(item.hint, None);

        let mut deaf = Listener::new(ALL);
        deaf.hears(0, Critical, false, false);
        let item = plan(&deaf.known, &news, at(8), ALL).items.remove(0);
        assert_eq!(item.reason, "was CRITICAL: Critical indeed");
        assert_eq!((item.kind, item.since), (Kind::Missed, Some(at(0))));
    }
}

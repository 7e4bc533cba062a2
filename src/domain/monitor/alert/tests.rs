//! Cases of what a notifier is told.

#![allow(clippy::unwrap_used)]

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
            true => Finding::critical("x", format!("{object} is gone"), format!("get {object}")),
            false => Finding::warning("x", format!("{object} is worn"), format!("oil {object}")),
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

//! Of one check: what it found one by one, since when, and which of that a notifier was told. A check that is bad
//! already may find a second thing, which must not wait for the reminder of the first.
//!
//! What is no longer found is forgotten, so that it is new when it comes again; only where nothing could be looked at
//! it stays. A finding that grew worse is as good as a new one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::verdict::{State, Verdict};
use crate::{domain::setup::finding::Finding, util::clock::Time};

/// More of them are not told apart: a message names fewer.
const MOST: usize = 100;

/// By what a finding is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noticed(BTreeMap<String, Notice>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Notice {
    since: Time,
    /// As how bad it was told; None: it was not.
    told: Option<State>,
}

/// What is to be said of findings of which some are new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    pub reason: String,
    pub hint: Option<String>,
    /// Of the new ones.
    pub since: Time,
}

impl Noticed {
    /// Where only its state was noted: it counts as told with all that it finds now.
    pub fn told_as(verdict: &Verdict) -> Self {
        Self::default()
            .seen(verdict, Time::UNIX_EPOCH)
            .told(verdict)
    }

    /// With what is found now.
    #[must_use]
    pub fn seen(&self, verdict: &Verdict, now: Time) -> Self {
        if verdict.state == State::Unknown {
            return self.clone();
        }
        let notice = |(object, _): (&str, _)| {
            let new = Notice {
                since: now,
                told: None,
            };
            (
                object.to_owned(),
                self.0.get(object).cloned().unwrap_or(new),
            )
        };
        Self(named(verdict).map(notice).collect())
    }

    /// Once all that is found now was told.
    #[must_use]
    pub fn told(&self, verdict: &Verdict) -> Self {
        let mut told = self.clone();
        for (object, finding) in named(verdict) {
            if let Some(notice) = told.0.get_mut(object) {
                notice.told = Some(finding.state.into());
            }
        }
        told
    }

    /// What was not told, or as less bad than it is.
    pub fn new_of<'a>(&self, verdict: &'a Verdict) -> Vec<&'a Finding> {
        let is_told = |object: &str, finding: &Finding| {
            let told = self.0.get(object).and_then(|notice| notice.told);
            told >= Some(finding.state.into())
        };
        let new = named(verdict).filter(|(object, one)| !is_told(object, one));
        new.map(|(_, finding)| finding).collect()
    }

    /// The words where some are new and others aren't; None: those of the verdict say it.
    pub fn beside(&self, verdict: &Verdict, new: &[&Finding]) -> Option<Beside> {
        let is_new = |one: &Finding| new.contains(&one);
        let old = verdict.findings.iter().filter(|one| !is_new(one));
        let words = |findings: &mut dyn Iterator<Item = &Finding>| {
            let words: Vec<&str> = findings.map(|one| one.what.as_str()).collect();
            words.join("; ")
        };
        let old = words(&mut old.into_iter());
        let worst = new.iter().max_by_key(|one| one.state)?;
        let notices = new
            .iter()
            .filter_map(|one| self.0.get(one.object.as_ref()?));
        (!old.is_empty()).then_some(Beside {
            reason: format!(
                "new: {}; told before: {old}",
                words(&mut new.iter().copied())
            ),
            hint: worst.hint.clone(),
            since: notices.map(|notice| notice.since).min()?,
        })
    }

    /// Since when there is the newest.
    pub fn newest(&self) -> Option<Time> {
        self.0.values().map(|notice| notice.since).max()
    }
}

/// What can be told apart.
fn named(verdict: &Verdict) -> impl Iterator<Item = (&str, &Finding)> {
    let findings = verdict.findings.iter();
    let named = findings.filter_map(|one| Some((one.object.as_deref()?, one)));
    named.take(MOST)
}

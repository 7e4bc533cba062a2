//! The plan: what stays and what goes, each with its reasons. Pure: facts and rules in, decisions out.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    facts::{Facts, Known, Placed, Protects, Reader, SystemFacts, What},
    policy::{OlderWal, Policy},
    wal::{Anchor, WalKeeps},
    window::{self, Begin},
};
use crate::{
    postgres::lsn::SystemId,
    repo::{
        backup_id::BackupId,
        good::{self, Case},
        lack::Lack,
    },
    util::clock::Time,
};

#[derive(Debug)]
pub struct Plan {
    pub window: Window,
    /// Of everything that has a backup's id, oldest id first.
    pub backups: Vec<Decision>,
    /// Of each registered system.
    pub wal: Vec<WalKeeps>,
    /// What a person should look at.
    pub warnings: Vec<String>,
}

/// What stays restorable without a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// From this moment on; None: all, or by no rule.
    pub from: Option<Time>,
    pub what: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub id: BackupId,
    pub keep: bool,
    /// At least one.
    pub reasons: Vec<String>,
    pub stored_bytes: u64,
}

/// Decides. Where rules are missing, or nothing is good, all stays.
pub fn plan(facts: &Facts, policy: &Policy) -> Plan {
    let order = facts.ordered();
    let bad = good::bad(&cases(facts));
    let mut planner = Planner {
        facts,
        policy,
        good: order
            .iter()
            .rev()
            .filter(|placed| !bad.contains_key(&placed.backup.id))
            .copied()
            .collect(),
        order,
        bad,
        reasons: BTreeMap::new(),
        covers: BTreeSet::new(),
        warnings: Vec::new(),
    };
    let (begin, window) = match planner.why_all_stays() {
        Some(why) => {
            planner.want_all(&why);
            let what = format!("all that is there: {why}");
            (Begin::Ever, Window { from: None, what })
        }
        None => planner.apply_rules(),
    };
    planner.keep_unclear();
    planner.keep_unsynced();
    planner.keep_parents();
    let wal = planner.wal(begin);
    Plan {
        window,
        backups: planner.decisions(),
        wal,
        warnings: planner.warnings,
    }
}

/// What is to be judged of the backups.
fn cases(facts: &Facts) -> Vec<Case> {
    let case = |backup: &Known| {
        let system = facts.system(backup.system).filter(|_| !backup.standalone);
        Case {
            id: backup.id,
            parent: backup.parent,
            flaw: backup.problem.clone(),
            lacks: system.and_then(|system| {
                let needed = backup.needed(system.wal.size());
                system.wal.lacks(backup.timeline, &needed, &system.damaged)
            }),
        }
    };
    facts.backups.values().map(case).collect()
}

/// What is known and what is decided so far.
pub(super) struct Planner<'a> {
    pub(super) facts: &'a Facts,
    pub(super) policy: &'a Policy,
    /// Oldest first.
    pub(super) order: Vec<Placed<'a>>,
    /// Newest first.
    pub(super) good: Vec<Placed<'a>>,
    pub(super) bad: BTreeMap<BackupId, String>,
    /// Of all that stay.
    reasons: BTreeMap<BackupId, Vec<String>>,
    /// Those that cover the window's beginning, or lead to a timeline of it.
    pub(super) covers: BTreeSet<BackupId>,
    pub(super) warnings: Vec<String>,
}

impl Planner<'_> {
    fn why_all_stays(&mut self) -> Option<String> {
        if !self.policy.has_rule() {
            return Some("no rule of retention is set".to_owned());
        }
        let others = self.facts.others.iter();
        let others = others.map(|other| (other.id.to_string(), &other.note, other.protects));
        let readers = self.facts.readers.iter();
        let readers = readers.map(|reader| ("a restore".to_owned(), &reader.note, reader.protects));
        let mut all = others.chain(readers);
        let unclear = all.find(|(.., protects)| *protects == Protects::Everything);
        if let Some((who, note, _)) = unclear {
            let why = format!("nobody can say what {who} needs");
            self.warnings
                .push(format!("nothing is deleted, since {why}: {note}"));
            return Some(why);
        }
        for other in &self.facts.elsewhere {
            if let Err(error) = &other.held {
                let why = format!("nobody can say what repository {} lacks", other.name);
                self.warnings.push(format!(
                    "nothing is deleted, since {why}: {error} (--force-unsynced does without it)"
                ));
                return Some(why);
            }
        }
        if self.good.is_empty() {
            let why = "no backup is good".to_owned();
            if !self.facts.backups.is_empty() {
                self.warnings.push(format!(
                    "nothing is deleted, since {why}: take a new one with `pgstow base`"
                ));
            }
            return Some(why);
        }
        None
    }

    /// Has a backup stay.
    pub(super) fn want(&mut self, id: BackupId, why: String) {
        let reasons = self.reasons.entry(id).or_default();
        if !reasons.contains(&why) {
            reasons.push(why);
        }
    }

    pub(super) fn is_wanted(&self, id: BackupId) -> bool {
        self.reasons.contains_key(&id)
    }

    pub(super) fn want_all(&mut self, why: &str) {
        for id in self.facts.backups.keys() {
            self.want(*id, why.to_owned());
        }
    }

    /// What builds on a backup whose description can't be read, or is lost, may be good once it can: no rule
    /// sees it.
    fn keep_unclear(&mut self) {
        let others = self.facts.others.iter();
        let unclear = others.filter(|other| matches!(other.what, What::Unreadable | What::Lost));
        let mut unclear: BTreeSet<BackupId> = unclear.map(|other| other.id).collect();
        // A parent's id is lower, so that its turn comes before.
        for backup in self.facts.backups.values() {
            let parent = backup.parent.filter(|parent| unclear.contains(parent));
            if let Some(parent) = parent {
                let why = format!("nobody can say whether {parent}, which it builds on, is good");
                self.want(backup.id, why);
                unclear.insert(backup.id);
            }
        }
    }

    /// What a repository that `sync` fills has not got yet.
    fn keep_unsynced(&mut self) {
        for other in &self.facts.elsewhere {
            let Ok(held) = &other.held else { continue };
            for backup in self.facts.backups.values() {
                let Known {
                    id,
                    system,
                    timeline,
                    start,
                    ..
                } = *backup;
                if let Some(lack) = held.lacks_backup(id, system, timeline, start) {
                    self.want(id, other.reason(lack));
                }
            }
        }
    }

    /// An incremental backup is worth nothing without those that it builds on.
    fn keep_parents(&mut self) {
        let others = self.facts.others.iter();
        let others = others.map(|other| (other.protects, format!("{} builds on it", other.id)));
        let readers = self.facts.readers.iter();
        let readers = readers.map(|reader| (reader.protects, reader.note.clone()));
        for (protects, why) in others.chain(readers) {
            if let Protects::Part {
                parent: Some(parent),
                ..
            } = protects
                && self.facts.backups.contains_key(&parent)
            {
                self.want(parent, why);
            }
        }
        // A parent's id is lower, so that its turn comes later.
        for (id, backup) in self.facts.backups.iter().rev() {
            if self.reasons.contains_key(id)
                && let Some(parent) = self.facts.parent(backup)
            {
                self.want(parent.id, format!("{id} builds on it"));
            }
        }
    }

    fn wal(&self, begin: Begin) -> Vec<WalKeeps> {
        let systems = self.facts.systems.iter().enumerate();
        systems
            .map(|(number, system)| {
                let is_newest = number + 1 == self.facts.systems.len();
                self.wal_of(system, is_newest, begin)
            })
            .collect()
    }

    fn wal_of(&self, system: &SystemFacts, is_newest: bool, begin: Begin) -> WalKeeps {
        if begin == Begin::Ever {
            return WalKeeps::everything(system, "all backups stay".to_owned());
        }
        let stays =
            |backup: &Known| backup.system == system.id && self.reasons.contains_key(&backup.id);
        let in_window = |(place, placed): (usize, &Placed<'_>)| {
            let inside = match begin {
                Begin::Ever => true,
                Begin::At(time) => placed.ended >= time || self.covers.contains(&placed.backup.id),
                Begin::Backup(first) => place >= first || self.covers.contains(&placed.backup.id),
            };
            let inside = inside || self.policy.older_wal == OlderWal::All;
            (inside && stays(placed.backup)).then(|| Anchor::of(placed.backup))
        };
        let mut anchors: Vec<Anchor> = self
            .order
            .iter()
            .enumerate()
            .filter_map(in_window)
            .collect();
        let counted = anchors.len();
        anchors.extend(
            self.facts
                .others
                .iter()
                .filter_map(|other| anchor_of(other.id, other.protects, system.id)),
        );
        anchors.extend(
            self.facts
                .readers
                .iter()
                .filter_map(|reader| anchor_of_reader(reader, system.id)),
        );
        if counted == 0 {
            let reached = |time: Time| {
                let mut timelines = system.wal.timelines();
                timelines.any(|timeline| system.wal.arrived(timeline) >= Some(time))
            };
            let in_use = matches!(begin, Begin::At(time) if reached(time));
            if is_newest || in_use {
                let why = "no backup of this system is in the window yet".to_owned();
                return WalKeeps::everything(system, why);
            }
        }
        let timelines = window::timelines(self.facts, system);
        let needing = self.facts.backups.values().filter(|backup| stays(backup));
        let elsewhere = self.facts.elsewhere.iter();
        let lacking = elsewhere.flat_map(|other| {
            let held = other.held.as_ref().ok();
            let lacking = held.map(|held| held.lacks_wal(system.id, &system.wal));
            let why = other.reason(Lack::Absent);
            let lacking = lacking.unwrap_or_default().into_iter();
            lacking.map(move |missing| (missing, why.clone()))
        });
        WalKeeps::new(system, &timelines, &anchors, needing, lacking)
    }

    fn decisions(&mut self) -> Vec<Decision> {
        let mut decisions = Vec::with_capacity(self.facts.backups.len() + self.facts.others.len());
        for backup in self.facts.backups.values() {
            let mut reasons = self.reasons.remove(&backup.id).unwrap_or_default();
            let keep = !reasons.is_empty();
            if !keep {
                reasons.push("no rule wants it".to_owned());
            }
            if let Some(why) = self.bad.get(&backup.id) {
                reasons.push(format!("not good: {why}"));
            }
            decisions.push(Decision {
                id: backup.id,
                keep,
                reasons,
                stored_bytes: backup.stored_bytes,
            });
        }
        for other in &self.facts.others {
            let keep = match other.what {
                What::Pending | What::Running | What::Unreadable | What::Lost | What::Foreign => {
                    true
                }
                What::Dropped => false,
                // Nothing goes where nobody asked for it.
                What::Remains => !self.policy.has_rule(),
            };
            match other.what {
                What::Unreadable => self.warnings.push(format!("{}: {}", other.id, other.note)),
                What::Lost => self.warnings.push(other.note.clone()),
                _ => {}
            }
            decisions.push(Decision {
                id: other.id,
                keep,
                reasons: vec![other.note.clone()],
                stored_bytes: other.stored_bytes,
            });
        }
        decisions.sort_by_key(|decision| decision.id);
        decisions
    }
}

fn anchor_of(id: BackupId, protects: Protects, of: SystemId) -> Option<Anchor> {
    match protects {
        Protects::Part {
            system,
            timeline,
            from,
            ..
        } if system == of => Some(Anchor {
            id,
            timeline,
            start: from,
            stop: from,
        }),
        _ => None,
    }
}

fn anchor_of_reader(reader: &Reader, of: SystemId) -> Option<Anchor> {
    match reader.protects {
        Protects::Part {
            parent: Some(backup),
            ..
        } => anchor_of(backup, reader.protects, of),
        _ => None,
    }
}

//! Has the rules choose: each adds its reason to every backup that it wants. Pure.

use std::collections::BTreeMap;

use super::{
    plan::{Planner, Window},
    policy::Keep,
    window::{self, Begin},
};
use crate::{
    postgres::lsn::SystemId,
    repo::backup_id::BackupId,
    util::clock::{self, Time, readable},
};

/// A full backup and those that build on it.
#[derive(Clone, Debug)]
struct Chain {
    root: BackupId,
    system: SystemId,
    oldest_good: BackupId,
    members: Vec<BackupId>,
}

impl Planner<'_> {
    /// Applies all rules; where the window begins.
    pub(super) fn apply_rules(&mut self) -> (Begin, Window) {
        let (reference, why) = window::reference(self.facts.now, &self.good, self.policy.days);
        self.tell_of_clocks();
        self.by_pins(reference);
        self.by_calendar();
        let chains = self.chains();
        let min = self.policy.min as usize;
        self.by_count("min", Keep::Count(self.policy.min), &chains);
        if let Some(newest) = self.facts.systems.last() {
            // After pg_upgrade a wrong clock must not put the new system's backups behind the old one's.
            let of_newest = chains.iter().filter(|chain| chain.system == newest.id);
            let of_newest: Vec<Chain> = of_newest.cloned().collect();
            self.by_count("min", Keep::Count(self.policy.min), &of_newest);
        }
        if let Some(full) = self.policy.full {
            self.by_count("full", full, &chains);
        }
        let (begin, mut window) = match (self.policy.days, self.policy.full) {
            (Some(days), _) => self.by_days(days, reference),
            (None, Some(full)) => {
                let wanted = self.counted(|number| full.wants_more_than(number), &chains);
                self.since(wanted.iter(), "full")
            }
            (None, None) => {
                // The newest good one stays all the same.
                let rule = if min == 0 { "a cleanup always" } else { "min" };
                let wanted = self.counted(|number| number < min.max(1), &chains);
                self.since(wanted.iter(), rule)
            }
        };
        if let Begin::Backup(first) = begin {
            self.keep_ways(self.order[first].ended);
        }
        if let Some(why) = why.filter(|_| window.from.is_some() && self.policy.days.is_some()) {
            window.what = format!("{} ({why})", window.what);
        }
        self.keep_bad_ones(begin);
        (begin, window)
    }

    /// A backup of tomorrow was taken by a wrong clock, or this host has one.
    fn tell_of_clocks(&mut self) {
        let newest = self
            .facts
            .backups
            .values()
            .max_by_key(|backup| backup.stop_time);
        if let Some(newest) =
            newest.filter(|newest| clock::is_ahead(newest.stop_time, self.facts.now))
        {
            self.warnings.push(format!(
                "{} ended at {}, and here it is {}: a clock was or is wrong, and more stays than the rules want",
                newest.id,
                readable(newest.stop_time),
                readable(self.facts.now)
            ));
        }
    }

    fn by_pins(&mut self, now: Time) {
        for (id, pin) in &self.facts.pins {
            if pin.holds(now) && self.facts.backups.contains_key(id) {
                let until = pin.until.map(|until| format!(" until {}", readable(until)));
                let reason = pin.reason.as_ref().map(|reason| format!(": {reason}"));
                self.want(
                    *id,
                    format!(
                        "pinned{}{}",
                        until.unwrap_or_default(),
                        reason.unwrap_or_default()
                    ),
                );
            }
        }
    }

    fn by_calendar(&mut self) {
        // By their own times: one that was taken by a wrong clock gets a span of its own.
        let times: Vec<Time> = self
            .good
            .iter()
            .map(|placed| placed.backup.stop_time)
            .collect();
        for (number, why) in self.policy.by_calendar(&times) {
            self.want(self.good[number].backup.id, why);
        }
    }

    /// Full backups with those that build on them, of which at least one is good; that with the newest
    /// good one first.
    fn chains(&self) -> Vec<Chain> {
        let mut roots: BTreeMap<BackupId, BackupId> = BTreeMap::new();
        for (id, backup) in &self.facts.backups {
            let below = self
                .facts
                .parent(backup)
                .and_then(|parent| roots.get(&parent.id));
            let root = below.copied().unwrap_or(*id);
            roots.insert(*id, root);
        }
        let root = |id: &BackupId| roots.get(id).copied().unwrap_or(*id);
        let mut chains: Vec<Chain> = Vec::new();
        let mut number_of: BTreeMap<BackupId, usize> = BTreeMap::new();
        for placed in &self.good {
            let root = root(&placed.backup.id);
            let number = *number_of.entry(root).or_insert_with(|| {
                chains.push(Chain {
                    root,
                    system: placed.backup.system,
                    oldest_good: placed.backup.id,
                    members: Vec::new(),
                });
                chains.len() - 1
            });
            chains[number].oldest_good = placed.backup.id;
        }
        for id in self.facts.backups.keys() {
            if let Some(number) = number_of.get(&root(id)) {
                chains[*number].members.push(*id);
            }
        }
        chains
    }

    /// Those that a count of full backups wants. One that isn't good itself is not counted, though a good incremental
    /// one on top of it may be the newest good backup of all: such a chain stays beside those that count.
    fn counted<'c>(&self, wants: impl Fn(usize) -> bool, chains: &'c [Chain]) -> &'c [Chain] {
        let mut full = 0;
        let wanted = chains.iter().take_while(|chain| {
            let wanted = wants(full);
            full += usize::from(!self.bad.contains_key(&chain.root));
            wanted
        });
        &chains[..wanted.count()]
    }

    fn by_count(&mut self, rule: &str, keep: Keep, chains: &[Chain]) {
        let mut number = 0;
        for chain in self.counted(|number| keep.wants_more_than(number), chains) {
            let counts = !self.bad.contains_key(&chain.root);
            number += usize::from(counts);
            for id in &chain.members {
                let of = match keep {
                    Keep::Count(_) if !counts => {
                        format!("{rule}: beside those that count, since its full one is not good")
                    }
                    Keep::Count(count) => format!("{rule}: {number} of {count}"),
                    Keep::Forever => format!("{rule}: forever"),
                };
                match *id == chain.root {
                    true => self.want(*id, of),
                    false => self.want(*id, format!("{of}, with {}", chain.root)),
                }
            }
        }
    }

    fn by_days(&mut self, days: Keep, reference: Time) -> (Begin, Window) {
        let begin = match days {
            Keep::Count(days) => window::days_before(reference, days),
            Keep::Forever => None,
        };
        let Some(begin) = begin else {
            self.want_all("days: forever");
            let what = "all that is there: days = forever".to_owned();
            return (Begin::Ever, Window { from: None, what });
        };
        for placed in self
            .order
            .clone()
            .iter()
            .filter(|placed| placed.ended >= begin)
        {
            self.want(
                placed.backup.id,
                format!("days: ended in {}", window::describe(begin)),
            );
        }
        let covers = window::covers(self.facts, &self.good, begin, Time::lt);
        self.covers = covers.into_iter().map(|(_, id)| id).collect();
        for id in self.covers.clone() {
            self.want(
                id,
                format!(
                    "days: the newest good one before {}",
                    window::describe(begin)
                ),
            );
        }
        let days = match days {
            Keep::Count(1) => "day".to_owned(),
            other => format!("{other} days"),
        };
        let what = match self.covers.is_empty() {
            true => format!("the last {days}; no good backup is as old as that yet"),
            false => format!("the last {days}"),
        };
        (
            Begin::At(begin),
            Window {
                from: Some(begin),
                what,
            },
        )
    }

    /// The window begins at the end of the oldest good backup of these chains: not of the last of them, since one
    /// with a new incremental backup may have begun long before another.
    fn since<'c>(&self, chains: impl Iterator<Item = &'c Chain>, rule: &str) -> (Begin, Window) {
        let oldest: Vec<BackupId> = chains.map(|chain| chain.oldest_good).collect();
        let place = self
            .order
            .iter()
            .position(|placed| oldest.contains(&placed.backup.id));
        match place {
            Some(place) => {
                let placed = &self.order[place];
                let window = Window {
                    from: Some(placed.backup.stop_time),
                    what: format!(
                        "since the end of {}, the oldest that {rule} keeps",
                        placed.backup.id
                    ),
                };
                (Begin::Backup(place), window)
            }
            None => (
                Begin::Ever,
                Window {
                    from: None,
                    what: "there is no backup yet".to_owned(),
                },
            ),
        }
    }

    /// Where the past was restored, all that was counted may be of a timeline that was left. To each timeline
    /// of the window, the living server's above all, a good backup must lead, and to all of it that is in the
    /// window: over a hole in the archive only those behind it do, so that none goes that was taken meanwhile.
    fn keep_ways(&mut self, begin: Time) {
        for placed in self.good.clone() {
            if placed.ended >= begin {
                self.want_too(
                    placed.backup.id,
                    format!("ended in {}", window::describe(begin)),
                );
            }
        }
        // That at whose end the window begins is one of its own.
        for (timeline, id) in window::covers(self.facts, &self.good, begin, Time::le) {
            self.covers.insert(id);
            self.want_too(
                id,
                format!("the newest good one that leads to timeline {timeline}"),
            );
        }
    }

    /// Has a backup stay that nothing else wants.
    fn want_too(&mut self, id: BackupId, why: String) {
        if !self.is_wanted(id) {
            self.want(id, why);
        }
    }

    /// What isn't good never counts, but goes only when good ones of its age would.
    fn keep_bad_ones(&mut self, begin: Begin) {
        let newest_good = self.good.first().map(|newest| newest.backup.id);
        let place = self
            .order
            .iter()
            .position(|placed| Some(placed.backup.id) == newest_good);
        for (number, placed) in self.order.clone().iter().enumerate() {
            if !self.bad.contains_key(&placed.backup.id) {
                continue;
            }
            if place.is_none_or(|place| number > place) {
                self.want(
                    placed.backup.id,
                    "newer than the newest good one".to_owned(),
                );
            } else if begin == Begin::Ever
                || matches!(begin, Begin::Backup(first) if number >= first)
            {
                self.want(placed.backup.id, "not older than the window".to_owned());
            }
        }
    }
}

//! Random lives of a cluster: backups of every kind, promotions, restores to the past, upgrades, holes,
//! damage. Whatever the rules, no moment of the window is lost, nor what a backup that stays needs. What
//! can be restored is judged here, step by step, from segments and histories alone.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use pgstow::{
    domain::retention::{
        facts::{Known, Protects, What},
        plan::{Plan, plan},
        policy::{Keep, OlderWal, Policy},
        wal::WalKeeps,
    },
    postgres::wal_name::Segment,
    repo::backup_id::BackupId,
    util::clock::Time,
};

use super::story::{Story, no_rules, tli};
use crate::harness::random::{Random, rounds};

/// A segment of a timeline of a system, by the position of the system.
type Place = (usize, u32, u64);

/// What really happened; the story has what is seen of it.
struct Life {
    story: Story,
    random: Random,
    now: Time,
    /// When each segment arrived that is stored.
    arrived: BTreeMap<Place, Time>,
    /// Of each timeline but the first of a system: its parent, and the segment in which it left it.
    forks: BTreeMap<(usize, u32), (u32, u64)>,
    system: usize,
    timeline: u32,
    /// Being written.
    segment: u64,
}

impl Life {
    fn new(random: Random) -> Self {
        let story = Story::new("", "01-01");
        let now = story.facts.now;
        Self {
            story,
            random,
            now,
            arrived: BTreeMap::new(),
            forks: BTreeMap::new(),
            system: 0,
            timeline: 1,
            segment: 1,
        }
    }

    fn chance(&mut self, of: u64) -> bool {
        self.random.below(of) == 0
    }

    fn pass(&mut self, minutes: u64) {
        let minutes = 1 + self.random.below(minutes);
        self.now += TimeDelta::minutes(minutes as i64);
    }

    /// The segment that is being written is full, and mostly arrives.
    fn archive(&mut self) {
        self.pass(180);
        let place = (self.system, self.timeline, self.segment);
        self.segment += 1;
        if self.chance(150) {
            return;
        }
        self.arrived.insert(place, self.now);
        let wal = &mut self.story.facts.systems[self.system].wal;
        wal.add(Segment::nth(tli(place.1), place.2, wal.size()));
        wal.note_arrival(tli(place.1), self.now);
    }

    fn base(&mut self) {
        let first = self.segment;
        for _ in 0..self.random.below(3) {
            self.archive();
        }
        let ended = self.now;
        let newest = self.newest_on_the_way();
        let parent = newest.filter(|_| self.random.below(3) > 0);
        let kind = if parent.is_some() { "incr" } else { "full" };
        let text = ended.format("%Y-%m-%d %H:%M").to_string();
        let id = self
            .story
            .backup(&text, kind, self.timeline, first..=self.segment, parent);
        let standalone = self.chance(20);
        let damaged = self.chance(12);
        let known = self.story.known(id);
        known.standalone = standalone;
        known.problem = damaged.then(|| "it has 1 damaged page".to_owned());
        // A backup ends with a switch to the next segment.
        self.archive();
    }

    /// What the next incremental backup would build on.
    fn newest_on_the_way(&self) -> Option<BackupId> {
        let way = self.way(self.timeline);
        let backups = self.story.facts.backups.values();
        let ours = backups.filter(|known| self.number(known) == self.system);
        let on_the_way = ours.filter(|known| self.is_on(&way, known));
        on_the_way
            .max_by_key(|known| known.stop)
            .map(|known| known.id)
    }

    /// Another timeline begins: at the end, or anywhere in the past that was archived.
    fn promote(&mut self) {
        let first = self
            .arrived
            .keys()
            .filter(|place| (place.0, place.1) == (self.system, self.timeline));
        let first = first.map(|place| place.2).min();
        let own_start = self
            .forks
            .get(&(self.system, self.timeline))
            .map_or(1, |fork| fork.1);
        let fork = match first {
            Some(first) if self.chance(2) => {
                let from = first.max(own_start) + 1;
                from + self.random.below(self.segment.saturating_sub(from).max(1))
            }
            _ => self.segment,
        };
        let fork = fork.clamp(own_start + 1, self.segment.max(own_start + 1));
        let newest = self
            .forks
            .keys()
            .filter(|key| key.0 == self.system)
            .map(|key| key.1)
            .max();
        let own = newest.unwrap_or(1) + 1;
        self.pass(300);
        self.forks.insert((self.system, own), (self.timeline, fork));
        self.story.fork(own, self.timeline, fork);
        self.story.facts.systems[self.system]
            .wal
            .note_arrival(tli(own), self.now);
        (self.timeline, self.segment) = (own, fork);
    }

    fn upgrade(&mut self) {
        self.story.upgrade();
        self.system += 1;
        (self.timeline, self.segment) = (1, 1);
    }

    fn live(&mut self) {
        for _ in 0..60 + self.random.below(200) {
            match self.random.below(60) {
                0 => self.promote(),
                1 if self.chance(8) => self.upgrade(),
                2..=9 => self.base(),
                10 => self.pass(5000),
                _ => self.archive(),
            }
        }
        if self.chance(3) {
            self.pass(3000);
            let from = self.segment.saturating_sub(self.random.below(4)).max(1);
            let parent = self
                .newest_on_the_way()
                .filter(|_| self.random.below(2) == 0);
            let kind = if parent.is_some() { "incr" } else { "full" };
            let protects = match self.story.protects(from, parent) {
                Protects::Part {
                    parent,
                    system,
                    from,
                    ..
                } => Protects::Part {
                    parent,
                    system,
                    timeline: tli(self.timeline),
                    from,
                },
                other => other,
            };
            let what = if self.chance(2) {
                What::Running
            } else {
                What::Pending
            };
            let id = format!(
                "{}-{kind}",
                (self.now + TimeDelta::seconds(1)).format("%Y%m%dT%H%M%SZ")
            );
            self.story.other(&id, what, protects);
        }
        self.pass(2000);
        self.story.facts.now = self.now;
    }

    fn policy(&mut self) -> Policy {
        let mut keep = |most: u64| match self.random.below(4) {
            0 => Some(Keep::Count(1 + self.random.below(most) as u32)),
            _ => None,
        };
        let mut policy = Policy {
            full: keep(5),
            days: keep(20),
            daily: keep(9),
            weekly: keep(4),
            monthly: keep(3),
            yearly: keep(2),
            ..no_rules()
        };
        policy.min = self.random.below(4) as u32;
        if self.chance(2) {
            policy.days = Some(Keep::Count(1 + self.random.below(12) as u32));
        }
        if self.chance(4) {
            policy.older_wal = OlderWal::All;
        }
        policy
    }

    fn number(&self, known: &Known) -> usize {
        let systems = self.story.facts.systems.iter();
        systems
            .take_while(|system| system.id != known.system)
            .count()
    }

    /// The timelines that lead to `timeline` and the segment in which each begins, oldest first.
    fn way_of(&self, system: usize, timeline: u32) -> Vec<(u32, u64)> {
        let mut way = vec![(timeline, 0)];
        while let Some((parent, fork)) = self.forks.get(&(system, way[0].0)) {
            way[0].1 = *fork;
            way.insert(0, (*parent, 0));
        }
        way
    }

    fn way(&self, timeline: u32) -> Vec<(u32, u64)> {
        self.way_of(self.system, timeline)
    }

    /// Whether the end of a backup lies on the way: it is before the fork that leaves its timeline. The
    /// story has forks at 0x800 of their segment and ends of backups at 0x1000.
    fn is_on(&self, way: &[(u32, u64)], known: &Known) -> bool {
        let at = way
            .iter()
            .position(|(timeline, _)| *timeline == known.timeline.get());
        let Some(at) = at else { return false };
        let end = known.stop.0 >> 24;
        way.get(at + 1).is_none_or(|(_, fork)| end < *fork) && (at == 0 || end >= way[at].1)
    }

    /// Whether recovery from `known` comes to the segment `to` of the last timeline of `way`, with the
    /// WAL that `there` has.
    fn replays(
        &self,
        known: &Known,
        way: &[(u32, u64)],
        to: u64,
        there: &dyn Fn(Place) -> bool,
    ) -> bool {
        let system = self.number(known);
        let (start, end) = (known.start.0 >> 24, known.stop.0 >> 24);
        if !self.is_on(way, known) || to < end {
            return false;
        }
        (start..=to).all(|segment| {
            // Before the backup's own end its own timeline holds.
            let of_way = way.iter().rev().find(|(_, begin)| *begin <= segment);
            let timeline = match segment <= end {
                true => known.timeline.get(),
                false => of_way.unwrap().0,
            };
            (known.standalone && segment <= end) || there((system, timeline, segment))
        })
    }

    /// Backups with sound files, down to a full one.
    fn sound(&self, kept: &BTreeSet<BackupId>) -> BTreeSet<BackupId> {
        let mut sound = BTreeSet::new();
        for (id, known) in &self.story.facts.backups {
            let below = known.parent.is_none_or(|parent| sound.contains(&parent));
            if kept.contains(id) && known.problem.is_none() && below {
                sound.insert(*id);
            }
        }
        sound
    }

    fn is_good(
        &self,
        known: &Known,
        sound: &BTreeSet<BackupId>,
        there: &dyn Fn(Place) -> bool,
    ) -> bool {
        let own = [(known.timeline.get(), 0)];
        sound.contains(&known.id) && self.replays(known, &own, known.stop.0 >> 24, there)
    }

    fn check(&self, policy: &Policy, plan: &Plan) {
        let facts = &self.story.facts;
        let all: BTreeSet<BackupId> = facts.backups.keys().copied().collect();
        let kept = plan.backups.iter().filter(|decision| decision.keep);
        let kept: BTreeSet<BackupId> = kept.map(|decision| decision.id).collect();
        let before = |place: Place| self.arrived.contains_key(&place);
        let after = |place: Place| before(place) && keeps(&plan.wal, facts, place);
        let (sound, still_sound) = (self.sound(&all), self.sound(&kept));
        let good = |known: &&Known| self.is_good(known, &sound, &before);

        // What a backup that stays needs is still there.
        for known in facts
            .backups
            .values()
            .filter(|known| kept.contains(&known.id))
        {
            assert!(
                known
                    .parent
                    .is_none_or(|parent| kept.contains(&parent) || !all.contains(&parent))
            );
            if good(&known) {
                assert!(
                    self.is_good(known, &still_sound, &after),
                    "{} lost its WAL",
                    known.id
                );
            }
        }
        for other in &facts.others {
            let Protects::Part {
                parent,
                timeline,
                from,
                ..
            } = other.protects
            else {
                unreachable!()
            };
            assert!(parent.is_none_or(|parent| kept.contains(&parent)));
            let own =
                (self.system, timeline.get(), from.0 >> 24)..(self.system, timeline.get() + 1, 0);
            for (place, _) in self.arrived.range(own) {
                assert!(after(*place), "{} lost {place:?}", other.id);
            }
        }
        // The floor.
        let chains = |kept: &BTreeSet<BackupId>| {
            let good = facts
                .backups
                .values()
                .filter(good)
                .filter(|known| kept.contains(&known.id));
            let roots: BTreeSet<BackupId> = good.map(|known| self.root(known)).collect();
            roots.len()
        };
        let floor = (policy.min as usize).max(1).min(chains(&all));
        assert!(
            chains(&kept) >= floor,
            "{} of {} stay",
            chains(&kept),
            chains(&all)
        );
        // Counted by full ones that are good themselves.
        let fulls = |kept: &BTreeSet<BackupId>| {
            let fulls = facts.backups.values().filter(good);
            let fulls = fulls.filter(|known| known.parent.is_none());
            fulls.filter(|known| kept.contains(&known.id)).count()
        };
        let floor = (policy.min as usize).min(fulls(&all));
        assert!(fulls(&kept) >= floor, "{} full ones stay", fulls(&kept));
        let newest = facts
            .backups
            .values()
            .filter(good)
            .max_by_key(|known| known.stop_time);
        assert!(newest.is_none_or(|newest| kept.contains(&newest.id)));

        // Every moment of the window.
        let begin = match (policy.days, plan.window.from) {
            (Some(Keep::Count(days)), _) => self.now - TimeDelta::days(days.into()),
            (None, Some(from)) => from,
            _ => return,
        };
        for (place, arrived) in self.arrived.iter().filter(|(_, arrived)| **arrived > begin) {
            let (system, timeline, segment) = *place;
            let way = self.way_of(system, timeline);
            let restorable = |sound: &BTreeSet<BackupId>, there: &dyn Fn(Place) -> bool| {
                let ours = facts
                    .backups
                    .values()
                    .filter(|known| self.number(known) == system);
                let mut ours = ours.filter(|known| known.stop_time < *arrived);
                ours.any(|known| {
                    self.is_good(known, sound, there) && self.replays(known, &way, segment, there)
                })
            };
            if restorable(&sound, &before) {
                assert!(
                    restorable(&still_sound, &after),
                    "{place:?} of {arrived} is lost"
                );
            }
        }
    }

    fn root(&self, known: &Known) -> BackupId {
        let parent = known
            .parent
            .and_then(|parent| self.story.facts.backups.get(&parent));
        parent.map_or(known.id, |parent| self.root(parent))
    }

    /// Deletes what the plan says.
    fn apply(&mut self, plan: &Plan) {
        let facts = &self.story.facts;
        self.arrived
            .retain(|place, _| keeps(&plan.wal, facts, *place));
        let gone = plan.backups.iter().filter(|decision| !decision.keep);
        let gone: BTreeSet<BackupId> = gone.map(|decision| decision.id).collect();
        self.story.facts.backups.retain(|id, _| !gone.contains(id));
        for (number, system) in self.story.facts.systems.iter_mut().enumerate() {
            let mut wal = pgstow::repo::wal_index::WalIndex::new(system.wal.size());
            for ((of, timeline, segment), arrived) in &self.arrived {
                if *of == number {
                    wal.add(Segment::nth(tli(*timeline), *segment, wal.size()));
                    wal.note_arrival(tli(*timeline), *arrived);
                }
            }
            // Histories stay.
            for timeline in system.histories.keys() {
                if let Some(arrived) = system.wal.arrived(*timeline) {
                    wal.note_arrival(*timeline, arrived);
                }
            }
            system.wal = wal;
        }
    }
}

fn keeps(wal: &[WalKeeps], facts: &pgstow::domain::retention::facts::Facts, place: Place) -> bool {
    let size = facts.systems[place.0].wal.size();
    wal[place.0].keeps(Segment::nth(tli(place.1), place.2, size))
}

#[test]
fn nothing_that_is_wanted_is_ever_lost() {
    let mut random = Random::new("nothing_that_is_wanted_is_ever_lost");
    let (mut deleted, mut segments) = (0, 0);
    for _ in 0..rounds(400, 20_000) {
        let seed = random.below(u64::MAX);
        let mut life = Life::new(Random::seeded(seed));
        println!("life {seed}");
        life.live();
        let policy = life.policy();
        println!("{policy:?}");
        let first = plan(&life.story.facts, &policy);
        life.check(&policy, &first);
        deleted += first
            .backups
            .iter()
            .filter(|decision| !decision.keep)
            .count();
        let before = life.arrived.len();
        life.apply(&first);
        segments += before - life.arrived.len();
        // The next run has nothing left to do, so that one that was interrupted is finished by it.
        let again = plan(&life.story.facts, &policy);
        let left = again.backups.iter().find(|decision| !decision.keep);
        assert_eq!(left, None);
        let facts = &life.story.facts;
        assert!(
            life.arrived
                .keys()
                .all(|place| keeps(&again.wal, facts, *place))
        );
    }
    assert!(
        deleted > 100 && segments > 1000,
        "{deleted} backups, {segments} segments"
    );
}

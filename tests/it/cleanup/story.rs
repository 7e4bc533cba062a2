//! A made-up repository: backups, WAL and timelines as values, for the planner alone.

use std::collections::BTreeMap;

use pgstow::{
    domain::retention::{
        facts::{Facts, Known, Other, Protects, SystemFacts, What},
        plan::{Plan, plan},
        policy::{Keep, OlderWal, Policy},
    },
    postgres::{
        lsn::{Lsn, SystemId, TimelineId},
        timeline::TimelineHistory,
        wal_name::{Segment, SegmentSize},
    },
    repo::{backup_id::BackupId, document::FORMAT, pins::Pin, wal_index::WalIndex},
    util::{clock::Time, zone::Zone},
};

/// Of 16 MiB.
const SEGMENT: u64 = 16 << 20;

pub fn tli(id: u32) -> TimelineId {
    TimelineId::new(id).unwrap()
}

/// `2026-11-21T02:00:00Z` of `11-21` or `11-21 02:00`; another year than 2026 stands before it.
pub fn time(text: &str) -> Time {
    let (date, clock) = text.split_once(' ').unwrap_or((text, "02:00"));
    let date = match date.len() {
        5 => format!("2026-{date}"),
        _ => date.to_owned(),
    };
    format!("{date}T{clock}:00Z").parse().unwrap()
}

/// A position in the segment with that number.
pub fn within(segment: u64, offset: u64) -> Lsn {
    Lsn(segment * SEGMENT + offset)
}

pub fn empty_system(id: u64) -> SystemFacts {
    SystemFacts {
        damaged: Vec::new(),
        id: SystemId(id),
        wal: WalIndex::new(SegmentSize::new(SEGMENT as u32).unwrap()),
        histories: BTreeMap::new(),
        rootless: Default::default(),
    }
}

pub fn no_rules() -> Policy {
    Policy {
        full: None,
        days: None,
        daily: None,
        weekly: None,
        monthly: None,
        yearly: None,
        min: 1,
        older_wal: OlderWal::Window,
        zone: Zone::named("UTC").unwrap(),
    }
}

/// Rules as in `full=2 days=7 wal=all`.
pub fn rules(text: &str) -> Policy {
    let mut policy = no_rules();
    for rule in text.split_whitespace() {
        let (name, value) = rule.split_once('=').unwrap();
        let keep = match value {
            "forever" => Some(Keep::Forever),
            _ => value.parse().ok().map(Keep::Count),
        };
        match name {
            "full" => policy.full = keep,
            "days" => policy.days = keep,
            "daily" => policy.daily = keep,
            "weekly" => policy.weekly = keep,
            "monthly" => policy.monthly = keep,
            "yearly" => policy.yearly = keep,
            "min" => policy.min = value.parse().unwrap(),
            "wal" => policy.older_wal = OlderWal::All,
            "zone" => policy.zone = Zone::named(value).unwrap(),
            _ => panic!("{name}"),
        }
    }
    policy
}

pub struct Story {
    pub facts: Facts,
    title: String,
}

impl Story {
    /// Of one system, seen at that time.
    pub fn new(title: &str, now: &str) -> Self {
        Self {
            facts: Facts {
                now: time(now),
                systems: vec![empty_system(1)],
                backups: BTreeMap::new(),
                others: Vec::new(),
                pins: BTreeMap::new(),
                readers: Vec::new(),
                elsewhere: Vec::new(),
            },
            title: title.to_owned(),
        }
    }

    /// A further system, as after pg_upgrade. What comes from now on is of it.
    pub fn upgrade(&mut self) {
        let number = self.facts.systems.len() as u64 + 1;
        self.facts.systems.push(empty_system(number));
    }

    fn system(&mut self) -> &mut SystemFacts {
        self.facts.systems.last_mut().unwrap()
    }

    /// A full backup on timeline 1 that needs the one segment.
    pub fn full(&mut self, ended: &str, segment: u64) -> BackupId {
        self.backup(ended, "full", 1, segment..=segment, None)
    }

    pub fn incr(&mut self, ended: &str, segment: u64, parent: BackupId) -> BackupId {
        self.backup(ended, "incr", 1, segment..=segment, Some(parent))
    }

    pub fn backup(
        &mut self,
        ended: &str,
        kind: &str,
        timeline: u32,
        segments: std::ops::RangeInclusive<u64>,
        parent: Option<BackupId>,
    ) -> BackupId {
        let ended = time(ended);
        let id = format!("{}-{kind}", ended.format("%Y%m%dT%H%M%SZ"));
        let id: BackupId = id.parse().unwrap();
        let known = Known {
            id,
            parent,
            system: self.system().id,
            timeline: tli(timeline),
            start: within(*segments.start(), 0x28),
            stop: within(*segments.end(), 0x1000),
            stop_time: ended,
            standalone: false,
            stored_bytes: 0,
            problem: None,
        };
        self.facts.backups.insert(id, known);
        id
    }

    pub fn known(&mut self, id: BackupId) -> &mut Known {
        self.facts.backups.get_mut(&id).unwrap()
    }

    /// Segments of a timeline, the last of which arrived at that time.
    pub fn wal(&mut self, timeline: u32, numbers: std::ops::RangeInclusive<u64>, arrived: &str) {
        let system = self.system();
        for number in numbers {
            system
                .wal
                .add(Segment::nth(tli(timeline), number, system.wal.size()));
        }
        system.wal.note_arrival(tli(timeline), time(arrived));
    }

    /// Timeline `own` left `parent` within the segment with that number.
    pub fn fork(&mut self, own: u32, parent: u32, segment: u64) {
        let system = self.system();
        let mut history = match system.histories.get(&tli(parent)) {
            Some(history) => history.clone(),
            None => TimelineHistory::without_ancestors(tli(parent)),
        };
        history
            .ancestors
            .push(pgstow::postgres::timeline::Ancestor {
                timeline: tli(parent),
                switch: within(segment, 0x800),
                reason: String::new(),
            });
        history.own = tli(own);
        system.histories.insert(tli(own), history);
    }

    pub fn other(&mut self, id: &str, what: What, protects: Protects) {
        let id = id.parse().unwrap();
        self.facts.others.push(Other {
            id,
            what,
            stored_bytes: 0,
            note: format!("{what:?}").to_lowercase(),
            protects,
        });
    }

    pub fn protects(&mut self, segment: u64, parent: Option<BackupId>) -> Protects {
        Protects::Part {
            parent,
            system: self.system().id,
            timeline: tli(1),
            from: within(segment, 0x28),
        }
    }

    pub fn pin(&mut self, backup: BackupId, until: Option<&str>) {
        let pin = Pin {
            format: FORMAT,
            backup,
            pinned: true,
            reason: Some("an audit".to_owned()),
            until: until.map(time),
            time: self.facts.now,
            host: String::new(),
        };
        self.facts.pins.insert(backup, pin);
    }

    /// What is decided, for a golden file.
    pub fn told(&self, rules_text: &str) -> String {
        let plan = plan(&self.facts, &rules(rules_text));
        format!(
            "== {}\nrules: {rules_text}\n{}\n",
            self.title,
            self.describe(&plan)
        )
    }

    fn describe(&self, plan: &Plan) -> String {
        let word = |keep| if keep { "keep" } else { "DELETE" };
        let mut lines = vec![format!("window: {}", plan.window.what)];
        for decision in &plan.backups {
            let reasons = decision.reasons.join("; ");
            lines.push(format!(
                "{:<6}  {}  {reasons}",
                word(decision.keep),
                decision.id
            ));
        }
        for (system, keeps) in self.facts.systems.iter().zip(&plan.wal) {
            for row in keeps.rows(system) {
                let numbers = match row.numbers.start() == row.numbers.end() {
                    true => row.numbers.start().to_string(),
                    false => format!("{}..{}", row.numbers.start(), row.numbers.end()),
                };
                let place = match self.facts.systems.len() {
                    1 => format!("timeline {}", row.timeline),
                    _ => format!("system {} timeline {}", system.id, row.timeline),
                };
                lines.push(format!(
                    "{:<6}  WAL of {place}: {numbers}  {}",
                    word(row.keep),
                    row.reason
                ));
            }
        }
        lines.extend(
            plan.warnings
                .iter()
                .map(|warning| format!("warning: {warning}")),
        );
        lines.join("\n") + "\n"
    }
}

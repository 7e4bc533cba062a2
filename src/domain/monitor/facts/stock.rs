//! What repositories hold of all systems of a cluster, and what the next cleanup of each would do. Gathered
//! only where it is shown: it costs two listings more.

use std::time::Instant;

use super::{Subject, Watched, heard};
use crate::{
    domain::{
        list::{self, Listing},
        retention::{
            facts::SystemFacts,
            policy::Policy,
            run::{self, Order, Outcome},
        },
        wal::continuity,
    },
    error::Result,
    postgres::{
        lsn::{SystemId, TimelineId},
        timeline::TimelineHistory,
        wal_name::Segment,
    },
    repo::{
        missing::Numbers,
        repository::{Repository, System},
    },
    util::{cancel::Cancel, clock::Time, errand::Errand, meter::Meter},
};

/// Stretches and gaps of one system whose times are looked up: the newest.
const TIMED: usize = 60;

/// A repository, and what it holds.
#[derive(Debug)]
pub struct Shelf {
    pub name: String,
    pub place: String,
    pub stock: Result<Stock>,
}

#[derive(Debug)]
pub struct Stock {
    pub listing: Listing,
    /// Of each registered system, in that order.
    pub wal: Vec<SystemWal>,
    /// Of a dry run.
    pub cleanup: Outcome,
}

/// Where a system's WAL is whole, and where it has gaps that retention didn't cut.
#[derive(Debug)]
pub struct SystemWal {
    pub system: SystemId,
    pub stretches: Vec<Stretch>,
    pub gaps: Vec<Stretch>,
    /// Older stretches and gaps that are left out.
    pub left_out: usize,
}

/// Segments of one timeline that follow one another, or are missing.
#[derive(Clone, Debug)]
pub struct Stretch {
    pub timeline: TimelineId,
    pub first: Segment,
    pub last: Segment,
    /// When the first and the last of them arrived; of a gap those before and behind it.
    pub from: Option<Time>,
    pub to: Option<Time>,
}

/// What is on its way.
pub struct Sent(Vec<(String, String, Errand<Stock>)>);

impl Subject {
    /// Has somebody look at each repository; `policies` are theirs, in the same order.
    pub fn send_for_stock(&self, policies: &[Policy], cancel: &Cancel) -> Sent {
        let send = |(watched, policy): (&Watched, &Policy)| {
            let (name, place) = (watched.name.clone(), watched.location.to_string());
            let what = format!("looking at repository {name} at {place}");
            let (watched, policy) = (watched.clone(), policy.clone());
            let (cluster, stop) = (self.cluster.clone(), cancel.clone());
            let order = Order {
                policy,
                dry_run: true,
                drop_pending: None,
                synced: Order::filled_from(&name, &self.synced),
            };
            let errand = Errand::send(what, move || {
                Stock::gather(&watched.open(cluster)?, &order, &stop)
            });
            (name, place, errand)
        };
        Sent(self.repositories.iter().zip(policies).map(send).collect())
    }
}

impl Sent {
    /// An error only if a stop was asked for.
    pub fn wait(self, until: Instant, cancel: &Cancel) -> Result<Vec<Shelf>> {
        let sent = self.0.into_iter();
        sent.map(|(name, place, errand)| {
            let stock = heard(errand.wait(until, cancel))?;
            Ok(Shelf { name, place, stock })
        })
        .collect()
    }
}

impl Stock {
    fn gather(repository: &Repository, order: &Order, cancel: &Cancel) -> Result<Self> {
        let listing = Listing::gather(repository, None, &[])?;
        let cleanup = run::run(repository, order, cancel, &Meter::default())?;
        let systems = cleanup.facts.systems.iter();
        let wal = systems.map(|facts| SystemWal::gather(repository, facts));
        Ok(Self {
            wal: wal.collect::<Result<_>>()?,
            listing,
            cleanup,
        })
    }
}

impl SystemWal {
    fn gather(repository: &Repository, facts: &SystemFacts) -> Result<Self> {
        let system = repository.system(facts.id)?;
        let look = Look {
            repository,
            system: &system,
        };
        let timelines = facts.wal.timelines();
        let stretches = timelines.flat_map(|timeline| {
            let ranges = facts.wal.ranges(timeline).iter();
            ranges.map(move |numbers| (timeline, numbers.clone()))
        });
        let histories: Vec<TimelineHistory> = facts.histories.values().cloned().collect();
        let cut = repository.cut(&system)?;
        let holes = continuity::holes(&facts.wal, &histories).into_iter();
        let gaps = holes.filter_map(|hole| {
            let lost = cut.lost(hole)?;
            Some((lost.timeline, lost.first..=lost.last))
        });
        let (stretches, fewer_stretches) = newest(stretches);
        let (gaps, fewer_gaps) = newest(gaps);
        let stretch = |(timeline, numbers)| look.stretch(timeline, &numbers);
        let gap = |(timeline, numbers)| look.gap(timeline, &numbers);
        Ok(Self {
            system: facts.id,
            stretches: stretches.into_iter().map(stretch).collect(),
            gaps: gaps.into_iter().map(gap).collect(),
            left_out: fewer_stretches + fewer_gaps,
        })
    }
}

/// The last ones, and how many came before them.
fn newest<T>(all: impl Iterator<Item = T>) -> (Vec<T>, usize) {
    let mut all: Vec<T> = all.collect();
    let older = all.len().saturating_sub(TIMED);
    (all.split_off(older), older)
}

struct Look<'a> {
    repository: &'a Repository,
    system: &'a System,
}

impl Look<'_> {
    fn stretch(&self, timeline: TimelineId, numbers: &Numbers) -> Stretch {
        let (first, last) = self.ends(timeline, numbers);
        Stretch {
            timeline,
            first,
            last,
            from: self.arrived(first),
            to: self.arrived(last),
        }
    }

    fn gap(&self, timeline: TimelineId, numbers: &Numbers) -> Stretch {
        let (first, last) = self.ends(timeline, numbers);
        let nth = |number| Segment::nth(timeline, number, self.system.segment_size);
        let before = numbers.start().checked_sub(1).map(nth);
        Stretch {
            timeline,
            first,
            last,
            from: before.and_then(|before| self.arrived(before)),
            to: self.arrived(nth(numbers.end() + 1)),
        }
    }

    fn ends(&self, timeline: TimelineId, numbers: &Numbers) -> (Segment, Segment) {
        let nth = |number| Segment::nth(timeline, number, self.system.segment_size);
        (nth(*numbers.start()), nth(*numbers.end()))
    }

    fn arrived(&self, segment: Segment) -> Option<Time> {
        list::archived(self.repository, self.system, segment)
    }
}

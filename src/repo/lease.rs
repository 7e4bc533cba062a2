//! One at a time: `locks/<purpose>-<n>.json`, of which the highest number holds.
//!
//! Who wants the lease creates the next number, which only one can; who holds it renews it by the next
//! number. It ends when its holder says so, 5 minutes after its time, or at once where its holder was a
//! process of this host that is gone. The newest one stays, so that numbers never begin again: a holder
//! that slept sees that it was overtaken.

use std::{cmp::Ordering, collections::BTreeMap};

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{
    document::FORMAT,
    missing::Missing,
    repository::{Repository, System},
};
use crate::{
    error::{Error, Kind, Result},
    postgres::{
        lsn::{SystemId, TimelineId},
        wal_name::Segment,
    },
    util::{
        clock::{self, Time, readable},
        host::ProcessId,
    },
};

/// How long a lease holds. Renewed when half of it is over.
const TERM: TimeDelta = TimeDelta::minutes(10);

/// How long after its end nobody takes it over: clocks differ.
const GRACE: TimeDelta = TimeDelta::minutes(5);

/// The lease of who deletes by the rules of retention.
pub const CLEANUP: &str = "cleanup";

/// The lease of who copies into the repository.
pub const SYNC: &str = "sync";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Held {
    pub format: u32,
    pub purpose: String,
    pub number: u64,
    pub time: Time,
    pub until: Time,
    /// Its holder is done.
    pub released: bool,
    #[serde(flatten)]
    pub process: ProcessId,
    /// What the holder and those before it did to the WAL.
    #[serde(default)]
    pub wal_from: Vec<WalFrom>,
}

/// On this timeline all WAL is kept from a segment on. What is missing before it was deleted by the
/// rules, but for what the backups that stayed need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalFrom {
    pub system_id: SystemId,
    pub segment: Segment,
}

impl Held {
    fn new(purpose: &str, number: u64, wal_from: Vec<WalFrom>) -> Self {
        let now = clock::now();
        Self {
            format: FORMAT,
            purpose: purpose.to_owned(),
            number,
            time: now,
            until: now + TERM,
            released: false,
            process: ProcessId::own(),
            wal_from,
        }
    }

    /// Whether its holder may still be at work at `now`; `stored` is when it was, by the store's clock:
    /// that of its holder may have been far ahead.
    fn is_in_force(&self, now: Time, stored: Time) -> bool {
        let gone = self.process.lives() == Some(false);
        !self.released && !gone && now < self.until.min(stored + TERM) + GRACE
    }

    /// For messages.
    pub fn holder(&self) -> String {
        format!("{}, since {}", self.process, readable(self.time))
    }
}

/// Where retention cut the WAL of a system: on which timelines it deleted some, and from which number on it
/// keeps all.
#[derive(Clone, Debug, Default)]
pub struct Cut(BTreeMap<TimelineId, u64>);

impl Cut {
    /// The part of what is missing that nobody deleted by the rules.
    pub fn lost(&self, missing: Missing) -> Option<Missing> {
        let from = self.0.get(&missing.timeline).copied().unwrap_or(0);
        let first = missing.first.max(from);
        (first <= missing.last).then_some(Missing { first, ..missing })
    }
}

/// Held by this process until it is released.
#[derive(Debug)]
pub struct Lease<'a> {
    repository: &'a Repository,
    held: Held,
}

impl Repository {
    /// Takes the lease for `purpose`; an error if somebody else has it, of kind [`Kind::Busy`] unless that one
    /// should have renewed it.
    pub fn take_lease(&self, purpose: &str) -> Result<Lease<'_>> {
        let newest = self.newest_lease(purpose)?;
        if let Some((held, stored)) = &newest
            && held.is_in_force(clock::now(), *stored)
        {
            // Who works renews it in time.
            let kind = match held.until < clock::now() {
                true => Kind::Failed,
                false => Kind::Busy,
            };
            return Err(taken(kind, purpose, &held.holder()));
        }
        let (number, wal_from) = newest.map_or((1, Vec::new()), |(held, _)| {
            (held.number + 1, held.wal_from)
        });
        let mut lease = Lease {
            repository: self,
            held: Held::new(purpose, number, wal_from),
        };
        // Who takes it at the same moment is as good as who has it.
        match lease.put(Kind::Busy) {
            // Else a full file system could not be cleaned up.
            Err(error) if error.kind() == Kind::Full && self.use_reserve()? => {
                lease.put(Kind::Busy)?;
            }
            other => other?,
        }
        Ok(lease)
    }

    /// Who has the lease for `purpose`, if anybody has.
    pub fn lease_in_force(&self, purpose: &str) -> Result<Option<Held>> {
        let newest = self.newest_lease(purpose)?;
        let now = clock::now();
        let in_force = newest.filter(|(held, stored)| held.is_in_force(now, *stored));
        Ok(in_force.map(|(held, _)| held))
    }

    /// Where retention cut the WAL of `system`.
    pub fn cut(&self, system: &System) -> Result<Cut> {
        let of_system = self.wal_from()?.into_iter();
        let of_system = of_system.filter(|cut| cut.system_id == system.system_id);
        let number = |segment: Segment| (segment.timeline, segment.number(system.segment_size));
        Ok(Cut(of_system.map(|cut| number(cut.segment)).collect()))
    }

    /// Nothing is known to be cut where the lease can't be read: a restore needs none of it.
    fn wal_from(&self) -> Result<Vec<WalFrom>> {
        match self.newest_lease(CLEANUP) {
            Ok(newest) => Ok(newest.map_or(Vec::new(), |(held, _)| held.wal_from)),
            Err(error) if self.is_of_object(&error) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// With when it was stored, by the store's clock.
    fn newest_lease(&self, purpose: &str) -> Result<Option<(Held, Time)>> {
        // One that is overtaken may go between the listing and the reading.
        for _ in 0..10 {
            let Some((number, stored)) = self.leases(purpose)?.into_iter().max() else {
                return Ok(None);
            };
            let name = self.layout().lease(purpose, number);
            match self.storage().read_json::<Held>(&name) {
                Ok(held)
                    if held.number == number && held.format == FORMAT && number < u64::MAX / 2 =>
                {
                    return Ok(Some((held, stored)));
                }
                Ok(_) => {
                    let what = format!(
                        "{} is not the lease that its name says, or of another format",
                        self.storage().place(&name)
                    );
                    let hint = format!("delete it if no {purpose} is running anywhere.");
                    return Err(Error::damaged(what).hint(hint));
                }
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => {
                    let hint = format!("delete it if no {purpose} is running anywhere.");
                    return Err(error.hint(hint));
                }
            }
        }
        Err(taken(
            Kind::Failed,
            purpose,
            "its lease is renewed all the time",
        ))
    }

    fn leases(&self, purpose: &str) -> Result<Vec<(u64, Time)>> {
        let mut leases = Vec::new();
        for info in self.storage().list(&self.layout().locks(), None)? {
            let info = info?;
            let number = self.layout().read_lease(purpose, &info.name);
            leases.extend(number.map(|number| (number, info.modified)));
        }
        Ok(leases)
    }
}

impl Lease<'_> {
    /// Makes sure that nobody took it over, and renews it in time. To be asked before each batch of
    /// what only its holder may do.
    pub fn look_again(&mut self) -> Result<()> {
        let leases = self.repository.leases(&self.held.purpose)?;
        let newest = leases.into_iter().map(|(number, _)| number).max();
        if newest != Some(self.held.number) {
            return Err(overtaken(Kind::Failed, &self.held.purpose));
        }
        match self.held.until - clock::now() < TERM / 2 {
            true => self.renew(),
            false => Ok(()),
        }
    }

    /// Notes from where on all WAL is kept, before any goes that lies before it.
    pub fn note_wal_from(&mut self, wal_from: Vec<WalFrom>) -> Result<()> {
        for new in wal_from {
            let same = |old: &&mut WalFrom| {
                (old.system_id, old.segment.timeline) == (new.system_id, new.segment.timeline)
            };
            match self.held.wal_from.iter_mut().find(same) {
                Some(old) => old.segment = old.segment.max(new.segment),
                None => self.held.wal_from.push(new),
            }
        }
        self.renew()
    }

    /// When it was taken, by the store's clock.
    pub fn store_time(&self) -> Result<Time> {
        let name = self
            .repository
            .layout()
            .lease(&self.held.purpose, self.held.number);
        Ok(self.repository.storage().head(&name)?.modified)
    }

    /// Lets others take it at once.
    pub fn release(mut self) -> Result<()> {
        self.held.released = true;
        self.renew()?;
        if let Err(error) = self.repository.lay_reserve_by() {
            warn!(
                "nothing is laid by for a time when the repository's disk is full: {}",
                error.in_one_line()
            );
        }
        Ok(())
    }

    fn renew(&mut self) -> Result<()> {
        let now = clock::now();
        self.held.number += 1;
        (self.held.time, self.held.until) = (now, now + TERM);
        self.put(Kind::Failed)
    }

    /// `overtaken`: the kind of the error if another one was sooner.
    fn put(&mut self, overtaken: Kind) -> Result<()> {
        let Self { repository, held } = self;
        let name = repository.layout().lease(&held.purpose, held.number);
        match repository.storage().create_json(&name, held) {
            Err(error) if error.kind() == Kind::AlreadyExists => {
                return Err(self::overtaken(overtaken, &held.purpose).because(error));
            }
            // It was there, and whoever has a later one has deleted it. A repository that is gone has none.
            Err(error) if error.kind() == Kind::NotFound => {
                let leases = repository.leases(&held.purpose)?;
                return Err(
                    match leases.iter().any(|(number, _)| *number > held.number) {
                        true => self::overtaken(overtaken, &held.purpose).because(error),
                        false => error,
                    },
                );
            }
            other => other?,
        }
        for (number, _) in repository.leases(&held.purpose)? {
            let lease = repository.layout().lease(&held.purpose, number);
            match number.cmp(&held.number) {
                Ordering::Less => repository.delete_if_we_may(&lease)?,
                Ordering::Equal => {}
                // Somebody took it over, and deleted the number that was free again.
                Ordering::Greater => {
                    repository.delete_if_there(&name)?;
                    return Err(self::overtaken(overtaken, &held.purpose));
                }
            }
        }
        Ok(())
    }
}

fn taken(kind: Kind, purpose: &str, holder: &str) -> Error {
    Error::new(kind, format!("another {purpose} of this repository is running ({holder})")).hint(format!(
        "wait until it has ended; one that died on another host stops counting {} minutes after its last sign of life.",
        (TERM + GRACE).num_minutes()
    ))
}

fn overtaken(kind: Kind, purpose: &str) -> Error {
    Error::new(
        kind,
        format!("another {purpose} of this repository has begun meanwhile"),
    )
    .hint("nothing is lost: that one goes on where this one stopped.")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::repo::location::Location;

    fn repository(folder: &std::path::Path) -> Repository {
        let location = Location::Folder(folder.into());
        Repository::open_or_create(&location, "main".parse().unwrap())
            .unwrap()
            .0
    }

    fn leases(repository: &Repository) -> Vec<u64> {
        let leases = repository.leases(CLEANUP).unwrap().into_iter();
        leases.map(|(number, _)| number).collect()
    }

    /// Stores `held` as somebody else did.
    fn plant(repository: &Repository, held: &Held) {
        let name = repository.layout().lease(CLEANUP, held.number);
        repository.storage().create_json(&name, held).unwrap();
    }

    #[test]
    fn one_at_a_time_and_numbers_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let repository = repository(folder.path());
        let mut first = repository.take_lease(CLEANUP).unwrap();
        let error = repository.take_lease(CLEANUP).unwrap_err();
        assert!(error.message().contains("is running"), "{error}");
        first.look_again().unwrap();
        let segment: Segment = "000000020000000000000007".parse().unwrap();
        let from = |segment| WalFrom {
            system_id: SystemId(1),
            segment,
        };
        first.note_wal_from(vec![from(segment)]).unwrap();
        first.release().unwrap();
        assert!(repository.lease_in_force(CLEANUP).unwrap().is_none());
        assert_eq!(leases(&repository), [3]);

        // What was noted is passed on, and never goes back.
        let mut second = repository.take_lease(CLEANUP).unwrap();
        let earlier = Segment { part: 3, ..segment };
        let other = Segment {
            timeline: TimelineId::FIRST,
            ..segment
        };
        second
            .note_wal_from(vec![from(earlier), from(other)])
            .unwrap();
        assert_eq!(repository.wal_from().unwrap(), [from(segment), from(other)]);
        assert_eq!(leases(&repository), [5]);
    }

    /// Who comes at the same moment is told that somebody else is at work, not that he failed.
    #[test]
    fn of_many_at_once_one_gets_it_and_the_others_know() {
        let folder = tempfile::tempdir().unwrap();
        let repository = repository(folder.path());
        for _ in 0..25 {
            let start = std::sync::Barrier::new(6);
            std::thread::scope(|scope| {
                for _ in 0..6 {
                    scope.spawn(|| {
                        start.wait();
                        match repository.take_lease(CLEANUP) {
                            Ok(lease) => lease.release().unwrap(),
                            Err(error) => assert_eq!(error.kind(), Kind::Busy, "{error}"),
                        }
                    });
                }
            });
        }
    }

    #[test]
    fn what_was_cut_is_no_loss() {
        let missing = |first, last| Missing {
            timeline: TimelineId::FIRST,
            first,
            last,
        };
        let cut = Cut(BTreeMap::from([(TimelineId::FIRST, 10)]));
        assert_eq!(cut.lost(missing(3, 9)), None);
        assert_eq!(cut.lost(missing(3, 11)), Some(missing(10, 11)));
        assert_eq!(cut.lost(missing(12, 12)), Some(missing(12, 12)));
        assert_eq!(Cut::default().lost(missing(3, 9)), Some(missing(3, 9)));
    }

    #[test]
    fn who_was_overtaken_stops() {
        let folder = tempfile::tempdir().unwrap();
        let repository = repository(folder.path());
        let mut slow = repository.take_lease(CLEANUP).unwrap();
        plant(&repository, &Held::new(CLEANUP, 2, Vec::new()));
        assert!(slow.look_again().is_err());
        // Even one that doesn't look can't renew, whichever numbers are left.
        assert!(slow.renew().is_err());
        plant(&repository, &Held::new(CLEANUP, 5, Vec::new()));
        assert!(slow.renew().is_err());
        assert_eq!(leases(&repository), [5]);
    }

    #[test]
    fn a_lease_ends_with_its_process_or_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let repository = repository(folder.path());
        let mut held = Held::new(CLEANUP, 1, Vec::new());
        held.process.process_start += 1;
        plant(&repository, &held);
        // That process is gone.
        repository.take_lease(CLEANUP).unwrap().release().unwrap();

        let mut elsewhere = Held::new(CLEANUP, 9, Vec::new());
        elsewhere.process.host = "elsewhere".into();
        let refused = |held: &Held| {
            plant(&repository, held);
            repository.take_lease(CLEANUP).unwrap_err().kind()
        };
        assert_eq!(refused(&elsewhere), Kind::Busy);
        let late = Held {
            number: 10,
            until: clock::now() - TimeDelta::minutes(1),
            ..elsewhere.clone()
        };
        assert_eq!(refused(&late), Kind::Failed);
        let stored = elsewhere.time;
        assert!(elsewhere.is_in_force(stored + TimeDelta::minutes(14), stored));
        assert!(!elsewhere.is_in_force(stored + TimeDelta::minutes(16), stored));
        // Its holder's clock was years ahead.
        elsewhere.until = stored + TimeDelta::days(1000);
        assert!(!elsewhere.is_in_force(stored + TimeDelta::minutes(16), stored));
    }
}

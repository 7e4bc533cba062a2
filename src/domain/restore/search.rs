//! Looks for a target in the WAL itself.

use std::{fs::File, io, path::Path};

use chrono::TimeDelta;

use super::{proof::Proof, segments::Segments};
use crate::{
    error::{Error, IoContext, Kind, Result},
    postgres::{
        lsn::Lsn,
        version::Major,
        wal_event::{Happened, WalEvent},
        wal_joint::Joint,
        wal_name::{Segment, SegmentSize},
        wal_records::{Followed, Take, WalRecords},
    },
    util::{
        cancel::Cancel,
        clock::{Time, readable},
    },
};

pub struct Search<'a> {
    pub segments: Segments<'a>,
    pub major: Major,
    /// Holds two segments at a time, and nothing else.
    pub folder: &'a Path,
    pub cancel: &'a Cancel,
}

/// By how much a store's clock may be off against the server's.
const CLOCKS_APART: TimeDelta = TimeDelta::hours(1);

/// How many segments more are read only to name the last commit in a message.
const FOR_THE_MESSAGE: u32 = 8;

impl Search<'_> {
    fn size(&self) -> SegmentSize {
        self.segments.system.segment_size
    }

    /// Those on the way from the backup's end, which is where targets lie, oldest first.
    fn way(&self) -> impl DoubleEndedIterator<Item = Segment> {
        let first = *self.segments.choice.backup.needed_segments().end();
        let last = self
            .segments
            .choice
            .reach
            .last(self.size())
            .map_or(0, |last| last.number(self.size()));
        (first..=last).filter_map(|number| self.segments.choice.reach.segment(number, self.size()))
    }

    /// A commit or abort behind `time`, or at it where the target is exclusive. Commit times
    /// rise but for moments, so the last segment that has any decides.
    pub fn time(&self, time: Time, exclusive: bool) -> Result<Proof> {
        let mut latest: Option<Time> = None;
        let mut newer: Option<Segment> = None;
        let mut too_old = 0;
        for segment in self.way().rev() {
            let mut found = None;
            self.records(segment, newer, &mut |event| {
                if let Happened::Ended(ended) = event.happened
                    && let Some(at) = ended.time
                {
                    latest = Some(latest.map_or(at, |latest| latest.max(at)));
                    if at > time || exclusive && at == time {
                        found.get_or_insert((event.lsn, at));
                    }
                }
            })?;
            if let Some((lsn, at)) = found {
                return Ok(self.found(lsn, format!("a transaction that ended at {}", readable(at))));
            }
            too_old += u32::from(too_old > 0 || self.arrived_before(segment, time)?);
            if latest.is_some() || too_old > FOR_THE_MESSAGE {
                break;
            }
            newer = Some(segment);
        }
        let what = match latest {
            Some(latest) => format!(
                "the last transaction in the repository ended at {}",
                readable(latest)
            ),
            None => format!(
                "no transaction is in the repository behind the end of backup {}",
                self.segments.choice.backup.id
            ),
        };
        let hole = self
            .segments
            .choice
            .reach
            .hole
            .map(|hole| hole.describe(self.size()));
        let (what, hint) = match hole {
            Some(hole) => (
                format!("{what}, and WAL segment {hole} is missing behind it"),
                "with this backup, the time of that transaction is the last that can be restored to. Where retention keeps a backup for itself alone, cleanup has removed the WAL behind it for good; \
                 else look for it in pg_wal of the server, or in another repository. `pgstow list` shows what later backups reach.",
            ),
            None => (
                what,
                "leave the time out to restore to the end of the archive. If the server still runs, its last WAL may be on its way (pg_switch_wal()); if it crashed, --replace uses the WAL in its data directory.",
            ),
        };
        let error = format!(
            "nothing in the WAL is later than {}: {what}",
            readable(time)
        );
        Err(Error::new(Kind::Unreachable, error).hint(hint))
    }

    /// The end of a transaction; None if it isn't on the way.
    pub fn xid(&self, xid: u64) -> Result<Option<Lsn>> {
        // The server compares 32 bits.
        let wanted = (xid & u64::from(u32::MAX)) as u32;
        self.first(|happened| matches!(happened, Happened::Ended(ended) if ended.xid == wanted))
    }

    /// A restore point; None if it isn't on the way.
    pub fn name(&self, name: &str) -> Result<Option<Lsn>> {
        self.first(|happened| matches!(happened, Happened::RestorePoint(point) if point == name))
    }

    /// The first record at or behind `lsn`, where an inclusive target stops. It may begin segments
    /// later: behind a switch a segment is empty, and a record may be longer than a segment.
    pub fn lsn(&self, lsn: Lsn) -> Result<Option<Lsn>> {
        let holding = lsn.0 / self.size().bytes();
        let behind = |segment: &Segment| segment.number(self.size()) >= holding;
        let segments: Vec<Segment> = self.way().filter(behind).collect();
        for (at, segment) in segments.iter().enumerate() {
            let next = segments.get(at + 1).copied();
            let mut found = None;
            self.records(*segment, next, &mut |event| {
                if event.lsn >= lsn {
                    found.get_or_insert(event.lsn);
                }
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    pub fn found(&self, lsn: Lsn, what: String) -> Proof {
        let segment = self
            .segments
            .choice
            .reach
            .segment(lsn.0 / self.size().bytes(), self.size());
        Proof::Found {
            lsn,
            segment: segment.map_or(String::new(), |segment| segment.to_string()),
            what,
        }
    }

    fn first(&self, wanted: impl Fn(&Happened) -> bool) -> Result<Option<Lsn>> {
        let segments: Vec<Segment> = self.way().collect();
        for (at, segment) in segments.iter().enumerate() {
            let mut found = None;
            let next = segments.get(at + 1).copied();
            self.records(*segment, next, &mut |event| {
                if wanted(&event.happened) && event.lsn >= self.segments.choice.backup.stop_lsn {
                    found.get_or_insert(event.lsn);
                }
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn arrived_before(&self, segment: Segment, time: Time) -> Result<bool> {
        let stored = self.segments.stored_at(segment)?;
        Ok(stored.is_some_and(|stored| stored < time - CLOCKS_APART))
    }

    /// Gives each record of `segment` to `take`, the last one too, which may end in `next`. Where it is damaged there are
    /// none behind.
    fn records(
        &self,
        segment: Segment,
        next: Option<Segment>,
        take: &mut dyn FnMut(WalEvent),
    ) -> Result<()> {
        self.cancel.check()?;
        let wanted: Vec<Segment> = [Some(segment), next].into_iter().flatten().collect();
        if !self.segments.have(&wanted, self.folder)? {
            return Ok(());
        }
        let mut joint = Joint::default();
        let event = |lsn: Lsn, bytes: &[u8]| WalEvent::read(lsn, bytes, self.major);
        let mut followed = self.follow(segment, &mut |lsn, bytes| take(event(lsn, bytes)))?;
        let _ = joint.join(&mut followed);
        if let Some(next) = next.filter(|_| joint.is_open())
            && let Ok(Some((lsn, bytes))) = joint.join(&mut self.follow(next, &mut |_, _| {})?)
        {
            take(event(lsn, &bytes));
        }
        Ok(())
    }

    fn follow<'t>(&self, segment: Segment, take: &'t mut Take<'t>) -> Result<Followed> {
        let path = self.folder.join(segment.to_string());
        let mut records = WalRecords::giving(segment.timeline, take);
        let mut file = File::open(&path).at("read", &path)?;
        io::copy(&mut file, &mut records).at("read", &path)?;
        Ok(records.finish())
    }
}

//! What happened around a time, by the archived WAL: to choose the moment to go back to.
//!
//! 1. Find the segments that hold it ([`span`]).
//! 2. Read them, several at once ([`pipeline`], [`segments`], [`digest`]).
//! 3. Put together what each of them holds ([`ledger`], [`chart`]).
//! 4. Find names for what was found ([`names`], [`live`]), and the way back to before it ([`event`]).
//!
//! Nothing is written.

pub mod chart;
mod digest;
pub mod event;
pub mod fate;
mod fresh;
mod heirs;
pub mod ledger;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod ledger_tests;
mod live;
pub mod names;
mod pipeline;
pub mod prepared;
mod segments;
mod span;
mod way;
mod work;

use std::{collections::BTreeMap, path::PathBuf};

use chrono::TimeDelta;
use serde::Serialize;
use tracing::warn;

use self::{
    chart::Chart,
    digest::Digest,
    event::{Event, Teller, What},
    ledger::{Filter, Ledger},
    live::Live,
    names::{Names, TableName, Unnamed},
    pipeline::Pipeline,
    segments::{Read, Segments},
    span::{Clock, Span},
    way::Way,
    work::Relations,
};
use crate::{
    domain::restore::{
        archive::Archive,
        load::load,
        plan,
        segments::place,
        sources::Sources,
        target::{Target, TimelineWish, Wish},
        timelines,
    },
    error::{Error, Kind, Result},
    postgres::{
        conninfo::ConnInfo,
        lsn::{SystemId, TimelineId},
        timeline::TimelineHistory,
        version::Major,
        wal_joint::Joint,
        wal_name::Segment,
    },
    repo::{
        backup::Backup,
        missing::Missing,
        others::Others,
        repository::{Repository, System},
        wal_index::{End, WalIndex},
    },
    util::{
        cancel::Cancel,
        clock::{Time, readable},
        meter::Meter,
    },
};

/// Why a segment could not be read.
const ABSENT: &str = "it is not in the repository";

/// A time without a commit that is worth a line.
const QUIET: TimeDelta = TimeDelta::minutes(1);

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub since: Time,
    pub until: Time,
    pub table: Option<TableName>,
    pub xid: Option<u32>,
    /// Every transaction, however little it did.
    pub all: bool,
    /// Rows of one relation, deleted or updated by one transaction, from which on it is told.
    pub min_rows: u64,
    pub timeline: TimelineWish,
    pub jobs: usize,
    /// Where receive-wal of this host keeps what the repository has not got.
    pub received: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
pub struct History {
    pub system_id: SystemId,
    pub timeline: TimelineId,
    pub since: Time,
    pub until: Time,
    /// What was read; None: the archive has nothing of that time.
    pub first_segment: Option<String>,
    pub last_segment: Option<String>,
    pub segments: usize,
    /// How many of them the repository has not got, but receive-wal on this host.
    pub received: usize,
    /// The last of them, where the repository has got pieces of it alone.
    pub live: Option<plan::Live>,
    /// The archive begins with a transaction that ended then, which is later than was asked for.
    pub begins: Option<Time>,
    /// The archive ends with a transaction that ended then, which is earlier than was asked for.
    pub ends: Option<Time>,
    /// Whether the archive tells of a time behind what was asked for: nothing more of that can come.
    pub reached: bool,
    pub chart: Chart,
    /// In the order of the WAL.
    pub events: Vec<Event>,
    /// Events that there was no room for.
    pub left_out: u64,
    /// Where names come from.
    pub named_by: Vec<String>,
    pub warnings: Vec<String>,
    /// The server's clock was seen to be set back.
    #[serde(skip)]
    pub clock_fell: bool,
    /// Where the WAL ends that there is, pieces of a segment included.
    #[serde(skip)]
    pub wal_end: Option<End>,
}

impl History {
    /// Whether some of the time is not known for sure.
    pub fn has_gaps(&self) -> bool {
        self.clock_fell || self.left_out > 0 || self.unread() > 0
    }

    /// How many stretches of WAL could not be read.
    pub fn unread(&self) -> usize {
        let unread = |event: &&Event| matches!(event.what, What::Unread { .. });
        self.events.iter().filter(unread).count()
    }
}

/// Looks into the WAL; `info` is how the live server is reached, which may know names. Of `others` comes what the
/// repository should have and can't give.
pub fn look(
    repository: &Repository,
    others: &Others,
    request: &Request,
    info: Result<ConnInfo>,
    cancel: &Cancel,
    meter: &Meter,
) -> Result<History> {
    meter.begin("looking for the WAL", 0);
    let wish = Wish {
        target: Target::Time(request.until),
        timeline: request.timeline,
        ..Wish::latest()
    };
    let (system, mut archive) = load(repository, &wish, others, cancel)?;
    if system.encrypted {
        // Before anything is fetched: all of it would be unread for the same reason.
        repository.keys().check_identity()?;
    }
    if let Some(folder) = &request.received {
        archive.receive(folder, &system, repository)?;
    }
    let history = timelines::resolve(&archive, &wish, None, &mut Vec::new())?;
    let live = Live::connect(info, system.system_id, cancel);
    let folders: Vec<PathBuf> = request.received.iter().cloned().collect();
    let lies_at = |segment: &Segment| Some((*segment, place(&folders, *segment)?));
    let received: BTreeMap<Segment, PathBuf> = archive.rescued.iter().filter_map(lies_at).collect();
    let way = Way::along(&history, &with_received(&archive.wal, &received));
    let live_upto = way.in_pieces();
    let live_upto = live_upto.and_then(|segment| archive.wal.live_upto(segment));
    let major = Major::new(system.postgres_major)?;
    let sources = Sources::new(repository, others);
    let look = Look {
        sources: &sources,
        request,
        archive: &archive,
        history: &history,
        system: &system,
        live: live.as_ref().ok(),
        segments: Segments {
            sources: &sources,
            system: &system,
            major,
            way: &way,
            live_upto,
            received: &received,
            cancel,
        },
        meter,
    };
    let mut found = look.run()?;
    found
        .warnings
        .extend(left_behind(&archive, &history, request));
    if !major.is_tested() {
        found.warnings.push(format!(
            "this version of pgstow was not tested with the WAL of PostgreSQL {major}: more may have happened than is told here"
        ));
    }
    let nameless = |event: &Event| match &event.what {
        What::Transaction(one) => one.relations.iter().any(|one| one.name.is_none()),
        _ => false,
    };
    if let Err(error) = &live
        && found.events.iter().any(nameless)
    {
        cancel.check()?;
        found.warnings.push(format!(
            "the live server can't be asked for names: {}",
            error.in_one_line()
        ));
    }
    Ok(found)
}

/// Timelines that went on in that time behind the place where the one that is looked along left them: after a restore to
/// an earlier moment, what made it necessary lies there.
fn left_behind(archive: &Archive, history: &TimelineHistory, request: &Request) -> Vec<String> {
    let goes_on = |timeline: TimelineId| {
        // None for its own.
        let fork = history.fork(timeline)?;
        let arrived = archive.wal.arrived(timeline);
        let in_time = arrived.is_none_or(|time| time >= request.since);
        (archive.goes_on_behind(timeline, fork) && in_time).then(|| {
            format!(
                "timeline {timeline} goes on behind {fork}, where timeline {} left it: `--timeline {timeline}` looks along it",
                history.own
            )
        })
    };
    archive.wal.timelines().filter_map(goes_on).collect()
}

/// All WAL that can be read: that which receive-wal has here, too.
fn with_received(archived: &WalIndex, received: &BTreeMap<Segment, PathBuf>) -> WalIndex {
    let mut wal = archived.clone();
    for (segment, path) in received {
        match path.extension() {
            None => wal.add(*segment),
            // Still being received.
            Some(_) => wal.add_partial(*segment),
        }
    }
    wal
}

struct Look<'a> {
    sources: &'a Sources<'a>,
    request: &'a Request,
    archive: &'a Archive,
    history: &'a TimelineHistory,
    system: &'a System,
    live: Option<&'a Live<'a>>,
    segments: Segments<'a>,
    meter: &'a Meter,
}

impl Look<'_> {
    fn run(&self) -> Result<History> {
        let Request { since, until, .. } = *self.request;
        let way = self.segments.way;
        let table = match &self.request.table {
            Some(name) => Some(self.table(name)?),
            None => None,
        };
        let clock = Clock::default();
        let Span { range, next } = clock.span(since, until, &self.segments)?;
        let begins = match range.start {
            0 => clock.first(&self.segments)?.filter(|first| *first > since),
            _ => None,
        };
        let mut ledger = Ledger::new(
            Filter {
                since,
                until,
                min_rows: self.request.min_rows,
                xid: self.request.xid,
                table,
                all: self.request.all,
                quiet: QUIET,
            },
            Chart::new(since, until),
        );
        let pipeline = Pipeline {
            segments: self.segments,
            range: range.clone(),
            workers: self.request.jobs,
            meter: self.meter,
        };
        let mut joint = Joint::default();
        pipeline.run(|place, mut read| {
            let Some(segment) = way.segment(place) else {
                return;
            };
            let start = segment.start(self.system.segment_size);
            if place > range.start
                && let Some(hole) = self.hole_before(place)
            {
                joint = Joint::default();
                ledger.unread(start, hole, ABSENT.to_owned());
            }
            self.join(&mut joint, &mut read, &mut ledger);
            ledger.add(read.digest);
            if let Some(why) = read.trouble {
                ledger.unread(start, segment.to_string(), why);
            }
        })?;
        // What begins in the last one may end behind it.
        let mut place = range.end;
        while joint.is_open() && way.goes_on(place - 1) {
            let mut read = self.segments.read(place)?;
            read.followed.open = None;
            let is_known = self.join(&mut joint, &mut read, &mut ledger);
            if !is_known
                && let Some(why) = read.trouble
                && let Some(segment) = way.segment(place)
            {
                let start = segment.start(self.system.segment_size);
                ledger.unread(start, segment.to_string(), why);
            }
            place += 1;
        }
        // What is missing up to the next time may belong to the span.
        for place in range.end.max(1)..=next.unwrap_or(way.len()) {
            if let (Some(hole), Some(last)) = (self.hole_before(place), way.segment(place - 1)) {
                ledger.unread(last.end(self.system.segment_size), hole, ABSENT.to_owned());
            }
        }
        let books = ledger.close();
        let mut unnamed = event::unnamed(&books.found);
        books.heirs.ask(&mut unnamed.files);
        let mut names = self.names(&unnamed)?;
        books.heirs.name(&mut names.files);
        let teller = Teller {
            names: &names,
            archive: self.archive,
            timeline: self.history.own,
            min_rows: self.request.min_rows,
            of_table: self.request.table.is_some(),
            xid: self.request.xid,
            all: self.request.all || self.request.xid.is_some(),
        };
        let falls = clock.falls(&self.segments);
        let events = books.found.into_iter();
        let name = |place: usize| way.segment(place).map(|segment| segment.to_string());
        let reached = next.is_some() || books.last.is_some_and(|last| last > until);
        let ends = books.last.filter(|_| !reached);
        let in_pieces = way.in_pieces().filter(|_| range.end == way.len());
        let live = in_pieces.and_then(|segment| {
            Some(plan::Live {
                segment: segment.to_string(),
                upto: self.segments.live_upto?,
            })
        });
        let received = range.clone().filter_map(|place| way.segment(place));
        let received = received.filter(|segment| self.archive.rescued.contains(segment));
        Ok(History {
            system_id: self.system.system_id,
            timeline: self.history.own,
            since,
            until,
            first_segment: name(range.start).filter(|_| !range.is_empty()),
            last_segment: range
                .end
                .checked_sub(1)
                .and_then(name)
                .filter(|_| !range.is_empty()),
            segments: range.len(),
            received: received.count(),
            live,
            begins,
            ends,
            reached,
            chart: books.chart,
            events: events.filter_map(|found| teller.tell(found)).collect(),
            left_out: books.left_out,
            named_by: names.told_by,
            clock_fell: !falls.is_empty(),
            wal_end: match self.request.timeline.is_named() {
                true => self.archive.wal.end_on(self.history.own),
                false => self.archive.wal.end(),
            },
            warnings: falls,
        })
    }

    /// Adds the record of the segments before that ends in this one; false: it is not known what that says.
    fn join(&self, joint: &mut Joint, read: &mut Read, ledger: &mut Ledger) -> bool {
        match joint.join(&mut read.followed) {
            Ok(Some((lsn, bytes))) => {
                let mut digest = Digest::default();
                digest.note(self.segments.event(lsn, &bytes));
                ledger.add(digest);
                true
            }
            Ok(None) => true,
            Err(problem) => {
                if !read.is_open {
                    read.trouble.get_or_insert(problem);
                }
                false
            }
        }
    }

    /// Which segments are missing before the one at a place.
    fn hole_before(&self, place: usize) -> Option<String> {
        let size = self.system.segment_size;
        let before = self.segments.way.segment(place.checked_sub(1)?)?;
        let behind = self.segments.way.segment(place)?;
        let (first, last) = (before.number(size) + 1, behind.number(size) - 1);
        let hole = Missing {
            timeline: behind.timeline,
            first,
            last,
        };
        (first <= last).then(|| hole.describe(size))
    }

    /// Backups that may know names, the best first.
    fn backups(&self) -> Vec<&Backup> {
        names::around(
            &self.archive.by_age(),
            |backup| backup.stop_time <= self.request.since,
            |backup| backup.stop_time <= self.request.until,
        )
    }

    fn table(&self, wanted: &TableName) -> Result<Relations> {
        let mut found = names::find_table(self.sources, &self.backups(), wanted);
        if let Some(live) = self.live
            && let Err(error) = live.find_table(wanted, &mut found)
        {
            not_told(&error);
        }
        if !found.files.is_empty() {
            return Ok(found);
        }
        if !found.oids.is_empty() {
            let what = format!("{wanted} has no rows of its own");
            return Err(Error::usage(what)
                .hint("of a partitioned table name a partition, of a view its table."));
        }
        Err(Error::new(
            Kind::NotFound,
            format!(
                "no backup from before {} and no live server knows a table {wanted} with rows of its own",
                readable(self.request.until)
            ),
        )
        .hint("name it as it is written in the catalog, such as public.orders; of a partitioned table that is gone name a partition; or leave --table out: what was dropped is told by number."))
    }

    fn names(&self, unnamed: &Unnamed) -> Result<Names> {
        let mut names = Names::default();
        if unnamed.is_empty() {
            return Ok(names);
        }
        for backup in self.backups() {
            self.segments.cancel.check()?;
            let before = backup.stop_time <= self.request.since;
            names.ask_backup(self.sources, backup, before, unnamed);
        }
        if let Some(live) = self.live
            && let Err(error) = live.name(unnamed, &mut names)
        {
            not_told(&error);
        }
        Ok(names)
    }
}

/// A database that is closed to us is no reason to tell nothing.
fn not_told(error: &Error) {
    warn!(
        "no more names from the live server: {}",
        error.in_one_line()
    );
}

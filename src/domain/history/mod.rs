//! What happened around a time, by the archived WAL: to choose the moment to go back to.
//!
//! 1. Find the segments that hold it ([`span`]).
//! 2. Read them with pg_waldump, several at once ([`pipeline`], [`segments`], [`digest`]).
//! 3. Put together what each of them holds ([`ledger`], [`chart`]).
//! 4. Find names for what was found ([`names`], [`live`]), and the way back to before it ([`event`]).
//!
//! Nothing is written but the scratch folder.

pub mod chart;
mod digest;
pub mod event;
pub mod fate;
pub mod ledger;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod ledger_tests;
mod live;
pub mod names;
mod pipeline;
mod segments;
mod span;
mod way;
mod work;

use std::path::PathBuf;

use chrono::TimeDelta;
use serde::Serialize;
use tracing::warn;

use self::{
    chart::Chart,
    event::{Event, Teller, What},
    ledger::{Filter, Ledger, Relations},
    live::Live,
    names::{Names, TableName, Unnamed},
    pipeline::Pipeline,
    segments::Segments,
    span::Clock,
    way::Way,
};
use crate::{
    domain::restore::{
        archive::Archive,
        load::load,
        target::{Action, Target, TimelineWish, Wish},
        timelines,
    },
    error::{Error, Kind, Result},
    postgres::{
        conninfo::ConnInfo,
        lsn::{SystemId, TimelineId},
        programs::Search,
        timeline::TimelineHistory,
        version::Major,
    },
    repo::{
        catalog::Backup,
        others::Others,
        repository::{Repository, System},
        wal_index::Missing,
    },
    util::{
        cancel::Cancel,
        clock::{Time, readable},
        meter::Meter,
        scratch::Scratch,
    },
};

/// Where WAL is looked into.
const SCRATCH: &str = "pgstow-find";

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
    pub bindir: Option<PathBuf>,
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
    /// The archive begins with a transaction that ended then, which is later than was asked for.
    pub begins: Option<Time>,
    /// The archive ends with a transaction that ended then, which is earlier than was asked for.
    pub ends: Option<Time>,
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
}

impl History {
    /// Whether some of the time is not known for sure.
    pub fn has_gaps(&self) -> bool {
        let unread = |event: &Event| matches!(event.what, What::Unread { .. });
        self.clock_fell || self.left_out > 0 || self.events.iter().any(unread)
    }
}

/// Looks into the WAL; `info` is how the live server is reached, which may know names.
pub fn look(
    repository: &Repository,
    request: &Request,
    info: Result<ConnInfo>,
    cancel: &Cancel,
    meter: &Meter,
) -> Result<History> {
    meter.begin("looking for the WAL", 0);
    let wish = Wish {
        backup: None,
        target: Target::Time(request.until),
        exclusive: false,
        timeline: request.timeline,
        action: Action::Promote,
        standby: false,
    };
    let (system, archive) = load(repository, &wish, &Others::default())?;
    if system.encrypted {
        // Before anything is fetched: all of it would be unread for the same reason.
        repository.keys().check_identity()?;
    }
    let history = timelines::resolve(&archive, &wish, None, &mut Vec::new())?;
    let major = Major::new(system.postgres_major)?;
    let waldump = Search::of_this_host(request.bindir.clone())
        .find(Some(major))?
        .pg_waldump()?;
    let live = Live::connect(info, system.system_id, cancel);
    Scratch::sweep(SCRATCH);
    let scratch = Scratch::make(SCRATCH, false)?;
    let way = Way::along(&history, &archive.wal);
    let look = Look {
        repository,
        request,
        archive: &archive,
        history: &history,
        system: &system,
        live: live.as_ref().ok(),
        segments: Segments {
            repository,
            system: &system,
            way: &way,
            waldump: &waldump,
            folder: scratch.path(),
            cancel,
        },
        meter,
    };
    let mut found = look.run()?;
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

struct Look<'a> {
    repository: &'a Repository,
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
        let range = clock.span(since, until, &self.segments)?;
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
        pipeline.run(|place, read| {
            let Some(segment) = way.segment(place) else {
                return;
            };
            let start = segment.start(self.system.segment_size);
            if place > range.start
                && let Some(hole) = self.hole_before(place)
            {
                ledger.unread(start, hole, "it is not in the repository".to_owned());
            }
            ledger.add(read.digest);
            if let Some(why) = read.trouble {
                ledger.unread(start, segment.to_string(), why);
            }
        })?;
        let books = ledger.close();
        let names = self.names(&event::unnamed(&books.found))?;
        let teller = Teller {
            names: &names,
            archive: self.archive,
            timeline: self.history.own,
            min_rows: self.request.min_rows,
            of_table: self.request.table.is_some(),
            all: self.request.all || self.request.xid.is_some(),
        };
        let falls = clock.falls(&self.segments);
        let events = books.found.into_iter();
        let name = |place: usize| way.segment(place).map(|segment| segment.to_string());
        let ends = books
            .last
            .filter(|last| range.end == way.len() && *last < until);
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
            begins,
            ends,
            chart: books.chart,
            events: events.filter_map(|found| teller.tell(found)).collect(),
            left_out: books.left_out,
            named_by: names.told_by,
            clock_fell: !falls.is_empty(),
            warnings: falls,
        })
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
        let mut found = names::find_table(self.repository, &self.backups(), wanted);
        if let Some(live) = self.live
            && let Err(error) = live.find_table(wanted, &mut found)
        {
            not_told(&error);
        }
        if !found.files.is_empty() {
            return Ok(found);
        }
        Err(Error::new(
            Kind::NotFound,
            format!(
                "no backup from before {} and no live server knows a table {wanted}",
                readable(self.request.until)
            ),
        )
        .hint("name it as it is written in the catalog, such as public.orders; or leave --table out: what was dropped is told by number."))
    }

    fn names(&self, unnamed: &Unnamed) -> Result<Names> {
        let mut names = Names::default();
        if unnamed.is_empty() {
            return Ok(names);
        }
        for backup in self.backups() {
            self.segments.cancel.check()?;
            names.ask_backup(self.repository, backup, unnamed);
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
